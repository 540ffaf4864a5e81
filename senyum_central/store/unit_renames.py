"""Renamed units: one chain under several names, each number under one of them.

The first event under a new name is an audit `moved` with the previous name and its last number. The
numbers before it are therefore not missing under the new name. They are traced back, name by name,
to where the unit last used the new name, if it did: only numbers of that time can be missing.
"""

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Self

from sqlalchemy import select

from edge.contract.events import AttendanceEvent, AuditEvent
from edge.contract.topics import UnitName
from edge.types import AuditCode
from senyum_central.store.database import Database
from senyum_central.store.gaps import Gap
from senyum_central.store.schema import MOVE


@dataclass(frozen=True, slots=True)
class UnitRename:
    """The start of a unit name in a chain."""

    unit: str  # urn:senyum:{org}:{site}:{unit}
    sequence: int  # of the `moved`, from 2
    origin: str  # the name before, another one

    @classmethod
    def from_event(cls, event: AttendanceEvent | AuditEvent) -> Self | None:
        """Return the rename of an event, or None if it is not a valid rename."""
        if not isinstance(event, AuditEvent) or event.data.code is not AuditCode.MOVED:
            return None
        origin, last = event.data.detail.get("from"), event.data.detail.get("last")
        try:
            UnitName.from_source(str(origin))
        except ValueError:
            return None
        follows = not isinstance(last, bool) and last == event.number - 1 > 0
        believed = follows and origin != event.source
        return cls(event.source, event.number, str(origin)) if believed else None


def numbered_under_other_names(moves: Iterable[UnitRename], unit: str) -> list[Gap]:
    """Return the numbers that a unit used under other names, as far as known."""
    return split_by_unit(moves).get(unit, [])


def split_by_unit(moves: Iterable[UnitRename]) -> dict[str, list[Gap]]:
    """Return for each unit the numbers used under other names, ascending and disjoint."""
    names: dict[str, list[UnitRename]] = defaultdict(list)
    for move in sorted(moves, key=_sequence):
        names[move.unit].append(move)
    return {
        unit: _merge(_numbers_before(move, names) for move in own) for unit, own in names.items()
    }


def _numbers_before(move: UnitRename, names: Mapping[str, list[UnitRename]]) -> Gap:
    """Return the numbers before a rename, back to where the unit last used its new name."""
    begin, name = move.sequence, move.origin
    while name != move.unit:
        earlier = names.get(name, [])
        at = bisect_left(earlier, begin, key=_sequence) - 1
        if at < 0:
            return Gap(1, move.sequence - 1)
        begin, name = earlier[at].sequence, earlier[at].origin
    return Gap(begin, move.sequence - 1)


def _merge(gaps: Iterable[Gap]) -> list[Gap]:
    found: list[Gap] = []
    for gap in sorted(gaps):
        if found and gap.first <= found[-1].last:
            found[-1] = Gap(found[-1].first, max(found[-1].last, gap.last))
        else:
            found.append(gap)
    return found


def _sequence(move: UnitRename) -> int:
    return move.sequence


def record_rename(db: Database, event: AttendanceEvent | AuditEvent) -> UnitRename | None:
    """Record the rename of a genuine event, inside the transaction that stores it."""
    move = UnitRename.from_event(event)
    if move is not None:
        db.put_new(MOVE, unit=move.unit, sequence=move.sequence, origin=move.origin)
    return move


def load_numbers_under_other_names(db: Database) -> dict[str, list[Gap]]:
    """Return for each unit the numbers of its chain that it used under other names."""
    rows = db.rows(select(MOVE.c.unit, MOVE.c.sequence, MOVE.c.origin))
    return split_by_unit(UnitRename(*row) for row in rows)
