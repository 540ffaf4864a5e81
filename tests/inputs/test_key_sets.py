"""Key sets as editors, scripts and strangers leave them: read as strictly as a message."""

import codecs
import hashlib
import json
import os
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

import pytest
from contract import schemas
from hypothesis import example, given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from edge.contract.authority import Authorities, Role, register
from edge.contract.encryption import EncryptionKey, recipients
from edge.contract.jose import b64url, from_b64url
from edge.contract.keys import REFUSED_POINTS, KeySet, SigningKey, add_registration
from edge.contract.limits import EARLIEST, LATEST, MAX_DEPTH, MAX_NUMBER
from edge.contract.topics import UnitName
from edge.errors import SecretError

UNIT = UnitName("a", "b", "c")
SCHEMA = Draft202012Validator(schemas.every()["keys"])
Json = dict[str, Any]
T = TypeVar("T")
inputs = settings.get_profile("inputs")


@cache
def key(alg: str, number: int = 0) -> SigningKey:
    return SigningKey.generate(alg)[0]


def entry(alg: str) -> Json:
    if alg == "X25519":
        return {**encryption().registration(UNIT), "unit": UNIT.source}
    return key(alg).registration(UNIT)


@cache
def encryption() -> EncryptionKey:
    return EncryptionKey.generate()[0]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("keys")


def read(folder: Path, content: bytes) -> KeySet | None:
    """Return the key set, or None if it was refused as it should be, by every reader."""
    path = folder / "keys.json"
    path.write_bytes(content)
    found = attempt(lambda: KeySet.load(path))
    attempt(lambda: recipients(path))
    attempt(lambda: Authorities.load(path))
    added = attempt(lambda: add_registration(path, key("Ed25519", 1).registration(UNIT)))
    assert (added is None) == (found is None)
    assert found is not None or path.read_bytes() == content
    return found


def attempt(work: Callable[[], T]) -> T | None:
    try:
        return work()
    except SecretError as error:
        said = str(error)
    assert "keys.json" in said
    assert "\n" not in said
    assert len(said) < 400
    return None


# --- as JSON -----------------------------------------------------------------------------------


def texts(content: str) -> st.SearchStrategy[bytes]:
    """Return what may become of a good file."""
    raw = content.encode()
    places = st.integers(0, len(raw))
    return st.one_of(
        places.map(lambda at: raw[:at]),
        st.tuples(places, st.binary(min_size=1, max_size=3)).map(
            lambda found: raw[: found[0]] + found[1] + raw[found[0] :]
        ),
        st.sampled_from([codecs.BOM_UTF8, codecs.BOM_UTF16_LE, b"\xa0", b"\0"]).map(
            lambda x: x + raw
        ),
        st.integers(1, 20_000).map(
            lambda n: raw.replace(b"[", b"[" * n, 1).replace(b"]", b"]" * n, 1)
        ),
        st.sampled_from([b'"kid"', b'"keys"', b'"unit"', b'"x"', rb'"\u006bid"']).map(
            lambda name: raw.replace(b"{", b"{" + name + b":1,", 2)
        ),
        st.just(content.encode("utf-16")),
        st.binary(max_size=60),
    )


@given(data=st.data())
@inputs
def test_a_damaged_file_is_one_error_and_stays_as_it_was(folder: Path, data: st.DataObject) -> None:
    content = json.dumps({"keys": [entry("Ed25519"), entry("ES256"), entry("X25519")]})
    read(folder, data.draw(texts(content)))


DEPTHS = [1, MAX_DEPTH - 2, MAX_DEPTH - 1, MAX_DEPTH, 100, 20_000]


@given(depth=st.sampled_from(DEPTHS), lists=st.booleans())
@inputs
def test_depth_is_limited_and_nothing_recurses(folder: Path, depth: int, lists: bool) -> None:
    opening, closing = ("[", "]") if lists else ('{"a":', "}")
    inner = opening * depth + "1" + closing * depth
    content = f'{{"note":{inner},"keys":[{json.dumps(entry("Ed25519"))}]}}'
    assert (read(folder, content.encode()) is not None) == (depth + 1 <= MAX_DEPTH)


