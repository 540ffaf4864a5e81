"""Retry while the store is unavailable; nothing is acknowledged meanwhile."""

import logging
import time
from collections.abc import Callable
from typing import TypeVar

from edge.errors import StoreUnavailable
from edge.mqtt.backoff import Backoff
from edge.system.event_queue import SelfPipe
from edge.system.sd_notify import Notifier
from senyum_central.ingest.service_status import ReceiverStatus

LEAST_S = 0.5  # limits between two tries
MOST_S = 15.0

log = logging.getLogger(__name__)
T = TypeVar("T")


class Stopped(Exception):
    """The receiver was stopped while it waited for the store."""


class Waiter:
    """Waits until a time or the end of the receiver, and reports to systemd meanwhile."""

    def __init__(self, status: ReceiverStatus | None = None) -> None:
        self.waker = SelfPipe()
        self.status = status or ReceiverStatus(Notifier({}))

    def wait(self, seconds: float) -> bool:
        """Wait unless `waker` is stopped; return whether to go on."""
        until = time.monotonic() + seconds
        self.status.alive()
        while not self.waker.stopped and (left := until - time.monotonic()) > 0:
            self.waker.wait(left)
        return not self.waker.stopped


class StoreRetry:
    """Repeats work until the store is available. Logs the start and end of each outage."""

    def __init__(self, waiter: Waiter) -> None:
        self._waiter = waiter

    def __call__(self, work: Callable[[], T]) -> T:
        """Return the result of `work`, which may raise StoreUnavailable. Raises Stopped."""
        try:
            return work()
        except StoreUnavailable as error:
            log.warning("the store does not answer: %s; waiting for it", error)
            return self._wait(work, error)

    def _wait(self, work: Callable[[], T], error: StoreUnavailable) -> T:
        since = time.monotonic()
        backoff = Backoff(LEAST_S, MOST_S)
        while True:
            self._waiter.status.store_is(str(error))
            if not self._waiter.wait(backoff.next()):
                raise Stopped
            try:
                done = work()
            except StoreUnavailable as again:
                log.debug("the store still does not answer: %s", again)
                error = again
            else:
                log.warning("the store answers again after %.0f s", time.monotonic() - since)
                self._waiter.status.store_is(None)
                return done
