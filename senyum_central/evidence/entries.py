"""What is kept of a stored row once it was verified, and what is said of it."""

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

_LONGEST = timedelta(days=90)  # that a unit keeps an event that was not delivered yet, and more
Span = tuple[datetime | None, datetime | None]  # None: nothing is known of it


class DatedEvent(StrEnum):
    """What the time of an event is worth."""

    SURE = ""
    CORRECTED = "time-corrected"  # by an anchor
    UNCERTAIN = "time-uncertain"


class Note(StrEnum):
    """What is wrong, in one word."""

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
    """Something that is wrong with what is stored, in words."""

    note: Note
    unit: str
    text: str


@dataclass(frozen=True, slots=True)
class AttemptEvidence:
    """A genuine attempt and when it was."""

    unit: UnitName
    number: int
    person: str | None
    outcome: Outcome
    reason: str
    direction: Direction
    smile: float | None
    moment: datetime  # in the zone of the place
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class EntryMark:
    """A person of whom a row speaks that proves nothing."""

    person: str
    day: date
    note: Note
    unit: UnitName


@dataclass(frozen=True, slots=True)
class LostDays:
    """Days from which a unit's events are missing, or cannot be used."""

    unit: UnitName
    first: date
    last: date


@dataclass(slots=True)
class UnitEvidence:
    """What is proven of one unit."""

    unit: UnitName
    attempts: list[AttemptEvidence] = field(default_factory=list)
    marks: list[EntryMark] = field(default_factory=list)
    lost: set[LostDays] = field(default_factory=set)
    gaps: list[Gap] = field(default_factory=list)  # numbers that may be of the days
    numbers: list[int] = field(default_factory=list)  # of the days, as the columns have them


@dataclass(frozen=True, slots=True)
class BootTime:
    """An event of no certain time, on the clock that nobody can set."""

    boot_id: str
    monotonic_ns: int


@dataclass(slots=True)
class RowEvidence:
    """What is kept of a row; the message itself may be large."""

    name: str  # of the row
    number: object  # column `sequence`
    segment: Segment | None
    fault: ChainDefect | None
    why: str
    claims: tuple[RowClaim, ...]
    unit: UnitName | None = None  # that signed it
    attempt: AttemptEvidence | None = None  # with a moment of no worth, if `undated`
    undated: BootTime | None = None
    anchor: tuple[str, Anchor] | None = None
    rename: UnitRename | None = None
    moment: datetime | None = None  # None: nothing is known of it
    received: datetime | None = None
    zone: str = ""
    usable: bool = False
    sure: bool = True  # of its moment


def row_evidence(checked: CheckedRow) -> RowEvidence:
    """Keep what is needed of a row."""
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
        entry.usable = checked.fault is None  # of a contract that is newer than this program
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
    """Return when an event of no certain time was: as the unit says if that can be."""
    if received is None or received - _LONGEST <= own <= received:
        return own
    return received


def by_number(entries: list[RowEvidence]) -> list[RowEvidence]:
    """Sort by what was signed; a row without a place in the chain comes first."""
    return sorted(entries, key=lambda each: each.segment.sequence if each.segment else 0)


def reaches(entries: list[RowEvidence], moment: datetime, side: int) -> bool:
    """Whether the outermost genuine event is beyond a moment, before (-1) or after it (1)."""
    for entry in entries:
        if entry.usable and entry.moment is not None:
            return entry.moment < moment if side < 0 else entry.moment > moment
    return False


def spans(entries: list[RowEvidence]) -> list[Span]:
    """Return between which moments each entry lies: its own, or those of its neighbours.

    For an entry with a moment of its own the first is that of the entry before, so that it is
    known since when numbers before it may be missing.
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
