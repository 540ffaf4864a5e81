"""Gets retained messages one group after another, only while they are wanted.

A broker sends what is retained on each SUBSCRIBE. So a topic is subscribed to when its message is
wanted, and left when it came; what did not come is subscribed to again, by the back-off. Nothing
is asked for twice at once, and a unit that comes back to its broker is not sent megabytes that it
has.
"""

import math
from collections.abc import Sequence
from typing import Protocol

GROUP = 16  # topics at a time, of 64 KiB each: what a broker holds for us, and we for the disk
LONGEST_SECONDS = 300.0


class Subscribes(Protocol):
    """What is needed of a connection."""

    def subscribe(self, filters: Sequence[str], *, retained: bool) -> int: ...

    def unsubscribe(self, filters: Sequence[str]) -> None: ...


class RetainedFetcher:
    """Which topics are wanted, and which are subscribed to. `want` is for any thread."""

    def __init__(self, patience: float) -> None:
        """`patience`: seconds to wait for the next of what was asked for; doubles in vain."""
        self.due_at = math.inf  # when there is something to do; the link's thread only
        self._wanted: tuple[str, ...] = ()
        self._group: tuple[str, ...] = ()  # subscribed to on this connection
        self._left = 0  # of the group, when last looked at
        self._first = self._patience = patience

    def want(self, topics: Sequence[str]) -> None:
        """Say what is wanted from now on, instead of what was; in order."""
        self._wanted = tuple(topics)

    def wants(self, topic: str) -> bool:
        """Whether a message of this topic is wanted, or was a moment ago."""
        return topic in self._wanted or topic in self._group

    def begin(self) -> None:
        """Note that a new connection knows of no subscription."""
        self._group = ()
        self._left = 0

    def work(self, connection: Subscribes, now: float) -> None:
        """Subscribe to what is wanted next, leave what came."""
        wanted = self._wanted
        open_ = [topic for topic in self._group if topic in wanted]
        if self._group and not open_:
            connection.unsubscribe(self._group)
            self._group = ()
        if not wanted:
            self.due_at = math.inf
        elif not self._group or len(open_) < self._left:
            self._patience = self._first
            if self._group:
                self._left = len(open_)
                self.due_at = now + self._patience
            else:
                self._ask(connection, wanted[:GROUP], now)
        elif now >= self.due_at:
            self._patience = min(self._patience * 2, LONGEST_SECONDS)
            connection.unsubscribe(self._group)
            self._ask(connection, wanted[:GROUP], now)

    def _ask(self, connection: Subscribes, topics: tuple[str, ...], now: float) -> None:
        connection.subscribe(topics, retained=True)
        self._group = topics
        self._left = len(topics)
        self.due_at = now + self._patience
