import base64
import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from jwcrypto import jwk, jws
from wireunit import UNIT, Signer, SteppedClock, attempt, context

from edge.contract.envelope import MAX_BYTES, EnvelopeRejected, RejectReason, parse_will, verify
from edge.contract.events import OnlineStatus
from edge.contract.jose import b64url, digest, from_b64url
from edge.contract.keys import KeySet, SigningKey
from edge.contract.topics import TopicKind, UnitName
from edge.outbox.event_signer import ChainHead, EventSigner, HealthReport
from edge.system.clock import ClockState
from edge.types import Match

TOPIC = UNIT.topic(TopicKind.EVENT)
Forge = Callable[..., str]


@pytest.fixture
def signer(tmp_path: Path) -> Signer:
    return Signer(tmp_path, SteppedClock())


@pytest.fixture
def token(signer: Signer) -> str:
    return signer.sealer.event(attempt(), ChainHead()).token


def header_and_payload(token: str) -> tuple[dict[str, Any], dict[str, Any]]:
    header, payload, _ = token.split(".")
    return json.loads(from_b64url(header)), json.loads(from_b64url(payload))


@pytest.fixture
def forge(signer: Signer, token: str) -> Forge:
    """Sign changed headers or payloads with the unit's own key."""

    def make(header: dict[str, Any] | None = None, **payload: Any) -> str:
        was_header, was_payload = header_and_payload(token)
        new_header = {**was_header, **(header or {})}
        new_header = {name: value for name, value in new_header.items() if value is not None}
        content = {**was_payload, **payload}
        return signer.key.sign(new_header, json.dumps(content).encode())

    return make


def flaw(
    token: bytes | str, keys: KeySet, topic: str = TOPIC, now: datetime | None = None
) -> RejectReason:
    with pytest.raises(EnvelopeRejected) as caught:
        verify(token, keys, topic, now)
    assert "\n" not in str(caught.value)
    return caught.value.flaw


def test_a_genuine_event_is_accepted(signer: Signer, token: str) -> None:
    accepted = verify(token.encode(), signer.keys, TOPIC)
    assert accepted.unit == UNIT
    assert accepted.leaf is TopicKind.EVENT
    assert accepted.kid == signer.key.kid
    assert accepted.digest == digest(token)
    assert accepted.event.source == UNIT.source


@pytest.mark.parametrize("alg", ["Ed25519", "ES256"])
def test_another_library_verifies_it(tmp_path: Path, alg: str) -> None:
    key = SigningKey.load_or_create(tmp_path / "k", alg)
    token = EventSigner(context(), key, SteppedClock()).event(attempt(), ChainHead()).token
    public = jwk.JWK(**key.registration(UNIT))
    signed = jws.JWS()
    signed.allowed_algs = [alg]
    signed.deserialize(token, public)
    assert signed.jose_header == {
        "alg": alg,
        "kid": public.thumbprint(),
        "typ": "senyum-event+jws",
        "cty": "cloudevents+json",
    }
    assert json.loads(signed.payload)["source"] == UNIT.source
    assert verify(token, KeySet.of([key.registration(UNIT)]), TOPIC).kid == key.kid


def test_state_and_health_have_their_own_topics(signer: Signer) -> None:
    state = signer.sealer.state(OnlineStatus.ONLINE, 1, ChainHead())
    health = signer.sealer.health(HealthReport(), 1, ChainHead(), 0)
    assert verify(state, signer.keys, UNIT.topic(TopicKind.STATE)).leaf is TopicKind.STATE
    assert verify(health, signer.keys, UNIT.topic(TopicKind.HEALTH)).leaf is TopicKind.HEALTH
    assert flaw(state, signer.keys, UNIT.topic(TopicKind.HEALTH)) is RejectReason.TYPE
    assert flaw(health, signer.keys) is RejectReason.TYPE


def test_a_state_dressed_up_as_an_event_is_refused(signer: Signer) -> None:
    header, payload = header_and_payload(signer.sealer.state(OnlineStatus.ONLINE, 1, ChainHead()))
    dressed = signer.key.sign({**header, "typ": "senyum-event+jws"}, json.dumps(payload).encode())
    assert flaw(dressed, signer.keys) is RejectReason.TYPE


def test_too_large_a_message_is_refused_before_it_is_read(signer: Signer) -> None:
    assert flaw(b"." * (MAX_BYTES + 1), signer.keys) is RejectReason.OVERSIZED


def test_alg_none_is_refused_with_and_without_a_signature(signer: Signer, token: str) -> None:
    header, _ = header_and_payload(token)
    none = b64url(json.dumps({**header, "alg": "none"}).encode())
    _, payload, signature = token.split(".")
    assert flaw(f"{none}.{payload}.", signer.keys) is RejectReason.ALGORITHM
    assert flaw(f"{none}.{payload}.{signature}", signer.keys) is RejectReason.ALGORITHM


