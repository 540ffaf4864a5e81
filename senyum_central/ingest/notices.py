"""Notices of the receiver about one message or one chain."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from edge.contract.envelope import RejectReason
from edge.contract.events import AttendanceEvent, AuditEvent
from edge.contract.topics import UnitName
from senyum_central.store.gaps import Gap


class NoticeKind(StrEnum):
    """Kind of notice."""

    EVENT = "event"  # genuine and new
    DUPLICATE = "duplicate"
    STATE = "state"  # a unit went online or offline
    HEALED = "healed"
    REFUSED = "refused"
    ASKED = "asked"  # a request for missing events
    GAP = "gap"
    GIVEN_UP = "given-up"  # a gap, after the last request
    FORK = "fork"


class Failure(StrEnum):
    """Why a receiver rejects a message that obeys the contract."""

    INTERNAL = "internal"  # this program cannot process it


# Rejections that indicate an attack or a loss of records.
_LOUD_FLAWS: frozenset[RejectReason | Failure | None] = frozenset(
    {
        RejectReason.ALGORITHM,
        RejectReason.BAD_SIGNATURE,
        RejectReason.FOREIGN_KEY,
        RejectReason.OUTSIDE_VALIDITY,
        RejectReason.TOPIC,
        RejectReason.UNKNOWN_KEY,
        Failure.INTERNAL,
    }
)


@dataclass(frozen=True, slots=True)
class Notice:
    """One line for a person, or one JSON object for a program."""

    kind: NoticeKind
    at: datetime  # aware; the time of the event, or of the notice without an event
    unit: UnitName | None  # None if the topic does not name one
    text: str = ""
    event: AttendanceEvent | AuditEvent | None = None
    flaw: RejectReason | Failure | None = None
    gaps: tuple[Gap, ...] = ()  # the numbers concerned, ascending
    outage: str = ""  # RFC 3339: when the first of the numbers was reported
    ongoing: bool = False  # a notice of the same outage was an alarm before

    @property
    def over(self) -> bool:
        """Return whether an outage that was an alarm has ended."""
        return self.kind is NoticeKind.HEALED and not self.ongoing

    @property
    def is_warning(self) -> bool:
        """Return whether operator action is required."""
        if self.ongoing:
            return False
        return (
            self.kind in {NoticeKind.GAP, NoticeKind.GIVEN_UP, NoticeKind.FORK}
            or self.flaw in _LOUD_FLAWS
        )
