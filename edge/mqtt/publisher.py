"""Carries events over whatever connection there is, and says on `state` and `health` how we are.

The outbox is the truth. An event counts as delivered when the broker's PUBACK says so; what each
other answer leads to stands in `edge.mqtt.reason_codes`.
"""

import contextlib
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Protocol

from pydantic import ValidationError

from edge.contract.events import OnlineStatus
from edge.contract.topics import TopicKind, UnitName, event_topic
from edge.errors import ErrorCode, OutboxError
from edge.mqtt.backoff import Backoff, LinkTiming
from edge.mqtt.connection import Connection, PubAck
from edge.mqtt.inflight import InFlightWindow
from edge.mqtt.reason_codes import Action, ConnectionEnded, of_puback
from edge.mqtt.subscriber import Subscriber
from edge.outbox.event_signer import EventSigner, HealthReport
from edge.outbox.store import OutboxReader, OutboxRow
from edge.settings import BrokerSettings
from edge.system.log_once import LogOnce

NOTE_EVENTS = 64  # deliveries are noted on disk after so many, or after `LinkTiming.note`
IDLE_SECONDS = 5.0  # the longest sleep; keepalive needs one now and then
FAREWELL_SECONDS = 1.0  # for the broker to take our last word
TRIAL_SECONDS = 1.0  # of a connection, in which nothing follows an event on trial

_KEPT = "; kept, and tried again seldom, while those behind pass"
_SAYS = {
    ErrorCode.NO_RECEIVER: "no central server is subscribed; events wait",
    ErrorCode.NOT_AUTHORIZED: "the broker refuses events (Not authorized): let this unit write its "
    "own topics in the broker's access list; events wait",
    ErrorCode.TOO_LARGE: f"an event is larger than the broker takes{_KEPT}",
    ErrorCode.QUOTA: f"the broker's quota is exceeded by an event{_KEPT}",
    ErrorCode.INVALID: f"the broker finds an event invalid{_KEPT}",
}


class ReplaySource(Protocol):
    """What is sent again because somebody asked for it; the courier's thread only.

    What `next` gave and `taken` did not confirm is given again after `again`.
    """

    def next(self, now: float, room: int, *, live_waits: bool) -> Sequence[OutboxRow]: ...

    def due_at(self, now: float) -> float: ...

    def taken(self, sequence: int) -> bool: ...

    def again(self) -> None: ...


