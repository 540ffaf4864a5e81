"""One visit to the broker: publish, hear what comes back, leave."""

import threading
import time
from collections.abc import Callable, Sequence
from typing import Self

from paho.mqtt.client import Client, ConnectFlags, DisconnectFlags, MQTTMessage
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from edge.errors import LinkError, LinkRefused
from edge.mqtt.client import CONNECT_SECONDS, connect, new_client
from edge.mqtt.reasons import Remedy, of_connack
from edge.settings import BrokerSettings

ANSWER_SECONDS = 30.0  # for the broker to take one message more
WINDOW = 20  # messages on their way
Hear = Callable[[str, bytes, bool], None]  # topic, payload, retained; from another thread


class Post:
    """An open connection, by MQTT 5 or, where the broker speaks no other, 3.1.1.

    Raises LinkError, and LinkRefused where a person has to mend something first.
    """

    def __init__(self, broker: BrokerSettings, client_id: str, hear: Hear) -> None:
        self._where = f"broker {broker.host}:{broker.port}"
        self._hear = hear
        self._changed = threading.Condition()
        self._filters: list[str] = []
        self._flying: set[int] = set()
        self._acked: set[int] = set()  # before `publish` knew their number
        self._error: LinkError | None = None
        if not self._open(broker, client_id, five=True):
            self._open(broker, client_id, five=False)

    def subscribe(self, filters: Sequence[str]) -> None:
        """Subscribe; what is retained comes at once."""
        self._filters += filters
        for at in range(0, len(filters), 100):
            self._client.subscribe([(each, 1) for each in filters[at : at + 100]])

    def unsubscribe(self, filters: Sequence[str]) -> None:
        """Want no more of these."""
        self._client.unsubscribe(list(filters))
        self._filters = [each for each in self._filters if each not in filters]

    def publish(self, topic: str, payload: bytes | str, *, retain: bool) -> None:
        """Send a message of QoS 1, and wait until not too many wait for the broker's answer."""
        mid = self._client.publish(topic, payload, 1, retain).mid
        with self._changed:
            self._flying.add(mid)
            self._flying -= self._acked
        self.settle(WINDOW)

    def settle(self, most: int = 0) -> None:
        """Wait until the broker has taken all but so many messages."""
        with self._changed:
            deadline = time.monotonic() + ANSWER_SECONDS
            while len(self._flying) > most and self._error is None:
                before = len(self._flying)
                if not self._changed.wait(max(0.0, deadline - time.monotonic())):
                    self._error = LinkError(f"{self._where}: does not answer; try again")
                if len(self._flying) < before:
                    deadline = time.monotonic() + ANSWER_SECONDS
            if self._error is not None:
                raise self._error

    def close(self) -> None:
        """Leave; the broker keeps nothing for us."""
        if self._filters:
            self._client.unsubscribe(self._filters)
        self._client.disconnect()
        self._client.loop_stop()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _open(self, broker: BrokerSettings, client_id: str, *, five: bool) -> bool:
        """Connect; False where the broker does not speak MQTT 5."""
        self._accepted = self._older = False
        self._client = new_client(broker, client_id, five=five)
        self._client.on_connect = self._on_connect
        self._client.on_disconnect = self._on_disconnect
        self._client.on_publish = self._on_publish
        self._client.on_message = self._on_message
        try:
            connect(self._client, broker)
        except (OSError, ValueError) as error:
            raise LinkError(f"{self._where}: {error}") from None
        self._client.loop_start()
        with self._changed:
            done = self._changed.wait_for(
                lambda: self._accepted or self._older or self._error, CONNECT_SECONDS
            )
        if self._accepted:
            return True
        self._client.loop_stop()
        if self._older and five:
            return False
        raise self._error or LinkError(
            f"{self._where}: " + ("closed the connection" if done else "does not answer")
        )

    def _on_connect(
        self,
        _client: Client,
        _userdata: object,
        _flags: ConnectFlags,
        reason: ReasonCode,
        _properties: Properties | None,
    ) -> None:
        with self._changed:
            if not reason.is_failure:
                self._accepted = True
            elif of_connack(reason.value).remedy is Remedy.OLDER:
                self._older = True
            else:
                self._error = LinkRefused(f"{self._where}: refused us: {reason}")
            self._changed.notify_all()

    def _on_disconnect(
        self,
        _client: Client,
        _userdata: object,
        _flags: DisconnectFlags,
        reason: ReasonCode,
        _properties: Properties | None,
    ) -> None:
        with self._changed:
            if self._accepted and self._error is None:
                self._error = LinkError(f"{self._where}: the connection was lost ({reason})")
            elif not self._accepted:
                self._older = True
            self._changed.notify_all()

    def _on_publish(
        self,
        _client: Client,
        _userdata: object,
        mid: int,
        reason: ReasonCode,
        _properties: Properties | None,
    ) -> None:
        with self._changed:
            self._acked.add(mid)
            self._flying.discard(mid)
            if reason.is_failure:
                self._error = LinkRefused(f"{self._where}: does not take a message: {reason}")
            self._changed.notify_all()

    def _on_message(self, _client: Client, _userdata: object, message: MQTTMessage) -> None:
        self._hear(message.topic, bytes(message.payload), bool(message.retain))
