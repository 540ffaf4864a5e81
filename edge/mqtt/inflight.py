"""Which events are on their way to the broker. Pure: no socket, no disk.

Events go out in order, except that

- what has to be sent again goes before what was never sent;
- while a backlog drains, events that are recorded meanwhile go before it;
- an event that the broker refuses for its own sake is set aside, and tried again seldom.

`delivered` moves only over an unbroken run of events that were taken.
"""

import math
from collections.abc import Iterable

from edge.mqtt.reason_codes import Action

STRIKES = 5  # as often an event may be refused, or be alone in flight when a connection ends
ASIDE_IN_A_ROW = 16  # so many refused one after another are the broker's fault, not the events'


class InFlightWindow:
    """Counts out events.

    After a general refusal nothing more is sent until every event in flight is answered; after
    that, and after each new connection, a single event, until one is taken.
    """

    def __init__(self, size: int, delivered: int, aside_least: float, aside_most: float) -> None:
        self._size = size
        self._front = delivered  # all up to here were handed out
        self._flying: dict[int, int] = {}  # packet id to sequence
        self._owed: set[int] = set()  # to be sent again
        self._aside: dict[int, float] = {}  # sequence to when it is due
        self._waits: dict[int, float] = {}  # how long the event waits when it is set aside next
        self._strikes: dict[int, int] = {}
        self._suspects: set[int] = set()  # sent one at a time until each is answered
        self._aside_least, self._aside_most = aside_least, aside_most
        self._in_a_row = 0
        self._refused = False
        self._probing = False
        self._backlog_end = delivered  # of a backlog that drains behind newer events
        self._live = delivered  # the newest event handed out before the backlog

    # --- where it stands ---------------------------------------------------------------------

    @property
    def delivered(self) -> int:
        """The newest event that was taken with all before it."""
        open_ = min(self._outstanding(), default=math.inf)
        return int(min(self._front, open_ - 1))

    @property
    def in_flight(self) -> int:
        """How many events wait for their answer."""
        return len(self._flying)

    @property
    def quarantined(self) -> int:
        """How many events are set aside."""
        return len(self._aside)

    @property
    def refused(self) -> bool:
        """Whether to pause and then say `again`: refused, and every answer is in."""
        return self._refused and not self._flying

    @property
    def room(self) -> int:
        """How many more events may be sent now."""
        if self._refused:
            return 0
        return (1 if self._probing or self._suspects else self._size) - len(self._flying)

    @property
    def on_probation(self) -> bool:
        """Whether a single event is in flight, on whose answer the others depend."""
        return bool(self._flying) and (self._probing or bool(self._suspects))

    def depth(self, head: int) -> int:
        """Return how many events up to `head` were not taken."""
        unsent = head - max(self._front, self._live) + max(self._backlog_end - self._front, 0)
        return max(unsent, 0) + sum(1 for _ in self._outstanding())

    @property
    def due_at(self) -> float:
        """When the first of those that are set aside is due, as far as it could be sent then."""
        return min(self._aside.values(), default=math.inf) if self.room > 0 else math.inf

    # --- what to send ------------------------------------------------------------------------

    def again_now(self, now: float) -> list[int]:
        """Return which events to send once more, at most `room`."""
        due = [sequence for sequence, at in self._aside.items() if at <= now]
        return [*sorted(self._owed), *sorted(due)][: max(self.room, 0)]

    def newest(self) -> int:
        """Return the event behind which the newest are to be sent, before any backlog."""
        return max(self._live, self._front)

    def backlog(self) -> tuple[int, int]:
        """Return the range of the backlog: behind the first, up to the second."""
        return self._front, self._backlog_end

    def backlog_over(self) -> None:
        """Note that the outbox has nothing left in that range."""
        self._front = max(self._backlog_end, self._live)

    def send(self, mid: int, sequence: int) -> None:
        """Note that an event went out as packet `mid`."""
        self._handed_out(sequence)
        self._flying[mid] = sequence

    def quarantine(self, sequence: int, now: float) -> None:
        """Do not send an event now, for its own sake; no more than a few in a row."""
        self._handed_out(sequence)
        wait = self._waits.get(sequence, self._aside_least)
        self._waits[sequence] = min(wait * 2, self._aside_most)
        self._aside[sequence] = now + wait
        self._suspects.discard(sequence)
        self._in_a_row += 1
        if self._in_a_row >= ASIDE_IN_A_ROW:
            self._refused = True

    def discard(self, sequence: int) -> None:
        """Forget an event that is no longer there to be sent."""
        self._owed.discard(sequence)
        self._aside.pop(sequence, None)
        self._forget(sequence)

    def _handed_out(self, sequence: int) -> None:
        self._owed.discard(sequence)
        self._aside.pop(sequence, None)
        if sequence > self._backlog_end:
            self._live = max(self._live, sequence)
        else:
            self._front = max(self._front, sequence)
        if self._front >= self._backlog_end:
            self._front = max(self._front, self._live)

    # --- what became of it -------------------------------------------------------------------

    def answer(self, mid: int, remedy: Action, now: float) -> bool:
        """Note the broker's answer; False where the packet was none of ours."""
        sequence = self._flying.pop(mid, None)
        if sequence is None:
            return False
        if remedy is Action.TAKEN:
            self._probing = False
            if self._in_a_row >= ASIDE_IN_A_ROW:  # it was the broker, and that is over
                self._aside = dict.fromkeys(self._aside, now)
            self._in_a_row = 0
            self._forget(sequence)
        elif remedy is Action.ASIDE:
            self.quarantine(sequence, now)
        else:
            self._owed.add(sequence)
            self._refused = True
            if remedy is Action.BLAME:
                self._strike(sequence, now)
        return True

    def again(self) -> None:
        """Begin anew after a refusal, carefully."""
        self._refused = False
        self._probing = True

    def connection_lost(self, now: float, *, blame: bool) -> int | None:
        """Note that the connection ended; `blame`: because of something that we sent.

        Returns the event that was set aside for it, if any.
        """
        flying = sorted(self._flying.values())
        self._flying.clear()
        self._owed.update(flying)
        if len(flying) == 1:
            if self._strike(flying[0], now, STRIKES if blame else 1):
                return flying[0]
        elif blame:
            self._suspects.update(flying)
        return None

    def begin(self, size: int, head: int, now: float, *, elsewhere: bool) -> None:
        """Begin a connection with room for `size`, the newest event being `head`.

        `elsewhere`: on another broker than before, which may well take what that one refused.
        """
        self._owed.update(self._flying.values())
        self._flying.clear()
        self._size = size
        self._probing = True
        if elsewhere:
            self._refused = False
            self._in_a_row = 0
            self._aside = dict.fromkeys(self._aside, now)
        if self._front >= self._backlog_end:
            self._backlog_end = head if head - self._front > size else self._front
            self._live = self._backlog_end

    def _strike(self, sequence: int, now: float, count: int = 1) -> bool:
        """Hold it against an owed event that it was refused; True when it was set aside for it."""
        self._strikes[sequence] = self._strikes.get(sequence, 0) + count
        if self._strikes[sequence] < STRIKES:
            return False
        del self._strikes[sequence]
        self.quarantine(sequence, now)
        return True

    def _outstanding(self) -> Iterable[int]:
        yield from self._owed
        yield from self._flying.values()
        yield from self._aside

    def _forget(self, sequence: int) -> None:
        self._suspects.discard(sequence)
        self._strikes.pop(sequence, None)
        self._waits.pop(sequence, None)