def test_spaces_line_ends_and_members_that_nobody_knows_are_allowed(folder: Path) -> None:
    content = json.dumps({"note": "é", "keys": [{**entry("ES256"), "use": "sig"}]}, indent=4)
    found = read(folder, content.replace("\n", "\r\n").encode())
    assert found is not None
    assert len(found) == 1


# --- and its entries ---------------------------------------------------------------------------

SECONDS = [int(EARLIEST.timestamp()), int(LATEST.timestamp())]
NUMBERS = st.sampled_from(
    [each + by for each in (0, *SECONDS, MAX_NUMBER, -MAX_NUMBER) for by in (-1, 0, 1, 0.5)]
) | st.floats(allow_nan=False, allow_infinity=False)
COORDINATES = st.one_of(
    st.binary(min_size=32, max_size=32).map(b64url),
    st.sampled_from(sorted(REFUSED_POINTS)).map(b64url),
    st.binary(max_size=40).map(b64url),
    st.text(max_size=44),
)
VALUES = st.one_of(
    st.none(), st.booleans(), NUMBERS, COORDINATES, st.just([]), st.just({}),
    st.sampled_from(["Ed25519", "ES256", "EdDSA", "none", "OKP", "EC", "P-256", "sig", "enc"]),
    st.sampled_from(["urn:senyum:a:b:c", "urn:senyum:a:b", "urn:senyum:A:b:c", "urn:senyum:*:*:*"]),
)  # fmt: skip
MEMBERS = ["kty", "crv", "x", "y", "d", "kid", "alg", "use", "unit", "nbf", "exp"]


def on_curve(content: Json) -> bool:
    """Say what no schema can: these are keys, `kid` is their thumbprint, each is there once."""
    kids = [each["kid"] for each in content["keys"]]
    return len(set(kids)) == len(kids) and all(map(is_key, content["keys"]))


def is_allowed(value: object) -> bool:
    if isinstance(value, str):
        return min(value, default=" ") >= " "
    return not isinstance(value, int | float) or abs(value) <= MAX_NUMBER


def is_key(found: Json) -> bool:
    if found["alg"] not in ("Ed25519", "ES256"):
        return True  # of no interest here: it verifies nothing
    good = entry(found["alg"])
    return all(found.get(name) == good[name] for name in ("x", "y", "kid") if name in good)


@given(
    alg=st.sampled_from(["Ed25519", "ES256"]),
    changes=st.dictionaries(st.sampled_from(MEMBERS), VALUES, max_size=3),
    gone=st.sets(st.sampled_from(MEMBERS), max_size=1),
    twice=st.booleans(),
)
@example(alg="Ed25519", changes={"nbf": SECONDS[0], "exp": SECONDS[1]}, gone=set(), twice=False)
@example(alg="ES256", changes={"exp": 1.8e9}, gone=set(), twice=False)
@inputs
def test_schema_and_reader_agree_on_every_entry(
    folder: Path, alg: str, changes: Json, gone: set[str], twice: bool
) -> None:
    spoilt = {name: value for name, value in {**entry(alg), **changes}.items() if name not in gone}
    content = {"keys": [spoilt] * (1 + twice)}
    try:
        raw = json.dumps(content).encode("utf-8")
    except UnicodeEncodeError:
        return
    found = read(folder, raw)
    if spoilt.get("use") == "enc":
        return  # an entry that verifies nothing is judged when a roster is encrypted to it
    within = all(map(is_allowed, spoilt.values()))
    assert (found is not None) == (within and SCHEMA.is_valid(content) and on_curve(content))


# --- points ------------------------------------------------------------------------------------

P = 2**255 - 19
D = -121665 * pow(121666, -1, P) % P
Point = tuple[int, int]


