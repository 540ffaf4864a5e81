"""Dials beside the running connection, so that this one is left only for one that stands."""

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from edge.errors import SenyumError
from edge.mqtt.broker_pool import BrokerEndpoint
from edge.mqtt.connection import Connection
from edge.mqtt.credentials import Stamp
from edge.mqtt.self_pipe import SelfPipe

Dial = Callable[[BrokerEndpoint, SelfPipe], Connection]


@dataclass(frozen=True, slots=True)
class Find:
    """A connection that stands, and the files it was made with."""

    candidate: BrokerEndpoint
    connection: Connection
    stamp: Stamp


class Scout(threading.Thread):
    """Tries brokers in the order given until one lets us in; `wake` is called at the end."""

    def __init__(
        self, brokers: Sequence[BrokerEndpoint], dial: Dial, wake: Callable[[], None]
    ) -> None:
        super().__init__(name="scout", daemon=True)
        self.brokers = tuple(brokers)
        self.failures: list[tuple[BrokerEndpoint, Exception]] = []
        self._dial = dial
        self._wake = wake
        self.back = False  # everything was tried, or one was found
        self._find: Find | None = None
        self._abandoned = False
        self._lock = threading.Lock()

    def run(self) -> None:
        waker = SelfPipe()
        try:
            for candidate in self.brokers:
                if self._abandoned:
                    break
                stamp = candidate.files.stamp()
                try:
                    connection = self._dial(candidate, waker)
                except SenyumError as error:
                    self.failures.append((candidate, error))
                    continue
                with self._lock:
                    if self._abandoned:
                        connection.close()
                    else:
                        self._find = Find(candidate, connection, stamp)
                break
        finally:
            waker.close()
            self.back = True
            self._wake()

    @property
    def found(self) -> BrokerEndpoint | None:
        """Which broker let us in."""
        find = self._find
        return None if find is None else find.candidate

    def take(self, waker: SelfPipe) -> Find | None:
        """Return what was found; from now on the caller's, who may be woken by `waker`."""
        with self._lock:
            find, self._find = self._find, None
        if find is not None:
            find.connection.waker = waker
        return find

    def abandon(self) -> None:
        """Close what was found, or will be."""
        with self._lock:
            self._abandoned = True
            find, self._find = self._find, None
        if find is not None:
            find.connection.close()
