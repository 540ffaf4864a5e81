"""How long acknowledged events stay in the outbox as an archive for replay requests."""

import sqlite3
from dataclasses import dataclass
from datetime import datetime

from edge.contract.jose import claim
from edge.system.clock import ClockState

REMOVE_EVENTS = 64  # removed in one commit, so that it stays small
_LOOK = 512  # events whose age is looked at for one commit
_DAY_SECONDS = 86_400


@dataclass(frozen=True, slots=True)
class Retention:
    """The limits of the archive. An event beyond either is removed, oldest first."""

    days: int
    events: int

    def past(self, db: sqlite3.Connection, delivered: int, now: datetime | None) -> int:
        """Return the last event to remove in the next commit; 0 if none.

        `now` is None while the time is not known: then age removes nothing. What was not
        delivered and the newest event always stay. Raises sqlite3.Error.
        """
        oldest, newest = db.execute("SELECT min(sequence), max(sequence) FROM event").fetchone()
        if oldest is None:
            return 0
        end = oldest + REMOVE_EVENTS - 1
        past = newest - self.events
        if now is not None and past < end:
            limit = now.timestamp() - self.days * _DAY_SECONDS
            past = max(past, _aged(db, oldest + _LOOK, limit))
        past = min(past, delivered, newest - 1, end)
        return past if past >= oldest else 0


def _aged(db: sqlite3.Connection, end: int, limit: float) -> int:
    """Return the newest event before `end` that is past its age with all before it, or 0.

    The date of an unsynchronized clock does not show an age: such an event is past its age when one
    stored after it is.
    """
    aged = 0
    for sequence, stored_at, jws in db.execute(
        "SELECT sequence, stored_at, jws FROM event WHERE sequence < ? ORDER BY sequence", (end,)
    ):
        if claim(jws, "data", "clock", "state") == ClockState.UNSYNCHRONIZED:
            continue
        if stored_at >= limit:
            break
        aged = sequence
    return aged
