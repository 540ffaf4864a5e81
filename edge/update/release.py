"""A release: the unit's whole Python environment in one signed file.

    JWS compact, typ senyum-release+jws: what is in it, and the SHA-256 of all that follows
    LF
    tar, compressed with xz: bin/, lib/, pyvenv.cfg, release.json

The environment is relocatable: the only link in it goes to the distribution's Python. The file is
trusted for its signature alone; `release-keys.json` is a JWK set of the keys that may sign one.
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
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Annotated, BinaryIO, Literal

from joserfc import jws
from joserfc.errors import JoseError
from joserfc.jwk import OKPKey
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError

from edge.errors import SecretError, UpdateRefused
from edge.secrets import read_secret, write_secret

TYP = "senyum-release+jws"
ALG = "Ed25519"
MANIFEST = "release.json"  # the same words, inside the environment
_MOST_HEADER = 16_384  # bytes
_PYTHON = re.compile(r"/usr/bin/python3\.\d{1,2}", re.ASCII)

Version = Annotated[str, Field(pattern=r"^\d{1,4}\.\d{1,4}\.\d{1,4}(?:[a-z0-9.+-]{0,32})$")]


class Manifest(BaseModel):
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
class Machine:
    """What a release must be made for."""

    machine: str
    python: str

    @classmethod
    def here(cls) -> "Machine":
        return cls(platform.machine(), "{}.{}".format(*sys.version_info))


def load_keys(path: Path) -> dict[str, OKPKey]:
    """Return the public keys that may sign a release, by thumbprint. Raises SecretError."""
    try:
        entries = json.loads(path.read_text(encoding="utf-8"))["keys"]
        keys = [OKPKey.import_key({k: e[k] for k in ("kty", "crv", "x")}) for e in entries]
    except FileNotFoundError:
        raise SecretError(
            f"{path}: the keys that may sign a release are not there, so none is accepted; name "
            "them with --keys, or install a package that was built with --release-keys"
        ) from None
    except (OSError, ValueError, KeyError, TypeError, JoseError):
        raise SecretError(f"{path}: is no JWK set of Ed25519 public keys") from None
    return {key.thumbprint(): key for key in keys}


class Release:
    """An opened release file whose signature and digest were seen to hold."""

    def __init__(self, path: Path, keys: dict[str, OKPKey]) -> None:
        """Open, and verify all of it; raises UpdateRefused, which says what is wrong."""
        self.path = path
        try:
            self._file: BinaryIO = path.open("rb")
        except OSError as error:
            raise UpdateRefused(f"{path}: cannot be read: {error.strerror}") from None
        try:
            token = self._file.readline(_MOST_HEADER)  # without an end, no signature holds
            self.manifest = _verified(path, token, keys)
            self._begin = self._file.tell()
            self._check_digest()
        except BaseException:
            self._file.close()
            raise

    def close(self) -> None:
        self._file.close()

    def require(self, machine: Machine) -> None:
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
        self._file.seek(self._begin)
        try:
            with lzma.open(self._file) as plain, tarfile.open(fileobj=plain, mode="r|") as tar:
                for member in tar:
                    _write(tar, member, folder)
        except (tarfile.TarError, lzma.LZMAError, EOFError) as error:
            raise UpdateRefused(f"{self.path}: the archive in it is damaged ({error})") from None
        for parent, folders, _ in os.walk(folder):
            _sync(Path(parent))
            for name in folders:
                Path(parent, name).chmod(0o755)

    def _check_digest(self) -> None:
        digest = hashlib.sha256()
        size = 0
        while block := self._file.read(1 << 20):
            digest.update(block)
            size += len(block)
        if size != self.manifest.size:
            raise UpdateRefused(
                f"{self.path}: holds {size} bytes where {self.manifest.size} were signed; "
                "copy it again"
            )
        if digest.hexdigest() != self.manifest.sha256:
            raise UpdateRefused(f"{self.path}: was altered after it was signed; copy it again")


def _verified(path: Path, token: bytes, keys: dict[str, OKPKey]) -> Manifest:
    try:
        text = token.decode("ascii").strip()
        header = jws.extract_compact(text.encode()).headers()
    except (ValueError, JoseError):
        raise UpdateRefused(f"{path}: is not a release of Senyum") from None
    if header.get("typ") != TYP or header.get("alg") != ALG:
        raise UpdateRefused(f"{path}: is not a release of Senyum (typ {header.get('typ')!r:.40})")
    key = keys.get(str(header.get("kid")))
    if key is None:
        raise UpdateRefused(f"{path}: is signed by a key that may not sign releases here")
    try:
        signed = jws.deserialize_compact(text, key, algorithms=[ALG])
    except (ValueError, JoseError):
        raise UpdateRefused(f"{path}: the signature does not hold") from None
    try:
        return Manifest.model_validate_json(signed.payload)
    except ValidationError as error:
        field = ".".join(str(part) for part in error.errors()[0]["loc"])
        raise UpdateRefused(f"{path}: what it says of itself is not valid ({field})") from None


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


def public_set(keys: Iterable[OKPKey]) -> str:
    """Return a JWK set of public keys, whatever else their files said."""
    entries = [{**key.as_dict(private=False), "kid": key.thumbprint()} for key in keys]
    return json.dumps({"keys": entries}, indent=1) + "\n"


def write(
    environment: Path, to: Path, manifest: dict[str, str], key_file: Path, *, preset: int = 6
) -> Manifest:
    """Pack and sign an environment. `manifest` gives version, machine, python and made.

    `key_file` is a private Ed25519 JWK, mode 0600; `preset` is xz's, 0 (fast) to 9 (small).
    Raises SecretError and UpdateRefused.
    """
    try:
        key = OKPKey.import_key(json.loads(read_secret(key_file, "release key")))
    except (ValueError, JoseError):
        raise SecretError(f"{key_file}: the release key is no Ed25519 JWK") from None
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
        made = Manifest.model_validate(stated)
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
