"""Keeps the device connected to its preferred broker, and the publisher supplied with a connection.

                                      CONNACK success
                       CONNECTING ──────────────────▶ UP
                         ▲    │ refused, unreachable   │ │ preferred broker due, or files replaced
                         │    │            failed      │ ▼
              one is due │    │    ┌──────────────── RECONNECTING ──▶ UP
                         │    ▼    ▼                   │
    IDLE ─────────────▶ WAITING ◀──────────────────────┘ lost
           start              close, from any state ──▶ CLOSED

One thread does all of this, and `_enter` is the one place that changes the state. Which broker is
tried when: `edge.mqtt.broker_pool`. What its answers lead to: `edge.mqtt.reason_codes`. A working
connection is left for another one in two cases, both only while no event is in flight:

- for a preferred broker, every `LinkTiming.failback_retry` seconds, and less often each time that
  it cannot be reached or does not last;
- for a new certificate, key or password, when their files were replaced.

Before that, `check_reachable` dials the other broker, or the same with the new files. If that fails
the connection is kept. Otherwise it is closed and opened again; the outbox keeps what happens
meanwhile, and RECONNECTING counts as connected until it fails.
"""

import contextlib
import logging
import math
import random
import threading
import time
from collections.abc import Callable, Sequence
from enum import StrEnum
from pathlib import Path

from edge.contract.envelope import CONTENT_TYPE
from edge.contract.events import OnlineStatus, Will
from edge.contract.topics import TopicKind, UnitName
from edge.errors import ErrorCode, SecretError, SenyumError
from edge.mqtt.backoff import LinkTiming
from edge.mqtt.broker_pool import BrokerEndpoint, BrokerPool
from edge.mqtt.connection import Connection, ConnectOptions, SelfPipe, check_reachable
from edge.mqtt.credentials import check_credentials, expiry
from edge.mqtt.publisher import Publisher, ReplaySource
from edge.mqtt.reason_codes import Action, ConnectionEnded
from edge.mqtt.subscriber import Subscriber, Subscription
from edge.outbox.event_signer import EventSigner, HealthReport
from edge.outbox.store import OutboxReader
from edge.settings import BrokerSettings
from edge.system.journald import log_fields
from edge.system.log_once import LogOnce

log = logging.getLogger(__name__)

DRAIN_SECONDS = 0.5  # for the last events, when closing
CHECK_SECONDS = 2.0  # for TCP, and again for TLS, to a broker before it takes over
PACE = LinkTiming()
_KEPT = "the connection made with the old one is kept"


class LinkState(StrEnum):
    """Where the link stands."""

    IDLE = "idle"
    CONNECTING = "connecting"
    UP = "up"
    RECONNECTING = "reconnecting"
    WAITING = "waiting"
    CLOSED = "closed"


_CONNECTED = frozenset({LinkState.UP, LinkState.RECONNECTING})


