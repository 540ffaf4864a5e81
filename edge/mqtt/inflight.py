"""Which events are in flight to the broker. Pure: no socket, no disk.

Events are sent in order, except that

- events to be sent again go before those that were never sent;
- while a backlog drains, events that are recorded meanwhile go before it;
- an event that the broker refuses because of its content is quarantined and tried again seldom.

`delivered` advances only over an unbroken run of acknowledged events.
"""

import math
from collections.abc import Iterable

from edge.mqtt.reason_codes import Action

MAX_FAILURES = 5  # an event may be refused, or be alone in flight when a connection ends
MAX_QUARANTINED_IN_A_ROW = 16  # as many in a row are the broker's fault, not the events'


class InFlightWindow:
    """Decides which events to send, at most `size` at a time.

    After a general refusal nothing is sent until every event in flight is answered. After that, and
    on each new connection, a single event is sent at a time until one is acknowledged.
    """

    def __init__(
        self, size: int, delivered: int, quarantine_min: float, quarantine_max: float
    ) -> None:
        self._size = size
        self._front = delivered  # all up to here were sent at least once
        self._in_flight: dict[int, int] = {}  # packet id to sequence
        self._to_resend: set[int] = set()  # sequence numbers
        self._quarantine: dict[int, float] = {}  # sequence number to when it is due
        self._quarantine_waits: dict[int, float] = {}  # for the next quarantine of an event
        self._failures: dict[int, int] = {}
        self._suspects: set[int] = set()  # sent one at a time until each is answered
        self._quarantine_min, self._quarantine_max = quarantine_min, quarantine_max
        self._quarantined_in_a_row = 0
        self._refused = False
        self._probing = False
        self._backlog_end = delivered  # of a backlog that drains after newer events
        self._live = delivered  # the newest event sent before the backlog

    # --- state ------------------------------------------------------------------------------

    @property
    def delivered(self) -> int:
        """Sequence number up to which every event is acknowledged."""
        open_ = min(self._outstanding(), default=math.inf)
        return int(min(self._front, open_ - 1))

    @property
    def in_flight(self) -> int:
        """How many events wait for their PUBACK."""
        return len(self._in_flight)

    @property
    def quarantined(self) -> int:
        """How many events are held back."""
        return len(self._quarantine)

    @property
    def refused(self) -> bool:
        """Whether to pause and then call `resume`: refused, and nothing is in flight."""
        return self._refused and not self._in_flight

    @property
    def room(self) -> int:
        """How many more events may be sent now."""
        if self._refused:
            return 0
        return (1 if self._probing or self._suspects else self._size) - len(self._in_flight)

    @property
    def on_probation(self) -> bool:
        """Whether a single event is in flight and the others wait for its PUBACK."""
        return bool(self._in_flight) and (self._probing or bool(self._suspects))

    def depth(self, head: int) -> int:
        """Return how many events up to `head` are not acknowledged."""
        unsent = head - max(self._front, self._live) + max(self._backlog_end - self._front, 0)
        return max(unsent, 0) + sum(1 for _ in self._outstanding())

    @property
    def due_at(self) -> float:
        """When the first quarantined event is due, if there is room for it."""
        return min(self._quarantine.values(), default=math.inf) if self.room > 0 else math.inf

    # --- what to send ------------------------------------------------------------------------

    def due_for_resend(self, now: float) -> list[int]:
        """Return the events to send again, at most `room`."""
        due = [sequence for sequence, at in self._quarantine.items() if at <= now]
        return [*sorted(self._to_resend), *sorted(due)][: max(self.room, 0)]

    def live_position(self) -> int:
        """Return the event after which to send new events, before any backlog."""
        return max(self._live, self._front)

    def backlog(self) -> tuple[int, int]:
        """Return the range of the backlog: after the first number, up to the second."""
        return self._front, self._backlog_end

    def finish_backlog(self) -> None:
        """Note that the outbox has no event left in the range of the backlog."""
        self._front = max(self._backlog_end, self._live)

    def mark_sent(self, mid: int, sequence: int) -> None:
        """Note that an event was sent with the packet id `mid`."""
        self._advance(sequence)
        self._in_flight[mid] = sequence

    def quarantine(self, sequence: int, now: float) -> None:
        """Hold an event back; MAX_QUARANTINED_IN_A_ROW of them count as a general refusal."""
        self._advance(sequence)
        wait = self._quarantine_waits.get(sequence, self._quarantine_min)
        self._quarantine_waits[sequence] = min(wait * 2, self._quarantine_max)
        self._quarantine[sequence] = now + wait
        self._suspects.discard(sequence)
        self._quarantined_in_a_row += 1
        if self._quarantined_in_a_row >= MAX_QUARANTINED_IN_A_ROW:
            self._refused = True

    def discard(self, sequence: int) -> None:
        """Forget an event that is no longer in the outbox."""
        self._to_resend.discard(sequence)
        self._quarantine.pop(sequence, None)
        self._forget(sequence)

    def _advance(self, sequence: int) -> None:
        self._to_resend.discard(sequence)
        self._quarantine.pop(sequence, None)
        if sequence > self._backlog_end:
            self._live = max(self._live, sequence)
        else:
            self._front = max(self._front, sequence)
        if self._front >= self._backlog_end:
            self._front = max(self._front, self._live)

    # --- answers -----------------------------------------------------------------------------

    def acknowledge(self, mid: int, action: Action, now: float) -> bool:
        """Process a PUBACK; return False if the packet id is not that of an event."""
        sequence = self._in_flight.pop(mid, None)
        if sequence is None:
            return False
        if action is Action.DELIVERED:
            self._probing = False
            if (
                self._quarantined_in_a_row >= MAX_QUARANTINED_IN_A_ROW
            ):  # the broker was at fault and has recovered
                self._quarantine = dict.fromkeys(self._quarantine, now)
            self._quarantined_in_a_row = 0
            self._forget(sequence)
        elif action is Action.QUARANTINE:
            self.quarantine(sequence, now)
        else:
            self._to_resend.add(sequence)
            self._refused = True
            if action is Action.SUSPECT_EVENT:
                self._count_failure(sequence, now)
        return True

    def resume(self) -> None:
        """Send again after a refusal, one event at first."""
        self._refused = False
        self._probing = True

    def connection_lost(self, now: float, *, blame: bool) -> int | None:
        """Take back the events in flight; `blame`: one of them may have ended the connection.

        Returns the event that was quarantined for it, if any.
        """
        in_flight = sorted(self._in_flight.values())
        self._in_flight.clear()
        self._to_resend.update(in_flight)
        if len(in_flight) == 1:
            if self._count_failure(in_flight[0], now, MAX_FAILURES if blame else 1):
                return in_flight[0]
        elif blame:
            self._suspects.update(in_flight)
        return None

    def connected(self, size: int, head: int, now: float, *, elsewhere: bool) -> None:
        """Start a connection with room for `size` events; the newest event is `head`.

        `elsewhere`: to another broker than before, which may accept what that one refused.
        """
        self._to_resend.update(self._in_flight.values())
        self._in_flight.clear()
        self._size = size
        self._probing = True
        if elsewhere:
            self._refused = False
            self._quarantined_in_a_row = 0
            self._quarantine = dict.fromkeys(self._quarantine, now)
        if self._front >= self._backlog_end:
            self._backlog_end = head if head - self._front > size else self._front
            self._live = self._backlog_end

    def _count_failure(self, sequence: int, now: float, count: int = 1) -> bool:
        """Add failures to an event that is to be sent again; return True if it was quarantined."""
        self._failures[sequence] = self._failures.get(sequence, 0) + count
        if self._failures[sequence] < MAX_FAILURES:
            return False
        del self._failures[sequence]
        self.quarantine(sequence, now)
        return True

    def _outstanding(self) -> Iterable[int]:
        yield from self._to_resend
        yield from self._in_flight.values()
        yield from self._quarantine

    def _forget(self, sequence: int) -> None:
        self._suspects.discard(sequence)
        self._failures.pop(sequence, None)
        self._quarantine_waits.pop(sequence, None)
