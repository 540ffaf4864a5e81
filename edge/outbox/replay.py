"""Supplies archived events that a central server requests, at a limited rate, after live ones.

Acknowledged events stay in the outbox until retention. A request names numbers or a period; the
link takes its events only while no live event waits, and no faster than a rate. Events that are not
acknowledged when a connection ends are supplied again. A request stays in the command log until the
broker has taken its last event (ReplayFinished).
"""

import math
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from edge.contract.jose import claim
from edge.errors import ReplayRefused
from edge.outbox.store import OutboxReader, OutboxRow
from edge.system.event_queue import EventQueue

REQUESTS = 8  # may wait at once
LOOK = 64  # events looked at in one go
BURST_SECONDS = 1.0  # what was not sent for so long may be sent at once


@dataclass(frozen=True, slots=True)
class ReplayRequest:
    """Events to send again: numbers, both included, limited to a period if one is given."""

    id: int  # in the command log
    first: int
    last: int
    begin: str | None = None
    end: str | None = None


@dataclass(frozen=True, slots=True)
class ReplayFinished:
    """The broker has taken every event of a request."""

    id: int


@dataclass(frozen=True, slots=True)
class _Period:
    """From `begin` to `end`, both included, by the `time` that each event was signed with."""

    begin: datetime  # aware
    end: datetime  # aware

    def holds(self, row: OutboxRow) -> bool:
        try:
            return self.begin <= datetime.fromisoformat(str(claim(row.token, "time"))) <= self.end
        except (ValueError, TypeError):  # damaged; a request for its number still gets it
            return False


@dataclass(frozen=True, slots=True)
class Asked:
    """What a request will be answered from: numbers, both included, that are kept."""

    first: int
    last: int


@dataclass(slots=True, eq=False)
class _Request:
    id: int
    at: int  # the next number to look at
    last: int
    period: _Period | None


def kept(reader: OutboxReader, first: int, last: int, delivered: int) -> Asked:
    """Return which of these events can be sent again; ReplayRefused where none can.

    `delivered` is the newest that a broker took.
    """
    oldest = reader.oldest()
    asked = Asked(max(first, oldest or 1), min(last, delivered))  # later ones come by themselves
    if oldest is None or asked.first > asked.last:
        raise ReplayRefused(
            f"none of the events {first} to {last} is kept; the archive has "
            f"{oldest or 0} to {delivered}"
        )
    return asked


class Replay:
    """The requests of one link. Its thread calls everything but `request`.

    Events that `next` returned and `taken` did not confirm are returned again after `again`.
    """

    def __init__(self, reader: OutboxReader, rate: float, events: EventQueue[Any]) -> None:
        """`rate` is in events a second; `events` gets ReplayFinished."""
        self._reader = reader
        self._rate = rate
        self._events = events
        self._new: deque[ReplayRequest] = deque()  # any thread may append
        self._requests: deque[_Request] = deque()
        self._flying: dict[int, _Request] = {}  # handed out, and not answered
        self._allowance = 0.0  # events that may go out
        self._counted_at = -math.inf

    def request(self, request: ReplayRequest) -> None:
        """Send these events again, after those requested before; for any thread."""
        self._new.append(request)

    def next(self, now: float, room: int, *, live_waits: bool) -> list[OutboxRow]:
        """Return events to send now, at most `room`, none while live ones wait.

        `now` is in seconds of a monotonic clock. Raises OutboxError.
        """
        self._accept_new()
        self._accrue(now)
        count = min(room, int(self._allowance))
        if live_waits or count <= 0:
            return []
        rows = list(self._draw(count))
        self._allowance -= len(rows)
        return rows

    def due_at(self, now: float) -> float:
        """Return when `next` has something, on the clock of `now`; infinity where nothing waits."""
        self._accept_new()
        if not self._requests:
            return math.inf
        self._accrue(now)
        return now + max(0.0, 1.0 - self._allowance) / self._rate

    def taken(self, sequence: int) -> bool:
        """Note that the broker took an event; False where it was not handed out here."""
        request = self._flying.pop(sequence, None)
        if request is not None:
            self._look_whether_done(request)
        return request is not None

    def again(self) -> None:
        """Go back to what was handed out and not taken: the connection ended."""
        for sequence, request in sorted(self._flying.items(), reverse=True):
            request.at = min(request.at, sequence)
            if request not in self._requests:
                self._requests.appendleft(request)
        self._flying.clear()

    def _accept_new(self) -> None:
        while self._new:
            new = self._new.popleft()
            period = None
            if new.begin is not None and new.end is not None:
                period = _Period(datetime.fromisoformat(new.begin), datetime.fromisoformat(new.end))
            self._requests.append(_Request(new.id, new.first, new.last, period))

    def _look_whether_done(self, request: _Request) -> None:
        if request in self._requests or request in self._flying.values():
            return
        self._events.put(ReplayFinished(request.id))

    def _accrue(self, now: float) -> None:
        """Add what the time since the last look allows."""
        before, self._counted_at = self._counted_at, now
        if before > -math.inf:
            most = max(self._rate * BURST_SECONDS, 1.0)
            self._allowance = min(most, self._allowance + self._rate * max(now - before, 0.0))

    def _draw(self, count: int) -> Iterator[OutboxRow]:
        """Yield at most `count` events of the oldest request, looking at no more than LOOK."""
        if not self._requests:
            return
        request = self._requests[0]
        rows = self._reader.after(request.at - 1, LOOK if request.period else count)
        if not rows:
            request.at = request.last + 1
        for row in rows:
            if row.sequence > request.last:
                request.at = row.sequence
                break
            if request.period is None or request.period.holds(row):
                if count == 0:
                    break
                count -= 1
                self._flying[row.sequence] = request
                yield row
            request.at = row.sequence + 1
        if request.at > request.last:
            self._requests.remove(request)
            self._look_whether_done(request)
