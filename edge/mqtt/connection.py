"""One connection to an MQTT broker, driven from the caller's thread with paho.

Every `Connection.connect` uses a new paho client, so that nothing of paho's own queue outlives a
connection. What is still to be published is in the outbox and nowhere else.
"""

import contextlib
import logging
import select
import socket
import ssl
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

from paho.mqtt.client import Client, ConnectFlags, DisconnectFlags, MQTTMessage
from paho.mqtt.enums import CallbackAPIVersion, LogLevel, MQTTErrorCode, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode
from paho.mqtt.subscribeoptions import SubscribeOptions

from edge.errors import ErrorCode
from edge.mqtt.credentials import read_password, tls_context
from edge.mqtt.reason_codes import (
    Action,
    ConnectionEnded,
    ConnectionRejected,
    Disposition,
    connack_disposition,
    connect_error,
    disconnect_disposition,
)
from edge.settings import BrokerSettings
from edge.system.event_queue import SelfPipe

log = logging.getLogger(__name__)

CONNECT_SECONDS = 5.0  # for TCP, again for the TLS handshake, and again for CONNACK
SESSION_SECONDS = 86_400  # how long the broker keeps the session of a client that is away
RECEIVE_MAXIMUM = 20  # QoS 1 messages that the broker may have in flight to us
PACKET_BYTES = 131_072  # of the largest packet that the broker may send us
WILL_DELAY_SECONDS = 30  # a unit that is back by then is never reported as offline
DISCONNECT_SECONDS = 0.5  # for the socket to take what is queued, when closing
UNREAD_BYTES = 65_536  # searched for a DISCONNECT after a write has failed
CERTIFICATE_SECONDS = 1.0  # for a broker to refuse our certificate after the handshake
QOS_NOT_SUPPORTED = 0x9B
UNLIMITED = 268_435_460  # bytes; the largest packet that MQTT can express
_LOST = Disposition(ErrorCode.LOST, Action.RETRY)
_NOT_MQTT = Disposition(ErrorCode.PROTOCOL, Action.RETRY)
# A connection that failed with one of these may succeed with the other version of MQTT.
_VERSION_IN_DOUBT = frozenset({ErrorCode.PROTOCOL, ErrorCode.CLOSED, ErrorCode.SILENT})


def _unpack(self: ReasonCode, buffer: bytes | bytearray) -> int:
    """Set the code from the first byte; return how many bytes were read."""
    self.value = buffer[0]
    return 1


def _name(self: ReasonCode) -> str:
    """Return the standard's name of the code, taken from another packet if necessary."""
    names = self.names.get(self.value, {})
    own = [name for name, packets in names.items() if self.packetType in packets]
    return next(iter([*own, *names]), f"reason code 0x{self.value:02x}")


# paho ends the connection at a code that the standard does not list for the packet. Mosquitto
# answers an event that is too large with PUBACK 0x95, which is listed for other packets only.
ReasonCode.unpack = _unpack  # type: ignore[method-assign]
ReasonCode.getName = _name  # type: ignore[method-assign]


class _Client(Client):
    def _handle_disconnect(self) -> None:
        """Keep the reason of a DISCONNECT without properties, which paho 2.1 skips."""
        if 0 < self._in_packet["remaining_length"] < 3:
            self._in_packet["remaining_length"] = 3
        super()._handle_disconnect()


