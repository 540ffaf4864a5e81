"""Release files and the keys that sign them: exactly what was verified is unpacked, and no more."""

import hashlib
import io
import json
import lzma
import os
import tarfile
from collections.abc import Callable
from contextlib import closing
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from joserfc import jws
from joserfc.jwk import OKPKey
from releases import MACHINE, MADE, Signatory, release

from edge.appliance.update.release import ALG, TYP, Release, load_keys
from edge.contract.jose import b64url
from edge.contract.keys import imported
from edge.errors import SecretError, UpdateRefused

inputs = settings.get_profile("inputs")
# Encodings of points of small order (RFC 8032; the first is the neutral element).
SMALL_ORDER = [
    "0100000000000000000000000000000000000000000000000000000000000000",
    "0000000000000000000000000000000000000000000000000000000000000000",
    "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
    "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
]


@cache
def key() -> OKPKey:
    return OKPKey.generate_key("Ed25519")


def keys() -> dict[str, Any]:
    return {key().thumbprint(): imported(key().as_dict(private=False), ALG, ())}


def archive(files: dict[str, bytes]) -> bytes:
    plain = io.BytesIO()
    with tarfile.open(fileobj=plain, mode="w") as tar:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return lzma.compress(plain.getvalue(), preset=0)


def signed(content: bytes, **other: Any) -> bytes:
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
    return token(json.dumps(stated).encode()) + content


def token(payload: bytes) -> bytes:
    header = {"alg": ALG, "typ": TYP, "kid": key().thumbprint()}
    return jws.serialize_compact(header, payload, key(), algorithms=[ALG]).encode() + b"\n"


