"""Publishes events from the outbox, and the unit's `state` and `health`.

An event counts as delivered when the broker has acknowledged it with PUBACK. What other answers
lead to: `edge.mqtt.reason_codes`.
"""

import contextlib
import math
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from edge.contract.events import OnlineStatus
from edge.contract.topics import TopicKind, UnitName, event_topic
from edge.errors import ErrorCode, OutboxError
from edge.mqtt.backoff import Backoff, LinkTiming
from edge.mqtt.connection import Connection, PubAck
from edge.mqtt.inflight import InFlightWindow
from edge.mqtt.reason_codes import Action, puback_disposition
from edge.mqtt.subscriber import SubscriptionManager
from edge.outbox.event_signer import EventSigner, HealthReport
from edge.outbox.replay import Replay, ReplayRequest
from edge.outbox.store import OutboxReader, OutboxRow
from edge.settings import BrokerSettings
from edge.system.event_queue import EventQueue
from edge.system.log_once import LogOnce

PERSIST_EVENTS = 64  # deliveries are recorded on disk after this many, or after `persist_interval`
IDLE_SECONDS = 5.0  # the longest wait; paho must check its keepalive now and then
OFFLINE_STATUS_SECONDS = 1.0  # for the broker to acknowledge the last `state`
PROBATION_SECONDS = 1.0  # of a connection, in which nothing follows an event on probation

_QUARANTINED = "; it is kept and tried again seldom, and later events pass it"
_MESSAGES = {
    ErrorCode.NO_RECEIVER: "no central server is subscribed; events wait",
    ErrorCode.NOT_AUTHORIZED: "the broker refuses events (Not authorized): let this unit write its "
    "own topics in the broker's access list; events wait",
    ErrorCode.TOO_LARGE: f"an event is larger than the broker accepts{_QUARANTINED}",
    ErrorCode.QUOTA: f"the broker's quota is exceeded by an event{_QUARANTINED}",
    ErrorCode.INVALID: f"the broker rejects an event as invalid{_QUARANTINED}",
}


