import json
import stat
from pathlib import Path

import pytest
from jwcrypto import jwe, jwk

from edge.contract.encryption import EncryptionKey, Recipient, encryption_key_path, recipients
from edge.contract.keys import KeySet, SigningKey, add_registration
from edge.contract.topics import UnitName
from edge.errors import SecretError

UNIT = UnitName("dinas", "balai-kota", "pintu-1")
OTHER = UnitName("dinas", "balai-kota", "pintu-2")
SECRET = bytes(range(32))


@pytest.fixture
def key(tmp_path: Path) -> EncryptionKey:
    return EncryptionKey.load_or_create(tmp_path / "encryption.key")


def test_it_is_made_once_beside_the_signing_key_for_the_owner_alone(tmp_path: Path) -> None:
    path = encryption_key_path(tmp_path / "signing.key")
    assert path == tmp_path / "encryption.key"
    key = EncryptionKey.load_or_create(path)
    assert EncryptionKey.load_or_create(path).kid == key.kid
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [file.name for file in tmp_path.iterdir()] == ["encryption.key"]


def test_only_the_recipient_unwraps(key: EncryptionKey, tmp_path: Path) -> None:
    entry = key.registration(UNIT)
    assert (entry["use"], entry["crv"], entry["unit"]) == ("enc", "X25519", UNIT.source)
    assert "d" not in entry
    token = Recipient.of(entry).wrap(SECRET)
    assert key.unwrap(token) == SECRET
    other = EncryptionKey.load_or_create(tmp_path / "other.key")
    with pytest.raises(ValueError, match="not wrapped for"):
        other.unwrap(token)


def test_another_library_wraps_for_us_and_unwraps_what_we_wrap(
    key: EncryptionKey, tmp_path: Path
) -> None:
    entry = key.registration(UNIT)
    public = jwk.JWK(kty="OKP", crv="X25519", x=entry["x"])
    made = jwe.JWE(SECRET, json.dumps({"alg": "ECDH-ES+A256KW", "enc": "A256GCM"}))
    made.add_recipient(public)
    assert key.unwrap(made.serialize(compact=True)) == SECRET
    private = jwk.JWK(**json.loads((tmp_path / "encryption.key").read_text()))
    theirs = jwe.JWE()
    theirs.deserialize(Recipient.of(entry).wrap(SECRET), key=private)
    assert theirs.payload == SECRET


@pytest.mark.parametrize("token", ["", "a.b.c.d.e", "x" * 3000, "..", "ä.b.c.d.e", "e30.....x"])
def test_what_is_no_wrapped_key_is_a_value_error(key: EncryptionKey, token: str) -> None:
    with pytest.raises(ValueError, match="wrapped"):
        key.unwrap(token)


def test_a_damaged_key_file_is_named_and_not_quoted(tmp_path: Path) -> None:
    path = tmp_path / "encryption.key"
    for content in ("{", "[]", '{"kty":"OKP","crv":"Ed25519","x":"secret"}'):
        path.write_text(content)
        path.chmod(0o600)
        with pytest.raises(SecretError, match=r"encryption\.key: the encryption key") as caught:
            EncryptionKey.load_or_create(path)
        assert "secret" not in str(caught.value)
    path.chmod(0o644)
    with pytest.raises(SecretError, match="can be read by others"):
        EncryptionKey.load_or_create(path)


def test_both_keys_of_a_unit_stand_in_one_key_set(key: EncryptionKey, tmp_path: Path) -> None:
    keys = tmp_path / "keys.json"
    signing = SigningKey.load_or_create(tmp_path / "signing.key")
    for entry in (signing.registration(UNIT), key.registration(UNIT), key.registration(UNIT)):
        add_registration(keys, entry)
    assert len(json.loads(keys.read_text())["keys"]) == 2
    assert len(KeySet.load(keys)) == 1  # an encryption key signs nothing
    found = recipients(keys)
    assert {unit: each.kid for unit, each in found.items()} == {UNIT: key.kid}


def test_a_wrong_entry_of_a_key_set_is_named(key: EncryptionKey, tmp_path: Path) -> None:
    keys = tmp_path / "keys.json"
    for change in ({"kid": "x"}, {"unit": "somebody"}, {"crv": "P-256"}, {"x": "AA"}):
        keys.write_text(json.dumps({"keys": [{**key.registration(UNIT), **change}]}))
        with pytest.raises(SecretError, match=r"keys\.json: encryption key 0: "):
            recipients(keys)
    with pytest.raises(SecretError, match="cannot be read"):
        recipients(tmp_path / "none.json")
    keys.write_text("[]")
    with pytest.raises(SecretError, match="is not a JWK set"):
        recipients(keys)
