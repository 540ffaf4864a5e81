"""Generated values about each limit: verifier, models, schemas and the shown reader agree."""

import importlib.util
import json
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from contract import cast, good, schemas, spoiling
from hypothesis import example, given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from pydantic import ValidationError

from edge.contract.envelope import EnvelopeRejected, RejectReason, parse_will, verify
from edge.contract.events import ANY_EVENT, REASONS, timestamp
from edge.contract.jose import b64url, from_b64url, json_object
from edge.contract.keys import KeySet
from edge.contract.limits import (
    EARLIEST,
    LATEST,
    MAX_DEPTH,
    MAX_NUMBER,
    MAX_SEQUENCE,
    MAX_TEXT,
    as_moment,
    as_text,
    is_text,
    too_deep,
)
from edge.outbox.event_signer import ChainHead
from edge.types import AuditCode, Outcome, Reason

ROOT = Path(__file__).parents[2]
Json = dict[str, Any]
many = settings(max_examples=500, deadline=None)
GENUINE = "genuine"
KEYS = KeySet.of(cast.public_keys()["keys"])
TOPIC = cast.unit().topic()
SCHEMAS = {name: Draft202012Validator(schema) for name, schema in schemas.every().items()}
EVENT: Json = spoiling.parsed(spoiling.PAYLOAD)
AUDIT: Json = spoiling.parsed(
    cast.unit().audit(AuditCode.CAMERA_LOST, why="a test").decode().split(".")[1]
)


