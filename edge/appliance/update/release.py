"""A release: the unit's whole Python environment in one signed file.

    JWS compact, typ senyum-release+jws: what is in it, and the SHA-256 of all that follows
    LF
    tar, compressed with xz: bin/, lib/, pyvenv.cfg, release.json

The environment is relocatable: the only link in it goes to the distribution's Python. The file is
trusted for its signature alone; `release-keys.json` is a JWK set of the keys that may sign one.

The file may lie where others write. What is verified is therefore copied to a file without a name
while its digest is computed, and only that copy is unpacked. No more is copied, and no more is
unpacked, than the signed manifest announces.
"""

import hashlib
import json
import lzma
import os
import platform
import re
import shutil
import sys
import tarfile
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, Annotated, BinaryIO, Literal, cast

from joserfc import jws
from joserfc.jwk import OKPKey
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError

from edge.contract.jose import Key, json_object, parse, verify
from edge.contract.keys import imported
from edge.errors import SecretError, UpdateRefused
from edge.system.key_files import LARGEST, read_secret, write_secret
from edge.system.supplied_files import open_regular, read_regular

TYP = "senyum-release+jws"
ALG = "Ed25519"
MANIFEST = "release.json"  # the same words, inside the environment
_MOST_HEADER = 16_384  # bytes
# Of a tar beyond twice its files' content: headers, padding, the end.
_OVERHEAD = 1 << 20
_MORE = "it holds more than was signed"
SPARE_BYTES = 64 * 1024 * 1024  # that stay free for the unit, whatever is unpacked
_PYTHON = re.compile(r"/usr/bin/python3\.\d{1,2}", re.ASCII)

Version = Annotated[str, Field(pattern=r"^\d{1,4}\.\d{1,4}\.\d{1,4}(?:[a-z0-9.+-]{0,32})$")]