def new_client(
    broker: BrokerSettings, client_id: str, *, mqtt5: bool = True, keep_session: bool = True
) -> Client:
    """Return a client, not connected yet, for MQTT 5 if `mqtt5`, otherwise for 3.1.1.

    Without `keep_session`, a session of MQTT 3.1.1 ends with the connection, and so does an
    earlier one.

    Raises SecretError, which names the file, if a certificate, key or password is unusable.
    """
    client = _Client(
        CallbackAPIVersion.VERSION2,
        client_id=client_id,
        clean_session=None if mqtt5 else not keep_session,
        protocol=MQTTProtocolVersion.MQTTv5 if mqtt5 else MQTTProtocolVersion.MQTTv311,
        reconnect_on_failure=mqtt5,  # otherwise paho would go on to MQTT 3.1 by itself
    )
    client.connect_timeout = CONNECT_SECONDS
    client.on_socket_open = _disable_nagle
    if broker.tls:
        client.tls_set_context(tls_context(broker))
    if broker.username is not None or broker.password is not None:
        client.username_pw_set(broker.username, read_password(broker))
    return client


def _disable_nagle(_client: Client, _userdata: object, sock: object) -> None:
    """Have TCP send each small packet at once."""
    if isinstance(sock, socket.socket):
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


def connect_client(
    client: Client, broker: BrokerSettings, *, keep_session: bool = True, **values: int
) -> None:
    """Send CONNECT and ask for a session that outlives the connection; raises OSError.

    Without `keep_session`, an earlier session ends. `values` are properties of an MQTT 5 CONNECT
    that are added to the default ones or replace them.
    """
    if client.protocol != MQTTProtocolVersion.MQTTv5:
        client.connect(broker.host, broker.port, broker.keepalive)
        return
    client.connect(
        broker.host,
        broker.port,
        broker.keepalive,
        clean_start=not keep_session,
        properties=properties(
            PacketTypes.CONNECT,
            **{
                "SessionExpiryInterval": SESSION_SECONDS,
                "ReceiveMaximum": RECEIVE_MAXIMUM,
                "MaximumPacketSize": PACKET_BYTES,
                **values,
            },
        ),
    )


def properties(packet: int, **values: int | str) -> Properties:
    """Return MQTT 5 properties of one packet type."""
    made = Properties(packet)  # type: ignore[no-untyped-call] # paho left this one class untyped
    for name, value in values.items():
        setattr(made, name, value)
    return made


class _EncodedProperties(Properties):
    """Constant properties, encoded once: encoding them takes as long as publishing an event."""

    def __init__(self, packet: int, **values: int | str) -> None:
        super().__init__(packet)  # type: ignore[no-untyped-call] # as above
        # Properties refuses every attribute that is not an MQTT property.
        object.__setattr__(self, "encoded", properties(packet, **values).pack())  # type: ignore[no-untyped-call]

    def pack(self) -> bytes:
        """Return the bytes as sent."""
        encoded: bytes = self.__dict__["encoded"]
        return encoded


@dataclass(frozen=True, slots=True)
class PubAck:
    """The broker's answer to one QoS 1 message."""

    mid: int
    reason: ReasonCode


@dataclass(frozen=True, slots=True)
class SubAck:
    """The broker's answer to one SUBSCRIBE, filter by filter."""

    mid: int
    reasons: tuple[ReasonCode, ...]


@dataclass(frozen=True, slots=True)
class ReceivedMessage:
    """A received PUBLISH; the broker keeps one of QoS 1 until `Connection.acknowledge`."""

    topic: str
    payload: bytes
    retained: bool
    mid: int  # 0: of QoS 0, which is not acknowledged


@dataclass(frozen=True, slots=True)
class ConnectOptions:
    """What CONNECT says; MQTT 3.1.1 cannot express all of it."""

    client_id: str
    will: tuple[str, bytes] | None = None  # topic and payload, retained
    content_type: str | None = None  # of everything that this client publishes
    session_expiry: int = (
        SESSION_SECONDS  # kept after a disconnect; 0: none, and discard an earlier one
    )
    receive_maximum: int = RECEIVE_MAXIMUM  # QoS 1 messages that may be in flight to this client
    maximum_packet_size: int = PACKET_BYTES  # of the largest packet that may be sent to this client


