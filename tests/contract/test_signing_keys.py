import json
import stat
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from jwcrypto import jwk
from wireunit import UNIT

from edge.contract.jose import parse
from edge.contract.keys import KeySet, SigningKey, add_registration
from edge.errors import SecretError

NOON = datetime(2026, 8, 17, 12, tzinfo=UTC)


@pytest.fixture
def key(tmp_path: Path) -> SigningKey:
    return SigningKey.load_or_create(tmp_path / "signing.key")


def test_the_key_is_made_once_and_only_its_owner_reads_it(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "signing.key"
    made = SigningKey.load_or_create(path)
    assert SigningKey.load_or_create(path).kid == made.kid
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [file.name for file in path.parent.iterdir()] == ["signing.key"]


@pytest.mark.parametrize("alg", ["Ed25519", "ES256"])
def test_kid_is_the_thumbprint_that_another_library_computes(tmp_path: Path, alg: str) -> None:
    key = SigningKey.load_or_create(tmp_path / "k", alg)
    public = key.registration(UNIT)
    assert key.kid == jwk.JWK(**public).thumbprint()
    assert "d" not in public


@pytest.mark.parametrize(
    "content", [b"", b"not json", b"[]", b'{"alg": "none"}', b'{"alg": "Ed25519", "kty": "OKP"}']
)
def test_a_spoilt_key_file_is_named_and_kept(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "signing.key"
    path.touch(0o600)
    path.write_bytes(content)
    with pytest.raises(SecretError, match=r"signing\.key: (the )?signing key is (not|empty)"):
        SigningKey.load_or_create(path)
    assert path.read_bytes() == content


def test_an_error_does_not_quote_the_key(tmp_path: Path, key: SigningKey) -> None:
    path = tmp_path / "signing.key"
    private = json.loads(path.read_text())
    path.write_text(json.dumps({**private, "crv": "X25519"}))
    with pytest.raises(SecretError) as caught:
        SigningKey.load_or_create(path)
    assert private["d"] not in str(caught.value)
    assert private["d"] not in repr(key)


def test_a_key_that_others_can_read_is_refused(tmp_path: Path, key: SigningKey) -> None:
    (tmp_path / "signing.key").chmod(0o644)
    with pytest.raises(SecretError, match="chmod 600"):
        SigningKey.load_or_create(tmp_path / "signing.key")


def test_validity_is_inclusive_and_each_bound_may_be_absent(key: SigningKey) -> None:
    second = timedelta(seconds=1)
    bounded = KeySet.of([key.registration(UNIT, NOON, NOON + second)]).find(key.kid)
    open_key = KeySet.of([key.registration(UNIT)]).find(key.kid)
    assert bounded is not None
    assert open_key is not None
    assert [bounded.valid_at(NOON + n * second) for n in (-1, 0, 1, 2)] == [0, 1, 1, 0]
    assert open_key.valid_at(datetime(1970, 1, 1, tzinfo=UTC))


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"d": "secret"}, "private key"),
        ({"alg": "none"}, "alg"),
        ({"alg": "EdDSA"}, "alg"),
        ({"alg": "ES256"}, "kty EC"),
        ({"kid": "other"}, "kid"),
        ({"x": "AAAA"}, "Ed25519"),
        ({"unit": None}, "keys[0] names no unit; add"),
        ({"unit": "urn:senyum:a:b"}, "urn:senyum"),
        ({"nbf": "2026"}, "nbf"),
        ({"exp": True}, "exp"),
        ({"exp": 4102444801}, "exp"),
        ({"nbf": 0}, "nbf"),
    ],
)
def test_a_wrong_entry_names_file_entry_and_field(
    tmp_path: Path, key: SigningKey, change: dict[str, Any], word: str
) -> None:
    path = tmp_path / "keys.json"
    path.write_text(json.dumps({"keys": [{**key.registration(UNIT), **change}]}))
    with pytest.raises(SecretError, match=r"keys\.json: keys\[0\]") as caught:
        KeySet.load(path)
    assert word in str(caught.value)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"keys": 1}', '{"keys": ["x"]}'])
