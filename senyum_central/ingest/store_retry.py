"""Retry while the store is unavailable; nothing is acknowledged meanwhile."""

import logging
import time
from collections.abc import Callable
from typing import TypeVar

from edge.errors import StoreUnavailable
from edge.mqtt.backoff import Backoff

LEAST_S = 0.5  # limits between two tries
MOST_S = 15.0

log = logging.getLogger(__name__)
T = TypeVar("T")


class Stopped(Exception):
    """The receiver was stopped while it waited for the store."""


def sleep(seconds: float) -> bool:
    """Sleep; return True to continue waiting."""
    time.sleep(seconds)
    return True


class StoreRetry:
    """Repeats work until the store is available. Logs the start and end of each outage."""

    def __init__(
        self,
        rest: Callable[[float], bool] = sleep,
        status: Callable[[str | None], None] = lambda _why: None,
    ) -> None:
        """`rest` waits for a number of seconds and returns whether to go on.

        `status` receives the reason of an outage, and None when it ends.
        """
        self._rest = rest
        self._status = status

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
            self._status(str(error))
            if not self._rest(backoff.next()):
                raise Stopped
            try:
                done = work()
            except StoreUnavailable as again:
                log.debug("the store still does not answer: %s", again)
                error = again
            else:
                log.warning("the store answers again after %.0f s", time.monotonic() - since)
                self._status(None)
                return done
