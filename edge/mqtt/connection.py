"""One connection to the broker, from CONNECT until it ends: paho driven from our own thread.

Each connection has a client of its own, so that nothing of paho's own queue outlives it: what is
still to be sent is in the outbox and nowhere else.
"""

import contextlib
import select
import socket
import ssl
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

from paho.mqtt.client import Client, ConnectFlags, DisconnectFlags, MQTTMessage
from paho.mqtt.enums import LogLevel, MQTTErrorCode
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode
from paho.mqtt.subscribeoptions import SubscribeOptions

from edge.errors import ErrorCode
from edge.mqtt.client import (
    CONNECT_SECONDS,
    PACKET_BYTES,
    RECEIVE_MAXIMUM,
    SESSION_SECONDS,
    WireMessage,
    connect,
    new_client,
    properties,
)
from edge.mqtt.reason_codes import (
    Action,
    ConnectionEnded,
    Disposition,
    PublishRefused,
    connect_error,
    of_connack,
    of_disconnect,
)
from edge.mqtt.self_pipe import SelfPipe
from edge.settings import BrokerSettings

WILL_DELAY_SECONDS = 30  # a unit that is back by then was never away
GOODBYE_SECONDS = 0.5  # for the socket to take what is queued, when closing
LAST_WORDS_BYTES = 65_536  # looked through for a goodbye, once a connection failed
QOS_NOT_SUPPORTED = 0x9B
UNLIMITED = 268_435_460  # bytes; MQTT knows no longer packet
_LOST = Disposition(ErrorCode.LOST, Action.AGAIN)
_NOT_MQTT = Disposition(ErrorCode.PROTOCOL, Action.AGAIN)


@dataclass(frozen=True, slots=True)
class PubAck:
    """What the broker said of one QoS 1 message."""

    mid: int
    reason: ReasonCode


@dataclass(frozen=True, slots=True)
class SubAck:
    """What the broker said of one SUBSCRIBE, filter by filter."""

    mid: int
    reasons: tuple[ReasonCode, ...]


@dataclass(frozen=True, slots=True)
class ReceivedMessage:
    """A message that came by this connection; the broker keeps it until `acknowledge`."""

    topic: str
    payload: bytes
    retained: bool
    mid: int  # 0: of QoS 0, and there is nothing to acknowledge


@dataclass(frozen=True, slots=True)
class ConnectOptions:
    """Who connects, and what it asks of the broker; what MQTT 3.1.1 cannot ask, it goes without."""

    client_id: str
    will: tuple[str, bytes] | None = None  # topic and payload, retained
    content_type: str | None = None  # of all that it publishes
    session: int = SESSION_SECONDS  # kept so long after it went; 0: none, and begin with none
    receive_maximum: int = RECEIVE_MAXIMUM  # messages that may be on their way to it
    packet_bytes: int = PACKET_BYTES  # of the largest packet that may be sent to it