def test_what_is_no_key_set_is_refused(tmp_path: Path, content: str) -> None:
    path = tmp_path / "keys.json"
    path.write_text(content)
    with pytest.raises(SecretError, match=r"keys\.json"):
        KeySet.load(path)


def test_a_missing_key_set_is_named(tmp_path: Path) -> None:
    with pytest.raises(SecretError, match="cannot be read"):
        KeySet.load(tmp_path / "none.json")


def test_a_key_listed_twice_is_refused(key: SigningKey) -> None:
    with pytest.raises(ValueError, match="twice"):
        KeySet.of([key.registration(UNIT)] * 2)


def test_registrations_add_up_and_replace_their_own(tmp_path: Path, key: SigningKey) -> None:
    path = tmp_path / "keys.json"
    other = SigningKey.load_or_create(tmp_path / "other.key")
    add_registration(path, key.registration(UNIT))
    add_registration(path, other.registration(UNIT))
    add_registration(path, key.registration(UNIT, not_after=NOON))
    keys = KeySet.load(path)
    ended = keys.find(key.kid)
    assert len(keys) == 2
    assert ended is not None
    assert ended.not_after == NOON


def test_a_key_set_that_cannot_be_written_is_named(tmp_path: Path, key: SigningKey) -> None:
    with pytest.raises(SecretError, match=r"keys\.json: the key set cannot be written"):
        add_registration(tmp_path / "nowhere" / "keys.json", key.registration(UNIT))
    with pytest.raises(SecretError, match="too long"):
        add_registration(tmp_path / ("k" * 300), key.registration(UNIT))


def test_nothing_is_added_to_what_is_no_key_set(tmp_path: Path, key: SigningKey) -> None:
    path = tmp_path / "keys.json"
    path.write_text('{"keys": ["x"]}')
    with pytest.raises(SecretError, match=r"keys\.json: keys\[0\] is not an object"):
        add_registration(path, key.registration(UNIT))
    assert path.read_text() == '{"keys": ["x"]}'


def test_a_key_file_that_cannot_be_looked_for_is_named(tmp_path: Path) -> None:
    with pytest.raises(SecretError, match="too long"):
        SigningKey.load_or_create(tmp_path / ("k" * 300))


def test_a_place_where_no_key_can_be_made_is_named() -> None:
    with pytest.raises(SecretError, match=r"signing\.key: the signing key cannot be made"):
        SigningKey.load_or_create(Path("/proc/nowhere/signing.key"))


@pytest.mark.parametrize(
    "text",
    ["[" * 5000, '{"keys": [{"alg": []}]}', '{"keys": [{"alg": {}}]}', '{"keys": ' + "[" * 5000],
)
def test_a_key_set_that_is_nonsense_is_named(tmp_path: Path, text: str) -> None:
    path = tmp_path / "keys.json"
    path.write_text(text)
    with pytest.raises(SecretError, match=r"keys\.json"):
        KeySet.load(path)


@pytest.mark.parametrize("text", ["[" * 5000, '{"alg": []}', '{"alg": {}}'])
def test_a_key_file_that_is_nonsense_is_named(tmp_path: Path, text: str) -> None:
    path = tmp_path / "signing.key"
    path.touch(0o600)
    path.write_text(text)
    with pytest.raises(SecretError, match=r"signing\.key"):
        SigningKey.load_or_create(path)


@pytest.mark.parametrize("alg", ["Ed25519", "ES256"])
def test_only_the_signature_of_the_key_over_the_parsed_content_verifies(
    tmp_path: Path, alg: str
) -> None:
    signing = SigningKey.load_or_create(tmp_path / "k", alg)
    key = KeySet.of([signing.registration(UNIT)]).find(signing.kid)
    assert key is not None
    parsed = parse(signing.sign({"alg": alg, "kid": signing.kid}, b"{}"))
    assert key.verifies(parsed)
    signature = parsed.signature
    other = bytes([signature[0] ^ 1]) + signature[1:]
    for altered in (b"", signature[:-1], signature + b"\0", other, bytes(64), b"\xff" * 64):
        assert not key.verifies(replace(parsed, signature=altered))
    assert not key.verifies(replace(parsed, signing_input=parsed.signing_input + b"A"))
    assert not key.verifies(replace(parsed, header={**parsed.header, "alg": "none"}))
