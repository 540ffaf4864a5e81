import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from orders import COMMAND_TYP, Commander
from wireunit import UNIT

from edge.contract.authority import (
    Audience,
    Authorities,
    AuthorityFile,
    OrderRejected,
    OrderRejectReason,
    Role,
    VerifiedOrder,
    register,
    sign_order,
)
from edge.contract.jose import b64url, from_b64url
from edge.contract.keys import SigningKey
from edge.contract.topics import UnitName
from edge.errors import SecretError

P256_ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
NOW = datetime(2026, 8, 3, tzinfo=UTC)


def judge(
    commander: Commander, token: str | bytes, now: datetime | None = NOW, unit: UnitName = UNIT
) -> VerifiedOrder:
    raw = token.encode() if isinstance(token, str) else token
    return commander.authorities.verify(
        raw, COMMAND_TYP, Role.COMMAND, unit, now=now, most_bytes=16_384
    )


def flaw(commander: Commander, token: str | bytes, **how: Any) -> tuple[OrderRejectReason, bool]:
    """Return why it was refused, and whether somebody known had signed it."""
    with pytest.raises(OrderRejected) as refused:
        judge(commander, token, **how)
    return refused.value.flaw, refused.value.order is not None


@pytest.mark.parametrize("alg", ["Ed25519", "ES256"])
def test_a_genuine_order_passes(tmp_path: Path, alg: str) -> None:
    commander = Commander(tmp_path, alg)
    order = judge(commander, commander.command("ping"))
    assert order.kid == commander.key.kid
    assert order.claims["name"] == "ping"


def test_each_rule_refuses_by_its_name(tmp_path: Path) -> None:
    commander = Commander(tmp_path)
    token = commander.command()
    header, payload, signature = token.split(".")
    assert flaw(commander, token + "A" * 16_384) == (OrderRejectReason.TOO_LARGE, False)
    for wrong in (
        "",
        "..",
        "a.b",
        token + ".",
        "\xff" + token,
        f"{header}={payload}.{signature}",
        f"{b64url(b'[]')}.{payload}.{signature}",
        sign_order(commander.key, "senyum-roster+jws", commander.claims()),
        commander.key.sign({"alg": "Ed25519", "kid": commander.key.kid}, b"{}"),
    ):
        assert flaw(commander, wrong) == (OrderRejectReason.MALFORMED, False), wrong
    extra = {"alg": "Ed25519", "kid": commander.key.kid, "typ": COMMAND_TYP, "jku": "https://x"}
    assert flaw(commander, commander.key.sign(extra, b"{}")) == (OrderRejectReason.MALFORMED, False)
    other = Commander(tmp_path / "other")
    assert flaw(commander, other.command()) == (OrderRejectReason.UNKNOWN_KEY, False)
    forged = other.key.sign({"alg": "Ed25519", "kid": commander.key.kid, "typ": COMMAND_TYP}, b"{}")
    assert flaw(commander, forged) == (OrderRejectReason.FORGED, False)
    for content in (b"[1]", b"{", b'{"a":1,"a":2}', b'{"a":NaN}', b"\xff", b"[" * 9000):
        signed = commander.key.sign(
            {"alg": "Ed25519", "kid": commander.key.kid, "typ": COMMAND_TYP}, content
        )
        assert flaw(commander, signed) == (OrderRejectReason.MALFORMED, False), content[:20]
    for aud in (None, 7, "urn:senyum:x", "urn:other:a:b:c", "urn:senyum:A:b:c", ["*"]):
        assert flaw(commander, commander.command(aud=aud)) == (OrderRejectReason.MALFORMED, True), (
            aud
        )
    foreign = commander.command(aud="urn:senyum:dinas:balai-kota:pintu-2")
    assert flaw(commander, foreign) == (OrderRejectReason.FOREIGN, True)


def test_a_key_orders_only_what_and_whom_it_may(tmp_path: Path) -> None:
    roster = Commander(tmp_path / "roster", roles=[Role.ROSTER])
    assert flaw(roster, roster.command()) == (OrderRejectReason.WRONG_ROLE, True)
    elsewhere = Commander(tmp_path / "elsewhere", units=["urn:senyum:dinas:gudang:*"])
    assert flaw(elsewhere, elsewhere.command()) == (OrderRejectReason.FOREIGN, True)
    everywhere = Commander(tmp_path / "all", roles=list(Role), units=["urn:senyum:dinas:*:*"])
    judge(everywhere, everywhere.command(aud="urn:senyum:*:*:pintu-1"))