class Connection:
    """An open connection. Raises Ended, in every method, when it was refused or has ended.

    Refused, one of them, says that a person must mend the settings first. With `five` it is MQTT
    5, else 3.1.1: without will delay, content type, limits of the broker, and reasons. Which of
    them a broker speaks: `edge.mqtt.version`.
    """

    def __init__(
        self, broker: BrokerSettings, hello: ConnectOptions, waker: SelfPipe, *, five: bool = True
    ) -> None:
        self.acks: deque[PubAck] = deque()
        self.granted: deque[SubAck] = deque()
        self.heard: deque[ReceivedMessage] = deque()
        self.five = five
        self.resumed = False  # whether the broker had kept our session
        self.shares = five  # whether the broker offers shared subscriptions
        self.receive_maximum = 65_535  # of the broker: QoS 1 messages in flight
        self.packet_maximum = UNLIMITED  # of the broker: bytes of one packet
        self.waker = waker
        self._version = "MQTT 5" if five else "MQTT 3.1.1"
        self._content: WireMessage | None = None
        # At most 5 bytes of fixed header, the topic's length, the packet id, and the properties.
        self._overhead = 5 + 2 + 2 + 1
        if five and hello.content_type is not None:
            self._content = WireMessage(PacketTypes.PUBLISH, ContentType=hello.content_type)
            self._overhead += 3 + len(hello.content_type)
        self._retains = True
        self._accepted = False
        self._ended: str | None = None
        self._verdict = _LOST
        self._detail = ""
        self._where = f"{broker.host}:{broker.port}"
        self._client = self._prepared(broker, hello)
        try:
            connect(
                self._client,
                broker,
                keep=hello.session > 0,
                SessionExpiryInterval=hello.session,
                ReceiveMaximum=hello.receive_maximum,
                MaximumPacketSize=hello.packet_bytes,
            )
        except (OSError, ValueError) as error:  # a name that is no name is a ValueError
            raise connect_error(self._where, error) from None
        deadline = time.monotonic() + CONNECT_SECONDS
        while not self._accepted:
            if time.monotonic() > deadline or waker.stopped:
                self.drop()
                raise self.ended(f"does not answer by {self._version}", ErrorCode.SILENT)
            self.poll(deadline - time.monotonic())

    def ended(self, why: str, trouble: ErrorCode) -> ConnectionEnded:
        """Return the error of a connection that its user gives up."""
        return ConnectionEnded(self._where, why, trouble)

    def publish(self, topic: str, token: str | bytes, qos: int, *, retain: bool) -> int:
        """Queue a message and return its packet id; `turn` sends it."""
        retain = retain and self._retains
        info = self._client.publish(topic, token, qos, retain, self._content)
        if info.rc != MQTTErrorCode.MQTT_ERR_SUCCESS:
            self._end("the connection was lost")
        return info.mid

    def subscribe(self, filters: Sequence[str], *, retained: bool) -> int:
        """Queue a SUBSCRIBE of QoS 1 and return its packet id; `granted` has the answer.

        Without `retained`, by MQTT 5 alone, retained messages come only of new subscriptions.
        """
        wanted: list[tuple[str, Any]] = [(each, 1) for each in filters]
        if self.five:
            handling = 0 if retained else 1  # MQTT 5, section 3.8.3.1
            options = SubscribeOptions(1, retainAsPublished=True, retainHandling=handling)
            wanted = [(each, options) for each in filters]
        result, mid = self._client.subscribe(wanted)
        if result != MQTTErrorCode.MQTT_ERR_SUCCESS or mid is None:
            self._end("the connection was lost")
        return mid

    def unsubscribe(self, filters: Sequence[str]) -> None:
        """Queue an UNSUBSCRIBE; nobody waits for its answer."""
        result, _ = self._client.unsubscribe(list(filters))
        if result != MQTTErrorCode.MQTT_ERR_SUCCESS:
            self._end("the connection was lost")

    def acknowledge(self, heard: ReceivedMessage) -> None:
        """Let the broker forget a message that came by this very connection."""
        if heard.mid:
            self._client.ack(heard.mid, 1)

    def max_packet_size(self, topic: str, token: str | bytes) -> bool:
        """Whether the broker takes a packet as large as this message's."""
        return self._overhead + len(topic) + len(token) <= self.packet_maximum

    def poll(self, seconds: float) -> None:
        """Send and receive; where there is nothing of either, wait until woken or so long."""
        sock = self._client.socket()
        if sock is None:
            self._end("the connection was lost")
        poll = select.poll()
        poll.register(self.waker.fd, select.POLLIN)
        wants = select.POLLOUT if self._client.want_write() else 0
        poll.register(sock.fileno(), select.POLLIN | wants)
        pending = isinstance(sock, ssl.SSLSocket) and sock.pending() > 0
        ready = dict(poll.poll(0 if pending else max(seconds, 0.0) * 1000))
        if self.waker.fd in ready:
            self.waker.clear()
        if pending or ready.get(sock.fileno(), 0) & ~select.POLLOUT:
            self._read()
        if self._client.want_write():
            self._client.loop_write()
        self._client.loop_misc()
        if self._ended is not None:
            self._end(self._ended)

    def read_on(self, most: int) -> None:
        """Read what has arrived already, up to `most` messages."""
        before = -1
        while before < len(self.heard) < most:
            before = len(self.heard)
            self._read()
        if self._ended is not None:
            self._end(self._ended)

    def _read(self) -> None:
        try:
            self._client.loop_read()
        except Exception as error:  # noqa: BLE001 - whatever bytes make paho's reading fail
            self._verdict = _NOT_MQTT
            self._end(f"sent what is not {self._version} ({type(error).__name__})")

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

    def _prepared(self, broker: BrokerSettings, hello: ConnectOptions) -> Client:
        client = new_client(broker, hello.client_id, five=self.five, keep=hello.session > 0)
        client.max_inflight_messages_set(0)  # the link counts them itself
        client.on_connect = self._on_connect
        client.on_disconnect = self._on_disconnect
        client.on_publish = self._on_publish
        client.on_subscribe = self._on_subscribe
        client.on_message = self._on_message
        client.manual_ack_set(True)
        client.on_log = self._on_log
        client.on_socket_close = self._on_socket_close
        # With this set paho only queues, and `turn` alone touches the socket.
        client.on_socket_register_write = lambda _client, _userdata, _sock: None
        if hello.will is not None:
            topic, payload = hello.will
            delay = None
            if self.five:
                delay = properties(PacketTypes.WILLMESSAGE, WillDelayInterval=WILL_DELAY_SECONDS)
            client.will_set(topic, payload, qos=1, retain=True, properties=delay)
        return client

    def _end(self, why: str) -> NoReturn:
        self.drop()
        verdict = self._verdict
        if verdict is _LOST and not self._accepted:
            # Of a certificate TLS 1.3 judges only now; else it may be one that never saw MQTT 5.
            why = f"ended the connection instead of answering by {self._version}"
            trouble = ErrorCode.CLOSED
            if "ALERT" in self._detail.upper():
                trouble = ErrorCode.CERTIFICATE_REFUSED
            verdict = Disposition(trouble, Action.AGAIN)
        detail = f" ({self._detail})" if self._detail and self._detail not in why else ""
        refused = not self._accepted and verdict.remedy is Action.SLOW
        kind = PublishRefused if refused else ConnectionEnded
        raise kind(self._where, why + detail, verdict.trouble or ErrorCode.LOST, verdict.remedy)

    def _on_connect(
        self,
        _client: Client,
        _userdata: object,
        flags: ConnectFlags,
        reason: ReasonCode,
        limits: Properties | None,
    ) -> None:
        if reason.is_failure:
            self._ended = f"refused us: {reason}"
            self._verdict = of_connack(reason.value)
            return
        if getattr(limits, "MaximumQoS", 1) < 1:
            self._ended = "takes no QoS 1, which events need"
            self._verdict = of_connack(QOS_NOT_SUPPORTED)
            return
        self._accepted = True
        self.resumed = flags.session_present
        self._client.on_log = None  # paho writes a line for every packet as long as one listens
        self.receive_maximum = getattr(limits, "ReceiveMaximum", self.receive_maximum)
        self.packet_maximum = getattr(limits, "MaximumPacketSize", self.packet_maximum)
        self._retains = getattr(limits, "RetainAvailable", 1) == 1
        self.shares &= getattr(limits, "SharedSubscriptionAvailable", 1) == 1

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
            self._verdict = of_disconnect(reason.value) if by_broker else _LOST

    def _on_socket_close(self, _client: Client, _userdata: object, sock: object) -> None:
        """Hear the reason that came while we wrote: paho gives up unread when a write fails."""
        if not self._accepted or self._ended is not None or not isinstance(sock, socket.socket):
            return
        left = bytearray()
        with contextlib.suppress(OSError):  # also: nothing more is there
            while len(left) < LAST_WORDS_BYTES and (data := sock.recv(LAST_WORDS_BYTES)):
                left += data
        if (code := parse_disconnect(bytes(left))) is not None and self.five:
            reason = ReasonCode(PacketTypes.DISCONNECT, identifier=code)
            self._ended = f"sent us away: {reason}"
            self._verdict = of_disconnect(code)

    def _on_publish(
        self,
        _client: Client,
        _userdata: object,
        mid: int,
        reason: ReasonCode,
        _properties: Properties,
    ) -> None:
        self.acks.append(PubAck(mid, reason))

    def _on_subscribe(
        self,
        _client: Client,
        _userdata: object,
        mid: int,
        reasons: list[ReasonCode],
        _properties: Properties | None,
    ) -> None:
        if not reasons:
            raise ValueError("a SUBACK without reasons")
        self.granted.append(SubAck(mid, tuple(reasons)))

    def _on_message(self, _client: Client, _userdata: object, message: MQTTMessage) -> None:
        mid = message.mid if message.qos else 0
        try:
            topic = message.topic
        except UnicodeDecodeError:  # no filter of ours matches it; a broker must not send it
            topic = ""
        self.heard.append(ReceivedMessage(topic, bytes(message.payload), message.retain, mid))

    def _on_log(self, _client: Client, _userdata: object, level: int, text: str) -> None:
        """Keep what paho says only to its log: why the TLS layer ended a connection."""
        if level == LogLevel.MQTT_LOG_ERR and "SSL" in text:
            self._detail = text


def parse_disconnect(stream: bytes) -> int | None:
    """Return the reason of the DISCONNECT among whole MQTT 5 packets, or None where none is."""
    at = 0
    while at + 2 <= len(stream):
        kind, size, shift, at = stream[at] & 0xF0, 0, 0, at + 1
        while at < len(stream) and shift < 28:  # at most four bytes hold the length
            byte = stream[at]
            size |= (byte & 0x7F) << shift
            shift, at = shift + 7, at + 1
            if byte < 0x80:
                break
        if kind == PacketTypes.DISCONNECT << 4:
            return stream[at] if 0 < size <= len(stream) - at else 0
        at += size
    return None
