"""Signs and commits events on a thread of its own, and reports the result of each.

Changes of the clock, and the replacement of a damaged outbox, are recorded in the chain here,
before the next event: their position among the events is correct whatever the dates are.
"""

import logging
import threading
from collections import deque
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from edge.contract.jose import claim
from edge.errors import ErrorCode, OutboxError
from edge.outbox.clock_monitor import ClockChange, ClockMonitor
from edge.outbox.event_signer import EventSigner
from edge.outbox.store import Outbox
from edge.system.clock import Clock, ClockReading, ClockState
from edge.system.event_queue import EventQueue, SelfPipe, join_until
from edge.types import Audit, AuditCode, Event, EventStored, StoreFailed

log = logging.getLogger(__name__)

CAPACITY = 64  # events that may wait; a person makes one in about two seconds
BATCH = 32  # events that share one commit when several wait
LOOK_SECONDS = 5.0  # between two looks at the clock while nothing is recorded
OWN = 0  # `ref` of the recorder's own audits, whose result nothing waits for


class Recorder:
    """The one thread that writes the outbox.

    Each event that is submitted leads to one EventStored or StoreFailed in `reports`. After each
    commit `link_waker` is woken: it ends the wait of `Connection.poll`, and `Publisher.poll` reads
    the new event. With `clock`, its steps are audited, and an anchor dates what was recorded before
    it was synchronized.
    """

    def __init__(
        self,
        outbox: Outbox,
        signer: EventSigner,
        reports: EventQueue[Any],
        link_waker: SelfPipe | None = None,
        clock: Clock | None = None,
    ) -> None:
        self.name = "recorder"
        self._outbox = outbox
        self._signer = signer
        self._reports = reports
        self._link_waker = link_waker
        self._clock = clock
        self._reading: ClockReading | None = None
        self._watch = ClockMonitor(undated=clock is not None and _undated(outbox, clock))
        self._clock_changes: deque[ClockChange] = deque(maxlen=BATCH)  # not in the chain yet
        self._waiting: deque[Event] = deque()
        self._changed = threading.Condition()
        self._closing = False
        self._thread = threading.Thread(target=self._run, name=self.name, daemon=True)

    def start(self) -> None:
        self._thread.start()

    def submit(self, event: Event) -> None:
        """Queue an event for storing; never blocks."""
        with self._changed:
            room = not self._closing and len(self._waiting) < CAPACITY
            if room:
                self._waiting.append(event)
                self._changed.notify()
        if not room:
            why = "the recorder is closed" if self._closing else "too many events wait to be stored"
            self._reports.put(StoreFailed(event.ref, why))

    def close(self, deadline: float | None = None) -> bool:
        """Finish what was submitted and end; return False if `deadline` has passed."""
        with self._changed:
            self._closing = True
            self._changed.notify()
        return join_until(self._thread, deadline)

    @property
    def is_running(self) -> bool:
        """Whether the thread may still use the outbox."""
        return self._thread.is_alive()

    def _run(self) -> None:
        while (batch := self._next()) or not self._closing:
            own = self._check_clock()
            if batch or own or self._outbox.renewal is not None:
                self._commit(batch)
                if not self._waiting:
                    self._delete_expired()

    def _next(self) -> list[Event]:
        """Wait for events. An empty list means: check the clock, or closing."""
        with self._changed:
            seconds = LOOK_SECONDS if self._clock is not None else None
            self._changed.wait_for(lambda: self._waiting or self._closing, seconds)
            return [self._waiting.popleft() for _ in range(min(BATCH, len(self._waiting)))]

    def _check_clock(self) -> bool:
        """Read the clock; return whether a change must be recorded."""
        if self._clock is not None:
            self._reading = self._clock.read()
            self._clock_changes.extend(self._watch.look(self._reading))
        return bool(self._clock_changes)

    def _commit(self, batch: Sequence[Event]) -> None:
        try:
            self._record_audits()
            if not batch:
                return
            self._outbox.append(*(partial(self._signer.event, event) for event in batch))
        except Exception as error:  # noqa: BLE001 - a dead recorder would leave people waiting
            if len(batch) > 1:  # an event that cannot be stored must not fail the others
                for event in batch:
                    self._commit([event])
                return
            # What pydantic says of an event may quote it, so only the outbox is quoted.
            known = isinstance(error, OutboxError)
            why = str(error) if known else f"cannot be signed: {type(error).__name__}"
            trouble = error.trouble if isinstance(error, OutboxError) else ErrorCode.NOT_SIGNED
            # Without a traceback, which may quote it too; retries are logged at debug level.
            log.log(logging.ERROR if batch else logging.DEBUG, "event not stored: %s", why)
            for event in batch:
                self._reports.put(StoreFailed(event.ref, why, trouble))
            return
        if self._reading is not None:
            self._watch.recorded(self._reading)
        for event in batch:
            self._reports.put(EventStored(event.ref))
        self._wake_link()

    def _record_audits(self) -> None:
        """Store the recorder's own audit events. Raises OutboxError and keeps them for later.

        One that cannot be signed is dropped, because it would block all events forever.
        """
        renewal = self._outbox.renewal
        audits = [
            _audit(found.code, found.captured_ns, found.detail) for found in self._clock_changes
        ]
        if renewal is not None:
            now = self._signer.monotonic_ns()
            audits.insert(0, _audit(AuditCode.OUTBOX_RENEWED, now, renewal))
        if not audits:
            return
        try:
            builds = [partial(self._signer.event, audit) for audit in audits]
            self._outbox.append(*builds, records_renewal=renewal is not None)
        except OutboxError:
            raise
        except Exception as error:  # noqa: BLE001
            log.error("audit not recorded: %s", type(error).__name__)  # noqa: TRY400
        self._clock_changes.clear()
        self._wake_link()

    def _wake_link(self) -> None:
        if self._link_waker is not None:
            self._link_waker.wake()

    def _delete_expired(self) -> None:
        try:
            self._outbox.delete_expired(self._signer.now_if_synchronized())
        except OutboxError as error:
            log.warning("expired events not deleted: %s", error)
        except Exception as error:  # noqa: BLE001 - the one thread that stores must not end
            log.warning("expired events not deleted: %s", type(error).__name__)


def _audit(code: AuditCode, captured_ns: int, detail: Mapping[str, Any]) -> Audit:
    return Audit(ref=OWN, code=code, captured_ns=captured_ns, detail=detail)


def _undated(outbox: Outbox, clock: Clock) -> bool:
    """Return whether the newest event was dated in this boot by an unsynchronized clock.

    Had an anchor followed, it would be the newest, or something after it with a better clock.
    """
    newest = outbox.newest()
    dated_by = None if newest is None else claim(newest, "data", "clock")
    return (
        isinstance(dated_by, dict)
        and dated_by.get("state") == ClockState.UNSYNCHRONIZED
        and dated_by.get("boot_id") == clock.read().boot_id
    )
