"""Units that were moved: one chain under several names, each number under one of them. Pure.

The first event under another name is an audit `moved`, which says what the unit was called and the
last number of that name. So numbers before it are no gap of the new name. They are traced back,
name by name, to where the unit went away from the new name, if it ever had that before: what is
missing of that time is missing still.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Self

from edge.central.gaps import Gap
from edge.mqtt.payload import AttendanceEvent, AuditEvent
from edge.mqtt.topics import UnitName
from edge.types import AuditCode


@dataclass(frozen=True, slots=True)
class Move:
    """A name begins, or begins anew."""

    unit: str  # urn:senyum:{org}:{site}:{unit}
    sequence: int  # of the `moved`, from 2
    origin: str  # the name before, another one

    @classmethod
    def of(cls, event: AttendanceEvent | AuditEvent) -> Self | None:
        """Read a move; None where the event is none, or contradicts itself."""
        if not isinstance(event, AuditEvent) or event.data.code is not AuditCode.MOVED:
            return None
        origin, last = event.data.detail.get("from"), event.data.detail.get("last")
        try:
            UnitName.from_source(str(origin))
        except ValueError:
            return None
        believed = origin != event.source and last == event.number - 1 and event.number > 1
        return cls(event.source, event.number, str(origin)) if believed else None


def elsewhere(moves: Iterable[Move], unit: str) -> list[Gap]:
    """Return the numbers of a chain that a unit gave under other names, as far as is known."""
    known = sorted(moves, key=lambda move: move.sequence, reverse=True)
    found = []
    for move in known:
        if move.unit != unit:
            continue
        begin, name = move.sequence, move.origin
        for earlier in known:
            if earlier.sequence < begin and earlier.unit == name:
                begin, name = earlier.sequence, earlier.origin
                if name == unit:
                    break
        found.append(Gap(begin if name == unit else 1, move.sequence - 1))
    return sorted(found)
