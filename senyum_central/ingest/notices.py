"""What the receiver has to say about one message, or about a chain."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from edge.contract.envelope import RejectReason
from edge.contract.events import AttendanceEvent, AuditEvent
from edge.contract.topics import UnitName
from senyum_central.store.gaps import Gap


class NoticeKind(StrEnum):
    """What a line is about."""

    EVENT = "event"  # genuine and new
    DUPLICATE = "duplicate"
    STATE = "state"  # a unit came or went
    HEALED = "healed"
    REFUSED = "refused"
    ASKED = "asked"  # a unit, for what is missing
    GAP = "gap"
    GIVEN_UP = "given-up"  # a gap, after the last request
    FORK = "fork"


class Failure(StrEnum):
    """Why a receiver refuses a message that breaks no rule of the contract."""

    INTERNAL = "internal"  # this program cannot process it


# A refused message with one of these was made with intent, or costs people their records.
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
    at: datetime  # aware; of the event where there is one, else of the noticing
    unit: UnitName | None  # None where the topic names none
    text: str = ""
    event: AttendanceEvent | AuditEvent | None = None
    flaw: RejectReason | Failure | None = None
    gaps: tuple[Gap, ...] = ()  # the numbers that it is about, ascending
    outage: str = ""  # RFC 3339: when the first of the numbers was reported
    ongoing: bool = False  # said before of this outage, which is not over

    @property
    def over(self) -> bool:
        """Whether an outage that was an alarm has ended."""
        return self.kind is NoticeKind.HEALED and not self.ongoing

    @property
    def is_warning(self) -> bool:
        """Whether somebody has to look at it."""
        if self.ongoing:
            return False
        return (
            self.kind in {NoticeKind.GAP, NoticeKind.GIVEN_UP, NoticeKind.FORK}
            or self.flaw in _LOUD_FLAWS
        )