class Connection:
    """The connection to one broker. Once it has ended, `connect` opens it again.

    The rule for the version of MQTT: with `protocol = auto`, `connect` tries MQTT 5 and, if the
    broker refuses that version, closes the connection instead of answering or does not answer,
    3.1.1 at once. The version that connected is remembered and tried alone from then on, until it
    fails in one of these three ways. Then, and when both versions have failed, nothing is known
    and the next `connect` begins with MQTT 5 again. `protocol = 5` or `3.1.1` allows that version
    only. With 3.1.1 there is no will delay, content type, limit of the broker, or reason.

    Every method raises ConnectionEnded when the connection failed or has ended; `connect` raises
    its subclass ConnectionRejected if the settings must be corrected first, and SecretError for an
    unusable certificate, key or password. All methods are for one thread; `waker` lets others end
    its waits.
    """

    def __init__(self, broker: BrokerSettings, waker: SelfPipe | None = None) -> None:
        self._broker = broker
        self._waker = waker
        self._where = f"{broker.host}:{broker.port}"
        self._fixed = {"auto": None, "5": True, "3.1.1": False}[broker.protocol]
        self._remembered = self._fixed  # whether the broker uses MQTT 5; None: not known
        self._reset(mqtt5=True)

    def _reset(self, *, mqtt5: bool) -> None:
        """Forget everything about the connection before."""
        self.mqtt5 = mqtt5  # MQTT 5, otherwise 3.1.1
        self.pubacks: deque[PubAck] = deque()
        self.subacks: deque[SubAck] = deque()
        self.received: deque[ReceivedMessage] = deque()
        self.resumed = False  # whether the broker had kept our session
        self.shared_subscriptions = mqtt5  # whether the broker offers shared subscriptions
        self.receive_maximum = 65_535  # of the broker: QoS 1 messages in flight
        self.maximum_packet_size = UNLIMITED  # of the broker: bytes of one packet
        self._version = "MQTT 5" if mqtt5 else "MQTT 3.1.1"
        self._content_type: _EncodedProperties | None = None
        # At most 5 bytes of fixed header, the topic's length, the packet id, and the properties.
        self._overhead = 5 + 2 + 2 + 1
        self._retain_available = True
        self._accepted = False
        self._end_reason: str | None = None
        self._disposition = _LOST
        self._tls_detail = ""

    def connect(self, options: ConnectOptions) -> None:
        """Open the connection with the version of MQTT that the broker uses."""
        failures: list[ConnectionEnded] = []
        for mqtt5 in (True, False) if self._remembered is None else (self._remembered,):
            try:
                self._connect(options, mqtt5=mqtt5)
            except ConnectionEnded as error:
                if error.error_code not in _VERSION_IN_DOUBT:
                    raise
                failures.append(error)
            else:
                if failures:
                    log.info("%s; connected with MQTT 3.1.1", failures[0])
                self._remembered = mqtt5
                return
        self._remembered = self._fixed
        raise self._explain(*failures)

    def _explain(
        self, newer: ConnectionEnded, older: ConnectionEnded | None = None
    ) -> ConnectionEnded:
        """Return the error to raise after every version that may be tried has failed."""
        if older is None:
            if self._fixed is None:
                return newer
            return newer.with_detail(
                f"no other version is allowed (protocol = {self._broker.protocol})"
            )
        if newer.error_code is ErrorCode.PROTOCOL:
            if older.error_code is ErrorCode.PROTOCOL:
                return newer.with_detail(f"MQTT 3.1.1: {older.why}")
            # No answer to 3.1.1 may be temporary, as in a cluster that is electing a leader.
            return older.with_detail(f"MQTT 5: {newer.why}")
        hint = "a port with TLS also does this (mqtts://, tls = true)"
        if self._broker.tls:
            hint = "a broker that does not accept our certificate, or needs one, also does this"
        return newer.with_detail(f"MQTT 3.1.1: {older.why}; {hint}")

    def _connect(self, options: ConnectOptions, *, mqtt5: bool) -> None:
        self._reset(mqtt5=mqtt5)
        if mqtt5 and options.content_type is not None:
            self._content_type = _EncodedProperties(
                PacketTypes.PUBLISH, ContentType=options.content_type
            )
            self._overhead += 3 + len(options.content_type)
        self._client = self._new_client(options)
        try:
            connect_client(
                self._client,
                self._broker,
                keep_session=options.session_expiry > 0,
                SessionExpiryInterval=options.session_expiry,
                ReceiveMaximum=options.receive_maximum,
                MaximumPacketSize=options.maximum_packet_size,
            )
        except (OSError, ValueError) as error:  # ValueError: not a valid host name
            raise connect_error(self._where, error) from None
        deadline = time.monotonic() + CONNECT_SECONDS
        while not self._accepted:
            if time.monotonic() > deadline or (self._waker is not None and self._waker.stopped):
                self.drop()
                raise self.failure(f"does not answer {self._version}", ErrorCode.SILENT)
            self.poll(deadline - time.monotonic())

    def failure(self, why: str, error_code: ErrorCode) -> ConnectionEnded:
        """Return the error for a connection that its user gives up."""
        return ConnectionEnded(self._where, why, error_code)

    def publish(self, topic: str, payload: str | bytes, qos: int, *, retain: bool) -> int:
        """Queue a message and return its packet id; `poll` sends it."""
        retain = retain and self._retain_available
        info = self._client.publish(topic, payload, qos, retain, self._content_type)
        if info.rc != MQTTErrorCode.MQTT_ERR_SUCCESS:
            self._end("the connection was lost")
        return info.mid

    def subscribe(self, filters: Sequence[str], *, retained: bool) -> int:
        """Queue a SUBSCRIBE of QoS 1 and return its packet id; the answer goes to `subacks`.

        Without `retained`, MQTT 5 brokers send retained messages of new subscriptions only.
        """
        wanted: list[tuple[str, Any]] = [(each, 1) for each in filters]
        if self.mqtt5:
            handling = 0 if retained else 1  # MQTT 5, section 3.8.3.1
            options = SubscribeOptions(1, retainAsPublished=True, retainHandling=handling)
            wanted = [(each, options) for each in filters]
        result, mid = self._client.subscribe(wanted)
        if result != MQTTErrorCode.MQTT_ERR_SUCCESS or mid is None:
            self._end("the connection was lost")
        return mid

    def unsubscribe(self, filters: Sequence[str]) -> None:
        """Queue an UNSUBSCRIBE, whose answer is ignored."""
        result, _ = self._client.unsubscribe(list(filters))
        if result != MQTTErrorCode.MQTT_ERR_SUCCESS:
            self._end("the connection was lost")

    def acknowledge(self, message: ReceivedMessage) -> None:
        """Send PUBACK for a message that came over this connection since the last `connect`."""
        if message.mid:
            self._client.ack(message.mid, 1)

    def fits(self, topic: str, payload: str | bytes) -> bool:
        """Whether the broker accepts a packet as large as that of this message."""
        return self._overhead + len(topic) + len(payload) <= self.maximum_packet_size

    def poll(self, seconds: float) -> None:
        """Send and receive; if there is nothing to do, wait until woken, at most `seconds`."""
        sock = self._client.socket()
        if sock is None:
            self._end("the connection was lost")
        poll = select.poll()
        if self._waker is not None:
            poll.register(self._waker.fd, select.POLLIN)
        wants = select.POLLOUT if self._client.want_write() else 0
        poll.register(sock.fileno(), select.POLLIN | wants)
        pending = isinstance(sock, ssl.SSLSocket) and sock.pending() > 0
        ready = dict(poll.poll(0 if pending else max(seconds, 0.0) * 1000))
        if self._waker is not None and self._waker.fd in ready:
            self._waker.clear()
        if pending or ready.get(sock.fileno(), 0) & ~select.POLLOUT:
            self._read()
        if self._client.want_write():
            self._client.loop_write()
        self._client.loop_misc()
        if self._end_reason is not None:
            self._end(self._end_reason)

    def read_available(self, most: int) -> None:
        """Read what has already arrived, up to `most` messages."""
        before = -1
        while before < len(self.received) < most:
            before = len(self.received)
            self._read()
        if self._end_reason is not None:
            self._end(self._end_reason)

    def _read(self) -> None:
        try:
            self._client.loop_read()
        except Exception as error:  # noqa: BLE001 - whatever bytes make paho's reading fail
            self._disposition = _NOT_MQTT
            self._end(f"sent what is not {self._version} ({type(error).__name__})")

    def close(self) -> None:
        """Send DISCONNECT, so that the broker discards the will, within DISCONNECT_SECONDS."""
        self._client.disconnect()
        deadline = time.monotonic() + DISCONNECT_SECONDS
        # paho reports success even if the socket takes no more, so ask the socket.
        while self._client.loop_write() == MQTTErrorCode.MQTT_ERR_SUCCESS:
            sock, left = self._client.socket(), deadline - time.monotonic()
            if sock is None or sock.fileno() < 0 or not self._client.want_write() or left <= 0:
                break
            poll = select.poll()
            poll.register(sock.fileno(), select.POLLOUT)
            poll.poll(left * 1000)
        self.drop()

    def drop(self) -> None:
        """Close the socket without DISCONNECT."""
        if (sock := self._client.socket()) is not None:
            sock.close()

    def _new_client(self, options: ConnectOptions) -> Client:
        keep = options.session_expiry > 0
        client = new_client(self._broker, options.client_id, mqtt5=self.mqtt5, keep_session=keep)
        client.max_inflight_messages_set(0)  # the publisher counts them itself
        client.on_connect = self._on_connect
        client.on_disconnect = self._on_disconnect
        client.on_publish = self._on_publish
        client.on_subscribe = self._on_subscribe
        client.on_message = self._on_message
        client.manual_ack_set(True)
        client.on_log = self._on_log
        client.on_socket_close = self._on_socket_close
        # With this set paho only queues, and `poll` alone uses the socket.
        client.on_socket_register_write = lambda _client, _userdata, _sock: None
        if options.will is not None:
            topic, payload = options.will
            delay = None
            if self.mqtt5:
                delay = properties(PacketTypes.WILLMESSAGE, WillDelayInterval=WILL_DELAY_SECONDS)
            client.will_set(topic, payload, qos=1, retain=True, properties=delay)
        return client

    def _end(self, why: str) -> NoReturn:
        self.drop()
        disposition = self._disposition
        if disposition is _LOST and not self._accepted:
            # With TLS 1.3 a refused certificate looks like this too. Otherwise it may be a broker
            # that does not know MQTT 5.
            why = f"closed the connection instead of answering {self._version}"
            error_code = ErrorCode.CLOSED
            if "ALERT" in self._tls_detail.upper():
                error_code = ErrorCode.CERTIFICATE_REFUSED
            disposition = Disposition(error_code, Action.RETRY)
        detail = (
            f" ({self._tls_detail})" if self._tls_detail and self._tls_detail not in why else ""
        )
        refused = not self._accepted and disposition.action is Action.RETRY_RARELY
        kind = ConnectionRejected if refused else ConnectionEnded
        error_code = disposition.error_code or ErrorCode.LOST
        raise kind(self._where, why + detail, error_code, disposition.action)

    def _on_connect(
        self,
        _client: Client,
        _userdata: object,
        flags: ConnectFlags,
        reason: ReasonCode,
        limits: Properties | None,
    ) -> None:
        if reason.is_failure:
            self._end_reason = f"refused us: {reason}"
            self._disposition = connack_disposition(reason.value)
            return
        if getattr(limits, "MaximumQoS", 1) < 1:
            self._end_reason = "does not support QoS 1, which events need"
            self._disposition = connack_disposition(QOS_NOT_SUPPORTED)
            return
        self._accepted = True
        self.resumed = flags.session_present
        self._client.on_log = None  # paho would format a line for every packet
        self.receive_maximum = getattr(limits, "ReceiveMaximum", self.receive_maximum)
        self.maximum_packet_size = getattr(limits, "MaximumPacketSize", self.maximum_packet_size)
        self._retain_available = getattr(limits, "RetainAvailable", 1) == 1
        self.shared_subscriptions &= getattr(limits, "SharedSubscriptionAvailable", 1) == 1

    def _on_disconnect(
        self,
        _client: Client,
        _userdata: object,
        flags: DisconnectFlags,
        reason: ReasonCode,
        _properties: Properties | None,
    ) -> None:
        if self._end_reason is None:
            by_broker = flags.is_disconnect_packet_from_server
            self._end_reason = (
                f"disconnected us: {reason}" if by_broker else "the connection was lost"
            )
            self._disposition = disconnect_disposition(reason.value) if by_broker else _LOST

    def _on_socket_close(self, _client: Client, _userdata: object, sock: object) -> None:
        """Find the reason among unread bytes: when a write fails, paho closes without reading."""
        if (
            not self._accepted
            or self._end_reason is not None
            or not isinstance(sock, socket.socket)
        ):
            return
        left = bytearray()
        with contextlib.suppress(OSError):  # also: nothing more is there
            while len(left) < UNREAD_BYTES and (data := sock.recv(UNREAD_BYTES)):
                left += data
        if (code := parse_disconnect(bytes(left))) is not None and self.mqtt5:
            reason = ReasonCode(PacketTypes.DISCONNECT, identifier=code)
            self._end_reason = f"disconnected us: {reason}"
            self._disposition = disconnect_disposition(code)

    def _on_publish(
        self,
        _client: Client,
        _userdata: object,
        mid: int,
        reason: ReasonCode,
        _properties: Properties,
    ) -> None:
        self.pubacks.append(PubAck(mid, reason))

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
        self.subacks.append(SubAck(mid, tuple(reasons)))

    def _on_message(self, _client: Client, _userdata: object, message: MQTTMessage) -> None:
        mid = message.mid if message.qos else 0
        try:
            topic = message.topic
        except UnicodeDecodeError:  # a broker must not send it, and no filter of ours matches it
            topic = ""
        self.received.append(ReceivedMessage(topic, bytes(message.payload), message.retain, mid))

    def _on_log(self, _client: Client, _userdata: object, level: int, text: str) -> None:
        """Keep why the TLS layer ended a connection, which paho only logs."""
        if level == LogLevel.MQTT_LOG_ERR and "SSL" in text:
            self._tls_detail = text


def parse_disconnect(stream: bytes) -> int | None:
    """Return the reason code of the DISCONNECT in a stream of MQTT 5 packets, or None."""
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


def check_reachable(broker: BrokerSettings, seconds: float = CONNECT_SECONDS) -> None:
    """Connect with TCP, and with TLS if it is on, without MQTT; `seconds` for each.

    TLS 1.3 judges our certificate only after the handshake, and a CONNECT that is sent meanwhile
    may lose the answer; so wait CERTIFICATE_SECONDS for a refusal. Raises ConnectionEnded, and
    SecretError for unusable files.
    """
    context = tls_context(broker) if broker.tls else None
    try:
        with socket.create_connection((broker.host, broker.port), seconds) as plain:
            if context is not None:
                with context.wrap_socket(plain, server_hostname=broker.host) as wrapped:
                    wrapped.settimeout(CERTIFICATE_SECONDS)
                    with contextlib.suppress(TimeoutError):  # not refused
                        wrapped.recv(1)
    except (OSError, ValueError) as error:
        raise connect_error(f"{broker.host}:{broker.port}", error) from None
