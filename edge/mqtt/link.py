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
from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import Any

from edge.contract.envelope import CONTENT_TYPE
from edge.contract.events import OnlineStatus, Will
from edge.contract.topics import TopicKind, UnitName
from edge.errors import ErrorCode, SecretError, SenyumError
from edge.mqtt.backoff import LinkTiming
from edge.mqtt.broker_pool import BrokerEndpoint, BrokerPool
from edge.mqtt.connection import Connection, ConnectOptions, check_reachable
from edge.mqtt.credentials import check_credentials, expiry
from edge.mqtt.publisher import Publisher
from edge.mqtt.reason_codes import Action, ConnectionEnded
from edge.mqtt.subscriber import Subscription, SubscriptionManager
from edge.outbox.event_signer import EventSigner, HealthReport
from edge.outbox.replay import ReplayRequest
from edge.settings import BrokerSettings, OutboxSettings
from edge.system.event_queue import EventQueue, SelfPipe, join_until
from edge.system.journald import log_fields
from edge.system.log_once import LogOnce
from edge.types import LinkChanged

log = logging.getLogger(__name__)

DRAIN_SECONDS = 0.5  # for the last events, when closing
CHECK_SECONDS = 2.0  # for TCP, and again for TLS, to a broker before it takes over
DEFAULT_TIMING = LinkTiming()
DEFAULT_REPLAY_RATE = OutboxSettings().replay_rate
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