class Publisher:
    """Publishes the events of the outbox over one connection after another. One thread only.

    Raises OutboxError for an outbox that cannot be read, and ConnectionEnded.
    """

    def __init__(
        self,
        broker: BrokerSettings,
        outbox: Path,
        signer: EventSigner,
        *,
        session: int,
        events: EventQueue[Any],
        timing: LinkTiming,
        replay_rate: float,
        subscriber: SubscriptionManager,
    ) -> None:
        # Why the last connection ended, until `health` has reported it.
        self._last_error: ErrorCode | None = None
        self._standing_error: ErrorCode | None = None  # about credentials
        self._health_interval = timing.health_interval
        self.has_delivered = False  # whether an event was delivered over this connection
        self._signer = signer
        self._session = session
        self._health_report = HealthReport()  # replaced by `set_health`
        self._timing = timing
        self._subscriber = subscriber
        self._state_requested = False  # publish `state` again
        self._unit = UnitName.of(signer.context.unit)
        self._max_in_flight = broker.window
        self._max_wait = min(IDLE_SECONDS, broker.keepalive / 3)
        self._backoff = Backoff(broker.backoff_min, broker.backoff_max)
        self._reader = OutboxReader(outbox)
        self._persisted = self._delivered = self._reader.delivered()
        self._window = InFlightWindow(
            broker.window, self._persisted, timing.quarantine_retry, timing.max_retry
        )
        self._refusal: ErrorCode | None = None  # why every event waits
        self._state_refusal: ErrorCode | None = None  # `state` was refused, so events will be too
        self._quarantine_reason: ErrorCode | None = None  # why some events are quarantined
        self._replay = Replay(self._reader, replay_rate, events)
        self._replay_paused_until = math.inf  # since the broker refused a replayed event
        self._replays_in_flight: dict[int, int] = {}  # packet id to sequence number
        self._states_in_flight: set[int] = set()  # packet ids
        self._delivery_log = LogOnce()
        self._health_log = LogOnce()
        self._persist_at = self._resend_at = self._health_sent_at = self._puback_deadline = math.inf
        self._probation_until = -math.inf

    @property
    def delivered(self) -> int:
        """Sequence number up to which every event is acknowledged; for any thread."""
        return self._delivered

    @property
    def has_nothing_in_flight(self) -> bool:
        """Whether no event waits for its PUBACK."""
        return self._window.in_flight == 0

    @property
    def is_drained(self) -> bool:
        """Whether every event is delivered or quarantined."""
        depth = self._window.depth(self._reader.head().sequence)
        return depth == self._window.quarantined

    @property
    def error_code(self) -> ErrorCode | None:
        """Why events are not delivered now."""
        return (
            self._refusal
            or self._state_refusal
            or (self._quarantine_reason if self._window.quarantined else None)
        )

    @property
    def reported_error(self) -> ErrorCode | None:
        """The most important error: of events, credentials, the last connection, commands."""
        return (
            self.error_code
            or self._standing_error
            or self._last_error
            or self._subscriber.error_code
        )

    @property
    def standing_error(self) -> ErrorCode | None:
        """The error about credentials that `health` reports until it is cleared."""
        return self._standing_error

    def set_standing_error(self, code: ErrorCode) -> None:
        self._standing_error = code

    def clear_standing_error(self, *codes: ErrorCode) -> None:
        """Report none of these any longer."""
        if self._standing_error in codes:
            self._standing_error = None

    def set_health(self, report: HealthReport) -> None:
        """Publish this in `health` from now on; for any thread."""
        self._health_report = report

    def request_replay(self, request: ReplayRequest) -> None:
        """Publish these events again while no other event is left; for any thread."""
        self._replay.request(request)

    def set_health_interval(self, seconds: float) -> None:
        """Publish `health` every `seconds`; for any thread."""
        self._health_interval = seconds

    def close(self) -> None:
        """Record what was delivered and close the outbox; a second call does nothing."""
        with contextlib.suppress(
            OutboxError
        ):  # otherwise some events are sent again after a restart
            self._persist()
        self._reader.close()

    def request_state(self) -> None:
        """Publish `state` again in the next `poll`; for any thread."""
        self._state_requested = True

    # --- one connection ----------------------------------------------------------------------

    def connected(self, connection: Connection, *, elsewhere: bool) -> None:
        """Start on a new connection; `elsewhere`: to another broker than the last one."""
        now = time.monotonic()
        size = max(1, min(self._max_in_flight, connection.receive_maximum))
        self._window.connected(size, self._reader.head().sequence, now, elsewhere=elsewhere)
        if elsewhere:
            self._resend_at = math.inf
        self._states_in_flight.clear()
        self._reset_replay()
        self.has_delivered = False
        self._puback_deadline = math.inf
        self._health_sent_at = -math.inf
        self._probation_until = now + PROBATION_SECONDS
        self._publish_state(connection, OnlineStatus.ONLINE)
        self._subscriber.connected(connection)

    def poll(self, connection: Connection, until: float) -> None:
        """Send, then receive; wait while there is nothing to do, at most until `until`."""
        if self._state_requested:
            self._state_requested = False
            self._publish_state(connection, OnlineStatus.ONLINE)
        self._send(connection)
        self._publish_health(connection)
        self._subscriber.poll(connection, self._quota(connection))
        due = (self._persist_at, self._resend_at, self._health_at, self._puback_deadline, until)
        also = (self._window.due_at, self._replay_at(), self._subscriber.due_at)
        next_due = min(*due, *also)
        connection.poll(min(self._max_wait, next_due - time.monotonic()))
        now = time.monotonic()
        self._process_pubacks(connection, now)
        self._subscriber.receive(connection)
        if self._window.refused:
            if self._resend_at == math.inf:
                forbidden = self._refusal is ErrorCode.NOT_AUTHORIZED
                self._resend_at = now + (
                    self._timing.operator_retry if forbidden else self._backoff.next()
                )
            elif now >= self._resend_at:
                self._resend_at = math.inf
                self._window.resume()
        if self.has_nothing_in_flight:
            self._puback_deadline = math.inf
        elif now >= self._puback_deadline:
            connection.drop()
            raise connection.failure("answers no event; reconnecting", ErrorCode.SILENT)
        self._persist_if_due(now)

    @property
    def _health_at(self) -> float:
        # If a broker closes while data is unread, TCP resets the connection and its reason is lost.
        soonest = self._probation_until if self._window.on_probation else -math.inf
        return max(self._health_sent_at + self._health_interval, soonest)

    def _replay_at(self) -> float:
        """Return when an event may have to be published again."""
        if self._replays_in_flight or not self.has_nothing_in_flight or self._window.refused:
            return math.inf
        if self._replay_paused_until < math.inf:
            return self._replay_paused_until
        return self._replay.due_at(time.monotonic())

    def connection_lost(self, error_code: ErrorCode, *, suspect: bool) -> None:
        """Take back the events in flight; `suspect`: one of them may be the cause."""
        self._last_error = error_code
        self._reset_replay()
        if self._window.connection_lost(time.monotonic(), blame=suspect) is None:
            return
        known = suspect and error_code in _MESSAGES
        self._quarantine_reason = error_code if known else ErrorCode.INVALID
        self._delivery_log.warn(_MESSAGES[self._quarantine_reason], self._quarantine_reason)

    def _reset_replay(self) -> None:
        self._replays_in_flight.clear()
        self._replay_paused_until = math.inf
        self._replay.again()

    def publish_offline_status(self, connection: Connection) -> None:
        """Publish `state` offline, and wait OFFLINE_STATUS_SECONDS at most for its PUBACK."""
        packet_id = self._publish_state(connection, OnlineStatus.OFFLINE)
        until = time.monotonic() + OFFLINE_STATUS_SECONDS
        while packet_id in self._states_in_flight and (left := until - time.monotonic()) > 0:
            connection.poll(left)
            self._process_pubacks(connection, time.monotonic())
        self._persist()

    # --- sending -----------------------------------------------------------------------------

    def _quota(self, connection: Connection) -> int:
        """Return how many more QoS 1 messages the broker accepts now."""
        in_flight = (
            self._window.in_flight + len(self._states_in_flight) + len(self._replays_in_flight)
        )
        return connection.receive_maximum - in_flight - self._subscriber.in_flight

    def _room(self, connection: Connection) -> int:
        return min(self._window.room - len(self._replays_in_flight), self._quota(connection))

    def _send(self, connection: Connection) -> None:
        if self._room(connection) <= 0:
            return
        for sequence in self._window.due_for_resend(time.monotonic()):
            rows = self._reader.after(sequence - 1, 1)
            if rows and rows[0].sequence == sequence:
                self._publish_rows(connection, rows)
            else:
                self._window.discard(sequence)
        if (room := self._room(connection)) > 0:
            self._publish_rows(connection, self._reader.after(self._window.live_position(), room))
        front, end = self._window.backlog()
        if front < end and (room := self._room(connection)) > 0:
            rows = self._reader.after(front, min(room, end - front))
            if old := [row for row in rows if row.sequence <= end]:
                self._publish_rows(connection, old)
            else:
                self._window.finish_backlog()
        if self._replay_at() <= time.monotonic():
            self._publish_replay(connection)

    def _publish_rows(self, connection: Connection, rows: list[OutboxRow]) -> None:
        for row in rows:
            if self._room(connection) <= 0:
                return
            now, topic = time.monotonic(), event_topic(row.token, self._unit)
            if not connection.fits(topic, row.token):
                self._window.quarantine(row.sequence, now)
                self._report_quarantine(ErrorCode.TOO_LARGE)
                continue
            if self.has_nothing_in_flight:
                self._puback_deadline = now + self._timing.puback_timeout
            mid = connection.publish(topic, row.token, qos=1, retain=False)
            self._window.mark_sent(mid, row.sequence)

    def _publish_replay(self, connection: Connection) -> None:
        """Publish requested events again, while no other event is left."""
        if self._replay_paused_until < math.inf:
            self._replay_paused_until = math.inf
            self._replay.again()
        room = self._room(connection)
        for row in self._replay.next(time.monotonic(), room, live_waits=not self.is_drained):
            topic = event_topic(row.token, self._unit)
            if not connection.fits(topic, row.token):
                self._replay.taken(row.sequence)  # the broker will never accept it
                continue
            mid = connection.publish(topic, row.token, qos=1, retain=False)
            self._replays_in_flight[mid] = row.sequence

    def _publish_state(self, connection: Connection, status: OnlineStatus) -> int:
        topic = self._unit.topic(TopicKind.STATE)
        token = self._signer.state(status, self._session, self._reader.head())
        if not connection.fits(topic, token):
            self._health_log.warn(
                "state is not published: the broker accepts no packet of its size"
            )
            return 0
        qos = int(self._quota(connection) > 0)
        mid = connection.publish(topic, token, qos=qos, retain=True)
        if qos:
            self._states_in_flight.add(mid)
        return mid

    def _publish_health(self, connection: Connection) -> None:
        now = time.monotonic()
        if now < self._health_at:
            return
        self._health_sent_at = now
        head = self._reader.head()
        report = self._health_report
        report = replace(report, last_error=report.last_error or self.reported_error)
        depth = self._window.depth(head.sequence)
        try:
            token = self._signer.health(report, self._session, head, depth)
        except ValidationError as error:  # a value out of range must not stop events
            field = ".".join(str(part) for part in error.errors()[0]["loc"])
            self._delivery_log.warn(f"health is not published: {field} is out of range")
            return
        topic = self._unit.topic(TopicKind.HEALTH)
        if connection.fits(topic, token):
            connection.publish(topic, token, qos=0, retain=True)
            self._last_error = None

    # --- answers of the broker ---------------------------------------------------------------

    def _process_pubacks(self, connection: Connection, now: float) -> None:
        while connection.pubacks:
            self._process_puback(connection.pubacks.popleft(), now)

    def _process_puback(self, ack: PubAck, now: float) -> None:
        if self._subscriber.process_puback(ack):
            return
        disposition = puback_disposition(ack.reason.value)
        if ack.mid in self._states_in_flight:
            self._states_in_flight.remove(ack.mid)
            # Some brokers refuse this, and close without a reason at the first event.
            forbidden = disposition.error_code is ErrorCode.NOT_AUTHORIZED
            self._state_refusal = ErrorCode.NOT_AUTHORIZED if forbidden else None
            if ack.reason.is_failure:
                self._delivery_log.warn(f"the broker refuses state ({ack.reason})")
            return
        if (replayed := self._replays_in_flight.pop(ack.mid, None)) is not None:
            self._process_replay_puback(replayed, disposition.action, now)
            return
        quarantined = self._window.quarantined
        if not self._window.acknowledge(ack.mid, disposition.action, now):
            return
        self._puback_deadline = now + self._timing.puback_timeout
        if disposition.error_code is None:
            self._backoff.reset()
            self.has_delivered = True
            self._refusal = None
            if not self._window.quarantined:
                self._delivery_log.clear("events are delivered again")
        elif disposition.action is Action.QUARANTINE or self._window.quarantined > quarantined:
            self._report_quarantine(disposition.error_code)
        else:
            self._refusal = disposition.error_code
            refused = f"the broker refuses events ({ack.reason}); they wait"
            self._delivery_log.warn(
                _MESSAGES.get(disposition.error_code, refused), disposition.error_code
            )

    def _process_replay_puback(self, sequence: int, action: Action, now: float) -> None:
        if action in (Action.DELIVERED, Action.QUARANTINE):
            self._replay.taken(sequence)
        elif self._replay_paused_until == math.inf:
            self._replay_paused_until = now + self._backoff.next()

    def _report_quarantine(self, error_code: ErrorCode) -> None:
        self._quarantine_reason = error_code
        message = _MESSAGES.get(error_code, _MESSAGES[ErrorCode.INVALID])
        self._delivery_log.warn(message, error_code)

    # --- on disk -----------------------------------------------------------------------------

    def _persist_if_due(self, now: float) -> None:
        """Record how far the broker has acknowledged, seldom enough to spare the SD card.

        One record costs the card more than an event: a block of the WAL and the file system's log.
        """
        self._delivered = self._window.delivered
        behind = self._delivered - self._persisted
        if behind == 0:
            self._persist_at = math.inf
        elif behind >= PERSIST_EVENTS or now >= self._persist_at:
            self._persist()
        elif self._persist_at == math.inf:
            self._persist_at = now + self._timing.persist_interval

    def _persist(self) -> None:
        self._persist_at = math.inf
        self._delivered = self._window.delivered
        if self._delivered > self._persisted:
            self._reader.set_delivered(self._delivered)
            self._persisted = self._delivered