def test_a_key_is_valid_in_its_time_as_far_as_the_time_is_known(tmp_path: Path) -> None:
    day = timedelta(days=1)
    commander = Commander(tmp_path, not_before=NOW - day, not_after=NOW + day)
    judge(commander, commander.command())
    for moment in (NOW - 2 * day, NOW + 2 * day):
        assert flaw(commander, commander.command(), now=moment) == (
            OrderRejectReason.UNKNOWN_KEY,
            False,
        )
    judge(commander, commander.command(), now=None)


def test_an_es256_order_has_one_spelling(tmp_path: Path) -> None:
    commander = Commander(tmp_path, "ES256")
    signed, _, signature = commander.command().rpartition(".")
    content = from_b64url(signature)
    mirrored = content[:32] + (P256_ORDER - int.from_bytes(content[32:])).to_bytes(32)
    assert flaw(commander, f"{signed}.{b64url(mirrored)}") == (OrderRejectReason.FORGED, False)


def test_a_file_of_authorities_is_read_when_it_changes(tmp_path: Path) -> None:
    path = tmp_path / "authorities.json"
    file = AuthorityFile(path)
    assert len(file.current()) == 0
    first = Commander(tmp_path / "1")
    second = Commander(tmp_path / "2")

    def write(content: object) -> None:
        draft = path.with_suffix(".new")
        draft.write_text(json.dumps(content))
        draft.replace(path)

    write({"keys": [first.registration]})
    assert len(file.current()) == 1
    write({"keys": [first.registration, second.registration]})
    assert len(file.current()) == 2
    write({"keys": [{**first.registration, "senyum:roles": ["king"]}]})
    assert len(file.current()) == 2  # one that cannot be used changes nothing
    path.unlink()
    assert len(file.current()) == 0


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"senyum:roles": []}, "senyum:roles"),
        ({"senyum:roles": ["king"]}, "senyum:roles"),
        ({"senyum:roles": [[]]}, "senyum:roles"),
        ({"senyum:units": None}, "senyum:units"),
        ({"senyum:units": ["urn:senyum:a:b"]}, "senyum:units"),
        ({"senyum:units": [7]}, "senyum:units"),
        ({"kid": "x"}, "kid"),
        ({"alg": "none"}, "alg"),
        ({"alg": []}, "alg"),
        ({"d": "AAAA"}, "private key"),
        ({"exp": "soon"}, "exp"),
    ],
)
def test_a_wrong_entry_is_named(tmp_path: Path, change: dict[str, Any], said: str) -> None:
    commander = Commander(tmp_path)
    path = tmp_path / "authorities.json"
    path.write_text(json.dumps({"keys": [{**commander.registration, **change}]}))
    with pytest.raises(SecretError, match=said) as error:
        Authorities.load(path)
    assert f"{path}: keys[0] " in str(error.value)
    assert "\n" not in str(error.value)


def test_a_key_is_listed_once(tmp_path: Path) -> None:
    entry = Commander(tmp_path).registration
    with pytest.raises(ValueError, match="listed twice"):
        Authorities.of([entry, entry])


def test_to_register_checks_what_it_says(tmp_path: Path) -> None:
    key = SigningKey.load_or_create(tmp_path / "key")
    with pytest.raises(ValueError, match="senyum:units"):
        register(key, [Role.COMMAND], ["everybody"])


@given(st.text(max_size=80))
def test_no_text_breaks_an_audience(text: str) -> None:
    try:
        audience = Audience.parse(text)
    except ValueError:
        return
    assert all(name == "*" or name.isascii() for name in audience.names)


@pytest.fixture(scope="module")
def signed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Commander, bytes]:
    commander = Commander(tmp_path_factory.mktemp("key"))
    return commander, commander.command().encode()


@settings(max_examples=300)
@given(
    kind=st.sampled_from(["flip", "cut", "insert", "noise"]),
    where=st.floats(0, 1, exclude_max=True),
    byte=st.integers(0, 255),
    noise=st.binary(max_size=400),
)
def test_no_bytes_pass_that_the_key_did_not_sign(
    signed: tuple[Commander, bytes], kind: str, where: float, byte: int, noise: bytes
) -> None:
    commander, token = signed
    at = int(where * len(token))
    mutated = {
        "flip": token[:at] + bytes([byte]) + token[at + 1 :],
        "cut": token[:at],
        "insert": token[:at] + bytes([byte]) + token[at:],
        "noise": noise,
    }[kind]
    if mutated != token:
        assert flaw(commander, mutated)[1] is False
