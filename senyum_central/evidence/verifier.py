"""Judges an exported file by itself: what its units signed, and nothing else, is believed.

Beside the file only the units' keys are needed. Each fault is told in words, with the line that
shows it. The format is `senyum_central.evidence.bundle`'s.
"""

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from datetime import date, datetime
from typing import Any

from edge.contract.envelope import EnvelopeRejected, RejectReason, verify
from edge.contract.events import AttendanceEvent, AuditEvent
from edge.contract.jose import json_object
from edge.contract.keys import KeySet
from edge.contract.topics import UnitName
from edge.system.clock import ClockState
from senyum_central.evidence import bundle
from senyum_central.evidence.chain import (
    ChainDefect,
    Segment,
    SignedPart,
    find_breaks,
    key_changes,
    signed_parts,
)
from senyum_central.evidence.row_check import segment_of
from senyum_central.store.gaps import Gap
from senyum_central.store.queries import Period, zone_or_utc
from senyum_central.store.unit_renames import UnitRename, numbered_under_other_names
from senyum_central.store.unknown_events import parse_unknown_event

LONGEST_LINE = 262_144  # bytes; a message has at most a quarter of it
_EVENT_KINDS = ("before", "event", "after")


@dataclass(frozen=True, slots=True)
class FileDefect:
    """One fault in words."""

    fault: ChainDefect
    line: int | None  # from 1; None where it is of the whole file
    text: str


@dataclass(frozen=True, slots=True)
class UnitReport:
    """What the file holds of one unit."""

    unit: str
    events: int
    first: int
    last: int
    proven: str  # by what its end is proven; empty where it is not
    keys: list[SignedPart]  # which key signed which part, the evidence from outside included


@dataclass(slots=True)
class VerificationReport:
    """What became of a file."""

    period: Period | None = None
    findings: list[FileDefect] = field(default_factory=list)
    units: list[UnitReport] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    renames: list[UnitRename] = field(default_factory=list)
    # Numbers that are not here because they may be of another name, each with the unit and a line.
    under_other_names: list[tuple[UnitName, Gap, int]] = field(default_factory=list)

    @property
    def good(self) -> bool:
        return not self.findings

    def add(self, fault: ChainDefect, line: int | None, text: str) -> None:
        self.findings.append(FileDefect(fault, line, text))


def verify_export(lines: Iterable[bytes], keys: KeySet) -> VerificationReport:
    """Judge the lines of a file, each with its end."""
    verdict = VerificationReport()
    hasher = hashlib.sha256()
    unit: UnitName | None = None
    pieces: list[Segment] = []
    seen: set[UnitName] = set()
    number, ended = 0, False
    for number, raw in enumerate(lines, 1):
        line = _parse(raw, number, verdict)
        if ended:
            verdict.add(ChainDefect.ALTERED, number, "stands behind the end of the export")
        if line is not None and line["kind"] == "end":
            ended = True
            _check_end(line, number, hasher.hexdigest(), verdict)
        elif number == 1:
            verdict.period = _header(line, verdict)
        elif line is not None and (piece := _judged(line, number, keys, verdict)) is not None:
            if piece.unit != unit:
                _close(pieces, keys, verdict)
                pieces, unit = [], piece.unit
                if unit in seen:
                    text = f"{unit.source} goes on here: lines were moved"
                    verdict.add(ChainDefect.ORDER, number, text)
                seen.add(unit)
            pieces.append(piece)
        hasher.update(raw)
    _close(pieces, keys, verdict)
    _part(verdict)
    if not ended:
        verdict.add(ChainDefect.CUT, None, f"ends after line {number} without the end of an export")
    return verdict


# --- lines ---------------------------------------------------------------------------------------


def _parse(raw: bytes, number: int, verdict: VerificationReport) -> dict[str, Any] | None:
    if not raw.endswith(b"\n"):
        verdict.add(
            ChainDefect.CUT, number, "has no end: the file was cut, or its last byte altered"
        )
    try:
        if len(raw) > LONGEST_LINE:
            raise ValueError("is longer than any")  # noqa: TRY301 - told like the other faults
        line = json_object(raw)
    except ValueError as error:
        verdict.add(ChainDefect.ALTERED, number, f"{error}; no line of an export is like that")
        return None
    names = {"end": bundle.END, bundle.KIND: bundle.HEADER}
    names |= dict.fromkeys((*_EVENT_KINDS, "head"), bundle.MESSAGE)
    expected = names.get(line["kind"]) if isinstance(line.get("kind"), str) else None
    if expected is None or tuple(line) != expected or bundle.encode(line) != raw:
        verdict.add(ChainDefect.ALTERED, number, "is not written as an export writes it")
        return None
    if (line["kind"] == bundle.KIND) != (number == 1):
        verdict.add(ChainDefect.CUT, number, "the first line of an export is missing, or not first")
        return None
    return line


