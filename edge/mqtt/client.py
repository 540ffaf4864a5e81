"""A paho client set up as the settings say: MQTT 5 or 3.1.1, TLS, certificate, password."""

import os
import socket
import ssl
from pathlib import Path
from types import MappingProxyType

from paho.mqtt.client import Client
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from edge.errors import SecretError
from edge.secrets import read_secret
from edge.settings import BrokerSettings

CONNECT_SECONDS = 5.0  # for TCP, and again for the TLS handshake
SESSION_SECONDS = 86_400  # the broker keeps our session this long after we went
RECEIVE_MAXIMUM = 20  # messages that may be on their way to us
PACKET_BYTES = 131_072  # of the largest message that the broker may send us


# Mosquitto answers an event that is too large with PUBACK 0x95, which the standard has for other
# packets only; paho would take that for nonsense and end the connection, again and again.
ReasonCode.names = MappingProxyType(
    {
        code: names
        if code < 0x80
        else {name: [*{*packets, PacketTypes.PUBACK}] for name, packets in names.items()}
        for code, names in ReasonCode.names.items()
    }
)


def new_client(
    broker: BrokerSettings, client_id: str, *, five: bool = True, keep: bool = True
) -> Client:
    """Return a client that is not connected yet; with `five` it speaks MQTT 5, else 3.1.1.

    Without `keep`, a session of MQTT 3.1.1 ends with the connection, as does an earlier one.

    Raises SecretError, which names the file, where a certificate, key or password is unusable.
    """
    client = Client(
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
        client.username_pw_set(broker.username, _password(broker.password))
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


class Packed(Properties):
    """Properties that never change: to pack them anew takes as long as to send an event."""

    def __init__(self, packet: int, **values: int | str) -> None:
        super().__init__(packet)  # type: ignore[no-untyped-call] # as above
        # Properties refuses every name that MQTT does not have.
        object.__setattr__(self, "packed", properties(packet, **values).pack())  # type: ignore[no-untyped-call]

    def pack(self) -> bytes:
        """Return what goes over the wire."""
        packed: bytes = self.__dict__["packed"]
        return packed


def tls_context(broker: BrokerSettings) -> ssl.SSLContext:
    """Return a context that checks the broker's name and authority, and shows our certificate."""
    try:
        context = ssl.create_default_context(cafile=broker.ca)
    except (OSError, ssl.SSLError):
        raise SecretError(f"{broker.ca}: broker.ca is no readable PEM of authorities") from None
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if broker.certificate is None or broker.certificate_key is None:
        return context
    # OpenSSL reads key files itself and in files only; the mode is checked as for every secret.
    read_secret(broker.certificate_key, "the certificate's key")
    key = secret_path(broker.certificate_key)
    try:
        context.load_cert_chain(broker.certificate, key, password="")
    except (OSError, ssl.SSLError):
        raise SecretError(
            f"{broker.certificate}: broker.certificate and broker.certificate_key "
            f"({key}) are no PEM certificate and its unencrypted key"
        ) from None
    return context


def secret_path(path: Path) -> Path:
    """Return where `read_secret` finds it."""
    folder = os.environ.get("CREDENTIALS_DIRECTORY")
    if folder and (credential := Path(folder) / path.name).is_file():
        return credential
    return path


def _password(path: Path | None) -> str | None:
    if path is None:
        return None
    try:
        return read_secret(path, "the broker password").decode("utf-8").rstrip("\r\n")
    except UnicodeDecodeError:
        raise SecretError(f"{path}: the broker password is not UTF-8 text") from None


def _send_at_once(_client: Client, _userdata: object, sock: object) -> None:
    """Do not let TCP hold a small packet back to join it with the next."""
    if isinstance(sock, socket.socket):
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