def _shown_reader() -> Any:
    """Return `parse` of the consumer in Python."""
    path = ROOT / "docs" / "contract" / "consumers" / "python" / "strict.py"
    spec = importlib.util.spec_from_file_location("shown_strict", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.dont_write_bytecode, before = True, sys.dont_write_bytecode
    try:
        spec.loader.exec_module(module)
    finally:
        sys.dont_write_bytecode = before
    return module.parse


shown = _shown_reader()


def verdict(content: bytes, topic: str = TOPIC) -> str:
    """Return what our verifier says of a payload that the unit signed."""
    try:
        verify(spoiling.signed(content), KEYS, topic)
    except EnvelopeRejected as error:
        return error.flaw
    return GENUINE


def read(content: bytes) -> Json | None:
    """Read JSON as every reader of ours does; the shown reader has to agree."""
    try:
        found = json_object(content)
    except ValueError:
        found = None
    try:
        theirs = shown(content)
    except ValueError:
        theirs = None
    assert found == theirs
    return found


def models(event: Json) -> bool:
    try:
        ANY_EVENT.validate_json(json.dumps(event))
    except ValidationError:
        return False
    return True


def agreed(event: Json) -> bool:
    """Return whether an event is of its model; schema and verifier have to agree."""
    fits = models(event)
    assert SCHEMAS["event"].is_valid(event) == fits
    said = verdict(json.dumps(event).encode())
    assert (said in (GENUINE, RejectReason.OUTSIDE_VALIDITY)) == fits
    assert fits or said == RejectReason.PAYLOAD
    return fits


# --- depth -------------------------------------------------------------------------------------


@given(
    depth=st.sampled_from([1, 31, 32, 33, 20_000]) | st.integers(1, 64),
    lists=st.booleans(),
    closed=st.booleans(),
)
@example(depth=MAX_DEPTH - 1, lists=True, closed=True)
@example(depth=MAX_DEPTH, lists=False, closed=True)
@many
def test_depth(depth: int, lists: bool, closed: bool) -> None:
    opening, closing = (b"[", b"]") if lists else (b'{"a":', b"}")
    part = opening * depth + b"1" + (closing * depth if closed else b"")
    content = b'{"x":' + part + b"}"
    assert too_deep(content) == (depth + 1 > MAX_DEPTH)
    assert (read(content) is not None) == (closed and depth + 1 <= MAX_DEPTH)
    header = f"{b64url(content)}.{spoiling.PAYLOAD}.AAAA".encode()
    with pytest.raises(EnvelopeRejected) as caught:
        verify(header, KEYS, TOPIC)
    assert caught.value.flaw is (
        RejectReason.MALFORMED if len(header) <= 65_536 else RejectReason.OVERSIZED
    )


@given(st.text('[]{}"\\,: a', max_size=60))
@many
def test_brackets_in_texts_nest_nothing(text: str) -> None:
    assert not too_deep(json.dumps({"a": text * 20}).encode())


@given(st.lists(st.sampled_from([b"[", b"{", b'"', b"\\", b'\\"', b"]", b"x"]), max_size=3000))
@many
def test_whatever_is_not_too_deep_is_parsed_without_recursion(pieces: list[bytes]) -> None:
    read(b"".join(pieces))


# --- numbers -----------------------------------------------------------------------------------

DIGITS = st.one_of(
    st.integers(-(2**70), 2**70).map(str),
    st.sampled_from([MAX_NUMBER, -MAX_NUMBER, MAX_SEQUENCE, 0]).flatmap(
        lambda about: st.integers(about - 3, about + 3).map(str)
    ),
    st.floats(allow_nan=False).map(repr),
    st.tuples(st.integers(-99, 99), st.integers(0, 10**20), st.integers(-400, 400)).map(
        lambda parts: f"{parts[0]}.{parts[1]}e{parts[2]}"
    ),
    st.integers(1, 6000).map(lambda count: "9" * count),
    st.sampled_from(["-0", "-0.0", "01", "+1", ".5", "1.", "NaN", "-Infinity", "0x1", "1_0", "१"]),
    st.sampled_from([".5", ".49", ".0", "e0", "e1", ".9e-1"]).map(
        lambda rest: f"{MAX_NUMBER}{rest}"
    ),
)


@given(DIGITS)
@many
def test_numbers(digits: str) -> None:
    try:
        value = float(json.loads(digits))
        written = digits.isascii() and digits not in ("NaN", "Infinity", "-Infinity", "inf", "-inf")
    except (ValueError, OverflowError):
        written = False
    within = written and abs(value) <= MAX_NUMBER
    assert (read(f'{{"x":{digits}}}'.encode()) is not None) == within
    for name in (b'"smile":77.7', b'"unknown_frames":'):
        place = name.partition(b":")[0]
        at = spoiling.CONTENT.index(place) + len(place) + 1
        end = next(i for i in range(at, at + 30) if spoiling.CONTENT[i : i + 1] in b",}")
        content = spoiling.CONTENT[:at] + digits.encode() + spoiling.CONTENT[end:]
        said = verdict(content)
        if not within:
            assert said == RejectReason.MALFORMED
            continue
        fits = SCHEMAS["event"].is_valid(json.loads(content))
        assert said == (GENUINE if fits else RejectReason.PAYLOAD)
        allowed = 0 <= value <= 100 if place == b'"smile"' else value >= 0 and value.is_integer()
        assert fits == allowed


@given(st.integers(0, 10**20) | st.integers(-3, 3).map(lambda by: MAX_SEQUENCE + by))
@many
def test_numbers_that_are_texts(number: int) -> None:
    clock = {**EVENT["data"]["clock"], "monotonic_ns": str(number)}
    event = {**EVENT, "data": {**EVENT["data"], "clock": clock}}
    assert agreed(event) == (number <= MAX_SEQUENCE)
    event = {**EVENT, "sequence": f"{number:020d}", "previous": "A" * 43}
    if number == 1:
        del event["previous"]
    assert agreed(event) == (1 <= number <= MAX_SEQUENCE)


@given(st.integers(1, MAX_SEQUENCE - 1))
@settings(max_examples=50, deadline=None)
def test_a_unit_of_any_number_goes_on(number: int) -> None:
    unit = cast.unit(head=ChainHead(number, "A" * 43))
    found = verify(unit.recorded(), KEYS, TOPIC)
    assert getattr(found.event, "number", 0) == number + 1


# --- text --------------------------------------------------------------------------------------

CHARACTERS = st.characters(codec=None) | st.sampled_from([0x7F, 0x80, 0x9B, 0x2028, 0xFEFF]).map(
    chr
)


@pytest.mark.parametrize("code", [*range(0x20), 0xD800, 0xDBFF, 0xDC00, 0xDFFF])
def test_every_forbidden_character_in_every_spelling(code: int) -> None:
    for text in (f"a\\u{code:04x}b", f"\\u{code:04X}"):
        for content in (f'{{"x":"{text}"}}', f'{{"x":["{text}"]}}', f'{{"{text}":1}}'):
            assert read(content.encode()) is None
    raw = chr(code).encode("utf-8", "surrogatepass")
    assert read(b'{"x":"' + raw + b'"}') is None
    assert not is_text(chr(code))


@given(st.text(CHARACTERS, max_size=MAX_TEXT + 5), st.booleans())
@many
def test_text(text: str, escaped: bool) -> None:
    whole = json.dumps({"x": text}, ensure_ascii=escaped)
    readable = is_text(text)
    assert (read(whole.encode("utf-8", "surrogatepass")) is not None) == readable
    if readable:
        event = {**EVENT, "data": {**EVENT["data"], "software": text}}
        assert agreed(event) == (len(text) <= MAX_TEXT)
        audit = {**AUDIT, "data": {**AUDIT["data"], "detail": {"why": text}}}
        assert agreed(audit) == (len(text) <= MAX_TEXT)


@given(st.text(st.characters(codec=None), max_size=300))
@many
def test_whatever_a_unit_has_to_say_it_can_sign(text: str) -> None:
    said = as_text(text)
    assert is_text(said)
    assert len(said) == min(len(text), MAX_TEXT)
    token = cast.unit().audit(AuditCode.CAMERA_LOST, why=text)
    assert verify(token, KEYS, TOPIC).event.data.detail == {"why": said}  # type: ignore[union-attr]


# --- times -------------------------------------------------------------------------------------

MOMENTS = st.datetimes(datetime(1, 1, 2), datetime(9999, 12, 30)) | st.sampled_from(  # noqa: DTZ001
    [EARLIEST.replace(tzinfo=None), LATEST.replace(tzinfo=None)]
).flatmap(lambda limit: st.integers(-2, 2).map(lambda by: limit + timedelta(microseconds=by)))


@given(MOMENTS)
@many
def test_times(moment: datetime) -> None:
    text = moment.isoformat(timespec="microseconds") + "Z"
    within = EARLIEST <= moment.replace(tzinfo=UTC) <= LATEST
    assert agreed({**EVENT, "time": text}) == within
    detail = {"boot_id": "x", "monotonic_ns": "1", "utc": text}
    anchor = {**AUDIT, "data": {**AUDIT["data"], "code": "clock-anchor", "detail": detail}}
    assert agreed(anchor) == within


@given(
    date=st.tuples(st.integers(1, 9999), st.integers(0, 13), st.integers(0, 32)),
    clock=st.tuples(st.integers(0, 25), st.integers(0, 61), st.integers(0, 61)),
)
@many
def test_no_time_is_beside_the_calendar(
    date: tuple[int, int, int], clock: tuple[int, int, int]
) -> None:
    text = "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}.000000Z".format(*date, *clock)
    try:
        moment = datetime(*date, *clock, tzinfo=UTC)
    except ValueError:
        assert not agreed({**EVENT, "time": text})
    else:
        assert agreed({**EVENT, "time": text}) == (EARLIEST <= moment <= LATEST)


@given(st.integers(-(2**70), 2**70))
@many
def test_whatever_a_clock_says_is_a_time(utc_ns: int) -> None:
    assert EARLIEST <= as_moment(utc_ns) <= LATEST
    assert agreed({**EVENT, "time": timestamp(utc_ns)})


# --- members -----------------------------------------------------------------------------------


@given(data=st.data())
@many
def test_a_name_twice_is_refused_at_every_place_in_every_spelling(data: st.DataObject) -> None:
    whole = data.draw(st.sampled_from([EVENT, AUDIT]))
    text = json.dumps(whole)
    names = [at for at in range(len(text)) if text[at] in "{,"]
    places = []
    for at in names:
        start = text.find('"', at)
        end = text.find('"', start + 1)
        if text[at + 1 : start].strip() == "" and text[end + 1 : end + 2] == ":":
            places.append((at, text[start + 1 : end]))
    at, name = data.draw(st.sampled_from(places))
    spelling = "".join(
        f"\\u{ord(letter):04x}" if data.draw(st.booleans()) else letter for letter in name
    )
    twice = f'{text[: at + 1]}"{spelling}":1,{text[at + 1 :]}'
    assert read(twice.encode()) is None
    assert verdict(twice.encode()) == RejectReason.MALFORMED


@given(
    status=st.sampled_from(["offline", "online"]),
    session=DIGITS,
    spelling=st.sampled_from(["session", "s\\u0065ssion"]),
    twice=st.booleans(),
    start=st.sampled_from(["", "\ufeff", " "]),
)
@many
def test_the_last_will(status: str, session: str, spelling: str, twice: bool, start: str) -> None:
    more = f',"{spelling}":4' if twice else ""
    content = f'{start}{{"status":"{status}","session":{session}{more}}}'.encode()
    found, flaw = read(content), None
    try:
        parse_will(content)
    except EnvelopeRejected as error:
        flaw = error.flaw
    accepted = flaw is None
    assert flaw in (None, RejectReason.MALFORMED)
    assert accepted == (found is not None and SCHEMAS["will"].is_valid(found))
    assert not (accepted and (twice or start == "\ufeff" or status == "online"))


@pytest.mark.parametrize("reason", Reason)
@pytest.mark.parametrize("outcome", Outcome)
def test_a_reason_is_of_its_outcome(outcome: Outcome, reason: Reason) -> None:
    kind = f"senyum.attendance.{outcome}.v1"
    event = {**EVENT, "type": kind, "data": {**EVENT["data"], "outcome": outcome, "reason": reason}}
    assert agreed(event) == (reason in REASONS[outcome])


def test_every_good_message_is_within_the_limits() -> None:
    for vector in good.vectors():
        for part in vector.message.split(b".")[:2] if b"." in vector.message else [vector.message]:
            content = part if part.startswith(b"{") else from_b64url(part.decode())
            assert read(content) is not None
