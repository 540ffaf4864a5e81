"""Keeps a connection to the best broker there is, for the courier to carry events over.

                                      CONNACK success
                       CONNECTING ──────────────────▶ UP ◀─┐ another connection, made beside
                         ▲    │ refused, unreachable   ├───┘ this one, takes its place
              one is due │    ▼                        │ lost
    IDLE ─────────────▶ WAITING ◀──────────────────────┘
           start              close, from any state ──▶ CLOSED

One thread does it all, and `_enter` is the one place that changes the state. Which broker is
tried when: `edge.mqtt.broker_pool`. What its answers lead to: `edge.mqtt.reason_codes`. While
connected, a scout dials beside the connection, and this is left only for one that stands already:

- back to a better broker, every `LinkTiming.failback_retry` seconds, and less often each time
  that it fails or the better one did not last;
- with a new certificate, key or password, when their files were replaced.

Both begin only at a moment when no event is on its way.
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
from edge.errors import ErrorCode, LinkError, SecretError, SenyumError
from edge.mqtt.broker_pool import BrokerEndpoint, BrokerPool
from edge.mqtt.client import CONNECT_SECONDS, new_client
from edge.mqtt.connection import Connection, ConnectOptions
from edge.mqtt.credentials import expiry
from edge.mqtt.link_timing import LinkTiming
from edge.mqtt.publisher import Publisher, ReplaySource
from edge.mqtt.reason_codes import Action, ConnectionEnded
from edge.mqtt.scout import Find, Scout
from edge.mqtt.self_pipe import SelfPipe
from edge.mqtt.subscriber import Subscriber, Subscription
from edge.outbox.event_signer import EventSigner, HealthReport
from edge.outbox.store import OutboxReader
from edge.settings import BrokerSettings
from edge.system.journald import log_fields
from edge.system.log_once import LogOnce

log = logging.getLogger(__name__)

DRAIN_SECONDS = 0.5  # for the last events, when closing
ADOPT_SECONDS = 1.0  # for the events on their way, before a new connection takes over
PACE = LinkTiming()
_KEPT = "the connection made with the old one is kept"


class LinkState(StrEnum):
    """Where the link stands."""

    IDLE = "idle"
    CONNECTING = "connecting"
    UP = "up"
    WAITING = "waiting"
    CLOSED = "closed"


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
            new_client(each, self._unit.client_id)  # wrong credentials are found at once
        self._brokers = BrokerPool(broker.in_order, pace)
        self._at = self._brokers.all[0]  # the broker that is connected, or was tried last
        self._served: BrokerEndpoint | None = None  # the last that was connected
        self._lost: BrokerEndpoint | None = None  # the same, until there is a connection again
        self._waker = SelfPipe()
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
        self._scout: Scout | None = None
        self._found_at = self._settled_at = math.inf
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
            while self._closing_at is None:
                candidate = self._brokers.due(time.monotonic(), self._lost)
                if candidate is None:
                    self._enter(LinkState.WAITING)
                    self._wait(self._brokers.due_at)
                    continue
                self._enter(LinkState.CONNECTING)
                self._at = candidate
                try:
                    self._visit(candidate)
                except Exception as error:  # noqa: BLE001 - a dead link never delivers again
                    self._failed(self._at, error)
        finally:
            self._enter(LinkState.CLOSED)
            self._courier.close()

    def _enter(self, state: LinkState) -> None:
        before, self.state = self.state, state
        if state is before:
            return
        log.debug("link %s -> %s", before, state)
        if LinkState.UP in (before, state):
            self._changed(state is LinkState.UP)

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

    def _wait(self, until: float) -> None:
        """Wait, but look now and then whether a person has replaced a file meanwhile."""
        while self._closing_at is None and (left := until - time.monotonic()) > 0:
            self._waker.wait(min(left, self._pace.credential_poll))
            if self._brokers.renewed():
                return

    def _dial(self, candidate: BrokerEndpoint, waker: SelfPipe) -> Connection:
        return candidate.version.connect(
            lambda five: Connection(candidate.broker, self._hello, waker, five=five)
        )

    # --- connected -----------------------------------------------------------------------------

    def _visit(self, candidate: BrokerEndpoint) -> None:
        """Connect and serve until closed; raises LinkError when the broker is lost."""
        candidate.files.used = stamp = candidate.files.stamp()
        find: Find | None = Find(candidate, self._dial(candidate, self._waker), stamp)
        try:
            while find is not None:
                self._at = find.candidate
                self._at.files.used = find.stamp
                with contextlib.closing(find.connection) as current:
                    find = self._serve(current)
        finally:
            self._recall()

    def _serve(self, connection: Connection) -> Find | None:
        """Carry events until closed, or until another connection is to take over: return that."""
        now = time.monotonic()
        elsewhere = self._served not in (None, self._at)
        self._served, self._lost = self._at, None
        self._enter(LinkState.UP)
        self._settled_at = now + self._pace.settled
        self._files_at = now
        if self._courier.standing is ErrorCode.CREDENTIALS:
            self._courier.standing = None
        self._plan_return(now)
        try:
            self._courier.begin(connection, elsewhere=elsewhere)
            while not self._done():
                self._courier.work(connection, self._next_look())
                self._supervise(time.monotonic())
                if self._ready():
                    self._courier.publish_offline_status(connection)
                    return self._adopt()
            self._courier.publish_offline_status(connection)
        except LinkError as error:
            # A broker that sees us come twice lets the elder connection go: that is no loss.
            if self._scout is not None:
                self._scout.join(CONNECT_SECONDS)
            if (find := self._adopt()) is None:
                raise
            log.debug("left for another connection: %s", error)
            return find
        return None

    def _done(self) -> bool:
        """Whether to say goodbye: closed, and all events sent or the time for them is over."""
        if self._closing_at is None:
            return False
        late = time.monotonic() > self._closing_at + DRAIN_SECONDS
        return late or (self._courier.done and self._listening.has_nothing_in_flight)

    def _next_look(self) -> float:
        """Return when `_supervise` has something to do, as far as time alone decides."""
        back = self._back_at if self._brokers.better(self._at) else math.inf
        if back <= time.monotonic():  # waits for a quiet moment, or for a scout: both wake us
            back = math.inf
        return min(self._settled_at, self._files_at, back)

    def _supervise(self, now: float) -> None:
        """Look after the connection itself: has it lasted, is there a better one."""
        if now >= self._settled_at:
            self._settled_at = math.inf
            self._at.mark_stable()
            if not self._brokers.better(self._at):
                self._back_seconds = self._pace.failback_retry
        # Only once it is worth something, for some brokers let us in and throw us out.
        if self._courier.carried or self._settled_at == math.inf:
            self._about_broker.clear(f"broker {self._at.where} is reached again")
        if self._scout is not None and self._scout.back and self._found_at == math.inf:
            self._returned(self._scout, now)
        if now >= self._files_at:
            self._files_at = now + self._pace.credential_poll
            self._announce(now)
            if self._scout is None and self._at.files.changed():
                self._renew()
        better = self._brokers.better(self._at)
        if (
            better
            and self._scout is None
            and now >= self._back_at
            and self._courier.has_nothing_in_flight
        ):
            self._send_scout(better)

    # --- another connection --------------------------------------------------------------------

    def _plan_return(self, now: float) -> None:
        wait = self._back_seconds * random.uniform(0.75, 1.25)  # noqa: S311 - spreads load
        self._back_at = now + wait
        self._back_seconds = min(self._back_seconds * 2, self._pace.max_retry)

    def _renew(self) -> None:
        """Connect with the files that took the place of those in use, if they can be used."""
        try:
            new_client(self._at.broker, self._unit.client_id)
        except SecretError as error:
            self._courier.standing = ErrorCode.CREDENTIALS
            self._about_files.warn(f"{error}; {_KEPT}", ErrorCode.CREDENTIALS)
            return
        if self._courier.has_nothing_in_flight:
            self._send_scout((self._at,))

    def _send_scout(self, brokers: tuple[BrokerEndpoint, ...]) -> None:
        self._scout = Scout(brokers, self._dial, self._waker.wake)
        self._scout.start()

    def _returned(self, scout: Scout, now: float) -> None:
        """Hear what a scout has to tell."""
        for candidate, error in scout.failures:
            remedy = error.remedy if isinstance(error, ConnectionEnded) else Action.AGAIN
            if candidate is not self._at:
                candidate.failed(remedy, now)
                log.debug("not back yet: %s", error)
            else:
                self._courier.standing = ErrorCode.CREDENTIALS
                self._files_at = now + self._pace.failback_retry
                self._about_files.warn(f"{error}; {_KEPT}", ErrorCode.CREDENTIALS)
        if scout.found is not None:
            self._found_at = now
            return
        self._recall()
        self._plan_return(now)

    def _ready(self) -> bool:
        """Whether the connection that a scout has found is to take over now."""
        late = time.monotonic() > self._found_at + ADOPT_SECONDS
        return self._found_at < math.inf and (self._courier.has_nothing_in_flight or late)

    def _adopt(self) -> Find | None:
        """Return the connection that a scout has found, if any."""
        scout, self._scout, self._found_at = self._scout, None, math.inf
        find = None if scout is None else scout.take(self._waker)
        if find is None:
            return None
        if find.candidate is self._at:
            self._about_files.reset()
            log.info("the new certificate or password is in use")
        else:
            log.info("back to broker %s", find.candidate.where)
        return find

    def _recall(self) -> None:
        """Want no other connection any longer."""
        if self._scout is not None:
            self._scout.abandon()
            if self._closing_at is None:  # or it could take the next one's place at the broker
                self._scout.join(3 * CONNECT_SECONDS)
        self._scout, self._found_at = None, math.inf

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
