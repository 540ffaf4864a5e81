"""What a store knows of units that were moved (see `senyum_central.store.unit_renames`)."""

from typing import TYPE_CHECKING

from sqlalchemy import select

from edge.contract.events import AttendanceEvent, AuditEvent
from senyum_central.ingest.gaps import Gap
from senyum_central.store.schema import MOVE
from senyum_central.store.unit_renames import UnitRename, split_by_unit

if TYPE_CHECKING:
    from senyum_central.store.database import Database


def note(db: "Database", event: AttendanceEvent | AuditEvent) -> UnitRename | None:
    """Take in a genuine event, inside the transaction that stores it; return it if it is a move."""
    move = UnitRename.of(event)
    if move is not None:
        db.put_new(MOVE, unit=move.unit, sequence=move.sequence, origin=move.origin)
    return move


def apart(db: "Database") -> dict[str, list[Gap]]:
    """Return for each unit the numbers of its chain that it gave under other names."""
    rows = db.rows(select(MOVE.c.unit, MOVE.c.sequence, MOVE.c.origin))
    return split_by_unit(UnitRename(*row) for row in rows)
