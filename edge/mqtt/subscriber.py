"""Subscriptions, incoming messages and replies of the broker link.

The link thread puts each incoming message into the queue of its subscription. The broker gets its
PUBACK only when the consumer acknowledges the message, so that a power cut before that makes the
broker deliver it again. A consumer may therefore receive a message twice.

Replies are kept in memory until the broker has taken them, also over a lost connection; a restart
forgets them.
"""

import itertools
import logging
import math
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from paho.mqtt.client import topic_matches_sub

from edge.errors import ErrorCode
from edge.mqtt.backoff import LinkTiming
from edge.mqtt.connection import Connection, PubAck, ReceivedMessage, SelfPipe
from edge.mqtt.retained_fetcher import RetainedFetcher
from edge.system.event_queue import EventQueue
from edge.system.log_once import LogOnce
from edge.types import MessageReceived

log = logging.getLogger(__name__)

CAPACITY = 40  # messages not acknowledged by a consumer: twice what a broker may have in flight
REPLIES = 64  # that may wait to be published


@dataclass(frozen=True, slots=True, eq=False)
class Subscription:
    """Topics to subscribe to, and the queue that gets their messages as `message` objects."""

    filters: tuple[str, ...]
    message: type[MessageReceived]
    queue: EventQueue[Any]


@dataclass(frozen=True, slots=True)
class _Reply:
    topic: str
    payload: str | bytes
    retain: bool


@dataclass(frozen=True, slots=True)
class _Delivery:
    received: ReceivedMessage
    connection: int  # which one it came by: its packet id means nothing on the next


class Subscriber:
    """Handles subscriptions, incoming messages and replies of one link.

    `publish_reply`, `fetch_retained` and `acknowledge` are thread-safe; call everything else from
    the link thread.
    """

    def __init__(
        self, subscriptions: Sequence[Subscription], waker: SelfPipe, pace: LinkTiming
    ) -> None:
        self.trouble: ErrorCode | None = None
        self.dropped = 0  # messages that found no room
        self._subscriptions = tuple(subscriptions)
        self._waker = waker
        self._pace = pace
        self._connection = 0
        self._subscribe_at = math.inf
        self._mid = 0  # of the SUBSCRIBE that is not answered
        self._known = False  # whether a broker has sent us its retained messages
        self._about = LogOnce()
        self._fetching = RetainedFetcher(pace.fetch_timeout)
        self._fetches: Subscription | None = None
        self._numbers = itertools.count(1)
        self._deliveries: dict[int, _Delivery] = {}  # not acknowledged by their consumers
        self._done: deque[int] = deque()
        self._replies: deque[_Reply] = deque(maxlen=REPLIES)
        self._in_flight: dict[int, _Reply] = {}

    # --- for any thread ------------------------------------------------------------------------

    def publish_reply(self, topic: str, payload: str | bytes, *, retain: bool = False) -> None:
        """Queue a QoS 1 message other than an event; a restart forgets it.

        The oldest is dropped if too many wait.
        """
        self._replies.append(_Reply(topic, payload, retain))
        self._waker.wake()

    def fetch_retained(self, subscription: Subscription, topics: Sequence[str]) -> None:
        """Get the retained messages of these topics instead of those fetched before."""
        self._fetches = subscription
        self._fetching.want(topics)
        self._waker.wake()

    def acknowledge(self, delivery: int) -> None:
        """Send the broker its PUBACK of a message; it will not deliver it again."""
        if delivery:
            self._done.append(delivery)
            self._waker.wake()

    # --- for the link's thread -----------------------------------------------------------------

    @property
    def due_at(self) -> float:
        """When there is something to do, as far as time decides."""
        return min(self._subscribe_at, self._fetching.due_at)

    @property
    def in_flight(self) -> int:
        """How many messages wait for the broker's answer."""
        return len(self._in_flight)

    @property
    def has_nothing_in_flight(self) -> bool:
        """Whether no reply or acknowledgement is left to be sent."""
        return not (self._replies or self._in_flight or self._done)

    def begin(self, connection: Connection) -> None:
        """Subscribe on a new connection, and publish again the replies that the last one lost."""
        self._connection += 1
        self._replies.extendleft(reversed(self._in_flight.values()))
        self._in_flight.clear()
        self._fetching.begin()
        self._subscribe(connection)

    def work(self, connection: Connection, room: int) -> None:
        """Send acknowledgements and at most `room` replies; subscribe if it is time to."""
        while self._done:
            delivery = self._deliveries.pop(self._done.popleft(), None)
            if delivery is not None and delivery.connection == self._connection:
                connection.acknowledge(delivery.received)
        while self._replies and room > 0:
            reply = self._replies.popleft()
            if not connection.max_packet_size(reply.topic, reply.payload):
                self._about.warn("an answer is not sent: the broker takes no packet so large")
                continue
            mid = connection.publish(reply.topic, reply.payload, qos=1, retain=reply.retain)
            self._in_flight[mid] = reply
            room -= 1
        now = time.monotonic()
        if now >= self._subscribe_at:
            if self._mid:
                self._not_subscribed("no answer")
            else:
                self._subscribe(connection)
        self._fetching.work(connection, now)

    def take(self, connection: Connection) -> None:
        """Process what came by the connection."""
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
            self._deliver(connection, connection.heard.popleft())

    def answered(self, ack: PubAck) -> bool:
        """Note the broker's answer; False if it is not to one of these messages."""
        reply = self._in_flight.pop(ack.mid, None)
        if reply is not None and ack.reason.is_failure:
            self._about.warn(f"the broker does not take our answers ({ack.reason})")
        return reply is not None

    def _deliver(self, connection: Connection, received: ReceivedMessage) -> None:
        """Queue a message for its consumer, or drop it if too many wait."""
        subscription = self._subscription(received.topic)
        if subscription is not None:
            if len(self._deliveries) < CAPACITY:
                number = next(self._numbers)
                self._deliveries[number] = _Delivery(received, self._connection)
                subscription.queue.put(
                    subscription.message(
                        received.topic, received.payload, received.retained, number
                    )
                )
                return
            self.dropped += 1
            self._about.warn("more messages come to this unit than it can work; some are lost")
        connection.acknowledge(received)

    def _subscription(self, topic: str) -> Subscription | None:
        for subscription in self._subscriptions:
            if any(topic_matches_sub(each, topic) for each in subscription.filters):
                return subscription
        return self._fetches if self._fetching.wants(topic) else None

    def _subscribe(self, connection: Connection) -> None:
        filters = [each for one in self._subscriptions for each in one.filters]
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