def add(one: Point, other: Point) -> Point:
    """Add two points of the curve of Ed25519, after RFC 8032."""
    (a, b), (c, d) = one, other
    part = D * a * b * c * d
    return (a * d + b * c) * pow(1 + part, -1, P) % P, (b * d + a * c) * pow(1 - part, -1, P) % P


def times_eight(point: Point) -> Point:
    for _ in range(3):
        point = add(point, point)
    return point


def points(content: bytes) -> Iterator[Point]:
    """Yield the point that a coordinate stands for, as a lenient reader takes it; else nothing."""
    y = int.from_bytes(content, "little") % 2**255 % P
    square = (y * y - 1) * pow(D * y * y + 1, -1, P) % P
    root = pow(square, (P + 3) // 8, P)
    for x in (root, root * pow(2, (P - 1) // 4, P) % P):
        if x * x % P == square:
            yield x, y
            return


def with_x(content: bytes) -> Json:
    members = {"crv": "Ed25519", "kty": "OKP", "x": b64url(content)}
    thumbprint = hashlib.sha256(json.dumps(members, separators=(",", ":")).encode())
    kid = b64url(thumbprint.digest())
    return {**members, "alg": "Ed25519", "kid": kid, "unit": UNIT.source}


def accepted(content: bytes) -> bool:
    try:
        KeySet.of([with_x(content)])
    except ValueError:
        return False
    return True


@pytest.mark.parametrize("content", sorted(REFUSED_POINTS), ids=bytes.hex)
def test_every_point_of_small_order_and_every_second_spelling_is_refused(content: bytes) -> None:
    assert not accepted(content)
    y = int.from_bytes(content, "little") % 2**255
    assert y >= P or all(times_eight(point) == (0, 1) for point in points(content))


@given(st.binary(min_size=32, max_size=32))
@inputs
def test_what_is_accepted_is_a_point_in_its_one_spelling_and_of_large_order(content: bytes) -> None:
    found = list(points(content))
    assert accepted(content) == (bool(found) and content not in REFUSED_POINTS)
    if accepted(content):
        assert int.from_bytes(content, "little") % 2**255 < P
        assert times_eight(found[0]) != (0, 1)


@given(st.binary(min_size=64, max_size=64))
@inputs
def test_a_point_beside_the_curve_of_es256_is_refused(content: bytes) -> None:
    x, y = b64url(content[:32]), b64url(content[32:])
    members = {"crv": "P-256", "kty": "EC", "x": x, "y": y}
    with pytest.raises(ValueError, match=r"keys\[0\]"):
        KeySet.of([{**members, "alg": "ES256", "kid": "A" * 43, "unit": UNIT.source}])


def test_a_fifo_is_refused_without_waiting_for_its_writer(folder: Path) -> None:
    path = folder / "fifo-keys.json"
    os.mkfifo(path)
    with pytest.raises(SecretError, match="cannot be read"):
        KeySet.load(path)


def test_the_other_half_of_the_plane_is_another_key(folder: Path) -> None:
    good = entry("ES256")
    y = int.from_bytes(from_b64url(good["y"]))
    p256 = 2**256 - 2**224 + 2**192 + 2**96 - 1
    assert read(folder, json.dumps({"keys": [good]}).encode()) is not None
    turned = {**good, "y": b64url((p256 - y).to_bytes(32))}
    assert read(folder, json.dumps({"keys": [turned]}).encode()) is None


def test_an_authority_is_read_as_strictly(folder: Path) -> None:
    path = folder / "keys.json"
    good = register(key("Ed25519"), [Role.COMMAND], ["urn:senyum:a:*:*"])
    path.write_text(json.dumps({"keys": [good]}))
    assert len(Authorities.load(path)) == 1
    path.write_text('{"keys":[],' + json.dumps({"keys": [good]})[1:])
    with pytest.raises(SecretError, match="twice"):
        Authorities.load(path)
