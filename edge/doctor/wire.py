"""The way to the brokers: name, connection, TLS, and whether events are let in.

Whether events are let in is tried with the newest event itself, sent once more: receivers keep an
id once, so to send it again changes nothing. The probe has a client id of its own, keeps no
session and leaves no will, so that a daemon at work is not disturbed.
"""

import contextlib
import socket
import time
from collections import deque
from collections.abc import Iterator
from typing import Self

from paho.mqtt.enums import MQTTErrorCode
from paho.mqtt.reasoncodes import ReasonCode

from edge.doctor.finding import Ailment, Finding, bad, good, unchecked
from edge.doctor.patient import Patient
from edge.errors import OutboxError, SecretError, Trouble
from edge.mqtt.client import CONNECT_SECONDS, new_client
from edge.mqtt.connection import unconnected
from edge.mqtt.outbox_look import look
from edge.mqtt.reasons import Ended, of_connack, of_puback
from edge.mqtt.tls import tls_context
from edge.mqtt.topics import Leaf, UnitName
from edge.owner import acting_as
from edge.settings import BrokerSettings
from edge.wording import counted

REFUSAL_S = 1.0  # for a certificate to be refused
ANSWER_S = 5.0  # for each answer of the broker
_DO = {
    Trouble.UNREACHABLE: "check network, broker.host and broker.port, and firewalls between",
    Trouble.BROKER_CERTIFICATE: "give the authority that issued the broker's: senyum provision",
    Trouble.CERTIFICATE_REFUSED: "have a certificate issued: senyum provision --certificate PEM",
    Trouble.PASSWORD: "set the password anew: senyum provision",
    Trouble.NOT_AUTHORIZED: "let this unit write its own topics in the broker's access list",
    Trouble.NO_RECEIVER: "start the central server; events wait until it subscribes",
}


def brokers(patient: Patient) -> Iterator[Finding]:
    """Try each broker; what the daemon has connected is not tried a second time."""
    told = patient.bulletin
    unit = UnitName.of(patient.settings.unit)
    try:
        with acting_as(patient.owner):
            contents = look(patient.settings.outbox.file)
    except OutboxError as error:
        yield bad("outbox", Trouble.STORE_FAILED, str(error), "journalctl -u senyum -n 20")
        return
    # The daemon knows more than the file, where it seldom notes what was delivered.
    waiting = contents.waiting if told is None else told.waiting
    yield good("outbox", f"{counted(contents.newest, 'event')}, {waiting} not delivered yet")
    token = contents.token if contents.source == unit.source else None
    for broker in patient.settings.broker.in_order:
        where = f"{broker.host}:{broker.port}"
        check = f"broker {where}"
        if told is not None and told.link_up and told.broker == where:
            trouble = next((Trouble(c) for c in told.codes if c in _STANDING), None)
            if trouble is None:
                yield good(check, f"the daemon is connected, {told.waiting} not delivered yet")
            else:
                yield bad(check, trouble, "connected, but events wait", _DO.get(trouble, ""))
            continue
        with acting_as(patient.owner):
            yield probe(check, broker, unit, token)


_STANDING = {
    Trouble.NO_RECEIVER,
    Trouble.NOT_AUTHORIZED,
    Trouble.TOO_LARGE,
    Trouble.QUOTA,
    Trouble.INVALID,
    Trouble.REFUSED,
}


def probe(check: str, broker: BrokerSettings, unit: UnitName, token: str | None) -> Finding:
    """Try one broker, from its name to the answer to an event."""
    try:
        socket.getaddrinfo(broker.host, broker.port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        do = "check broker.host and the unit's name server: resolvectl status"
        return bad(check, Ailment.NAME_UNKNOWN, f"no such name: {broker.host}", do)
    try:
        if broker.tls:
            _shake_hands(broker)
        with _Probe(broker, f"{unit.client_id}.doctor") as caller:
            if token is None:
                text = "connected; no event yet to prove with that events are let in"
                return unchecked(check, text)
            trouble = caller.publish(unit.topic(Leaf.EVENT), token)
    except SecretError as error:
        return bad(check, Trouble.CREDENTIALS, str(error))
    except Ended as error:
        text = str(error).removeprefix(f"{check}: ")
        return bad(check, error.trouble, text, _DO.get(error.trouble, ""))
    if trouble is not None:
        return bad(check, trouble, "connected, but events are not let in", _DO.get(trouble, ""))
    return good(check, "lets events in")


def _shake_hands(broker: BrokerSettings) -> None:
    """Connect by TLS and wait whether our certificate is refused. Raises Ended and SecretError.

    TLS 1.3 judges it only after the handshake, and a CONNECT that is sent meanwhile may lose the
    answer. paho also leaves its socket open where a handshake fails.
    """
    where = (broker.host, broker.port)
    context = tls_context(broker)
    try:
        with (
            socket.create_connection(where, CONNECT_SECONDS) as plain,
            context.wrap_socket(plain, server_hostname=broker.host) as wrapped,
        ):
            wrapped.settimeout(REFUSAL_S)
            with contextlib.suppress(TimeoutError):  # nothing is said: we are let in
                wrapped.recv(1)
    except (OSError, ValueError) as error:
        raise unconnected(f"{broker.host}:{broker.port}", error) from None


class _Probe:
    """One short connection. Raises Ended and SecretError."""

    def __init__(self, broker: BrokerSettings, client_id: str) -> None:
        """Connect by MQTT 5, or by 3.1.1 where the broker speaks no other."""
        self._where = f"{broker.host}:{broker.port}"
        self._answers: deque[ReasonCode] = deque()
        self._client = new_client(broker, client_id)
        with contextlib.ExitStack() as undo:
            undo.callback(self._drop)
            reason = self._connect(broker)
            if of_connack(reason.value).trouble is Trouble.PROTOCOL:
                self._drop()
                self._client = new_client(broker, client_id, five=False)
                reason = self._connect(broker)
            if reason.is_failure:
                trouble = of_connack(reason.value).trouble or Trouble.REFUSED
                raise Ended(f"broker {self._where}: refused us: {reason}", trouble)
            undo.pop_all()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._client.disconnect()
        self._drop()

    def publish(self, topic: str, token: str) -> Trouble | None:
        """Return why an event is not let in, or None where it is."""
        self._client.publish(topic, token, qos=1)
        return of_puback(self._answer().value).trouble

    def _connect(self, broker: BrokerSettings) -> ReasonCode:
        self._client.on_connect = lambda _c, _u, _f, reason, _p: self._answers.append(reason)
        self._client.on_publish = lambda _c, _u, _m, reason, _p: self._answers.append(reason)
        try:
            self._client.connect(broker.host, broker.port, broker.keepalive)
        except (OSError, ValueError) as error:
            raise unconnected(self._where, error) from None
        return self._answer()

    def _answer(self) -> ReasonCode:
        """Wait for what the broker says next."""
        deadline = time.monotonic() + ANSWER_S
        while not self._answers:
            if time.monotonic() > deadline:
                raise Ended(f"broker {self._where}: does not answer", Trouble.SILENT)
            if self._client.loop(0.1) != MQTTErrorCode.MQTT_ERR_SUCCESS and not self._answers:
                text = "ended the connection instead of answering"
                raise Ended(f"broker {self._where}: {text}", Trouble.CLOSED)
        return self._answers.popleft()

    def _drop(self) -> None:
        if (sock := self._client.socket()) is not None:
            sock.close()
