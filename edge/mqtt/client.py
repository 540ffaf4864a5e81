"""A paho client set up as the settings say: MQTT 5 or 3.1.1, TLS, certificate, password."""

import socket

from paho.mqtt.client import Client
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from edge.errors import SecretError
from edge.mqtt.tls import tls_context
from edge.setting_types import check_mqtt_text
from edge.settings import BrokerSettings
from edge.system.key_files import read_secret_line

CONNECT_SECONDS = 5.0  # for TCP, and again for the TLS handshake
SESSION_SECONDS = 86_400  # the broker keeps our session this long after we went
RECEIVE_MAXIMUM = 20  # messages that may be on their way to us
PACKET_BYTES = 131_072  # of the largest message that the broker may send us


def _unpack(self: ReasonCode, buffer: bytes | bytearray) -> int:
    """Take the code from the first byte; returns how many bytes were read."""
    self.value = buffer[0]
    return 1


def _name(self: ReasonCode) -> str:
    """Return the standard's words for the code, of another packet if need be."""
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
    broker: BrokerSettings, client_id: str, *, five: bool = True, keep: bool = True
) -> Client:
    """Return a client that is not connected yet; with `five` it speaks MQTT 5, else 3.1.1.

    Without `keep`, a session of MQTT 3.1.1 ends with the connection, as does an earlier one.

    Raises SecretError, which names the file, where a certificate, key or password is unusable.
    """
    client = _Client(
        CallbackAPIVersion.VERSION2,
        client_id=client_id,
        clean_session=None if five else not keep,
        protocol=MQTTProtocolVersion.MQTTv5 if five else MQTTProtocolVersion.MQTTv311,
        reconnect_on_failure=five,  # or paho would go on to MQTT 3.1 by itself
    )
    client.connect_timeout = CONNECT_SECONDS
    client.on_socket_open = _send_at_once
    if broker.tls:
        client.tls_set_context(tls_context(broker))
    if broker.username is not None or broker.password is not None:
        client.username_pw_set(broker.username, _password(broker))
    return client


def connect(client: Client, broker: BrokerSettings, *, keep: bool = True, **values: int) -> None:
    """Open the connection with a session that outlives it; OSError where it cannot be had.

    Without `keep`, an earlier session ends. `values` are further properties of an MQTT 5 CONNECT,
    or take the place of ours.
    """
    if client.protocol != MQTTProtocolVersion.MQTTv5:
        client.connect(broker.host, broker.port, broker.keepalive)
        return
    client.connect(
        broker.host,
        broker.port,
        broker.keepalive,
        clean_start=not keep,
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


class WireMessage(Properties):
    """Properties that never change: to pack them anew takes as long as to send an event."""

    def __init__(self, packet: int, **values: int | str) -> None:
        super().__init__(packet)  # type: ignore[no-untyped-call] # as above
        # Properties refuses every name that MQTT does not have.
        object.__setattr__(self, "packed", properties(packet, **values).pack())  # type: ignore[no-untyped-call]

    def encode(self) -> bytes:
        """Return what goes over the wire."""
        packed: bytes = self.__dict__["packed"]
        return packed


def _password(broker: BrokerSettings) -> str | None:
    if (path := broker.password) is None:
        return None
    try:
        return check_mqtt_text(read_secret_line(path, "the broker password"))
    except ValueError as error:
        raise SecretError(f"{path}: the broker password {error}") from None


def _send_at_once(_client: Client, _userdata: object, sock: object) -> None:
    """Do not let TCP hold a small packet back to join it with the next."""
    if isinstance(sock, socket.socket):
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
