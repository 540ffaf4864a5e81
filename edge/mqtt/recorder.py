"""Signs and commits beside the frame loop, and tells what became of each event."""

import logging
import threading
from collections import deque
from collections.abc import Callable
from functools import partial

from edge.errors import OutboxError
from edge.mqtt.outbox import Outbox
from edge.mqtt.seal import Sealer
from edge.types import Event, Stored, StoreFailed

log = logging.getLogger(__name__)

CAPACITY = 64  # events that may wait; a person makes one in about two seconds
BATCH = 32  # events that share one commit when several wait


class Recorder(threading.Thread):
    """The one thread that writes the outbox.

    `report` is called from this thread once for every event, and from the submitting thread for
    one that found no room. `stored` is called after each commit: the link's `wake`.
    """

    def __init__(
        self,
        outbox: Outbox,
        sealer: Sealer,
        report: Callable[[Stored | StoreFailed], None],
        stored: Callable[[], None] = lambda: None,
    ) -> None:
        super().__init__(name="recorder", daemon=True)
        self._outbox = outbox
        self._sealer = sealer
        self._report = report
        self._stored = stored
        self._waiting: deque[Event] = deque()
        self._changed = threading.Condition()
        self._closing = False

    def submit(self, event: Event) -> None:
        """Take an event over; never blocks."""
        with self._changed:
            room = not self._closing and len(self._waiting) < CAPACITY
            if room:
                self._waiting.append(event)
                self._changed.notify()
        if not room:
            why = "the recorder is closed" if self._closing else "too many events wait to be stored"
            self._report(StoreFailed(event.ref, why))

    def close(self, timeout: float = 1.0) -> bool:
        """Finish what was submitted; False if that took longer than `timeout` seconds."""
        with self._changed:
            self._closing = True
            self._changed.notify()
        if self.is_alive():
            self.join(timeout)
        return not self.is_alive()

    def run(self) -> None:
        while batch := self._next():
            self._commit(batch)
            if not self._waiting:
                self._tidy()

    def _next(self) -> list[Event]:
        """Wait for events; an empty list is the end."""
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._closing)
            return [self._waiting.popleft() for _ in range(min(BATCH, len(self._waiting)))]

    def _commit(self, batch: list[Event]) -> None:
        try:
            self._outbox.append(*(partial(self._sealer.event, event) for event in batch))
        except Exception as error:  # noqa: BLE001 - a dead recorder would leave people waiting
            if len(batch) > 1:  # one that cannot be stored does not take its neighbours along
                for event in batch:
                    self._commit([event])
                return
            # What pydantic says of an event may quote it, so only the outbox is quoted.
            known = isinstance(error, OutboxError)
            why = str(error) if known else f"cannot be signed: {type(error).__name__}"
            log.error("event not stored: %s", why)  # noqa: TRY400 - a traceback may quote it too
            self._report(StoreFailed(batch[0].ref, why))
            return
        for event in batch:
            self._report(Stored(event.ref))
        self._stored()

    def _tidy(self) -> None:
        try:
            self._outbox.tidy(self._sealer.trusted_now())
        except OutboxError as error:
            log.warning("outbox not tidied: %s", error)
        except Exception as error:  # noqa: BLE001 - nor may tidying end the one thread that stores
            log.warning("outbox not tidied: %s", type(error).__name__)