def _header(line: dict[str, Any] | None, verdict: VerificationReport) -> Period | None:
    if line is None:
        return None
    if line["version"] != bundle.VERSION:
        text = f"is of version {line['version']!r} of exports; this program knows {bundle.VERSION}"
        verdict.add(ChainDefect.ALTERED, 1, text)
        return None
    try:
        return Period(date.fromisoformat(line["first"]), date.fromisoformat(line["last"]))
    except (TypeError, ValueError):
        verdict.add(ChainDefect.ALTERED, 1, "names no days")
        return None


def _check_end(line: dict[str, Any], number: int, sha256: str, verdict: VerificationReport) -> None:
    if line["lines"] != number - 1:
        text = f"the export had {line['lines']!r} lines before its end, here are {number - 1}"
        verdict.add(ChainDefect.CUT, number, text)
    if line["sha256"] != sha256:
        text = "the file is not as it was exported: its digest is another"
        if verdict.good:
            text += "; what was altered is in no signed message"
        verdict.add(ChainDefect.ALTERED, number, text)


def _judged(
    line: dict[str, Any], number: int, keys: KeySet, verdict: VerificationReport
) -> Segment | None:
    """Verify the message of a line; whatever is wrong with it concerns this line alone."""
    try:
        return _piece(line, number, keys, verdict)
    except Exception as error:  # noqa: BLE001 - the other lines are judged in any case
        verdict.add(ChainDefect.ALTERED, number, f"cannot be judged: {type(error).__name__}")
        return None


def _piece(
    line: dict[str, Any], number: int, keys: KeySet, verdict: VerificationReport
) -> Segment | None:
    """Verify the message of a line."""
    kind, topic, jws = line["kind"], line["topic"], line["jws"]
    try:
        received_at = datetime.fromisoformat(line["received_at"])
        if received_at.tzinfo is None or not isinstance(topic, str) or not isinstance(jws, str):
            raise TypeError  # noqa: TRY301 - told like the other faults
    except (TypeError, ValueError):
        verdict.add(ChainDefect.ALTERED, number, "topic, received_at or jws is none")
        return None
    try:
        found = verify(jws, keys, topic, received_at)
    except EnvelopeRejected as error:
        later = parse_unknown_event(topic, jws) if error.flaw is RejectReason.PAYLOAD else None
        if later is None or kind not in _EVENT_KINDS:
            trusted = error.flaw not in (RejectReason.UNKNOWN_KEY, RejectReason.OUTSIDE_VALIDITY)
            fault = ChainDefect.ALTERED if trusted else ChainDefect.REFUSED
            verdict.add(fault, number, f"{error} ({error.flaw})")
            return None
        unit = UnitName.from_source(later.unit)
        verdict.notes.append(f"line {number}: {later.type} is newer than this program")
        # What it names as the one before is only known to who knows its type.
        return Segment(number, kind, unit, later.sequence, later.digest)
    event = found.event
    clock = event.data.clock.state
    moment = None if clock is ClockState.UNSYNCHRONIZED else event.moment
    if isinstance(event, AttendanceEvent | AuditEvent) and kind in _EVENT_KINDS:
        day = moment and moment.astimezone(zone_or_utc(event.data.place.zone)).date()
        if (move := UnitRename.from_event(event)) is not None:
            verdict.renames.append(move)
        return replace(segment_of(found, event, number), kind=kind, day=day)
    if isinstance(event, AttendanceEvent | AuditEvent) or kind != "head":
        verdict.add(ChainDefect.ALTERED, number, f"a message of {found.leaf} stands here as {kind}")
        return None
    return Segment(
        number,
        kind,
        found.unit,
        event.data.sequence,
        event.data.head or "",
        kid=found.kid,
        moment=moment,
    )


# --- chains --------------------------------------------------------------------------------------


def _close(pieces: list[Segment], keys: KeySet, verdict: VerificationReport) -> None:
    """Judge all that the file has of one unit."""
    if not pieces:
        return
    events = list(_ordered([piece for piece in pieces if piece.kind != "head"], verdict))
    heads = [piece for piece in pieces if piece.kind == "head"]
    own = [piece.sequence for piece in events if piece.kind == "event"]
    unit = pieces[0].unit
    if not own:
        text = f"{unit.source}: of all its events only evidence is here"
        verdict.add(ChainDefect.MISSING, pieces[0].line, text)
        return
    _link(unit, events, verdict)
    for found in key_changes([*events, *heads], keys):
        verdict.add(found.fault, found.segment.line, f"{unit.source}: {found.text}")
    _begin(unit, events, verdict)
    proven = _end(unit, events, heads, verdict)
    account = UnitReport(
        unit.source, len(set(own)), min(own), max(own), proven, signed_parts(events)
    )
    verdict.units.append(account)


