"""Verify an export file with the units' public keys. Only signed content counts.

Each defect is reported with a description and the line number. `senyum_central.evidence.bundle`
describes the format.
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
    """One defect with a description."""

    fault: ChainDefect
    line: int | None  # from 1; None: the whole file
    text: str


@dataclass(frozen=True, slots=True)
class UnitReport:
    """Summary of one unit in the file."""

    unit: str
    events: int
    first: int
    last: int
    proven: str  # what proves its end; empty: not proven
    keys: list[
        SignedPart
    ]  # which key signed which numbers, including the evidence outside the period


@dataclass(slots=True)
class VerificationReport:
    """The result for one file."""

    period: Period | None = None
    findings: list[FileDefect] = field(default_factory=list)
    units: list[UnitReport] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    renames: list[UnitRename] = field(default_factory=list)
    # Numbers that may have been used under another name, with the unit and the line.
    under_other_names: list[tuple[UnitName, Gap, int]] = field(default_factory=list)

    @property
    def good(self) -> bool:
        return not self.findings

    def add(self, fault: ChainDefect, line: int | None, text: str) -> None:
        self.findings.append(FileDefect(fault, line, text))


def verify_export(lines: Iterable[bytes], keys: KeySet) -> VerificationReport:
    """Verify the lines of a file, each with its line ending."""
    report = VerificationReport()
    hasher = hashlib.sha256()
    unit: UnitName | None = None
    segments: list[Segment] = []
    seen: set[UnitName] = set()
    number, ended = 0, False
    for number, raw in enumerate(lines, 1):
        line = _parse(raw, number, report)
        if ended:
            report.add(ChainDefect.ALTERED, number, "follows the end of the export")
        if line is not None and line["kind"] == "end":
            ended = True
            _check_end(line, number, hasher.hexdigest(), report)
        elif number == 1:
            report.period = _header(line, report)
        elif line is not None and (segment := _verify_line(line, number, keys, report)) is not None:
            if segment.unit != unit:
                _check_unit(segments, keys, report)
                segments, unit = [], segment.unit
                if unit in seen:
                    text = f"{unit.source} goes on here: lines were moved"
                    report.add(ChainDefect.ORDER, number, text)
                seen.add(unit)
            segments.append(segment)
        hasher.update(raw)
    _check_unit(segments, keys, report)
    _resolve_renames(report)
    if not ended:
        report.add(ChainDefect.CUT, None, f"ends after line {number} without the end of an export")
    return report


# --- lines ---------------------------------------------------------------------------------------


def _parse(raw: bytes, number: int, report: VerificationReport) -> dict[str, Any] | None:
    if not raw.endswith(b"\n"):
        report.add(
            ChainDefect.CUT, number, "has no end: the file was cut, or its last byte altered"
        )
    try:
        if len(raw) > LONGEST_LINE:
            raise ValueError("the line is too long")  # noqa: TRY301 - reported like the other defects
        line = json_object(raw)
    except ValueError as error:
        report.add(ChainDefect.ALTERED, number, f"{error}; not a line of an export")
        return None
    names = {"end": bundle.END, bundle.KIND: bundle.HEADER}
    names |= dict.fromkeys((*_EVENT_KINDS, "head"), bundle.MESSAGE)
    expected = names.get(line["kind"]) if isinstance(line.get("kind"), str) else None
    if expected is None or tuple(line) != expected or bundle.encode(line) != raw:
        report.add(ChainDefect.ALTERED, number, "is not written as an export writes it")
        return None
    if (line["kind"] == bundle.KIND) != (number == 1):
        report.add(ChainDefect.CUT, number, "the first line of an export is missing, or not first")
        return None
    return line


def _header(line: dict[str, Any] | None, report: VerificationReport) -> Period | None:
    if line is None:
        return None
    if line["version"] != bundle.VERSION:
        text = f"is of version {line['version']!r} of exports; this program knows {bundle.VERSION}"
        report.add(ChainDefect.ALTERED, 1, text)
        return None
    try:
        return Period(date.fromisoformat(line["first"]), date.fromisoformat(line["last"]))
    except (TypeError, ValueError):
        report.add(ChainDefect.ALTERED, 1, "does not name valid days")
        return None


def _check_end(line: dict[str, Any], number: int, sha256: str, report: VerificationReport) -> None:
    if line["lines"] != number - 1:
        text = f"the export had {line['lines']!r} lines before its end, here are {number - 1}"
        report.add(ChainDefect.CUT, number, text)
    if line["sha256"] != sha256:
        text = "the file is not as it was exported: its digest is another"
        if report.good:
            text += "; what was altered is in no signed message"
        report.add(ChainDefect.ALTERED, number, text)


def _verify_line(
    line: dict[str, Any], number: int, keys: KeySet, report: VerificationReport
) -> Segment | None:
    """Verify the message of a line; a defect does not affect the other lines."""
    try:
        return _segment(line, number, keys, report)
    except Exception as error:  # noqa: BLE001 - the other lines are verified in any case
        report.add(ChainDefect.ALTERED, number, f"cannot be judged: {type(error).__name__}")
        return None


def _segment(
    line: dict[str, Any], number: int, keys: KeySet, report: VerificationReport
) -> Segment | None:
    """Verify the message of a line."""
    kind, topic, jws = line["kind"], line["topic"], line["jws"]
    try:
        received_at = datetime.fromisoformat(line["received_at"])
        if received_at.tzinfo is None or not isinstance(topic, str) or not isinstance(jws, str):
            raise TypeError  # noqa: TRY301 - reported like the other defects
    except (TypeError, ValueError):
        report.add(ChainDefect.ALTERED, number, "topic, received_at or jws is invalid")
        return None
    try:
        found = verify(jws, keys, topic, received_at)
    except EnvelopeRejected as error:
        later = parse_unknown_event(topic, jws) if error.flaw is RejectReason.PAYLOAD else None
        if later is None or kind not in _EVENT_KINDS:
            trusted = error.flaw not in (RejectReason.UNKNOWN_KEY, RejectReason.OUTSIDE_VALIDITY)
            fault = ChainDefect.ALTERED if trusted else ChainDefect.REFUSED
            report.add(fault, number, f"{error} ({error.flaw})")
            return None
        unit = UnitName.from_source(later.unit)
        report.notes.append(f"line {number}: {later.type} is newer than this program")
        # `previous` of an unknown type is unknown.
        return Segment(number, kind, unit, later.sequence, later.digest)
    event = found.event
    clock = event.data.clock.state
    moment = None if clock is ClockState.UNSYNCHRONIZED else event.moment
    if isinstance(event, AttendanceEvent | AuditEvent) and kind in _EVENT_KINDS:
        day = moment and moment.astimezone(zone_or_utc(event.data.place.zone)).date()
        if (rename := UnitRename.from_event(event)) is not None:
            report.renames.append(rename)
        return replace(segment_of(found, event, number), kind=kind, day=day)
    if isinstance(event, AttendanceEvent | AuditEvent) or kind != "head":
        report.add(ChainDefect.ALTERED, number, f"a {found.leaf} message is labelled as {kind}")
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


def _check_unit(segments: list[Segment], keys: KeySet, report: VerificationReport) -> None:
    """Check everything that the file contains of one unit."""
    if not segments:
        return
    events = list(_in_order([segment for segment in segments if segment.kind != "head"], report))
    heads = [segment for segment in segments if segment.kind == "head"]
    own = [segment.sequence for segment in events if segment.kind == "event"]
    unit = segments[0].unit
    if not own:
        text = f"{unit.source}: of all its events only evidence is here"
        report.add(ChainDefect.MISSING, segments[0].line, text)
        return
    _check_links(unit, events, report)
    for found in key_changes([*events, *heads], keys):
        report.add(found.fault, found.segment.line, f"{unit.source}: {found.text}")
    _check_first(unit, events, report)
    proven = _check_last(unit, events, heads, report)
    unit_report = UnitReport(
        unit.source, len(set(own)), min(own), max(own), proven, signed_parts(events)
    )
    report.units.append(unit_report)


def _in_order(events: list[Segment], report: VerificationReport) -> Iterator[Segment]:
    """Yield each event once, sorted by number; report duplicates and lines out of order."""
    at: dict[str, int] = {}
    highest = 0
    for segment in events:
        if segment.digest in at:
            text = f"event {segment.sequence} is already in line {at[segment.digest]}"
            report.add(ChainDefect.DOUBLED, segment.line, text)
        elif segment.sequence < highest:
            text = f"event {segment.sequence} follows event {highest}"
            report.add(ChainDefect.ORDER, segment.line, text)
        at.setdefault(segment.digest, segment.line)
        highest = max(highest, segment.sequence)
    kept = {segment.digest: segment for segment in reversed(events)}
    yield from sorted(kept.values(), key=lambda segment: (segment.sequence, segment.line))


def _check_links(unit: UnitName, events: list[Segment], report: VerificationReport) -> None:
    """Report missing numbers and events that do not follow one another."""
    for found in find_breaks(events):
        if found.gap is not None and found.segment.moved:
            report.under_other_names.append((unit, found.gap, found.segment.line))
        else:
            report.add(found.fault, found.segment.line, f"{unit.source}: {found.text}")


def _check_first(unit: UnitName, events: list[Segment], report: VerificationReport) -> None:
    """Compare the first event with the event before it."""
    first = events[0]
    if first.kind == "event" and first.moved:
        report.under_other_names.append((unit, Gap(1, first.sequence - 1), first.line))
    elif first.kind != "before" and first.sequence > 1:
        text = f"{unit.source}: nothing shows that event {first.sequence} is the first of the days"
        report.add(ChainDefect.UNPROVEN, first.line, text)
    _check_evidence(
        unit, [segment for segment in events if segment.kind == "before"], "before", report
    )


def _resolve_renames(report: VerificationReport) -> None:
    """Separate numbers used under other names from missing numbers."""
    for unit, gap, line in report.under_other_names:
        others = numbered_under_other_names(report.renames, unit.source)
        for part in gap.minus(others):
            report.add(ChainDefect.MISSING, line, f"{unit.source}: {part}")
        for other in others:
            if (common := gap.intersection(other)) is not None:
                numbers = str(common).partition(" is ")[0].partition(" are ")[0]
                report.notes.append(f"{unit.source}: had another name at {numbers}")


def _check_last(
    unit: UnitName, events: list[Segment], heads: list[Segment], report: VerificationReport
) -> str:
    """Compare the last event with the event after it, or with the unit's signed head."""
    after = [segment for segment in events if segment.kind == "after"]
    last = max(segment.sequence for segment in events)
    if after:
        _check_evidence(unit, after, "after", report)
        return f"event {after[0].sequence}, which follows"
    if not heads:
        text = f"{unit.source}: nothing shows that event {last} is the last of the days"
        report.add(ChainDefect.UNPROVEN, events[-1].line, text)
        return ""
    head = heads[-1]
    when = "" if head.moment is None else f" of {head.moment:%Y-%m-%d %H:%M:%S} UTC"
    if head.sequence > last:
        text = f"{unit.source}: {Gap(last + 1, head.sequence)}: its own word{when} names them"
        report.add(ChainDefect.MISSING, head.line, text)
    named = {segment.digest for segment in events if segment.sequence == head.sequence}
    if named and head.digest not in named:
        text = f"{unit.source}: event {head.sequence} is not the one that the unit named"
        report.add(ChainDefect.FORKED, head.line, text)
    if head.sequence < last:
        report.notes.append(
            f"{unit.source}: proven up to event {head.sequence}, by its word{when}; "
            f"events {head.sequence + 1} to {last} are here, later ones would not be missed"
        )
    return f"its word{when} up to event {head.sequence}"


def _check_evidence(
    unit: UnitName, given: list[Segment], where: str, report: VerificationReport
) -> None:
    """Check that evidence from outside the period has a time outside the period."""
    if report.period is None:
        return
    for segment in given:
        if segment.day is not None and segment.day in report.period:
            text = (
                f"{unit.source}: event {segment.sequence} is given as the one {where} the days, "
                f"and is of {segment.day}: events {where} it were taken out"
            )
            report.add(ChainDefect.MISSING, segment.line, text)
