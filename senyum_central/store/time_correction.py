"""Correct the times of events that were signed with an unsynchronized clock.

A unit without a synchronized clock signs events with its own time and the state `unsynchronized`.
Once the clock is synchronized it records one moment on both clocks, an anchor (`clock-anchor`). The
difference on the monotonic clock gives each such event of that boot a corrected time. It is stored
next to the event, because a signed event does not change. The nearest of several anchors counts;
they may arrive in any order.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Self

from sqlalchemy import bindparam, select

from edge.contract.events import OF_ANCHOR, AttendanceEvent, AuditEvent
from edge.contract.limits import is_moment
from edge.system.clock import ClockState
from edge.types import AuditCode
from senyum_central.store.database import Database
from senyum_central.store.schema import ANCHOR, UNDATED

_WAITING = 1000  # rows that wait to be written together; a whole store may be gone through


@dataclass(frozen=True, slots=True)
class Anchor:
    """One moment on both clocks of a unit: monotonic and UTC."""

    monotonic_ns: int
    utc: datetime  # aware

    @classmethod
    def from_event(cls, event: AuditEvent) -> Self | None:
        """Return the anchor of an event, or None if it is not a valid anchor."""
        detail, clock = event.data.detail, event.data.clock
        if (
            event.data.code is not AuditCode.CLOCK_ANCHOR
            or clock.state is not ClockState.SYNCHRONIZED
            or detail.get("boot_id") != clock.boot_id
        ):
            return None
        monotonic_ns, utc = (detail.get(name) for name in OF_ANCHOR)
        # The model has checked the format of present values.
        if not isinstance(monotonic_ns, str) or not isinstance(utc, str):
            return None
        return cls(int(monotonic_ns), datetime.fromisoformat(utc))

    def time_at(self, monotonic_ns: int) -> datetime | None:
        """Return another moment of the same boot, UTC; None if it is outside the limits."""
        moment = self.utc + timedelta(microseconds=(monotonic_ns - self.monotonic_ns) // 1000)
        return moment if is_moment(moment) else None


def nearest_anchor_time(anchors: Iterable[Anchor], monotonic_ns: int) -> datetime | None:
    """Return the moment that the nearest anchor gives, UTC; None if there are no anchors."""
    best = min(anchors, key=lambda anchor: abs(anchor.monotonic_ns - monotonic_ns), default=None)
    return None if best is None else best.time_at(monotonic_ns)


class TimeCorrection:
    """What the genuine events of one transaction say of times; `flush` writes the rest of it.

    After an outage a unit brings thousands of events of one boot: its anchors are looked up once,
    and the rows written together. Raises what the database does.
    """

    def __init__(self, db: Database) -> None:
        self._db = db
        self._known: dict[tuple[str, str], list[Anchor]] = {}  # by unit and boot
        self._undated: list[dict[str, Any]] = []

    def record(self, event: AttendanceEvent | AuditEvent) -> None:
        """Record a genuine event, inside the transaction that stores it."""
        anchor = Anchor.from_event(event) if isinstance(event, AuditEvent) else None
        clock = event.data.clock
        if anchor is not None:
            self._anchor(event, anchor)
        elif clock.state is ClockState.UNSYNCHRONIZED:
            monotonic_ns = int(clock.monotonic_ns)
            row = {
                "id": event.id,
                "unit": event.source,
                "sequence": event.number,
                "boot_id": clock.boot_id,
                "monotonic_ns": monotonic_ns,
                "corrected": _corrected(self._anchors(event.source, clock.boot_id), monotonic_ns),
            }
            self._undated.append(row)
            if len(self._undated) >= _WAITING:
                self.flush()

    def flush(self) -> None:
        """Write the collected events; existing rows stay unchanged."""
        rows, self._undated = self._undated, []
        if rows:
            self._db.run(self._db.put(UNDATED).on_conflict_do_nothing(), rows)

    def _anchor(self, event: AttendanceEvent | AuditEvent, anchor: Anchor) -> None:
        """Store an anchor, and recompute the times of all events of its boot."""
        unit, boot_id = event.source, event.data.clock.boot_id
        self.flush()
        self._db.put_new(
            ANCHOR,
            unit=unit,
            boot_id=boot_id,
            monotonic_ns=anchor.monotonic_ns,
            utc=anchor.utc.isoformat(),
            sequence=event.number,
        )
        self._known.pop((unit, boot_id), None)
        _date_boot(self._db, unit, boot_id, self._anchors(unit, boot_id))

    def _anchors(self, unit: str, boot_id: str) -> list[Anchor]:
        known = self._known.get((unit, boot_id))
        if known is None:
            known = self._known[unit, boot_id] = _anchors(self._db, unit, boot_id)
        return known


def _anchors(db: Database, unit: str, boot_id: str) -> list[Anchor]:
    query = (
        select(ANCHOR.c.monotonic_ns, ANCHOR.c.utc)
        .where(ANCHOR.c.unit == bindparam("unit"), ANCHOR.c.boot_id == bindparam("boot_id"))
        .order_by(ANCHOR.c.monotonic_ns)
    )
    rows = db.rows(query, unit=unit, boot_id=boot_id)
    found = [_stored(monotonic_ns, utc) for monotonic_ns, utc in rows]
    return [anchor for anchor in found if anchor is not None]


def _stored(monotonic_ns: int, utc: str) -> Anchor | None:
    """Return the anchor of a row, or None if its time is invalid."""
    try:
        moment = datetime.fromisoformat(utc)
    except ValueError:
        return None
    possible = moment.tzinfo is not None and is_moment(moment)
    return Anchor(monotonic_ns, moment) if possible else None


def _corrected(anchors: list[Anchor], monotonic_ns: int) -> str | None:
    moment = nearest_anchor_time(anchors, monotonic_ns)
    return None if moment is None else moment.strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def _date_boot(db: Database, unit: str, boot_id: str, anchors: list[Anchor]) -> None:
    query = select(UNDATED.c.id, UNDATED.c.monotonic_ns).where(
        UNDATED.c.unit == unit, UNDATED.c.boot_id == boot_id
    )
    found = [
        {"of": unit, "which": id_, "corrected": _corrected(anchors, monotonic_ns)}
        for id_, monotonic_ns in db.rows(query)
    ]
    if found:
        this = (UNDATED.c.unit == bindparam("of")) & (UNDATED.c.id == bindparam("which"))
        db.run(UNDATED.update().where(this), found)
