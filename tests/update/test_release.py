"""What is taken for a release, and what is not."""

import hashlib
import io
import json
import lzma
import tarfile
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from joserfc import jws
from joserfc.jwk import OKPKey
from releases import MACHINE, MADE, Signatory, environment, release

from edge.appliance.update.release import (
    ALG,
    TYP,
    Release,
    ReleaseTarget,
    load_keys,
    make_key,
    write,
)
from edge.errors import SecretError, UpdateRefused


@pytest.fixture(scope="module")
def signatory(tmp_path_factory: pytest.TempPathFactory) -> Signatory:
    return Signatory.made(tmp_path_factory.mktemp("keys"))


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory, signatory: Signatory) -> Path:
    return release(tmp_path_factory.mktemp("release"), signatory, "1.2.0")


def refusal(path: Path, signatory: Signatory) -> str:
    with pytest.raises(UpdateRefused) as refused:
        Release(path, load_keys(signatory.public))
    assert str(path) in str(refused.value)
    return str(refused.value)


def test_an_environment_comes_out_as_it_went_in(
    good: Path, signatory: Signatory, tmp_path: Path
) -> None:
    to = tmp_path / "out"
    to.mkdir()
    with closing(Release(good, load_keys(signatory.public))) as opened:
        assert opened.manifest.version == "1.2.0"
        opened.require(MACHINE)
        opened.unpack(to)
    source = good.parent / "environment-1.2.0"
    names = sorted(str(p.relative_to(source)) for p in source.rglob("*"))
    assert sorted(str(p.relative_to(to)) for p in to.rglob("*")) == names
    assert (to / "lib/part1/1.py").read_text() == (source / "lib/part1/1.py").read_text()
    assert (to / "bin/python3").readlink() == Path("/usr/bin/python3.11")
    assert (to / "bin/tool").stat().st_mode & 0o777 == 0o755
    assert (to / "lib/part1/1.py").stat().st_mode & 0o777 == 0o644


def test_the_same_environment_is_the_same_release(signatory: Signatory, tmp_path: Path) -> None:
    stated = {"version": "1.0.0", "machine": "x86_64", "python": "3.11", "made": MADE}
    source = environment(tmp_path, "1.0.0")
    for name in ("a", "b"):
        write(source, tmp_path / name, stated, signatory.private)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


@settings(
    max_examples=300,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(data=st.data())
def test_no_byte_can_be_changed_or_left_out(
    data: st.DataObject, good: Path, signatory: Signatory, tmp_path: Path
) -> None:
    content = bytearray(good.read_bytes())
    at = data.draw(st.integers(0, len(content) - 1))
    if data.draw(st.booleans()):
        content[at] ^= data.draw(st.integers(1, 255))
    else:
        del content[at:]
    altered = tmp_path / "altered.release"
    altered.write_bytes(content)
    refusal(altered, signatory)


def test_a_release_of_another_key_is_refused(signatory: Signatory, tmp_path: Path) -> None:
    stranger = Signatory.made(tmp_path, "stranger")
    assert "may not sign releases" in refusal(release(tmp_path, stranger, "1.3.0"), signatory)


@pytest.mark.parametrize("content", [b"", b"\n", b"PK\x03\x04", b"a.b.c\nrest", b"x" * 40_000])
def test_what_is_no_release_is_said_to_be_none(
    content: bytes, signatory: Signatory, tmp_path: Path
) -> None:
    path = tmp_path / "some.release"
    path.write_bytes(content)
    assert "is not a release of Senyum" in refusal(path, signatory)


def test_a_file_that_is_not_there_is_named(signatory: Signatory, tmp_path: Path) -> None:
    assert "No such file" in refusal(tmp_path / "none", signatory)


@pytest.mark.parametrize(
    ("machine", "says"),
    [
        (
            ReleaseTarget("aarch64", MACHINE.python),
            "is made for aarch64, and this machine is x86_64",
        ),
        (ReleaseTarget("x86_64", "3.9"), "is made for Python 3.9, and this system has"),
    ],
)
def test_a_release_for_another_machine_is_refused(
    machine: ReleaseTarget, says: str, signatory: Signatory, tmp_path: Path
) -> None:
    path = release(tmp_path, signatory, "1.3.0", machine=machine)
    with (
        closing(Release(path, load_keys(signatory.public))) as opened,
        pytest.raises(UpdateRefused, match=says),
    ):
        opened.require(MACHINE)


def member(name: str, **fields: Any) -> tarfile.TarInfo:
    made = tarfile.TarInfo(name)
    for field, value in fields.items():
        setattr(made, field, value)
    return made


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: member("/etc/cron.d/x"), "lies outside"),
        (lambda: member("lib/../../../etc/x"), "lies outside"),
        (lambda: member("bin/sh", type=tarfile.SYMTYPE, linkname="/bin/sh"), "neither a file"),
        (
            lambda: member("lib/python3", type=tarfile.SYMTYPE, linkname="/usr/bin/python3.11"),
            "neither a file",
        ),
        (lambda: member("x", type=tarfile.LNKTYPE, linkname="/etc/shadow"), "neither a file"),
        (lambda: member("x", type=tarfile.CHRTYPE), "neither a file"),
        (lambda: member("x", type=tarfile.FIFOTYPE), "neither a file"),
    ],
)
def test_a_signed_archive_still_writes_nothing_but_files_of_its_own(
    make: Callable[[], tarfile.TarInfo], says: str, signatory: Signatory, tmp_path: Path
) -> None:
    plain = io.BytesIO()
    with tarfile.open(fileobj=plain, mode="w") as tar:
        tar.addfile(make())
    content = lzma.compress(plain.getvalue())
    path = tmp_path / "evil.release"
    path.write_bytes(signed(signatory, content) + content)
    to = tmp_path / "out"
    to.mkdir()
    with (
        closing(Release(path, load_keys(signatory.public))) as opened,
        pytest.raises(UpdateRefused, match=says),
    ):
        opened.unpack(to)
    assert list(to.iterdir()) == []


