"""Verify rows of a store. Only the signed message counts, not the columns.

Anyone with write access to the database can change the columns. A defect concerns one row only and
does not stop the others from being read.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from edge.contract.envelope import EnvelopeRejected, RejectReason, Verified, verify
from edge.contract.events import AttendanceEvent, AuditEvent
from edge.contract.jose import digest, json_object
from edge.contract.jose import parse as parse_jws
from edge.contract.keys import KeySet
from edge.contract.topics import UnitName, event_topic, parse
from edge.system.clock import ClockState
from senyum_central.evidence.chain import ChainDefect, Segment, is_preliminary
from senyum_central.store.queries import StoredRow, shorten
from senyum_central.store.unit_renames import UnitRename
from senyum_central.store.unknown_events import parse_unknown_event

_NOT_PROVEN = (RejectReason.UNKNOWN_KEY, RejectReason.OUTSIDE_VALIDITY)
_IMPOSSIBLE = "was signed and is impossible"  # violates the contract
_PERSON = re.compile(r"[0-9a-f]{32}")
_NUMBER = re.compile(r"[0-9]{20}")
_YEARS = range(2000, 9000)


@dataclass(frozen=True, slots=True)
class RowClaim:
    """A person and a time named by an unproven row."""

    person: str  # opaque id
    moment: datetime


@dataclass(frozen=True, slots=True)
class CheckedRow:
    """The verified content of a row, and its defect if it has one."""

    row: StoredRow
    received: datetime | None = None
    event: AttendanceEvent | AuditEvent | None = None  # as the unit signed it
    segment: Segment | None = None  # its place in the chain; without `kid` not proven
    fault: ChainDefect | None = (
        None  # of a row that differs from what was signed, or proves nothing
    )
    why: str = ""
    claims: tuple[RowClaim, ...] = ()


def check(row: StoredRow, unit: UnitName, keys: KeySet) -> CheckedRow:
    """Verify a row stored under `unit`. Never raises."""
    try:
        return _check(row, unit, keys)
    except Exception as error:  # noqa: BLE001 - one row must not keep the others from being read
        why = f"cannot be read: {type(error).__name__}"
        return CheckedRow(row, segment=_place(row, unit), fault=ChainDefect.ALTERED, why=why)


def _check(row: StoredRow, unit: UnitName, keys: KeySet) -> CheckedRow:
    received = as_moment(row.values["received_at"])
    if not isinstance(row.jws, str):
        why = "holds no signed message"
        return _unusable(row, unit, received, ChainDefect.ALTERED, why)
    topic = event_topic(row.jws, unit)
    try:
        found = verify(row.jws, keys, topic, received or datetime.now(UTC))
    except EnvelopeRejected as error:
        if error.flaw is RejectReason.PAYLOAD:
            return _of_other_form(row, unit, received, topic, str(error))
        if error.flaw is RejectReason.MALFORMED and _is_signed(row.jws, topic, keys):
            why = f"{_IMPOSSIBLE}: {error}"
            return _unusable(row, unit, received, ChainDefect.REFUSED, why)
        fault = ChainDefect.REFUSED if error.flaw in _NOT_PROVEN else ChainDefect.ALTERED
        return _unusable(row, unit, received, fault, str(error))
    event = found.event
    if not isinstance(event, AttendanceEvent | AuditEvent):
        return _unusable(row, unit, received, ChainDefect.ALTERED, f"is a message of {found.leaf}")
    wrong = [*_differing(row, found, event)]
    if received is None:
        wrong.append("received_at is not a time")
    return CheckedRow(
        row,
        received,
        event,
        segment_of(found, event, row_number(row)),
        ChainDefect.ALTERED if wrong else None,
        ", ".join(wrong),
    )


def _is_signed(jws: str, topic: str, keys: KeySet) -> bool:
    """Return whether a key of the unit signed the message, whatever its content."""
    try:
        parsed = parse_jws(jws)
        key = keys.find(parsed.header.get("kid", ""))
        return key is not None and key.unit == parse(topic)[0] and key.verifies(parsed)
    except ValueError:
        return False


def segment_of(found: Verified, event: AttendanceEvent | AuditEvent, line: int) -> Segment:
    """Return the chain segment of a genuine event."""
    sure = event.data.clock.state is not ClockState.UNSYNCHRONIZED
    return Segment(
        line,
        "event",
        found.unit,
        event.number,
        found.digest,
        event.previous or "",
        found.kid,
        event.moment if sure else None,
        moved=UnitRename.from_event(event) is not None,
        preliminary=is_preliminary(event),
    )


def row_number(row: StoredRow) -> int:
    """Return the row number, or 0 for a table without row numbers."""
    number = row.values.get("number")
    return number if isinstance(number, int) else 0


def as_moment(text: object) -> datetime | None:
    """Parse a stored time; return None unless it is a time from 2000 on."""
    try:
        found = datetime.fromisoformat(text) if isinstance(text, str) else None
        if found is None or found.year not in _YEARS:
            return None
        return found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)
    except ValueError:
        return None


def _differing(
    row: StoredRow, found: Verified, event: AttendanceEvent | AuditEvent
) -> Iterator[str]:
    """Yield the columns that contradict the signed message."""
    signed = {
        "id": event.id,
        "unit": event.source,
        "sequence": event.number,
        "digest": found.digest,
        "previous": event.previous,
        "type": event.type,
        "time": event.time,
        "subject": event.subject if isinstance(event, AttendanceEvent) else None,
        "kid": found.kid,
    }
    for name, value in signed.items():
        stored = row.values.get(name, value)  # table `later` has not all of them
        if type(stored) is not type(value) or stored != value:
            yield f"{name} is {shorten(repr(stored))} and was signed as {value!r}"


def _of_other_form(
    row: StoredRow, unit: UnitName, received: datetime | None, topic: str, why: str
) -> CheckedRow:
    """Check a signed message whose payload this contract version does not accept."""
    later = parse_unknown_event(topic, row.jws)
    owner = parse(topic)[0]
    if later is not None:
        piece = Segment(row_number(row), "event", owner, later.sequence, later.digest)
        if (later.sequence, later.digest) == (row.sequence, row.values["digest"]):
            return CheckedRow(row, received, segment=piece)
        why = "sequence or digest differs from the signed message"
        return CheckedRow(row, received, segment=piece, fault=ChainDefect.ALTERED, why=why)
    content = json_object(parse_jws(row.jws).payload)
    number = str(content.get("sequence"))
    if content.get("source") != owner.source or not _NUMBER.fullmatch(number):
        return _unusable(row, unit, received, ChainDefect.REFUSED, f"{_IMPOSSIBLE}: {why}")
    return CheckedRow(
        row,
        received,
        segment=Segment(row_number(row), "event", owner, int(number), digest(row.jws)),
        fault=ChainDefect.REFUSED,
        why=f"{_IMPOSSIBLE}: {why}",
        claims=tuple(_claims(row, content)),
    )


def _unusable(
    row: StoredRow, unit: UnitName, received: datetime | None, fault: ChainDefect, why: str
) -> CheckedRow:
    try:
        content = json_object(parse_jws(row.jws).payload)
    except (AttributeError, ValueError):
        content = {}
    claims = tuple(_claims(row, content))
    return CheckedRow(row, received, None, _place(row, unit), fault, why, claims)


def _place(row: StoredRow, unit: UnitName) -> Segment | None:
    """Return the segment named by the columns, so that its number is not reported missing."""
    if type(row.sequence) is not int or row.sequence < 1:
        return None
    return Segment(row_number(row), "event", unit, row.sequence, "")


def _claims(row: StoredRow, content: dict[str, Any]) -> Iterator[RowClaim]:
    pairs = {
        (row.values.get("subject"), row.values.get("time")),
        (_word(content.get("subject")), _word(content.get("time"))),
    }
    for person, text in pairs:
        moment = as_moment(text)
        if isinstance(person, str) and _PERSON.fullmatch(person) and moment is not None:
            yield RowClaim(person, moment)


def _word(value: object) -> str | None:
    return value if isinstance(value, str) else None
