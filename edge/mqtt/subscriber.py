"""What a link hears, and what it says beside events, state and health.

Messages are taken in by the link's thread and worked by one of their own, so that a disk which is
slow to take a command keeps no event waiting. The broker gets its PUBACK only after `heard`
returned: what the power cut short is delivered again. So a listener may hear a message twice.

What is to be said is kept in memory until the broker took it, and over a lost connection; a
restart forgets it.
"""

import logging
import math
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from paho.mqtt.client import topic_matches_sub

from edge.contract.topics import UnitName
from edge.errors import ErrorCode
from edge.mqtt.connection import Connection, PubAck, ReceivedMessage
from edge.mqtt.link_timing import LinkTiming
from edge.mqtt.retained_fetcher import RetainedFetcher
from edge.system.log_once import LogOnce

log = logging.getLogger(__name__)

CAPACITY = 40  # messages that may wait: twice what a broker may have on its way to us
SAID = 64  # messages that may wait to be sent
_NO_CONNECTION = 0  # the first is 1


class MessageHandler(Protocol):
    """Somebody who wants to hear what is published to this unit."""

    def filters(self, unit: UnitName) -> tuple[str, ...]:
        """Return the topic filters to subscribe to."""
        ...

    def heard(self, topic: str, payload: bytes, retained: bool) -> None:
        """Take a message in; the broker forgets it once this returns, or raises.

        Called from the listening thread, one message after another.
        """
        ...


@dataclass(frozen=True, slots=True)
class _Reply:
    topic: str
    payload: str | bytes
    retain: bool


@dataclass(frozen=True, slots=True)
class _Inbound:
    listener: MessageHandler
    heard: ReceivedMessage
    connection: int  # which one it came by: its packet id means nothing on the next


