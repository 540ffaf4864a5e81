"""Verified contents of stored rows, and the defects found in them."""

from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from enum import StrEnum

from edge.contract.events import AuditEvent
from edge.contract.topics import UnitName
from edge.system.clock import ClockState
from edge.types import Direction, Outcome
from senyum_central.evidence.chain import ChainDefect, Segment
from senyum_central.evidence.row_check import CheckedRow, RowClaim
from senyum_central.store.gaps import Gap
from senyum_central.store.time_correction import Anchor
from senyum_central.store.unit_renames import UnitRename

_LONGEST = timedelta(days=90)  # more than a unit keeps an undelivered event
Span = tuple[datetime | None, datetime | None]  # None: unknown


class DatedEvent(StrEnum):
    """How reliable the time of an event is."""

    SURE = ""
    CORRECTED = "time-corrected"  # by an anchor
    UNCERTAIN = "time-uncertain"


class Note(StrEnum):
    """Kind of defect."""

    ALTERED = "altered"
    UNPROVEN = "unproven"
    GAP = "gap"
    FORK = "fork"
    KEYS = "keys"


NOTES = {
    ChainDefect.ALTERED: Note.ALTERED,
    ChainDefect.REFUSED: Note.UNPROVEN,
    ChainDefect.MISSING: Note.GAP,
    ChainDefect.FORKED: Note.FORK,
    ChainDefect.KEYS: Note.KEYS,
}


@dataclass(frozen=True, slots=True)
class Defect:
    """A defect of stored data, with a description."""

    note: Note
    unit: str
    text: str


@dataclass(slots=True)
class DefectLog:
    """Collects the defects of a period, and remarks that are not defects."""

    defects: list[Defect] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)

    def report(self, defect: Defect) -> None:
        self.defects.append(defect)

    def remark(self, text: str) -> None:
        self.remarks.append(text)


@dataclass(frozen=True, slots=True)
class AttemptEvidence:
    """A genuine attempt and its time."""

    unit: UnitName
    number: int
    person: str | None
    outcome: Outcome
    reason: str
    direction: Direction
    smile: float | None
    moment: datetime  # in the time zone of the unit's location
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class EntryMark:
    """A person named by a row that is not proven."""

    person: str
    day: date
    note: Note
    unit: UnitName


@dataclass(frozen=True, slots=True)
class LostDays:
    """Days with missing or unusable events of a unit."""

    unit: UnitName
    first: date
    last: date


@dataclass(slots=True)
class UnitEvidence:
    """Everything proven about one unit."""

    unit: UnitName
    attempts: list[AttemptEvidence] = field(default_factory=list)
    marks: list[EntryMark] = field(default_factory=list)
    lost: set[LostDays] = field(default_factory=set)
    gaps: list[Gap] = field(default_factory=list)  # missing numbers that may belong to the period
    numbers: list[int] = field(
        default_factory=list
    )  # numbers of the period according to the columns


@dataclass(frozen=True, slots=True)
class BootTime:
    """The monotonic time of an event whose wall clock was not synchronized."""

    boot_id: str
    monotonic_ns: int


@dataclass(slots=True)
class RowEvidence:
    """The parts of a verified row that are needed later, without the message."""

    name: str  # of the row
    number: object  # column `sequence`
    segment: Segment | None
    fault: ChainDefect | None
    why: str
    claims: tuple[RowClaim, ...]
    unit: UnitName | None = None  # signer
    attempt: AttemptEvidence | None = None  # its moment is invalid if `undated` is set
    undated: BootTime | None = None
    anchor: tuple[str, Anchor] | None = None
    rename: UnitRename | None = None
    moment: datetime | None = None  # None: unknown
    received: datetime | None = None
    zone: str = ""
    usable: bool = False
    sure: bool = True  # whether `moment` is reliable


def row_evidence(checked: CheckedRow) -> RowEvidence:
    """Return the parts of a checked row that are needed later."""
    entry = RowEvidence(
        str(checked.row),
        checked.row.sequence,
        checked.segment,
        checked.fault,
        checked.why,
        checked.claims,
    )
    entry.received = checked.received
    event = checked.event
    if event is None:
        entry.usable = checked.fault is None  # of a newer contract version
        return entry
    entry.usable = True
    entry.unit = event.unit
    entry.zone = event.data.place.zone
    entry.moment = event.moment
    clock = event.data.clock
    if clock.state is ClockState.UNSYNCHRONIZED:
        entry.moment = _plausible(event.moment, checked.received)
        entry.undated = BootTime(clock.boot_id, int(clock.monotonic_ns))
        entry.sure = False
    if isinstance(event, AuditEvent):
        anchor = Anchor.from_event(event)
        entry.anchor = None if anchor is None else (clock.boot_id, anchor)
        entry.rename = UnitRename.from_event(event)
    else:
        entry.attempt = AttemptEvidence(
            event.unit,
            event.number,
            event.subject,
            event.data.outcome,
            str(event.data.reason),
            event.data.direction,
            event.data.smile,
            event.moment,
            (),
        )
    return entry


def _plausible(own: datetime, received: datetime | None) -> datetime:
    """Return the time of an event with an unsynchronized clock: its own time if plausible."""
    if received is None or received - _LONGEST <= own <= received:
        return own
    return received


def by_number(entries: list[RowEvidence]) -> list[RowEvidence]:
    """Sort by signed number; rows without a number come first."""
    return sorted(entries, key=lambda each: each.segment.sequence if each.segment else 0)


def reaches(entries: list[RowEvidence], moment: datetime, side: int) -> bool:
    """Return whether the first usable event is before (side -1) or after (side 1) a moment."""
    for entry in entries:
        if entry.usable and entry.moment is not None:
            return entry.moment < moment if side < 0 else entry.moment > moment
    return False


def spans(entries: list[RowEvidence]) -> list[Span]:
    """Return the earliest and latest possible time of each entry, from its neighbours.

    For an entry with a reliable time the first value is the time of the entry before, since when
    the numbers between them may be missing.
    """
    before: list[datetime | None] = []
    known: datetime | None = None
    for entry in entries:
        before.append(known)
        known = entry.moment if entry.usable and entry.sure and entry.moment else known
    after: list[datetime | None] = []
    known = None
    for entry in reversed(entries):
        known = entry.moment if entry.usable and entry.sure and entry.moment else known
        after.append(known)
    return list(zip(before, reversed(after), strict=True))