class ConnectionManager(threading.Thread):
    """The one thread that talks to the broker.

    `changed` is called from it with True when a broker is reached and False when it is lost;
    `vitals` once a minute while it is up. Raises SecretError for an unusable certificate, key or
    password, and OutboxError for an outbox that cannot be read; later troubles, these among them,
    are logged, once loudly and then quietly, and tried again. `archive` is built on the link's
    reader and asked, while nothing else is to be sent, for what to send once more. Messages to the
    unit go to the queues of `subscriptions` (`edge.mqtt.subscriber`).
    """

    def __init__(
        self,
        broker: BrokerSettings,
        outbox: Path,
        sealer: EventSigner,
        *,
        session: int,
        changed: Callable[[bool], object],
        vitals: Callable[[], HealthReport] = HealthReport,
        pace: LinkTiming = PACE,
        archive: Callable[[OutboxReader], ReplaySource] | None = None,
        subscriptions: Sequence[Subscription] = (),
    ) -> None:
        super().__init__(name="link", daemon=True)
        self.state = LinkState.IDLE
        self._unit = UnitName.of(sealer.context.unit)
        will = Will(status=OnlineStatus.OFFLINE, session=session).model_dump_json().encode()
        self._hello = ConnectOptions(
            self._unit.client_id,
            (self._unit.topic(TopicKind.STATE), will),
            content_type=CONTENT_TYPE,
        )
        self._changed = changed
        self._sealer = sealer
        self._pace = pace
        for each in broker.in_order:
            check_credentials(each)  # unusable ones are reported at once
        self._waker = SelfPipe()
        self._brokers = BrokerPool(broker.in_order, pace, self._waker)
        self._at = self._brokers.all[0]  # the broker that is connected, or was tried last
        self._served: BrokerEndpoint | None = None  # the last that was connected
        self._lost: BrokerEndpoint | None = None  # the same, until there is a connection again
        self._listening = Subscriber(subscriptions, self._waker, pace)
        self._courier = Publisher(
            broker,
            outbox,
            sealer,
            session=session,
            vitals=vitals,
            pace=pace,
            archive=archive,
            listening=self._listening,
        )
        self._closing_at: float | None = None
        self._about_broker = LogOnce()
        self._about_files = LogOnce()
        self._settled_at = math.inf
        self._back_seconds = pace.failback_retry
        self._back_at = self._files_at = 0.0
        self._announced_at = -math.inf

    @property
    def delivered(self) -> int:
        """The newest event that the broker took, with all before it."""
        return self._courier.delivered

    @property
    def broker(self) -> str:
        """Host and port of the broker that is connected, or was tried last."""
        return self._at.where

    @property
    def trouble(self) -> ErrorCode | None:
        """What stands in the way of events now, or ended the last connection."""
        courier = self._courier
        return courier.error_code or courier.standing or courier.before or self._listening.trouble

    def wake(self) -> None:
        """Look into the outbox now; for any thread."""
        self._waker.wake()

    def publish_reply(self, topic: str, payload: str | bytes, *, retain: bool = False) -> None:
        """Queue a QoS 1 message other than an event; for any thread."""
        self._listening.publish_reply(topic, payload, retain=retain)

    def fetch_retained(self, subscription: Subscription, topics: Sequence[str]) -> None:
        """Get the retained messages of these topics for a subscription; for any thread."""
        self._listening.fetch_retained(subscription, topics)

    def acknowledge(self, delivery: int) -> None:
        """Have the broker forget a message that was handled; for any thread."""
        self._listening.acknowledge(delivery)

    def announce(self) -> None:
        """Publish `state` again; for any thread."""
        self._courier.announce()
        self._waker.wake()

    def report_every(self, seconds: float) -> None:
        """Send `health` so often; for any thread."""
        self._courier.health_seconds = seconds
        self._waker.wake()

    def close(self, timeout: float = 2.0) -> bool:
        """Send what can be sent at once, say goodbye, and end; False if that took too long."""
        until = time.monotonic() + timeout
        self._closing_at = time.monotonic()
        self._waker.stop()
        if self.is_alive():
            self.join(max(0.0, until - time.monotonic()))
        elif self.state is LinkState.IDLE:
            self._courier.close()
            self.state = LinkState.CLOSED
        return not self.is_alive()

    def run(self) -> None:
        try:
            self._brokers.begin(time.monotonic())
            successor: BrokerEndpoint | None = None
            while self._closing_at is None:
                candidate = successor or self._brokers.due(time.monotonic(), self._lost)
                successor = None
                if candidate is None:
                    self._enter(LinkState.WAITING)
                    self._wait(self._brokers.due_at)
                    continue
                if self.state is not LinkState.RECONNECTING:
                    self._enter(LinkState.CONNECTING)
                self._at = candidate
                try:
                    candidate.connect(self._hello)
                    with contextlib.closing(candidate.connection) as connection:
                        successor = self._serve(connection)
                except Exception as error:  # noqa: BLE001 - a dead link never delivers again
                    self._failed(candidate, error)
        finally:
            self._enter(LinkState.CLOSED)
            self._courier.close()

    def _enter(self, state: LinkState) -> None:
        before, self.state = self.state, state
        if state is before:
            return
        log.debug("link %s -> %s", before, state)
        if (before in _CONNECTED) != (state in _CONNECTED):
            self._changed(state in _CONNECTED)

    def _failed(self, candidate: BrokerEndpoint, error: Exception) -> None:
        """Say why there is no connection, and when that broker is tried again."""
        ended = error if isinstance(error, ConnectionEnded) else None
        remedy = Action.AGAIN if ended is None else ended.remedy
        trouble = ErrorCode.CREDENTIALS if isinstance(error, SecretError) else ErrorCode.INTERNAL
        self._courier.connection_lost(ended)
        self._courier.before = trouble = trouble if ended is None else ended.trouble
        candidate.failed(remedy, time.monotonic())
        # What an unknown error says may quote an event or a secret.
        unknown = f"the link failed ({type(error).__name__})"
        self._about_broker.warn(str(error) if isinstance(error, SenyumError) else unknown, trouble)
        # Hundreds of units lost it in the same instant; the next is not to be stormed.
        if self.state is LinkState.UP:
            self._lost = candidate
            self._enter(LinkState.WAITING)
            self._wait(time.monotonic() + candidate.backoff.spread())
        elif self.state is LinkState.RECONNECTING:
            self._enter(LinkState.WAITING)

    def _wait(self, until: float) -> None:
        """Wait, but look now and then whether a person has replaced a file meanwhile."""
        while self._closing_at is None and (left := until - time.monotonic()) > 0:
            self._waker.wait(min(left, self._pace.credential_poll))
            if self._brokers.renewed():
                return

    # --- connected -----------------------------------------------------------------------------

    def _serve(self, connection: Connection) -> BrokerEndpoint | None:
        """Carry events until closed, or until another connection is due: return its broker."""
        now = time.monotonic()
        elsewhere = self._served not in (None, self._at)
        self._served, self._lost = self._at, None
        self._enter(LinkState.UP)
        self._settled_at = now + self._pace.settled
        self._files_at = now
        if self._courier.standing is ErrorCode.CREDENTIALS:
            self._courier.standing = None
        self._plan_return(now)
        self._courier.begin(connection, elsewhere=elsewhere)
        successor: BrokerEndpoint | None = None
        while successor is None and not self._done():
            self._courier.work(connection, self._next_look())
            successor = self._supervise(time.monotonic())
        self._courier.publish_offline_status(connection)
        if successor is not None:
            self._enter(LinkState.RECONNECTING)
        return successor

    def _done(self) -> bool:
        """Whether to say goodbye: closed, and all events sent or the time for them is over."""
        if self._closing_at is None:
            return False
        late = time.monotonic() > self._closing_at + DRAIN_SECONDS
        return late or (self._courier.done and self._listening.has_nothing_in_flight)

    def _next_look(self) -> float:
        """Return when `_supervise` has something to do, as far as time alone decides."""
        back = self._back_at if self._brokers.better(self._at) else math.inf
        if back <= time.monotonic():  # waits until nothing is in flight: a PUBACK wakes us
            back = math.inf
        return min(self._settled_at, self._files_at, back)

    def _supervise(self, now: float) -> BrokerEndpoint | None:
        """Watch over the connection; return the broker to reconnect to now, if any."""
        if now >= self._settled_at:
            self._settled_at = math.inf
            self._at.backoff.reset()
            if not self._brokers.better(self._at):
                self._back_seconds = self._pace.failback_retry
        # Only once it has proved useful, because some brokers accept us and then drop us.
        if self._courier.carried or self._settled_at == math.inf:
            self._about_broker.clear(f"broker {self._at.where} is reached again")
        if now >= self._files_at:
            self._files_at = now + self._pace.credential_poll
            self._announce(now)
            if self._at.files.changed() and self._usable(now):
                return self._at
        better = self._brokers.better(self._at)
        if better and now >= self._back_at and self._courier.has_nothing_in_flight:
            for candidate in better:
                if self._reachable(candidate):
                    log.info("returning to broker %s", candidate.where)
                    return candidate
            self._plan_return(now)
        return None

    # --- another connection --------------------------------------------------------------------

    def _plan_return(self, now: float) -> None:
        wait = self._back_seconds * random.uniform(0.75, 1.25)  # noqa: S311 - spreads load
        self._back_at = now + wait
        self._back_seconds = min(self._back_seconds * 2, self._pace.max_retry)

    def _usable(self, now: float) -> bool:
        """Whether to reconnect now with the files that replaced those in use."""
        try:
            check_credentials(self._at.broker)
            if not self._courier.has_nothing_in_flight:
                return False
            check_reachable(self._at.broker, CHECK_SECONDS)
        except (SecretError, ConnectionEnded) as error:
            if isinstance(error, ConnectionEnded):
                self._files_at = now + self._pace.failback_retry
            self._courier.standing = ErrorCode.CREDENTIALS
            self._about_files.warn(f"{error}; {_KEPT}", ErrorCode.CREDENTIALS)
            return False
        self._about_files.reset()
        log.info("reconnecting with the new certificate or password")
        return True

    def _reachable(self, candidate: BrokerEndpoint) -> bool:
        """Whether a preferred broker can be reached."""
        try:
            check_reachable(candidate.broker, CHECK_SECONDS)
        except (SecretError, ConnectionEnded) as error:
            log.debug("the preferred broker is not reachable yet: %s", error)
            return False
        return True

    # --- certificates that end -----------------------------------------------------------------

    def _announce(self, now: float) -> None:
        """Tell of a certificate that ends soon: in health always, in the log once a day."""
        today = self._sealer.now_if_synchronized()
        ending = None if today is None else expiry(self._at.broker, today)
        told = (ErrorCode.CERTIFICATE_EXPIRES, ErrorCode.AUTHORITY_EXPIRES)
        if ending is None:
            if self._courier.standing in told:
                self._courier.standing = None
            return
        trouble, sentence = ending
        if self._courier.standing in (None, *told):
            self._courier.standing = trouble
        if now >= self._announced_at + 86_400.0:
            self._announced_at = now
            log.warning("%s", sentence, extra=log_fields(code=trouble))
