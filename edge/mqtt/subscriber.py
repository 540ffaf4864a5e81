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
from edge.mqtt.connection import Connection, PubAck, ReceivedMessage
from edge.system.event_queue import EventQueue, SelfPipe
from edge.system.log_once import LogOnce
from edge.types import MessageReceived

log = logging.getLogger(__name__)

CAPACITY = 40  # messages not acknowledged by a consumer: twice what a broker may have in flight
REPLIES = 64  # that may wait to be published
FETCH_GROUP = 16  # topics fetched at a time, of 64 KiB each, to bound the queues of both sides
LONGEST_FETCH_SECONDS = 300.0


@dataclass(frozen=True, slots=True, eq=False)
class Subscription:
    """Topics to subscribe to, and the queue that gets their messages as `message` objects."""

    filters: tuple[str, ...]
    message: type[MessageReceived]
    queue: EventQueue[Any]


@dataclass(frozen=True, slots=True)
class FetchStep:
    """Topics to unsubscribe from, then topics to subscribe to."""

    unsubscribe: tuple[str, ...] = ()
    subscribe: tuple[str, ...] = ()


class RetainedFetcher:
    """Fetches retained messages, one group of topics after another. Pure: no socket, no clock.

    A broker sends the retained message of a topic on SUBSCRIBE. So a topic is subscribed to when
    its message is wanted and unsubscribed from when it has arrived; a message that did not arrive
    is requested again, with back-off. A unit that reconnects is thus not sent megabytes that it
    already has. `fetch` and `is_wanted` are for any thread.
    """

    def __init__(self, timeout: float) -> None:
        """`timeout`: seconds to wait for the next message; doubles while none arrives."""
        self.due_at = math.inf  # when to call `poll`
        self._wanted: tuple[str, ...] = ()
        self._group: tuple[str, ...] = ()  # subscribed to on this connection
        self._missing = 0  # how many of the group had not arrived at the last `poll`
        self._first_timeout = self._timeout = timeout

    def fetch(self, topics: Sequence[str]) -> None:
        """Set the topics whose messages are wanted from now on, in order."""
        self._wanted = tuple(topics)

    def is_wanted(self, topic: str) -> bool:
        """Whether the message of this topic is wanted, or was until recently."""
        return topic in self._wanted or topic in self._group

    def connected(self) -> None:
        """Note a new connection, which has no subscription."""
        self._group = ()
        self._missing = 0

    def poll(self, now: float) -> FetchStep:
        """Return the subscriptions to end and to make."""
        wanted, group = self._wanted, self._group
        missing = [topic for topic in group if topic in wanted]
        if not wanted:
            self.due_at = math.inf
            self._group = ()
            return FetchStep(unsubscribe=group)
        if len(missing) < self._missing:
            self._timeout = self._first_timeout
            if not missing:
                return self._request(now)
            self._missing = len(missing)
            self.due_at = now + self._timeout
        elif not group:
            self._timeout = self._first_timeout
            return self._request(now)
        elif now >= self.due_at:
            self._timeout = min(self._timeout * 2, LONGEST_FETCH_SECONDS)
            return self._request(now)
        return FetchStep()

    def _request(self, now: float) -> FetchStep:
        step = FetchStep(unsubscribe=self._group, subscribe=self._wanted[:FETCH_GROUP])
        self._group = step.subscribe
        self._missing = len(self._group)
        self.due_at = now + self._timeout
        return step


@dataclass(frozen=True, slots=True)
class _Reply:
    topic: str
    payload: str | bytes
    retain: bool


@dataclass(frozen=True, slots=True)
class _Delivery:
    received: ReceivedMessage
    connection: int  # which one it came by: its packet id means nothing on the next


