"""One connection to the broker, from CONNECT until it ends: paho driven from our own thread.

Each connection has a client of its own, so that nothing of paho's own queue outlives it: what is
still to be sent is in the outbox and nowhere else.
"""

import os
import select
import ssl
import time
from collections import deque
from dataclasses import dataclass
from typing import NoReturn

from paho.mqtt.client import Client, ConnectFlags, DisconnectFlags
from paho.mqtt.enums import LogLevel, MQTTErrorCode
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from edge.errors import LinkError, LinkRefused
from edge.mqtt.client import CONNECT_SECONDS, connect, new_client, properties
from edge.mqtt.envelope import CONTENT_TYPE
from edge.settings import BrokerSettings

WILL_DELAY_SECONDS = 30  # a unit that is back by then was never away
GOODBYE_SECONDS = 0.5  # for the socket to take what is queued, when closing
# MQTT 5 CONNACK codes that no waiting mends: version, client id, password, access, ban, method.
_NEVER = frozenset({0x84, 0x85, 0x86, 0x87, 0x8A, 0x8C})


class Waker:
    """Lets any thread end another's wait on a connection, or on nothing."""

    def __init__(self) -> None:
        self.fd = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)

    def wake(self) -> None:
        os.eventfd_write(self.fd, 1)

    def wait(self, seconds: float) -> None:
        """Wait until woken, at most so long."""
        poll = select.poll()
        poll.register(self.fd, select.POLLIN)
        poll.poll(max(seconds, 0.0) * 1000)
        self.clear()

    def clear(self) -> None:
        try:
            os.eventfd_read(self.fd)
        except BlockingIOError:
            return

    def close(self) -> None:
        os.close(self.fd)


@dataclass(frozen=True, slots=True)
class Ack:
    """What the broker said of one QoS 1 message."""

    mid: int
    reason: ReasonCode