@pytest.mark.parametrize("alg", ["EdDSA", "HS256", "ES256", "ed25519", ""])
def test_the_key_fixes_the_algorithm(signer: Signer, token: str, alg: str) -> None:
    header, _ = header_and_payload(token)
    other = b64url(json.dumps({**header, "alg": alg}).encode())
    _, payload, signature = token.split(".")
    assert flaw(f"{other}.{payload}.{signature}", signer.keys) is RejectReason.ALGORITHM


def test_a_mac_made_with_the_public_key_is_refused(signer: Signer, token: str) -> None:
    header, payload = header_and_payload(token)
    secret = jwk.JWK(kty="oct", k=signer.key.registration(UNIT)["x"])
    mac = jws.JWS(json.dumps(payload))
    mac.add_signature(secret, "HS256", json.dumps({**header, "alg": "HS256"}))
    assert flaw(mac.serialize(compact=True), signer.keys) is RejectReason.ALGORITHM


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ({"typ": "JWT"}, RejectReason.TYPE),
        ({"typ": None}, RejectReason.TYPE),
        ({"cty": "json"}, RejectReason.TYPE),
        ({"kid": "unknown"}, RejectReason.UNKNOWN_KEY),
        ({"kid": None}, RejectReason.UNKNOWN_KEY),
        ({"jku": "https://example.org/keys"}, RejectReason.MALFORMED),
    ],
)
def test_a_header_of_another_kind_is_refused(
    signer: Signer, forge: Forge, header: dict[str, Any], expected: RejectReason
) -> None:
    assert flaw(forge(header), signer.keys) is expected


def test_a_header_is_judged_anew_each_time(signer: Signer, token: str, forge: Forge) -> None:
    for _ in range(2):
        assert flaw(forge({"jku": "https://example.org"}), signer.keys) is RejectReason.MALFORMED
        assert flaw(forge({"kid": "k" * 2000}), signer.keys) is RejectReason.UNKNOWN_KEY
        assert verify(token, signer.keys, TOPIC).kid == signer.key.kid
        assert flaw(token, KeySet.of([])) is RejectReason.UNKNOWN_KEY  # known to another key set


def test_a_forged_signature_is_refused(signer: Signer, token: str, tmp_path: Path) -> None:
    forger = SigningKey.load_or_create(tmp_path / "forger")
    header, payload = header_and_payload(token)
    assert flaw(forger.sign(header, json.dumps(payload).encode()), signer.keys) is (
        RejectReason.BAD_SIGNATURE
    )


def test_another_units_valid_key_is_refused(signer: Signer, token: str, tmp_path: Path) -> None:
    neighbour = SigningKey.load_or_create(tmp_path / "neighbour")
    other = UnitName("dinas", "balai-kota", "pintu-2")
    keys = KeySet.of([signer.key.registration(UNIT), neighbour.registration(other)])
    header, payload = header_and_payload(token)
    signed = neighbour.sign({**header, "kid": neighbour.kid}, json.dumps(payload).encode())
    assert flaw(signed, keys) is RejectReason.FOREIGN_KEY
    # On its own topic the key is right, and the source betrays it.
    assert flaw(signed, keys, other.topic(TopicKind.EVENT)) is RejectReason.TOPIC


def test_a_genuine_event_on_another_units_topic_is_refused(signer: Signer, token: str) -> None:
    other = UnitName("dinas", "balai-kota", "pintu-2").topic(TopicKind.EVENT)
    assert flaw(token, signer.keys, other) is RejectReason.FOREIGN_KEY
    assert flaw(token, signer.keys, "senyum/v2/a/b/c/event") is RejectReason.TOPIC


def test_the_key_must_have_been_valid_at_the_time_of_the_event(signer: Signer, token: str) -> None:
    then = datetime.fromtimestamp(1_800_000_000, UTC)
    retired = KeySet.of([signer.key.registration(UNIT, not_after=datetime(2026, 1, 1, tzinfo=UTC))])
    current = KeySet.of([signer.key.registration(UNIT, then.replace(year=then.year - 1), then)])
    assert flaw(token, retired) is RejectReason.OUTSIDE_VALIDITY
    verify(token, current, TOPIC, datetime(2099, 1, 1, tzinfo=UTC))


def test_an_unsynchronized_time_does_not_decide_about_validity(tmp_path: Path) -> None:
    clock = SteppedClock(utc=1_000.0)  # 1970: a clock that was never set
    clock.state = ClockState.UNSYNCHRONIZED
    signer = Signer(tmp_path, clock)
    token = signer.sealer.event(attempt(captured_ns=clock.monotonic_ns), ChainHead()).token
    since_2026 = KeySet.of([signer.key.registration(UNIT, datetime(2026, 1, 1, tzinfo=UTC))])
    verify(token, since_2026, TOPIC, datetime(2027, 1, 1, tzinfo=UTC))
    assert (
        flaw(token, since_2026, now=datetime(2025, 1, 1, tzinfo=UTC))
        is RejectReason.OUTSIDE_VALIDITY
    )