class SubscriptionManager:
    """Handles subscriptions, incoming messages and replies of one link.

    `publish_reply`, `fetch_retained` and `acknowledge` are thread-safe; call everything else from
    the link thread.
    """

    def __init__(
        self, subscriptions: Sequence[Subscription], waker: SelfPipe, timing: LinkTiming
    ) -> None:
        self.error_code: ErrorCode | None = None
        self.dropped = 0  # messages that found no room
        self._subscriptions = tuple(subscriptions)
        self._waker = waker
        self._timing = timing
        self._connection = 0
        self._subscribe_at = math.inf
        self._subscribe_id = 0  # of the SUBSCRIBE that is not answered
        self._known = False  # whether a broker has sent us its retained messages
        self._log_once = LogOnce()
        self._fetcher = RetainedFetcher(timing.fetch_timeout)
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
        self._fetcher.fetch(topics)
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
        return min(self._subscribe_at, self._fetcher.due_at)

    @property
    def in_flight(self) -> int:
        """How many messages wait for the broker's answer."""
        return len(self._in_flight)

    @property
    def has_nothing_in_flight(self) -> bool:
        """Whether no reply or acknowledgement is left to be sent."""
        return not (self._replies or self._in_flight or self._done)

    def connected(self, connection: Connection) -> None:
        """Subscribe on a new connection, and publish again the replies that the last one lost."""
        self._connection += 1
        self._replies.extendleft(reversed(self._in_flight.values()))
        self._in_flight.clear()
        self._fetcher.connected()
        self._subscribe(connection)

    def poll(self, connection: Connection, room: int) -> None:
        """Send acknowledgements and at most `room` replies; subscribe if it is time to."""
        while self._done:
            delivery = self._deliveries.pop(self._done.popleft(), None)
            if delivery is not None and delivery.connection == self._connection:
                connection.acknowledge(delivery.received)
        while self._replies and room > 0:
            reply = self._replies.popleft()
            if not connection.fits(reply.topic, reply.payload):
                self._log_once.warn("a reply is not sent: the broker accepts no packet of its size")
                continue
            mid = connection.publish(reply.topic, reply.payload, qos=1, retain=reply.retain)
            self._in_flight[mid] = reply
            room -= 1
        now = time.monotonic()
        if now >= self._subscribe_at:
            if self._subscribe_id:
                self._subscription_failed("no answer")
            else:
                self._subscribe(connection)
        step = self._fetcher.poll(now)
        if step.unsubscribe:
            connection.unsubscribe(step.unsubscribe)
        if step.subscribe:
            connection.subscribe(step.subscribe, retained=True)

    def receive(self, connection: Connection) -> None:
        """Process what came by the connection."""
        while connection.subacks:
            suback = connection.subacks.popleft()
            refused = [str(each) for each in suback.reasons if each.is_failure]
            if suback.mid == self._subscribe_id:
                self._process_suback(refused)
            elif refused:
                self._log_once.warn(
                    f"the broker refuses the subscription to this unit's roster ({refused[0]})"
                )
        while connection.received:
            self._deliver(connection, connection.received.popleft())

    def process_puback(self, ack: PubAck) -> bool:
        """Note the broker's answer; False if it is not to one of these messages."""
        reply = self._in_flight.pop(ack.mid, None)
        if reply is not None and ack.reason.is_failure:
            self._log_once.warn(f"the broker refuses a reply ({ack.reason})")
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
            self._log_once.warn("messages arrive faster than they are processed; some are lost")
        connection.acknowledge(received)

    def _subscription(self, topic: str) -> Subscription | None:
        for subscription in self._subscriptions:
            if any(topic_matches_sub(each, topic) for each in subscription.filters):
                return subscription
        return self._fetches if self._fetcher.is_wanted(topic) else None

    def _subscribe(self, connection: Connection) -> None:
        filters = [each for one in self._subscriptions for each in one.filters]
        if not filters:
            return
        # Otherwise the broker would send megabytes of retained messages on every reconnect.
        self._subscribe_id = connection.subscribe(filters, retained=not self._known)
        self._subscribe_at = time.monotonic() + self._timing.puback_timeout

    def _process_suback(self, refused: Sequence[str]) -> None:
        if refused:
            self._subscription_failed(refused[0])
            return
        if not self._known:
            log.info("receiving commands")
        self._subscribe_id, self._known, self._subscribe_at, self.error_code = (
            0,
            True,
            math.inf,
            None,
        )
        self._log_once.clear("receiving commands again")

    def _subscription_failed(self, why: str) -> None:
        self._subscribe_id = 0
        self._subscribe_at = time.monotonic() + self._timing.operator_retry
        self.error_code = ErrorCode.NOT_LISTENING
        self._log_once.warn(
            f"the broker refuses the subscription to this unit's commands ({why}); let it "
            "read its own topics in the broker's access list"
        )
