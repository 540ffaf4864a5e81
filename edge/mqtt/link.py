"""Drains the outbox to the broker, and says on `state` and `health` that the unit is there.

                 start                CONNACK success
    IDLE ─────────────▶ CONNECTING ──────────────────▶ UP
                          ▲    │ refused, unreachable   │ lost
                back-off  │    ▼                        │
                over     WAITING ◀──────────────────────┘
                              close, from any state ──▶ CLOSED

One thread does it all, and `_enter` is the one place that changes the state. The outbox is the
truth: an event counts as delivered when the broker's PUBACK says success. "No matching
subscribers" (0x10) is an answer too, but not delivery: the event stays and is tried again.
"""

import contextlib
import logging
import math
import threading
import time
from collections.abc import Callable
from enum import StrEnum
from pathlib import Path

from pydantic import ValidationError

from edge.errors import LinkError, SenyumError
from edge.mqtt.backoff import Backoff
from edge.mqtt.client import new_client
from edge.mqtt.connection import Ack, Connection, Waker
from edge.mqtt.outbox import Reader
from edge.mqtt.payload import Status, Will
from edge.mqtt.seal import Sealer, Vitals
from edge.mqtt.topics import Leaf, UnitName
from edge.mqtt.window import Window
from edge.settings import BrokerSettings

log = logging.getLogger(__name__)

HEALTH_SECONDS = 60.0
ANSWER_SECONDS = 30.0  # a broker that answers no PUBLISH for so long is given up
NOTE_EVENTS = 64  # deliveries are noted on disk after so many,
NOTE_SECONDS = 10.0  # or after so long
IDLE_SECONDS = 5.0  # the longest sleep; keepalive needs one now and then
STABLE_SECONDS = 10.0  # a connection that lasted so long was a good one
DRAIN_SECONDS = 0.5  # for the last events, when closing
FAREWELL_SECONDS = 1.0  # for the broker to take our last word
NO_SUBSCRIBERS = 0x10  # MQTT 5: taken, but nobody is there to hand it to


class LinkState(StrEnum):
    """Where the link stands."""

    IDLE = "idle"
    CONNECTING = "connecting"
    UP = "up"
    WAITING = "waiting"
    CLOSED = "closed"


class _Grumble:
    """Says what is wrong once, loudly; the same again only to the debug log."""

    def __init__(self) -> None:
        self._last: str | None = None

    def about(self, trouble: str) -> None:
        level = logging.DEBUG if trouble == self._last else logging.WARNING
        self._last = trouble
        log.log(level, "%s", trouble)

    def over(self, relief: str) -> None:
        if self._last is not None:
            log.info("%s", relief)
        self._last = None


