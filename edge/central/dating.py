"""What anchors say about events that were dated by a clock that nobody disciplined.

A unit that starts without a time service signs events all the same, with the time it believes,
and says `unsynchronized`. Once its clock is set it says one moment on both its clocks: an anchor
(`clock-anchor`). The time since then or until then, on the clock that nobody can set, gives every
such event of that boot a corrected time. It is stored beside the event, never in it: what was
signed stays as it was. Of several anchors the nearest counts; they may come in any order.
"""

import sqlite3
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Self

from pydantic import ValidationError

from edge.mqtt.clock import ClockState
from edge.mqtt.encoding import from_b64url
from edge.mqtt.payload import ANY_EVENT, AttendanceEvent, AuditEvent
from edge.types import AuditCode

SCHEMA = """
CREATE TABLE undated (  -- events of no certain time, and the time that an anchor gave them
    id TEXT PRIMARY KEY,
    unit TEXT NOT NULL,
    sequence INTEGER NOT NULL,
    boot_id TEXT NOT NULL,
    monotonic_ns INTEGER NOT NULL,
    corrected TEXT
) STRICT, WITHOUT ROWID;
CREATE INDEX undated_boot ON undated (unit, boot_id);

CREATE TABLE anchor (
    unit TEXT NOT NULL,
    boot_id TEXT NOT NULL,
    monotonic_ns INTEGER NOT NULL,
    utc TEXT NOT NULL,
    sequence INTEGER NOT NULL,
    PRIMARY KEY (unit, boot_id, monotonic_ns, sequence)
) STRICT, WITHOUT ROWID;
"""
_LARGEST_NS = 2**63 - 1  # SQLite's integer


@dataclass(frozen=True, slots=True)
class Anchor:
    """One moment on both clocks of a unit."""

    monotonic_ns: int
    utc: datetime  # aware

    @classmethod
    def of(cls, event: AuditEvent) -> Self | None:
        """Read an anchor; None where the event is none, or contradicts itself."""
        detail, clock = event.data.detail, event.data.clock
        if (
            event.data.code is not AuditCode.CLOCK_ANCHOR
            or clock.state is not ClockState.SYNCHRONIZED
            or detail.get("boot_id") != clock.boot_id
        ):
            return None
        try:
            monotonic_ns = int(str(detail["monotonic_ns"]))
            utc = datetime.fromisoformat(str(detail["utc"]))
        except (KeyError, ValueError):
            return None
        valid = 0 <= monotonic_ns <= _LARGEST_NS and utc.tzinfo is not None
        return cls(monotonic_ns, utc) if valid else None

    def date(self, monotonic_ns: int) -> str | None:
        """Return the UTC of another moment of the same boot; None where no calendar has it."""
        try:
            moment = self.utc + timedelta(microseconds=(monotonic_ns - self.monotonic_ns) // 1000)
            return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        except OverflowError:
            return None


def note(db: sqlite3.Connection, event: AttendanceEvent | AuditEvent) -> None:
    """Take in a genuine event, inside the transaction that stores it. Raises sqlite3.Error."""
    anchor = Anchor.of(event) if isinstance(event, AuditEvent) else None
    clock = event.data.clock
    if anchor is not None:
        db.execute(
            "INSERT OR IGNORE INTO anchor VALUES (?, ?, ?, ?, ?)",
            (
                event.source,
                clock.boot_id,
                anchor.monotonic_ns,
                anchor.utc.isoformat(),
                event.number,
            ),
        )
        _date_boot(db, event.source, clock.boot_id)
    elif clock.state is ClockState.UNSYNCHRONIZED and int(clock.monotonic_ns) <= _LARGEST_NS:
        monotonic_ns = int(clock.monotonic_ns)
        corrected = _corrected(_anchors(db, event.source, clock.boot_id), monotonic_ns)
        db.execute(
            "INSERT OR IGNORE INTO undated VALUES (?, ?, ?, ?, ?, ?)",
            (event.id, event.source, event.number, clock.boot_id, monotonic_ns, corrected),
        )


def note_stored(db: sqlite3.Connection) -> None:
    """Take in the events of a store from before there was dating. Raises sqlite3.Error."""
    for (token,) in db.execute("SELECT jws FROM event ORDER BY number").fetchall():
        try:
            event = ANY_EVENT.validate_json(from_b64url(token.split(".")[1]))
        except (ValueError, IndexError, ValidationError):
            continue
        if isinstance(event, AttendanceEvent | AuditEvent):
            note(db, event)


def _anchors(db: sqlite3.Connection, unit: str, boot_id: str) -> list[Anchor]:
    rows = db.execute(
        "SELECT monotonic_ns, utc FROM anchor WHERE unit = ? AND boot_id = ? ORDER BY monotonic_ns",
        (unit, boot_id),
    )
    return [Anchor(monotonic_ns, datetime.fromisoformat(utc)) for monotonic_ns, utc in rows]


def _corrected(anchors: list[Anchor], monotonic_ns: int) -> str | None:
    if not anchors:
        return None
    nearest = min(anchors, key=lambda anchor: abs(anchor.monotonic_ns - monotonic_ns))
    return nearest.date(monotonic_ns)


def _date_boot(db: sqlite3.Connection, unit: str, boot_id: str) -> None:
    anchors = _anchors(db, unit, boot_id)
    rows = db.execute(
        "SELECT id, monotonic_ns FROM undated WHERE unit = ? AND boot_id = ?", (unit, boot_id)
    ).fetchall()
    db.executemany(
        "UPDATE undated SET corrected = ? WHERE id = ?",
        [(_corrected(anchors, monotonic_ns), id_) for id_, monotonic_ns in rows],
    )