class ConnectionManager:
    """The link thread, which alone communicates with the brokers.

    It puts LinkChanged into `events` when a broker is connected or lost, and ReplayFinished when
    the events of a ReplayRequest have been published again. Messages to this unit go to the queues
    of `subscriptions` (`edge.mqtt.subscriber`). Waking `waker` makes it look for new events in the
    outbox.

    The constructor raises SecretError for an unusable certificate, key or password, and OutboxError
    for an outbox that cannot be read. Later errors, these included, are logged, the first of each
    kind as a warning and repetitions at debug level, and the link tries again.
    """

    def __init__(
        self,
        broker: BrokerSettings,
        outbox: Path,
        signer: EventSigner,
        *,
        session: int,
        events: EventQueue[Any],
        timing: LinkTiming = DEFAULT_TIMING,
        replay_rate: float = DEFAULT_REPLAY_RATE,
        subscriptions: Sequence[Subscription] = (),
    ) -> None:
        """`replay_rate`: how many events a second are published again at most."""
        self.name = "link"
        self.state = LinkState.IDLE
        self.waker = SelfPipe()
        self._unit = UnitName.of(signer.context.unit)
        will = Will(status=OnlineStatus.OFFLINE, session=session).model_dump_json().encode()
        self._options = ConnectOptions(
            self._unit.client_id,
            (self._unit.topic(TopicKind.STATE), will),
            content_type=CONTENT_TYPE,
        )
        self._events = events
        self._signer = signer
        self._timing = timing
        for each in broker.in_order:
            check_credentials(each)  # unusable ones are reported at once
        self._brokers = BrokerPool(broker.in_order, timing, self.waker)
        self._current = self._brokers.endpoints[0]  # connected, or tried last
        self._last_connected: BrokerEndpoint | None = None
        self._lost: BrokerEndpoint | None = None  # whose connection was lost; None once connected
        self._subscriber = SubscriptionManager(subscriptions, self.waker, timing)
        self._publisher = Publisher(
            broker,
            outbox,
            signer,
            session=session,
            events=events,
            timing=timing,
            replay_rate=replay_rate,
            subscriber=self._subscriber,
        )
        self._closing_at: float | None = None
        self._broker_log = LogOnce()
        self._credentials_log = LogOnce()
        self._stable_at = math.inf
        self._failback_wait = timing.failback_retry
        self._failback_at = self._credentials_at = 0.0
        self._expiry_logged_at = -math.inf
        self._thread = threading.Thread(target=self._run, name=self.name, daemon=True)

    def start(self) -> None:
        self._thread.start()

    @property
    def delivered(self) -> int:
        """Sequence number up to which the broker has acknowledged every event."""
        return self._publisher.delivered

    @property
    def broker(self) -> str:
        """Host and port of the broker that is connected or was tried last."""
        return self._current.where

    @property
    def error_code(self) -> ErrorCode | None:
        """Why events are not delivered now, or why the last connection ended."""
        return self._publisher.reported_error

    def request_replay(self, request: ReplayRequest) -> None:
        """Publish these events again while no other event is left; for any thread."""
        self._publisher.request_replay(request)
        self.waker.wake()

    def publish_reply(self, topic: str, payload: str | bytes, *, retain: bool = False) -> None:
        """Queue a QoS 1 message other than an event; for any thread."""
        self._subscriber.publish_reply(topic, payload, retain=retain)

    def fetch_retained(self, subscription: Subscription, topics: Sequence[str]) -> None:
        """Get the retained messages of these topics for a subscription; for any thread."""
        self._subscriber.fetch_retained(subscription, topics)

    def acknowledge(self, delivery: int) -> None:
        """Have the broker forget a message that was handled; for any thread."""
        self._subscriber.acknowledge(delivery)

    def announce(self) -> None:
        """Publish `state` again; for any thread."""
        self._publisher.request_state()
        self.waker.wake()

    def set_health(self, report: HealthReport) -> None:
        """Publish this in the next `health` messages; for any thread."""
        self._publisher.set_health(report)

    def set_health_interval(self, seconds: float) -> None:
        """Publish `health` every `seconds` from now on; for any thread."""
        self._publisher.set_health_interval(seconds)
        self.waker.wake()

    def close(self, deadline: float | None = None) -> bool:
        """Publish what is left, disconnect and end; return False if `deadline` has passed."""
        self._closing_at = time.monotonic()
        self.waker.stop()
        if self._thread.ident is None and self.state is LinkState.IDLE:  # never started
            self._publisher.close()
            self.state = LinkState.CLOSED
        return join_until(self._thread, deadline)

    def _run(self) -> None:
        try:
            self._brokers.delay_first_attempt(time.monotonic())
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
                self._current = candidate
                try:
                    candidate.connect(self._options)
                    with contextlib.closing(candidate.connection) as connection:
                        successor = self._run_connection(connection)
                except Exception as error:  # noqa: BLE001 - a link thread that ended would never deliver
                    self._connection_failed(candidate, error)
        finally:
            self._enter(LinkState.CLOSED)
            self._publisher.close()

    def _enter(self, state: LinkState) -> None:
        before, self.state = self.state, state
        if state is before:
            return
        log.debug("link %s -> %s", before, state)
        if (before in _CONNECTED) != (state in _CONNECTED):
            self._events.put(LinkChanged(state in _CONNECTED))

    def _connection_failed(self, candidate: BrokerEndpoint, error: Exception) -> None:
        """Log why there is no connection, and schedule the next try of that broker."""
        action, error_code = Action.RETRY, ErrorCode.INTERNAL
        if isinstance(error, ConnectionEnded):
            action, error_code = error.action, error.error_code
        elif isinstance(error, SecretError):
            error_code = ErrorCode.CREDENTIALS
        self._publisher.connection_lost(error_code, suspect=action is Action.SUSPECT_EVENT)
        candidate.failed(action, time.monotonic())
        # The message of an unknown error may quote an event or a secret.
        unknown = f"the link failed ({type(error).__name__})"
        self._broker_log.warn(str(error) if isinstance(error, SenyumError) else unknown, error_code)
        # Hundreds of units lost this broker in the same instant; spread their load on the next.
        if self.state is LinkState.UP:
            self._lost = candidate
            self._enter(LinkState.WAITING)
            self._wait(time.monotonic() + candidate.backoff.spread())
        elif self.state is LinkState.RECONNECTING:
            self._enter(LinkState.WAITING)

    def _wait(self, until: float) -> None:
        """Wait until a time, or until a credential file has been replaced."""
        while self._closing_at is None and (left := until - time.monotonic()) > 0:
            self.waker.wait(min(left, self._timing.credential_poll))
            if self._brokers.reset_replaced_credentials():
                return

    # --- connected -----------------------------------------------------------------------------

    def _run_connection(self, connection: Connection) -> BrokerEndpoint | None:
        """Publish until closed (return None), or until the broker that is returned is due."""
        now = time.monotonic()
        elsewhere = self._last_connected not in (None, self._current)
        self._last_connected, self._lost = self._current, None
        self._enter(LinkState.UP)
        self._stable_at = now + self._timing.stable_after
        self._credentials_at = now
        self._publisher.clear_standing_error(ErrorCode.CREDENTIALS)
        self._schedule_failback(now)
        self._publisher.connected(connection, elsewhere=elsewhere)
        successor: BrokerEndpoint | None = None
        while successor is None and not self._is_drained():
            self._publisher.poll(connection, self._supervise_at())
            successor = self._supervise(time.monotonic())
        self._publisher.publish_offline_status(connection)
        if successor is not None:
            self._enter(LinkState.RECONNECTING)
        return successor

    def _is_drained(self) -> bool:
        """Whether to disconnect: closing, and no event is left or the time for them is over."""
        if self._closing_at is None:
            return False
        late = time.monotonic() > self._closing_at + DRAIN_SECONDS
        return late or (self._publisher.is_drained and self._subscriber.has_nothing_in_flight)

    def _supervise_at(self) -> float:
        """Return when `_supervise` has something to do, as far as time alone decides."""
        failback = self._failback_at if self._brokers.preferred_to(self._current) else math.inf
        if failback <= time.monotonic():  # waits until nothing is in flight: a PUBACK wakes us
            failback = math.inf
        return min(self._stable_at, self._credentials_at, failback)

    def _supervise(self, now: float) -> BrokerEndpoint | None:
        """Watch over the connection; return the broker to reconnect to now, if any."""
        if now >= self._stable_at:
            self._stable_at = math.inf
            self._current.backoff.reset()
            if not self._brokers.preferred_to(self._current):
                self._failback_wait = self._timing.failback_retry
        # Only once it has proved useful, because some brokers accept us and then drop us.
        if self._publisher.has_delivered or self._stable_at == math.inf:
            self._broker_log.clear(f"broker {self._current.where} is reached again")
        if now >= self._credentials_at:
            self._credentials_at = now + self._timing.credential_poll
            self._report_expiry(now)
            if self._current.files.changed() and self._may_use_new_credentials(now):
                return self._current
        preferred = self._brokers.preferred_to(self._current)
        if preferred and now >= self._failback_at and self._publisher.has_nothing_in_flight:
            for candidate in preferred:
                if self._is_reachable(candidate):
                    log.info("returning to broker %s", candidate.where)
                    return candidate
            self._schedule_failback(now)
        return None

    # --- another connection --------------------------------------------------------------------

    def _schedule_failback(self, now: float) -> None:
        wait = self._failback_wait * random.uniform(0.75, 1.25)  # noqa: S311 - spreads load
        self._failback_at = now + wait
        self._failback_wait = min(self._failback_wait * 2, self._timing.max_retry)

    def _may_use_new_credentials(self, now: float) -> bool:
        """Whether to reconnect now with the files that replaced those in use."""
        try:
            check_credentials(self._current.broker)
            if not self._publisher.has_nothing_in_flight:
                return False
            check_reachable(self._current.broker, CHECK_SECONDS)
        except (SecretError, ConnectionEnded) as error:
            if isinstance(error, ConnectionEnded):
                self._credentials_at = now + self._timing.failback_retry
            self._publisher.set_standing_error(ErrorCode.CREDENTIALS)
            self._credentials_log.warn(f"{error}; {_KEPT}", ErrorCode.CREDENTIALS)
            return False
        self._credentials_log.reset()
        log.info("reconnecting with the new certificate or password")
        return True

    def _is_reachable(self, candidate: BrokerEndpoint) -> bool:
        """Whether a preferred broker can be reached."""
        try:
            check_reachable(candidate.broker, CHECK_SECONDS)
        except (SecretError, ConnectionEnded) as error:
            log.debug("the preferred broker is not reachable yet: %s", error)
            return False
        return True

    # --- certificates that expire --------------------------------------------------------------

    def _report_expiry(self, now: float) -> None:
        """Report a certificate that expires soon: in `health` always, in the log once a day."""
        today = self._signer.now_if_synchronized()
        expiring = None if today is None else expiry(self._current.broker, today)
        self._publisher.clear_standing_error(
            ErrorCode.CERTIFICATE_EXPIRES, ErrorCode.AUTHORITY_EXPIRES
        )
        if expiring is None:
            return
        error_code, message = expiring
        if self._publisher.standing_error is None:
            self._publisher.set_standing_error(error_code)
        if now >= self._expiry_logged_at + 86_400.0:
            self._expiry_logged_at = now
            log.warning("%s", message, extra=log_fields(code=error_code))