class Link(threading.Thread):
    """The one thread that talks to the broker.

    `changed` is called from it with True when the broker is reached and False when it is lost;
    `vitals` once a minute while it is up. Raises SecretError for an unusable certificate, key or
    password, and OutboxError for an outbox that cannot be read; later troubles, these among them,
    are logged, once loudly and then quietly, and tried again.
    """

    def __init__(
        self,
        broker: BrokerSettings,
        outbox: Path,
        sealer: Sealer,
        *,
        session: int,
        changed: Callable[[bool], None],
        vitals: Callable[[], Vitals] = Vitals,
    ) -> None:
        super().__init__(name="link", daemon=True)
        self.state = LinkState.IDLE
        self._broker = broker
        self._sealer = sealer
        self._session = session
        self._changed = changed
        self._vitals = vitals
        self._unit = UnitName.of(sealer.context.unit)
        new_client(broker, self._unit.client_id)  # wrong credentials are found at once
        self._reader = Reader(outbox)
        self._waker = Waker()
        self._closing_at: float | None = None
        self._about_broker = _Grumble()
        self._about_delivery = _Grumble()
        self._about_health = _Grumble()
        self._reconnect = Backoff(broker.backoff_min, broker.backoff_max)
        self._resend = Backoff(broker.backoff_min, broker.backoff_max)
        self._window = Window(broker.window, self._reader.delivered())
        self._noted = self._window.delivered
        self._note_at = self._resend_at = self._health_at = self._give_up_at = math.inf
        self._settled_at = math.inf

    @property
    def delivered(self) -> int:
        """The newest event that the broker took, with all before it."""
        return self._window.delivered

    def wake(self) -> None:
        """Look into the outbox now; for any thread."""
        self._waker.wake()

    def close(self, timeout: float = 2.0) -> bool:
        """Send what can be sent at once, say goodbye, and end; False if that took too long."""
        self._closing_at = time.monotonic()
        self._waker.wake()
        if self.is_alive():
            self.join(timeout)
        elif self.state is LinkState.IDLE:
            self._reader.close()
            self.state = LinkState.CLOSED
        return not self.is_alive()

    def run(self) -> None:
        try:
            while self._closing_at is None:
                self._enter(LinkState.CONNECTING)
                try:
                    self._visit()
                except SenyumError as error:
                    self._about_broker.about(str(error))
                except Exception as error:  # noqa: BLE001 - a dead link never delivers again
                    # What an unknown error says may quote an event or a secret.
                    self._about_broker.about(f"the link failed ({type(error).__name__})")
                if self._closing_at is None:
                    self._enter(LinkState.WAITING)
                    self._wait(self._reconnect.next())
        finally:
            self._enter(LinkState.CLOSED)
            self._reader.close()

    def _enter(self, state: LinkState) -> None:
        before, self.state = self.state, state
        log.debug("link %s -> %s", before, state)
        if LinkState.UP in (before, state):
            self._changed(state is LinkState.UP)

    def _wait(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        while self._closing_at is None and (left := until - time.monotonic()) > 0:
            self._waker.wait(left)

    # --- one connection ----------------------------------------------------------------------

    def _visit(self) -> None:
        """Connect and serve until closed; raises LinkError when the broker is lost."""
        will = Will(status=Status.OFFLINE, session=self._session).model_dump_json().encode()
        topic = self._unit.topic(Leaf.STATE)
        connection = Connection(self._broker, self._unit.client_id, topic, will, self._waker)
        with contextlib.closing(connection):
            size = min(self._broker.window, max(1, connection.receive_maximum - 1))
            self._window = Window(size, self._window.delivered)
            self._note_at = self._resend_at = self._give_up_at = math.inf
            self._health_at = time.monotonic()
            self._enter(LinkState.UP)
            self._settled_at = time.monotonic() + STABLE_SECONDS
            self._say(connection, Status.ONLINE)
            while not self._done():
                self._send(connection)
                self._report_health(connection)
                self._turn(connection)
            self._farewell(connection)

    def _turn(self, connection: Connection) -> None:
        """Send and receive once, then take in what the broker answered."""
        next_duty = min(self._note_at, self._resend_at, self._health_at, self._give_up_at)
        longest = min(IDLE_SECONDS, self._broker.keepalive / 3)
        connection.turn(min(longest, next_duty - time.monotonic()))
        now = time.monotonic()
        while connection.acks:
            self._answered(connection.acks.popleft(), now)
        if now >= self._settled_at:
            self._settled_at = math.inf
            self._reconnect.reset()
            self._reached()
        if self._window.refused:
            if self._resend_at == math.inf:
                self._resend_at = now + self._resend.next()
            elif now >= self._resend_at:
                self._resend_at = math.inf
                self._window.again()
        if self._window.flying == 0:
            self._give_up_at = math.inf
        elif now >= self._give_up_at:
            raise LinkError(f"broker {self._broker.host}: answers no event; connecting anew")
        self._note(now)

    def _answered(self, ack: Ack, now: float) -> None:
        nobody = ack.reason.value == NO_SUBSCRIBERS
        taken = not ack.reason.is_failure and not nobody
        if self._window.answer(ack.mid, taken=taken):
            self._give_up_at = now + ANSWER_SECONDS
            if taken:
                self._resend.reset()
                self._reached()
                self._about_delivery.over("events are delivered again")
            elif nobody:
                self._about_delivery.about("no central server is subscribed; events wait")
            else:
                self._about_delivery.about(f"the broker refuses events ({ack.reason}); they wait")
        elif ack.reason.is_failure:
            self._about_delivery.about(f"the broker refuses state or health ({ack.reason})")

    def _reached(self) -> None:
        """Say so only once it is worth something: some brokers let us in and throw us out."""
        self._about_broker.over(f"broker {self._broker.host} is reached again")

    def _send(self, connection: Connection) -> None:
        if self._window.room <= 0:
            return
        for row in self._reader.after(self._window.last, self._window.room):
            if self._window.flying == 0:
                self._give_up_at = time.monotonic() + ANSWER_SECONDS
            topic = self._unit.topic(Leaf.EVENT)
            mid = connection.publish(topic, row.token, qos=1, retain=False)
            self._window.send(mid, row.sequence)

    def _report_health(self, connection: Connection) -> None:
        now = time.monotonic()
        if now < self._health_at:
            return
        self._health_at = now + HEALTH_SECONDS
        head = self._reader.head()
        depth = max(head.sequence - self._window.delivered, 0)
        try:
            vitals = self._vitals()
        except OSError as error:
            self._about_health.about(f"health is sent without vitals: {error.strerror}")
            vitals = Vitals()
        else:
            self._about_health.over("health has its vitals again")
        try:
            token = self._sealer.health(vitals, self._session, head, depth)
        except ValidationError as error:  # a wrong figure does not stop the events
            field = ".".join(str(part) for part in error.errors()[0]["loc"])
            self._about_delivery.about(f"health is not sent: {field} is out of range")
            return
        connection.publish(self._unit.topic(Leaf.HEALTH), token, qos=0, retain=True)

    def _say(self, connection: Connection, status: Status) -> int:
        token = self._sealer.state(status, self._session, self._reader.head())
        return connection.publish(self._unit.topic(Leaf.STATE), token, qos=1, retain=True)

    def _note(self, now: float) -> None:
        """Write down how far the broker has acknowledged, seldom enough to spare the card."""
        behind = self._window.delivered - self._noted
        if behind == 0:
            self._note_at = math.inf
        elif behind >= NOTE_EVENTS or now >= self._note_at:
            self._write_note()
        elif self._note_at == math.inf:
            self._note_at = now + NOTE_SECONDS

    def _write_note(self) -> None:
        self._reader.set_delivered(self._window.delivered)
        self._noted = self._window.delivered
        self._note_at = math.inf

    # --- the end -----------------------------------------------------------------------------

    def _done(self) -> bool:
        """Whether to say goodbye: closed, and all events sent or the time for them is over."""
        if self._closing_at is None:
            return False
        late = time.monotonic() > self._closing_at + DRAIN_SECONDS
        return late or self._reader.head().sequence <= self._window.delivered

    def _farewell(self, connection: Connection) -> None:
        last_word = self._say(connection, Status.OFFLINE)
        until = time.monotonic() + FAREWELL_SECONDS
        taken = False
        while not taken and (left := until - time.monotonic()) > 0:
            connection.turn(left)
            taken = any(ack.mid == last_word for ack in connection.acks)
            while connection.acks:
                self._answered(connection.acks.popleft(), time.monotonic())
        self._write_note()
