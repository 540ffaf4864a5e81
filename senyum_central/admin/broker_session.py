"""A short connection of an admin command: publish, receive the answers, disconnect."""

import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Self

from edge.errors import ErrorCode, LinkRefused
from edge.mqtt.connection import Connection, ConnectOptions, ReceivedMessage
from edge.settings import BrokerSettings

ANSWER_SECONDS = 30.0  # for the broker to acknowledge one more message
WINDOW = 20  # messages in flight


class BrokerSession:
    """An open connection without a session: the broker keeps nothing after it ends.

    Messages are appended to `received` while a method waits. For one thread. Raises LinkError, and
    LinkRefused if an operator must correct something first.
    """

    def __init__(self, broker: BrokerSettings, client_id: str) -> None:
        self._where = f"broker {broker.host}:{broker.port}"
        self.received: deque[ReceivedMessage] = deque()
        self._in_flight: set[int] = set()
        self._connection = Connection(broker)
        self._connection.connect(ConnectOptions(client_id, session_expiry=0))

    def subscribe(self, filters: Sequence[str]) -> None:
        """Subscribe; the broker sends retained messages at once."""
        for at in range(0, len(filters), 100):
            self._connection.subscribe(filters[at : at + 100], retained=True)

    def unsubscribe(self, filters: Sequence[str]) -> None:
        """Unsubscribe."""
        self._connection.unsubscribe(filters)

    def publish(self, topic: str, payload: bytes | str, *, retain: bool) -> None:
        """Publish with QoS 1; wait while too many messages are not acknowledged."""
        self._in_flight.add(self._connection.publish(topic, payload, 1, retain=retain))
        self.wait_acknowledged(min(WINDOW, self._connection.receive_maximum) - 1)

    def wait_acknowledged(self, most: int = 0) -> None:
        """Wait until at most `most` messages are not acknowledged."""
        while len(self._in_flight) > most:
            before = len(self._in_flight)
            if not self.wait(ANSWER_SECONDS, lambda: len(self._in_flight) < before):  # noqa: B023 - called here
                raise self._connection.failure("does not answer; try again", ErrorCode.SILENT)

    def wait(self, seconds: float, done: Callable[[], bool] = lambda: False) -> bool:
        """Receive until `done`, for at most `seconds`; return whether it is done."""
        until = time.monotonic() + seconds
        while not done():
            left = until - time.monotonic()
            if left <= 0:
                return False
            self._connection.poll(min(left, 1.0))
            self._process()
        return True

    def close(self) -> None:
        """Disconnect."""
        self._connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _process(self) -> None:
        while self._connection.pubacks:
            ack = self._connection.pubacks.popleft()
            self._in_flight.discard(ack.mid)
            if ack.reason.is_failure:
                raise LinkRefused(f"{self._where}: refuses a message: {ack.reason}")
        while self._connection.received:
            heard = self._connection.received.popleft()
            self.received.append(heard)
            self._connection.acknowledge(heard)