def unpacked(opened: Release, folder: Path) -> dict[str, bytes]:
    opened.unpack(folder)
    files = (path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


# --- what was verified is what is used -----------------------------------------------------------


def rewrite(path: Path) -> None:
    with path.open("r+b") as file:
        file.write(bytes(path.stat().st_size))


def replace(path: Path) -> None:
    path.unlink()
    path.write_bytes(b"other")


def truncate(path: Path) -> None:
    os.truncate(path, 0)


@pytest.mark.parametrize("change", [rewrite, replace, truncate, Path.unlink])
def test_a_file_that_changes_after_it_was_verified_changes_nothing(
    tmp_path: Path, change: Callable[[Path], None]
) -> None:
    files = {"lib/a.py": b"genuine" * 1000}
    path, to = tmp_path / "a.release", tmp_path / "out"
    to.mkdir()
    path.write_bytes(signed(archive(files), unpacked=7000))
    with closing(Release(path, keys(), tmp_path)) as opened:
        change(path)
        assert unpacked(opened, to) == files


def test_the_copy_has_no_name_and_goes(tmp_path: Path) -> None:
    path, room = tmp_path / "a.release", tmp_path / "room"
    room.mkdir()
    path.write_bytes(signed(archive({"a": b"b"})))
    with closing(Release(path, keys(), room)):
        assert list(room.iterdir()) == []


# --- sizes ---------------------------------------------------------------------------------------


@given(
    sizes=st.lists(st.integers(0, 5000), max_size=6),
    announced=st.integers(1, 20_000),
    more=st.binary(max_size=20),
)
@inputs
def test_no_more_is_unpacked_than_was_announced(
    sizes: list[int], announced: int, more: bytes, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("release")
    files = {f"lib/{number}": b"x" * size for number, size in enumerate(sizes)}
    path, to = folder / "a.release", folder / "out"
    to.mkdir()
    path.write_bytes(signed(archive(files), unpacked=announced) + more)
    try:
        with closing(Release(path, keys(), folder)) as opened:
            found = unpacked(opened, to)
    except UpdateRefused:
        assert more or sum(sizes) > announced
        assert sum(each.stat().st_size for each in to.rglob("*") if each.is_file()) <= announced
    else:
        assert found == files
        assert sum(sizes) <= announced
        assert not more


def test_a_small_file_that_unpacks_to_much_is_refused(tmp_path: Path) -> None:
    path, to = tmp_path / "a.release", tmp_path / "out"
    to.mkdir()
    path.write_bytes(signed(archive({"a": bytes(50_000_000)}), unpacked=10))
    with closing(Release(path, keys(), tmp_path)) as opened:
        with pytest.raises(UpdateRefused, match="more than was signed"):
            opened.unpack(to)
        assert list(to.iterdir()) == []


def test_long_headers_count_too(tmp_path: Path) -> None:
    plain = io.BytesIO()
    with tarfile.open(fileobj=plain, mode="w", format=tarfile.PAX_FORMAT) as tar:
        member = tarfile.TarInfo("a")
        member.pax_headers = {"comment": "x" * 40_000_000}
        tar.addfile(member)
    path, to = tmp_path / "a.release", tmp_path / "out"
    to.mkdir()
    path.write_bytes(signed(lzma.compress(plain.getvalue(), preset=0), unpacked=10))
    with (
        closing(Release(path, keys(), tmp_path)) as opened,
        pytest.raises(UpdateRefused, match="more than was signed"),
    ):
        opened.unpack(to)


def test_an_announcement_beyond_the_disk_is_refused_before_anything_is_copied(
    tmp_path: Path,
) -> None:
    path = tmp_path / "a.release"
    content = archive({"a": b"b"})
    path.write_bytes(signed(content, size=2**52))
    with pytest.raises(UpdateRefused, match="make room"):
        Release(path, keys(), tmp_path)
    path.write_bytes(signed(content))
    with pytest.raises(UpdateRefused, match="make room"):
        Release(path, keys(), tmp_path, spare_bytes=2**62)


def test_a_fifo_is_no_release(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.release")
    with pytest.raises(UpdateRefused, match="FIFO"):
        Release(tmp_path / "a.release", keys(), tmp_path)


# --- what is signed, and by whom -----------------------------------------------------------------


@pytest.mark.parametrize(
    "payload",
    [
        b"[" * 20_000 + b"]" * 20_000,
        b'{"version": "1.0.0", "version": "2.0.0"}',
        b"\xef\xbb\xbf{}",
        b"{}",
        b"null",
        b'{"size": 1e400}',
    ],
)
def test_a_signed_manifest_that_is_none_is_refused(tmp_path: Path, payload: bytes) -> None:
    path = tmp_path / "a.release"
    path.write_bytes(token(payload))
    with pytest.raises(UpdateRefused, match=r"a\.release: "):
        Release(path, keys(), tmp_path)


@given(data=st.data())
@inputs
def test_any_header_is_refused(
    data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    header = data.draw(
        st.binary(max_size=60)
        | st.sampled_from(
            [b"[" * 9000, b'{"a":' * 3000, b'{"alg": "none"}', b'{"alg": ["Ed25519"]}']
        )
    )
    path = tmp_path_factory.getbasetemp() / "any.release"
    path.write_bytes(b64url(header).encode() + b"." + data.draw(st.binary(max_size=60)))
    with pytest.raises(UpdateRefused):
        Release(path, keys())


@pytest.mark.parametrize("point", SMALL_ORDER)
def test_a_key_of_small_order_signs_nothing(tmp_path: Path, point: str) -> None:
    file = tmp_path / "keys.json"
    entry = {"kty": "OKP", "crv": "Ed25519", "x": b64url(bytes.fromhex(point))}
    file.write_text(json.dumps({"keys": [entry]}))
    with pytest.raises(SecretError, match=r"keys\[0\].*small order"):
        load_keys(file)


@given(
    content=st.binary(max_size=100)
    | st.sampled_from(
        [
            b"[" * 50_000,
            b'{"keys":' * 50_000,
            b'{"keys": [], "keys": []}',
            b'\xef\xbb\xbf{"keys": []}',
            b'{"keys": [[]]}',
            b'{"keys": [{"kty": ["OKP"]}]}',
            b'{"keys": [{"kty": "OKP", "crv": "Ed25519", "x": 5}]}',
            b'{"keys": {}}',
        ]
    )
)
@inputs
def test_keys_that_are_none_are_named(
    content: bytes, tmp_path_factory: pytest.TempPathFactory
) -> None:
    file = tmp_path_factory.getbasetemp() / "release-keys.json"
    file.write_bytes(content)
    with pytest.raises(SecretError, match=r"release-keys\.json: "):
        load_keys(file)


def test_a_release_of_ours_is_accepted(tmp_path: Path) -> None:
    signatory = Signatory.made(tmp_path)
    to = tmp_path / "out"
    to.mkdir()
    made = release(tmp_path, signatory, "1.2.0")
    with closing(Release(made, load_keys(signatory.public), tmp_path)) as opened:
        assert "bin/tool" in unpacked(opened, to)