@pytest.mark.parametrize(
    "change",
    [
        {"specversion": "0.3"},
        {"id": "1"},
        {"id": "0198C0DE-0000-7000-8000-000000000000"},
        {"id": "0198c0de-0000-4000-8000-000000000000"},
        {"source": "urn:senyum:a:b"},
        {"type": "senyum.attendance.recorded.v2"},
        {"type": "senyum.attendance.refused.v1"},
        {"time": "2026-08-17T12:00:00.000000+07:00"},
        {"time": "2026-02-30T12:00:00.000000Z"},
        {"subject": "198001012005011001"},
        {"subject": None},
        {"sequence": "1"},
        {"sequence": 1},
        {"sequence": "00000000000000000000"},
        {"sequence": "00000000000000000002"},
        {"previous": "A" * 43},
        {"extra": 1},
        {"data": {}},
        {"data": None},
    ],
)
def test_a_payload_outside_the_contract_is_refused(
    signer: Signer, forge: Forge, change: dict[str, Any]
) -> None:
    assert flaw(forge(**change), signer.keys) is RejectReason.PAYLOAD


@pytest.mark.parametrize(
    "change",
    [{"smile": 101.0}, {"smile": "77"}, {"smile": True}, {"outcome": "maybe"}, {"late": True}],
)
def test_data_is_strict(signer: Signer, token: str, forge: Forge, change: dict[str, Any]) -> None:
    data = {**header_and_payload(token)[1]["data"], **change}
    assert flaw(forge(data=data), signer.keys) is RejectReason.PAYLOAD


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"[]",
        b"{",
        b"\xff",
        b'{"a": 1, "a": 2}',
        b"[" * 20_000,
        b'{"a": ' + b"9" * 9_000 + b"}",
    ],
)
def test_a_signed_payload_that_is_no_json_object_is_refused(
    signer: Signer, token: str, content: bytes
) -> None:
    signed = signer.key.sign(header_and_payload(token)[0], content)
    assert flaw(signed, signer.keys) is RejectReason.MALFORMED


def test_nan_is_no_json(signer: Signer, token: str, forge: Forge) -> None:
    data = {**header_and_payload(token)[1]["data"], "smile": float("nan")}
    assert flaw(forge(data=data), signer.keys) is RejectReason.MALFORMED


def test_the_mirror_image_of_an_es256_signature_is_refused(tmp_path: Path) -> None:
    """(r, n - s) is as valid to the mathematics: whoever passes an event on could alter it."""
    order = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
    key = SigningKey.load_or_create(tmp_path / "k", "ES256")
    keys = KeySet.of([key.registration(UNIT)])
    sealer = EventSigner(context(), key, SteppedClock())
    for _ in range(8):  # half of all signatures would have the greater one
        token = sealer.event(attempt(), ChainHead()).token
        verify(token, keys, TOPIC)
        signed, _, signature = token.rpartition(".")
        r, s = (from_b64url(signature)[place : place + 32] for place in (0, 32))
        mirrored = r + (order - int.from_bytes(s)).to_bytes(32)
        assert flaw(f"{signed}.{b64url(mirrored)}", keys) is RejectReason.BAD_SIGNATURE


@given(junk=st.binary(max_size=200))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
def test_junk_is_refused_and_nothing_else_is_raised(signer: Signer, junk: bytes) -> None:
    assert flaw(junk, signer.keys) is RejectReason.MALFORMED
    segment = base64.urlsafe_b64encode(junk).rstrip(b"=")
    flaw(b".".join([segment] * 3), signer.keys)


@given(place=st.integers(min_value=0), byte=st.integers(min_value=0, max_value=255))
@settings(
    max_examples=300,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
def test_any_changed_byte_is_refused(signer: Signer, token: str, place: int, byte: int) -> None:
    changed = bytearray(token.encode())
    changed[place % len(changed)] = byte
    if changed != token.encode():
        flaw(bytes(changed), signer.keys)


def test_every_spelling_of_the_last_character_but_one_is_refused(
    signer: Signer, token: str
) -> None:
    """Four of its bits mean nothing: a lenient decoder would take 16 spellings of a signature."""
    letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    for letter in letters.replace(token[-1], ""):
        flaw(token[:-1] + letter, signer.keys)


@pytest.mark.parametrize("decorate", ["{}\n", " {}", "{}=", "{}.", ".{}"])
def test_decorations_are_refused(signer: Signer, token: str, decorate: str) -> None:
    assert flaw(decorate.format(token), signer.keys) is RejectReason.MALFORMED


@given(
    smile=st.none() | st.floats(min_value=0, max_value=100),
    similarity=st.floats(min_value=-1, max_value=1),
    ref=st.integers(),
)
@settings(
    max_examples=50,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
def test_whatever_a_unit_signs_verifies(
    signer: Signer, smile: float | None, similarity: float, ref: int
) -> None:
    event = attempt(ref, smile=smile, match=Match("x", similarity, -1.0))
    token = signer.sealer.event(event, ChainHead(ref % 10**18 + 1, "A" * 43)).token
    verify(token, signer.keys, TOPIC)


def test_the_will_is_read_and_nothing_else() -> None:
    assert parse_will(b'{"status":"offline","session":3}').session == 3
    for content in (b"", b"{}", b'{"status":"online","session":3}', b'{"session":"3"}', b"[" * 99):
        with pytest.raises(EnvelopeRejected):
            parse_will(content)