def signed(signatory: Signatory, content: bytes, **other: Any) -> bytes:
    stated = {
        "version": "9.0.0",
        "machine": "x86_64",
        "python": MACHINE.python,
        "made": MADE,
        "size": len(content),
        "unpacked": 1,
        "sha256": hashlib.sha256(content).hexdigest(),
        **other,
    }
    key = OKPKey.import_key(json.loads(signatory.private.read_text()))
    header = {"alg": ALG, "typ": TYP, "kid": key.thumbprint()}
    token = jws.serialize_compact(header, json.dumps(stated).encode(), key, algorithms=[ALG])
    return token.encode() + b"\n"


@pytest.mark.parametrize(
    ("field", "value"),
    [("version", "../../etc"), ("version", "1.0.0/x"), ("size", -1), ("machine", "mips")],
)
def test_a_signed_manifest_that_makes_no_sense_is_refused(
    field: str, value: Any, signatory: Signatory, tmp_path: Path
) -> None:
    path = tmp_path / "odd.release"
    path.write_bytes(signed(signatory, b"", **{field: value}))
    assert f"not valid ({field})" in refusal(path, signatory)


@pytest.mark.parametrize("content", [None, "", "{}", '{"keys": [{"kty": "RSA"}]}', '{"keys": 3}'])
def test_without_keys_no_release_is_accepted(content: str | None, tmp_path: Path) -> None:
    path = tmp_path / "keys.json"
    if content is not None:
        path.write_text(content)
    with pytest.raises(SecretError, match=r"keys\.json"):
        load_keys(path)


def test_a_key_that_others_can_read_signs_nothing(signatory: Signatory, tmp_path: Path) -> None:
    key = tmp_path / "open.key"
    key.write_bytes(signatory.private.read_bytes())
    key.chmod(0o644)
    with pytest.raises(SecretError, match="can be read by others"):
        write(environment(tmp_path, "1.0.0"), tmp_path / "x", {}, key)


def test_a_new_key_signs_and_its_public_half_is_public(tmp_path: Path) -> None:
    private, public = tmp_path / "release.key", tmp_path / "release.key.public.json"
    make_key(private, public)
    assert private.stat().st_mode & 0o777 == 0o600
    assert '"d"' not in public.read_text()
    path = release(tmp_path, Signatory(private, public), "1.0.0")
    Release(path, load_keys(public)).close()
    with pytest.raises(FileExistsError):
        make_key(private, tmp_path / "other")