class Connection:
    """An open connection. Raises LinkError, in every method, when it was refused or has ended.

    LinkRefused, one of them, says that a person must mend the settings first.
    """

    def __init__(
        self, broker: BrokerSettings, client_id: str, will_topic: str, will: bytes, waker: Waker
    ) -> None:
        self.acks: deque[Ack] = deque()
        self.receive_maximum = 65_535  # of the broker: QoS 1 messages in flight
        self._waker = waker
        self._accepted = False
        self._ended: str | None = None
        self._refused = False
        self._detail = ""
        self._client = self._prepared(broker, client_id, will_topic, will)
        self._where = f"{broker.host}:{broker.port}"
        try:
            connect(self._client, broker)
        except (OSError, ValueError) as error:  # a name that is no name is a ValueError
            ours = isinstance(error, ssl.SSLCertVerificationError | ValueError)
            kind = LinkRefused if ours else LinkError
            raise kind(f"broker {self._where}: {_why(error)}") from None
        deadline = time.monotonic() + CONNECT_SECONDS
        while not self._accepted:
            if time.monotonic() > deadline:
                self.drop()
                raise LinkError(f"broker {self._where}: takes connections but does not answer")
            self.turn(deadline - time.monotonic())

    def publish(self, topic: str, token: str, qos: int, *, retain: bool) -> int:
        """Queue a message and return its packet id; `turn` sends it."""
        content = properties(PacketTypes.PUBLISH, ContentType=CONTENT_TYPE)
        info = self._client.publish(topic, token, qos, retain, content)
        if info.rc != MQTTErrorCode.MQTT_ERR_SUCCESS:
            self._end("the connection was lost")
        return info.mid

    def turn(self, seconds: float) -> None:
        """Send and receive; where there is nothing of either, wait until woken or so long."""
        sock = self._client.socket()
        if sock is None:
            self._end("the connection was lost")
        poll = select.poll()
        poll.register(self._waker.fd, select.POLLIN)
        wants = select.POLLOUT if self._client.want_write() else 0
        poll.register(sock.fileno(), select.POLLIN | wants)
        pending = isinstance(sock, ssl.SSLSocket) and sock.pending() > 0
        ready = dict(poll.poll(0 if pending else max(seconds, 0.0) * 1000))
        if self._waker.fd in ready:
            self._waker.clear()
        if pending or ready.get(sock.fileno(), 0) & ~select.POLLOUT:
            self._client.loop_read()
        if self._client.want_write():
            self._client.loop_write()
        self._client.loop_misc()
        if self._ended is not None:
            self._end(self._ended)

    def close(self) -> None:
        """Say goodbye, so that the broker drops the will; at most for GOODBYE_SECONDS."""
        self._client.disconnect()
        deadline = time.monotonic() + GOODBYE_SECONDS
        # paho also says success where the socket takes no more: ask the socket.
        while self._client.loop_write() == MQTTErrorCode.MQTT_ERR_SUCCESS:
            sock, left = self._client.socket(), deadline - time.monotonic()
            if sock is None or sock.fileno() < 0 or not self._client.want_write() or left <= 0:
                break
            poll = select.poll()
            poll.register(sock.fileno(), select.POLLOUT)
            poll.poll(left * 1000)
        self.drop()

    def drop(self) -> None:
        """Close the socket and say nothing."""
        if (sock := self._client.socket()) is not None:
            sock.close()

    def _prepared(
        self, broker: BrokerSettings, client_id: str, will_topic: str, will: bytes
    ) -> Client:
        client = new_client(broker, client_id)
        client.max_inflight_messages_set(0)  # the link counts them itself
        client.on_connect = self._on_connect
        client.on_disconnect = self._on_disconnect
        client.on_publish = self._on_publish
        client.on_log = self._on_log
        # With this set paho only queues, and `turn` alone touches the socket.
        client.on_socket_register_write = lambda _client, _userdata, _sock: None
        delay = properties(PacketTypes.WILLMESSAGE, WillDelayInterval=WILL_DELAY_SECONDS)
        client.will_set(will_topic, will, qos=1, retain=True, properties=delay)
        return client

    def _end(self, why: str) -> NoReturn:
        self.drop()
        detail = f" ({self._detail})" if self._detail and self._detail not in why else ""
        kind = LinkRefused if self._refused else LinkError
        raise kind(f"broker {self._where}: {why}{detail}")

    def _on_connect(
        self,
        _client: Client,
        _userdata: object,
        _flags: ConnectFlags,
        reason: ReasonCode,
        limits: Properties | None,
    ) -> None:
        if reason.is_failure:
            self._ended = f"refused us: {reason}"
            self._refused = reason.value in _NEVER
            return
        self._accepted = True
        self.receive_maximum = getattr(limits, "ReceiveMaximum", self.receive_maximum)

    def _on_disconnect(
        self,
        _client: Client,
        _userdata: object,
        flags: DisconnectFlags,
        reason: ReasonCode,
        _properties: Properties | None,
    ) -> None:
        if self._ended is None:
            by_broker = flags.is_disconnect_packet_from_server
            self._ended = f"sent us away: {reason}" if by_broker else "the connection was lost"

    def _on_publish(
        self,
        _client: Client,
        _userdata: object,
        mid: int,
        reason: ReasonCode,
        _properties: Properties,
    ) -> None:
        self.acks.append(Ack(mid, reason))

    def _on_log(self, _client: Client, _userdata: object, level: int, text: str) -> None:
        """Keep what paho says only to its log: why the TLS layer ended a connection."""
        if level == LogLevel.MQTT_LOG_ERR and "SSL" in text:
            self._detail = text


def _why(error: Exception) -> str:
    """Say in words why no connection came about."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is refused: {error.verify_message}; check broker.ca and its name"
    if isinstance(error, ssl.SSLError):
        return f"TLS failed: {error.reason or error}"
    if isinstance(error, TimeoutError):
        return "no answer in time"
    return getattr(error, "strerror", None) or str(error)