class SubscriptionWorker(threading.Thread):
    """The ears and the voice of one link.

    `say` and `close` are for any thread; all else is for the link's, which `wake` wakes.
    """

    def __init__(
        self,
        unit: UnitName,
        listeners: Sequence[MessageHandler],
        wake: Callable[[], None],
        pace: LinkTiming,
    ) -> None:
        super().__init__(name="listening", daemon=True)
        self.trouble: ErrorCode | None = None
        self._subscribe_at = math.inf
        self.overheard = 0  # messages that found no room
        self._listeners = tuple((each, each.filters(unit)) for each in listeners)
        self._wake = wake
        self._pace = pace
        self._connection = 0
        self._mid = 0  # of the SUBSCRIBE that is not answered
        self._known = False  # whether a broker has sent us its retained messages
        self._about = LogOnce()
        self._fetching = RetainedFetcher(pace.fetch_timeout)
        self._fetcher: MessageHandler | None = None
        self._changed = threading.Condition()
        self._inbox: deque[_Inbound] = deque()
        self._repeats: dict[MessageHandler, tuple[float, ReceivedMessage]] = {}  # when, monotonic
        self._closing = False
        self._done: deque[_Inbound] = deque()
        self._saying: deque[_Reply] = deque(maxlen=SAID)
        self._flying: dict[int, _Reply] = {}

    # --- for any thread ------------------------------------------------------------------------

    def publish_reply(self, topic: str, payload: str | bytes, *, retain: bool = False) -> None:
        """Queue a QoS 1 message that is no event; a restart forgets it.

        The oldest is dropped where too many wait.
        """
        self._saying.append(_Reply(topic, payload, retain))
        self._wake()

    def fetch_retained(self, listener: MessageHandler, topics: Sequence[str]) -> None:
        """Get the retained messages of these topics for a listener, instead of what it wanted."""
        self._fetcher = listener
        self._fetching.want(topics)
        self._wake()

    def again(self, listener: MessageHandler, topic: str, payload: bytes, seconds: float) -> None:
        """Deliver a message to a listener again after some seconds; it replaces an earlier one.

        A restart forgets it.
        """
        with self._changed:
            self._repeats[listener] = (
                time.monotonic() + seconds,
                ReceivedMessage(topic, payload, False, 0),
            )
            self._changed.notify()

    def close(self, timeout: float) -> bool:
        """Finish the message in hand, leave the rest to the broker; False if that took longer."""
        with self._changed:
            self._closing = True
            self._changed.notify()
        if self.is_alive():
            self.join(timeout)
        return not self.is_alive()

    def run(self) -> None:
        while (work := self._next()) is not None:
            heard = work.heard
            try:
                work.listener.heard(heard.topic, heard.payload, heard.retained)
            except Exception as error:  # noqa: BLE001 - a message never ends the thread
                # Without a traceback, which may quote the message.
                log.error("a message was not understood (%s)", type(error).__name__)  # noqa: TRY400
            self._done.append(work)
            self._wake()

    def _next(self) -> _Inbound | None:
        with self._changed:
            while not self._closing and not self._inbox:
                now = time.monotonic()
                for listener, (at, heard) in list(self._repeats.items()):
                    if at <= now:
                        del self._repeats[listener]
                        return _Inbound(listener, heard, _NO_CONNECTION)
                first = min((at for at, _ in self._repeats.values()), default=None)
                self._changed.wait(None if first is None else first - now)
            return None if self._closing else self._inbox.popleft()

    # --- for the link's thread -----------------------------------------------------------------

    @property
    def due_at(self) -> float:
        """When there is something to do, as far as time decides."""
        return min(self._subscribe_at, self._fetching.due_at)

    @property
    def in_flight(self) -> int:
        """How many messages wait for the broker's answer."""
        return len(self._flying)

    @property
    def has_nothing_in_flight(self) -> bool:
        """Whether nothing is left to be said or acknowledged."""
        return not (self._saying or self._flying or self._done)

    def begin(self, connection: Connection) -> None:
        """Subscribe on a new connection, and say again what the last one lost."""
        self._connection += 1
        self._saying.extendleft(reversed(self._flying.values()))
        self._flying.clear()
        self._done.clear()
        self._fetching.begin()
        self._subscribe(connection)

    def work(self, connection: Connection, room: int) -> None:
        """Acknowledge what is done and say what is to be said, at most `room` messages."""
        while self._done:
            done = self._done.popleft()
            if done.connection == self._connection:
                connection.acknowledge(done.heard)
        while self._saying and room > 0:
            said = self._saying.popleft()
            if not connection.max_packet_size(said.topic, said.payload):
                self._about.warn("an answer is not sent: the broker takes no packet so large")
                continue
            mid = connection.publish(said.topic, said.payload, qos=1, retain=said.retain)
            self._flying[mid] = said
            room -= 1
        now = time.monotonic()
        if now >= self._subscribe_at:
            if self._mid:
                self._not_subscribed("no answer")
            else:
                self._subscribe(connection)
        self._fetching.work(connection, now)

    def take(self, connection: Connection) -> None:
        """Hand over what came by the connection."""
        while connection.granted:
            granted = connection.granted.popleft()
            refused = [str(each) for each in granted.reasons if each.is_failure]
            if granted.mid == self._mid:
                self._answered_subscribe(refused)
            elif refused:
                self._about.warn(
                    f"the broker does not let this unit fetch its roster ({refused[0]})"
                )
        while connection.heard:
            heard = connection.heard.popleft()
            listener = self._listener(heard.topic)
            with self._changed:
                room = len(self._inbox) < CAPACITY
                if listener is not None and room:
                    self._inbox.append(_Inbound(listener, heard, self._connection))
                    self._changed.notify()
                    continue
            if listener is not None:
                self.overheard += 1
                self._about.warn("more messages come to this unit than it can work; some are lost")
            connection.acknowledge(heard)

    def answered(self, ack: PubAck) -> bool:
        """Note the broker's answer; False where it is to none of these messages."""
        said = self._flying.pop(ack.mid, None)
        if said is not None and ack.reason.is_failure:
            self._about.warn(f"the broker does not take our answers ({ack.reason})")
        return said is not None

    def _listener(self, topic: str) -> MessageHandler | None:
        for listener, filters in self._listeners:
            if any(topic_matches_sub(each, topic) for each in filters):
                return listener
        return self._fetcher if self._fetching.wants(topic) else None

    def _subscribe(self, connection: Connection) -> None:
        filters = [each for _, of_one in self._listeners for each in of_one]
        if not filters:
            return
        # What is retained is sent again to who comes back, and may be megabytes.
        self._mid = connection.subscribe(filters, retained=not self._known)
        self._subscribe_at = time.monotonic() + self._pace.puback_timeout

    def _answered_subscribe(self, refused: Sequence[str]) -> None:
        if refused:
            self._not_subscribed(refused[0])
            return
        if not self._known:
            log.info("commands to this unit are heard")
        self._mid, self._known, self._subscribe_at, self.trouble = 0, True, math.inf, None
        self._about.clear("commands are heard again")

    def _not_subscribed(self, why: str) -> None:
        self._mid = 0
        self._subscribe_at = time.monotonic() + self._pace.operator_retry
        self.trouble = ErrorCode.NOT_LISTENING
        self._about.warn(
            f"the broker does not let this unit hear its commands ({why}); let it read its own "
            "topics in the broker's access list"
        )