def _ordered(events: list[Segment], verdict: VerificationReport) -> Iterator[Segment]:
    """Yield each event once, by number; what stood elsewhere is told."""
    at: dict[str, int] = {}
    highest = 0
    for piece in events:
        if piece.digest in at:
            text = f"event {piece.sequence} stands in line {at[piece.digest]} already"
            verdict.add(ChainDefect.DOUBLED, piece.line, text)
        elif piece.sequence < highest:
            text = f"event {piece.sequence} stands behind event {highest}"
            verdict.add(ChainDefect.ORDER, piece.line, text)
        at.setdefault(piece.digest, piece.line)
        highest = max(highest, piece.sequence)
    kept = {piece.digest: piece for piece in reversed(events)}
    yield from sorted(kept.values(), key=lambda piece: (piece.sequence, piece.line))


def _link(unit: UnitName, events: list[Segment], verdict: VerificationReport) -> None:
    """Look for missing numbers, and for events that do not follow one another."""
    for found in find_breaks(events):
        if found.gap is not None and found.segment.moved:
            verdict.under_other_names.append((unit, found.gap, found.segment.line))
        else:
            verdict.add(found.fault, found.segment.line, f"{unit.source}: {found.text}")


def _begin(unit: UnitName, events: list[Segment], verdict: VerificationReport) -> None:
    """Hold the first event against what was before it."""
    first = events[0]
    if first.kind == "event" and first.moved:
        verdict.under_other_names.append((unit, Gap(1, first.sequence - 1), first.line))
    elif first.kind != "before" and first.sequence > 1:
        text = f"{unit.source}: nothing shows that event {first.sequence} is the first of the days"
        verdict.add(ChainDefect.UNPROVEN, first.line, text)
    _evidence(unit, [piece for piece in events if piece.kind == "before"], "before", verdict)


def _part(verdict: VerificationReport) -> None:
    """Tell what is of another name from what is missing."""
    for unit, gap, line in verdict.under_other_names:
        others = numbered_under_other_names(verdict.renames, unit.source)
        for part in gap.minus(others):
            verdict.add(ChainDefect.MISSING, line, f"{unit.source}: {part}")
        for other in others:
            if (common := gap.intersection(other)) is not None:
                numbers = str(common).partition(" is ")[0].partition(" are ")[0]
                verdict.notes.append(f"{unit.source}: had another name at {numbers}")


def _end(
    unit: UnitName, events: list[Segment], heads: list[Segment], verdict: VerificationReport
) -> str:
    """Hold the last event against what came after it, or against what the unit said of its end."""
    after = [piece for piece in events if piece.kind == "after"]
    last = max(piece.sequence for piece in events)
    if after:
        _evidence(unit, after, "after", verdict)
        return f"event {after[0].sequence}, which follows"
    if not heads:
        text = f"{unit.source}: nothing shows that event {last} is the last of the days"
        verdict.add(ChainDefect.UNPROVEN, events[-1].line, text)
        return ""
    head = heads[-1]
    when = "" if head.moment is None else f" of {head.moment:%Y-%m-%d %H:%M:%S} UTC"
    if head.sequence > last:
        text = f"{unit.source}: {Gap(last + 1, head.sequence)}: its own word{when} names them"
        verdict.add(ChainDefect.MISSING, head.line, text)
    named = {piece.digest for piece in events if piece.sequence == head.sequence}
    if named and head.digest not in named:
        text = f"{unit.source}: event {head.sequence} is not the one that the unit named"
        verdict.add(ChainDefect.FORKED, head.line, text)
    if head.sequence < last:
        verdict.notes.append(
            f"{unit.source}: proven up to event {head.sequence}, by its word{when}; "
            f"events {head.sequence + 1} to {last} are here, later ones would not be missed"
        )
    return f"its word{when} up to event {head.sequence}"


def _evidence(
    unit: UnitName, given: list[Segment], where: str, verdict: VerificationReport
) -> None:
    """Hold what is given as evidence from outside of the days against its own time."""
    if verdict.period is None:
        return
    for piece in given:
        if piece.day is not None and piece.day in verdict.period:
            text = (
                f"{unit.source}: event {piece.sequence} is given as the one {where} the days, and "
                f"is of {piece.day}: events {where} it were taken out"
            )
            verdict.add(ChainDefect.MISSING, piece.line, text)