class Publisher:
    """Brings events from the outbox to the broker. One thread only.

    Raises OutboxError for an outbox that cannot be read, and Ended when the connection has.
    """

    def __init__(
        self,
        broker: BrokerSettings,
        outbox: Path,
        sealer: EventSigner,
        *,
        session: int,
        vitals: Callable[[], HealthReport],
        pace: LinkTiming,
        archive: Callable[[OutboxReader], ReplaySource] | None = None,
        listening: Subscriber,
    ) -> None:
        self.before: ErrorCode | None = None  # what ended the last connection, until health told it
        self.standing: ErrorCode | None = None  # what else there is to tell
        self.health_seconds = pace.health_interval
        self.carried = False  # whether this connection's broker took an event
        self._sealer = sealer
        self._session = session
        self._vitals = vitals
        self._pace = pace
        self._listening = listening
        self._announce = False  # `state` is to be said anew
        self._unit = UnitName.of(sealer.context.unit)
        self._size = broker.window
        self._longest = min(IDLE_SECONDS, broker.keepalive / 3)
        self._resend = Backoff(broker.backoff_min, broker.backoff_max)
        self._reader = OutboxReader(outbox)
        self._noted = self._delivered = self._reader.delivered()
        self._window = InFlightWindow(
            broker.window, self._noted, pace.quarantine_retry, pace.max_retry
        )
        self._waits: ErrorCode | None = None  # why all events wait
        self._barred: ErrorCode | None = None  # `state` is not let in, so no event will be
        self._spared: ErrorCode | None = None  # why some are set aside
        self._archive = None if archive is None else archive(self._reader)
        self._paused_until = math.inf  # the archive, since the broker refused what it gave
        self._replayed: dict[int, int] = {}  # packet to sequence, of the archive
        self._own: set[int] = set()  # packets of `state` that are not answered
        self._about_delivery = LogOnce()
        self._about_health = LogOnce()
        self._note_at = self._resend_at = self._health_sent_at = self._give_up_at = math.inf
        self._trial_until = -math.inf

    @property
    def delivered(self) -> int:
        """The newest event that the broker took, with all before it; for any thread."""
        return self._delivered

    @property
    def has_nothing_in_flight(self) -> bool:
        """Whether no event is on its way."""
        return self._window.in_flight == 0

    @property
    def done(self) -> bool:
        """Whether no event is left to bring, except what is set aside."""
        depth = self._window.depth(self._reader.head().sequence)
        return depth == self._window.quarantined

    @property
    def error_code(self) -> ErrorCode | None:
        """What stands in the way of events now."""
        return self._waits or self._barred or (self._spared if self._window.quarantined else None)

    def close(self) -> None:
        """Note what was delivered, and close the outbox; a second time does nothing."""
        with contextlib.suppress(OutboxError):  # without it, some events are sent again
            self._write_note()
        self._reader.close()

    def announce(self) -> None:
        """Have `state` said anew, when the link turns next; for any thread, which may wake it."""
        self._announce = True

    # --- one connection ----------------------------------------------------------------------

    def begin(self, connection: Connection, *, elsewhere: bool) -> None:
        """Begin on a new connection; `elsewhere`: to another broker than the last."""
        now = time.monotonic()
        size = max(1, min(self._size, connection.receive_maximum))
        self._window.begin(size, self._reader.head().sequence, now, elsewhere=elsewhere)
        if elsewhere:
            self._resend_at = math.inf
        self._own.clear()
        self._take_back_replayed()
        self.carried = False
        self._give_up_at = math.inf
        self._health_sent_at = -math.inf
        self._trial_until = now + TRIAL_SECONDS
        self._say(connection, OnlineStatus.ONLINE)
        self._listening.begin(connection)

    def work(self, connection: Connection, until: float) -> None:
        """Send, then receive; sleeps no longer than there is nothing to do, or `until`."""
        if self._announce:
            self._announce = False
            self._say(connection, OnlineStatus.ONLINE)
        self._send(connection)
        self._report_health(connection)
        self._listening.work(connection, self._quota(connection))
        duties = (self._note_at, self._resend_at, self._health_at, self._give_up_at, until)
        also = (self._window.due_at, self._replay_at(), self._listening.due_at)
        next_duty = min(*duties, *also)
        connection.poll(min(self._longest, next_duty - time.monotonic()))
        now = time.monotonic()
        self._take_in(connection, now)
        self._listening.take(connection)
        if self._window.refused:
            if self._resend_at == math.inf:
                slow = self._waits is ErrorCode.NOT_AUTHORIZED
                self._resend_at = now + (self._pace.operator_retry if slow else self._resend.next())
            elif now >= self._resend_at:
                self._resend_at = math.inf
                self._window.again()
        if self.has_nothing_in_flight:
            self._give_up_at = math.inf
        elif now >= self._give_up_at:
            connection.drop()
            raise connection.ended("answers no event; reconnecting", ErrorCode.SILENT)
        self._note(now)

    @property
    def _health_at(self) -> float:
        # A broker that closes with something unread resets the connection, and its reason is lost.
        soonest = self._trial_until if self._window.on_probation else -math.inf
        return max(self._health_sent_at + self.health_seconds, soonest)

    def _replay_at(self) -> float:
        """Return when the archive has something to send again, as far as time decides."""
        if (
            self._archive is None
            or self._replayed
            or not self.has_nothing_in_flight
            or self._window.refused
        ):
            return math.inf
        if self._paused_until < math.inf:
            return self._paused_until
        return self._archive.due_at(time.monotonic())

    def connection_lost(self, error: ConnectionEnded | None) -> None:
        """Take back what was on its way."""
        self._take_back_replayed()
        blame = error is not None and error.remedy is Action.BLAME
        if self._window.connection_lost(time.monotonic(), blame=blame) is None:
            return
        known = blame and error is not None and error.trouble in _SAYS
        self._spared = error.trouble if known and error is not None else ErrorCode.INVALID
        self._about_delivery.warn(_SAYS[self._spared], self._spared)

    def _take_back_replayed(self) -> None:
        self._replayed.clear()
        self._paused_until = math.inf
        if self._archive is not None:
            self._archive.again()

    def publish_offline_status(self, connection: Connection) -> None:
        """Say that we go, and wait a moment for the broker to take that."""
        last_word = self._say(connection, OnlineStatus.OFFLINE)
        until = time.monotonic() + FAREWELL_SECONDS
        while last_word in self._own and (left := until - time.monotonic()) > 0:
            connection.poll(left)
            self._take_in(connection, time.monotonic())
        self._write_note()

    # --- sending -----------------------------------------------------------------------------

    def _quota(self, connection: Connection) -> int:
        """Return how many QoS 1 messages more the broker takes now."""
        flying = self._window.in_flight + len(self._own) + len(self._replayed)
        return connection.receive_maximum - flying - self._listening.in_flight

    def _room(self, connection: Connection) -> int:
        return min(self._window.room - len(self._replayed), self._quota(connection))

    def _send(self, connection: Connection) -> None:
        if self._room(connection) <= 0:
            return
        for sequence in self._window.again_now(time.monotonic()):
            rows = self._reader.after(sequence - 1, 1)
            if rows and rows[0].sequence == sequence:
                self._post(connection, rows)
            else:
                self._window.discard(sequence)
        if (room := self._room(connection)) > 0:
            self._post(connection, self._reader.after(self._window.newest(), room))
        front, end = self._window.backlog()
        if front < end and (room := self._room(connection)) > 0:
            rows = self._reader.after(front, min(room, end - front))
            if old := [row for row in rows if row.sequence <= end]:
                self._post(connection, old)
            else:
                self._window.backlog_over()
        if self._archive is not None and self._replay_at() <= time.monotonic():
            self._replay(connection, self._archive)

    def _post(self, connection: Connection, rows: list[OutboxRow]) -> None:
        for row in rows:
            if self._room(connection) <= 0:
                return
            now, topic = time.monotonic(), event_topic(row.token, self._unit)
            if not connection.max_packet_size(topic, row.token):
                self._window.quarantine(row.sequence, now)
                self._spare(ErrorCode.TOO_LARGE)
                continue
            if self.has_nothing_in_flight:
                self._give_up_at = now + self._pace.puback_timeout
            mid = connection.publish(topic, row.token, qos=1, retain=False)
            self._window.send(mid, row.sequence)

    def _replay(self, connection: Connection, archive: ReplaySource) -> None:
        """Send once more what was asked for, while nothing else is to be sent."""
        if self._paused_until < math.inf:
            self._paused_until = math.inf
            archive.again()
        room = self._room(connection)
        for row in archive.next(time.monotonic(), room, live_waits=not self.done):
            topic = event_topic(row.token, self._unit)
            if not connection.max_packet_size(topic, row.token):
                archive.taken(row.sequence)  # it never will be
                continue
            mid = connection.publish(topic, row.token, qos=1, retain=False)
            self._replayed[mid] = row.sequence

    def _say(self, connection: Connection, status: OnlineStatus) -> int:
        topic = self._unit.topic(TopicKind.STATE)
        token = self._sealer.state(status, self._session, self._reader.head())
        if not connection.max_packet_size(topic, token):
            self._about_health.warn("state is not sent: the broker takes no packet so large")
            return 0
        qos = int(self._quota(connection) > 0)
        mid = connection.publish(topic, token, qos=qos, retain=True)
        if qos:
            self._own.add(mid)
        return mid

    def _report_health(self, connection: Connection) -> None:
        now = time.monotonic()
        if now < self._health_at:
            return
        self._health_sent_at = now
        head = self._reader.head()
        try:
            vitals = self._vitals()
        except OSError as error:
            self._about_health.warn(f"health is sent without vitals: {error.strerror}")
            vitals = HealthReport()
        else:
            self._about_health.clear("health has its vitals again")
        trouble = self.error_code or self.standing or self.before or self._listening.trouble
        vitals = replace(vitals, last_error=vitals.last_error or trouble)
        depth = self._window.depth(head.sequence)
        try:
            token = self._sealer.health(vitals, self._session, head, depth)
        except ValidationError as error:  # a wrong figure does not stop the events
            field = ".".join(str(part) for part in error.errors()[0]["loc"])
            self._about_delivery.warn(f"health is not sent: {field} is out of range")
            return
        topic = self._unit.topic(TopicKind.HEALTH)
        if connection.max_packet_size(topic, token):
            connection.publish(topic, token, qos=0, retain=True)
            self.before = None

    # --- what the broker answers -------------------------------------------------------------

    def _take_in(self, connection: Connection, now: float) -> None:
        while connection.acks:
            self._answered(connection.acks.popleft(), now)

    def _answered(self, ack: PubAck, now: float) -> None:
        if self._listening.answered(ack):
            return
        verdict = of_puback(ack.reason.value)
        if ack.mid in self._own:
            self._own.remove(ack.mid)
            # Some brokers answer this and then close at the first event, without a word why.
            barred = verdict.trouble is ErrorCode.NOT_AUTHORIZED
            self._barred = ErrorCode.NOT_AUTHORIZED if barred else None
            if ack.reason.is_failure:
                self._about_delivery.warn(f"the broker refuses state ({ack.reason})")
            return
        if (again := self._replayed.pop(ack.mid, None)) is not None:
            self._answered_again(again, verdict.remedy, now)
            return
        spared = self._window.quarantined
        if not self._window.answer(ack.mid, verdict.remedy, now):
            return
        self._give_up_at = now + self._pace.puback_timeout
        if verdict.trouble is None:
            self._resend.reset()
            self.carried = True
            self._waits = None
            if not self._window.quarantined:
                self._about_delivery.clear("events are delivered again")
        elif verdict.remedy is Action.ASIDE or self._window.quarantined > spared:
            self._spare(verdict.trouble)
        else:
            self._waits = verdict.trouble
            refused = f"the broker refuses events ({ack.reason}); they wait"
            self._about_delivery.warn(_SAYS.get(verdict.trouble, refused), verdict.trouble)

    def _answered_again(self, sequence: int, remedy: Action, now: float) -> None:
        if self._archive is not None and remedy in (Action.TAKEN, Action.ASIDE):
            self._archive.taken(sequence)
        elif self._paused_until == math.inf:
            self._paused_until = now + self._resend.next()

    def _spare(self, trouble: ErrorCode) -> None:
        self._spared = trouble
        self._about_delivery.warn(_SAYS.get(trouble, _SAYS[ErrorCode.INVALID]), trouble)

    # --- notes -------------------------------------------------------------------------------

    def _note(self, now: float) -> None:
        """Write down how far the broker has acknowledged, seldom enough to spare the card.

        A note costs the card more than an event: a block of the WAL, and the file system's log.
        """
        self._delivered = self._window.delivered
        self._reader.refresh_delivered(self._delivered)
        behind = self._delivered - self._noted
        if behind == 0:
            self._note_at = math.inf
        elif behind >= NOTE_EVENTS or now >= self._note_at:
            self._write_note()
        elif self._note_at == math.inf:
            self._note_at = now + self._pace.persist_interval

    def _write_note(self) -> None:
        self._note_at = math.inf
        self._delivered = self._window.delivered
        if self._delivered > self._noted:
            self._reader.set_delivered(self._delivered)
            self._noted = self._delivered