class ReleaseManifest(BaseModel):
    """What a release says of itself."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    version: Version
    machine: Literal["aarch64", "x86_64"]
    python: Annotated[str, Field(pattern=r"^3\.\d{1,2}$")]
    made: AwareDatetime
    size: Annotated[int, Field(ge=1)]  # bytes of the tar, compressed
    unpacked: Annotated[int, Field(ge=1)]  # bytes of its files
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


@dataclass(frozen=True, slots=True)
class ReleaseTarget:
    """What a release must be made for."""

    machine: str
    python: str

    @classmethod
    def local(cls) -> "ReleaseTarget":
        return cls(platform.machine(), "{}.{}".format(*sys.version_info))


def load_keys(path: Path) -> dict[str, Key]:
    """Return the public keys that may sign a release, by thumbprint. Raises SecretError."""
    try:
        listed = json_object(read_regular(path, LARGEST)).get("keys")
        if not isinstance(listed, list) or not listed:
            raise ValueError('is not a JWK set, {"keys": [...]}, with a key')  # noqa: TRY301
        keys = [_key(number, entry) for number, entry in enumerate(listed)]
    except FileNotFoundError:
        raise SecretError(
            f"{path}: the keys that may sign a release are not there, so none is accepted; name "
            "them with --keys, or install a package that was built with --release-keys"
        ) from None
    except OSError as error:
        raise SecretError(f"{path}: cannot be read: {error.strerror}") from None
    except ValueError as error:
        raise SecretError(f"{path}: the keys of releases: {error}") from None
    return {key.thumbprint(): key for key in keys}


def _key(number: int, entry: object) -> Key:
    try:
        if not isinstance(entry, dict):
            raise ValueError("is not an object")  # noqa: TRY004, TRY301 - one class for wrong files
        return imported(entry, ALG, ())
    except ValueError as error:
        raise ValueError(f"keys[{number}] {error}") from None


class Release:
    """An opened release file whose signature and digest were seen to hold."""

    def __init__(
        self, path: Path, keys: Mapping[str, Key], folder: Path | None = None, spare_bytes: int = 0
    ) -> None:
        """Read and verify all of the file; raises UpdateRefused, which says what is wrong.

        The copy takes room in `folder` (None: that for temporary files), where `spare_bytes` stay
        free.
        """
        self.path = path
        try:
            with open_regular(path) as source:
                token = source.readline(_MOST_HEADER)  # without an end, no signature holds
                self.manifest = _verified(path, token, keys)
                self._check_room(folder, spare_bytes)
                self._copy: BinaryIO = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115 - `close`
                try:
                    self._take(source)
                except BaseException:
                    self._copy.close()
                    raise
        except OSError as error:
            raise UpdateRefused(f"{path}: cannot be copied: {error.strerror}") from None

    def close(self) -> None:
        self._copy.close()

    def require(self, machine: ReleaseTarget) -> None:
        """Raise UpdateRefused where the release is for another machine than this."""
        made = self.manifest
        if made.machine != machine.machine:
            raise UpdateRefused(
                f"{self.path}: is made for {made.machine}, and this machine is {machine.machine}; "
                "take the release for it"
            )
        if made.python != machine.python:
            raise UpdateRefused(
                f"{self.path}: is made for Python {made.python}, and this system has "
                f"{machine.python}; take the release for this Debian"
            )

    def unpack(self, folder: Path) -> None:
        """Write the environment into an empty folder, durably. Raises UpdateRefused, OSError."""
        self._copy.seek(0)
        left = self.manifest.unpacked
        try:
            with lzma.open(self._copy) as plain:
                bounded = cast("IO[bytes]", _Bounded(plain, 2 * left + _OVERHEAD))
                with tarfile.open(fileobj=bounded, mode="r|") as tar:
                    for member in tar:
                        left -= member.size
                        if member.size < 0 or left < 0:
                            raise tarfile.TarError(_MORE)  # noqa: TRY301 - as of other archives
                        _write(tar, member, folder)
        except (tarfile.TarError, lzma.LZMAError, EOFError, ValueError) as error:
            raise UpdateRefused(f"{self.path}: the archive in it is damaged ({error})") from None
        for parent, folders, _ in os.walk(folder):
            _sync(Path(parent))
            for name in folders:
                Path(parent, name).chmod(0o755)

    def _check_room(self, folder: Path | None, spare_bytes: int) -> None:
        where = Path(tempfile.gettempdir()) if folder is None else folder
        free, needed = shutil.disk_usage(where).free, self.manifest.size + spare_bytes
        if free < needed:
            raise UpdateRefused(
                f"{self.path}: {needed // 2**20} MiB are needed in {where} and {free // 2**20} are "
                "free; make room"
            )

    def _take(self, source: BinaryIO) -> None:
        """Copy what was signed, and verify the copy."""
        digest = hashlib.sha256()
        size, signed = 0, self.manifest.size
        # One byte more than was signed tells that there are more.
        while block := source.read(min(1 << 20, signed + 1 - size)):
            size += len(block)
            if size > signed:
                raise UpdateRefused(
                    f"{self.path}: holds more than the {signed} bytes signed; copy it again"
                )
            digest.update(block)
            self._copy.write(block)
        if size < signed:
            raise UpdateRefused(
                f"{self.path}: holds {size} bytes where {signed} were signed; copy it again"
            )
        if digest.hexdigest() != self.manifest.sha256:
            raise UpdateRefused(f"{self.path}: was altered after it was signed; copy it again")


class _Bounded:
    """Limits how many bytes can be read: an archive may unpack to any size."""

    def __init__(self, file: IO[bytes], most: int) -> None:
        self._file = file
        self._left = most

    def read(self, size: int) -> bytes:
        """Return at most `size` bytes; raises tarfile.TarError beyond the limit."""
        content = self._file.read(size)
        self._left -= len(content)
        if self._left < 0:
            raise tarfile.TarError(_MORE)
        return content


def _verified(path: Path, token: bytes, keys: Mapping[str, Key]) -> ReleaseManifest:
    try:
        parsed = parse(token.strip())
    except ValueError:
        raise UpdateRefused(f"{path}: is not a release of Senyum") from None
    if parsed.header.get("typ") != TYP or parsed.header.get("alg") != ALG:
        raise UpdateRefused(
            f"{path}: is not a release of Senyum (typ {parsed.header.get('typ')!r:.40})"
        )
    key = keys.get(str(parsed.header.get("kid")))
    if key is None:
        raise UpdateRefused(f"{path}: is signed by a key that may not sign releases here")
    if not verify(parsed, key, ALG):
        raise UpdateRefused(f"{path}: the signature does not hold")
    try:
        return ReleaseManifest.model_validate(json_object(parsed.payload))
    except ValidationError as error:
        field = ".".join(str(part) for part in error.errors()[0]["loc"])
        raise UpdateRefused(f"{path}: what it says of itself is not valid ({field})") from None
    except ValueError as error:
        raise UpdateRefused(f"{path}: what it says of itself {error}") from None


def _write(tar: tarfile.TarFile, member: tarfile.TarInfo, folder: Path) -> None:
    """Write one member; only plain files, folders and the one link of an environment."""
    name = PurePosixPath(member.name)
    if name.is_absolute() or ".." in name.parts:
        raise tarfile.TarError(f"{member.name!r:.80} lies outside")
    path = folder / name
    if member.isdir():
        path.mkdir(exist_ok=True)
    elif member.isfile():
        path.parent.mkdir(parents=True, exist_ok=True)
        source = tar.extractfile(member)
        assert source is not None  # it is a file
        with path.open("xb") as file:
            shutil.copyfileobj(source, file, 1 << 20)
            os.fchmod(file.fileno(), 0o755 if member.mode & 0o100 else 0o644)
            file.flush()
            os.fsync(file.fileno())
    elif (
        member.issym()
        and name.parent == PurePosixPath("bin")
        and _PYTHON.fullmatch(member.linkname)
    ):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.symlink_to(member.linkname)
    else:
        raise tarfile.TarError(f"{member.name!r:.80} is neither a file nor a folder")


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def make_key(private: Path, public: Path) -> None:
    """Make a key that signs releases, mode 0600, and the JWK set that units are given of it.

    Neither replaces a file: FileExistsError.
    """
    key = OKPKey.generate_key("Ed25519")
    write_secret(private, json.dumps(key.as_dict(private=True)).encode() + b"\n")
    with public.open("x", encoding="utf-8") as file:
        file.write(public_set([key]))


def public_set(keys: Iterable[Key]) -> str:
    """Return a JWK set of public keys, whatever else their files contain."""
    entries = [{**key.as_dict(private=False), "kid": key.thumbprint()} for key in keys]
    return json.dumps({"keys": entries}, indent=1) + "\n"


def write(
    environment: Path, to: Path, manifest: dict[str, str], key_file: Path, *, preset: int = 6
) -> ReleaseManifest:
    """Pack and sign an environment. `manifest` gives version, machine, python and made.

    `key_file` is a private Ed25519 JWK, mode 0600; `preset` is xz's, 0 (fast) to 9 (small).
    Raises SecretError and UpdateRefused.
    """
    try:
        key = imported(json_object(read_secret(key_file, "the release key")), ALG, ("d",))
    except ValueError as error:
        raise SecretError(f"{key_file}: the release key {error}") from None
    (environment / MANIFEST).write_text(json.dumps(manifest) + "\n", encoding="utf-8")
    draft = to.with_name(to.name + ".tar.xz")
    with _packed(environment, draft, preset) as unpacked:
        content = draft.read_bytes()
        stated = {
            **manifest,
            "size": len(content),
            "unpacked": unpacked,
            "sha256": hashlib.sha256(content).hexdigest(),
        }
        made = ReleaseManifest.model_validate(stated)
        header = {"alg": ALG, "typ": TYP, "kid": key.thumbprint()}
        token = jws.serialize_compact(header, json.dumps(stated).encode(), key, algorithms=[ALG])
        to.write_bytes(token.encode() + b"\n" + content)
    return made


@contextmanager
def _packed(environment: Path, to: Path, preset: int) -> Iterator[int]:
    """Pack an environment, the same bytes each time; gives the bytes of its files."""
    unpacked = 0

    def plain(member: tarfile.TarInfo) -> tarfile.TarInfo:
        member.uid = member.gid = member.mtime = 0
        member.uname = member.gname = ""
        return member

    try:
        with (
            lzma.open(to, "wb", preset=preset) as packed,
            tarfile.open(fileobj=packed, mode="w|") as tar,
        ):
            for path in sorted(environment.rglob("*")):
                unpacked += path.lstat().st_size
                name = str(path.relative_to(environment))
                tar.add(path, name, recursive=False, filter=plain)
        yield unpacked
    finally:
        to.unlink(missing_ok=True)
