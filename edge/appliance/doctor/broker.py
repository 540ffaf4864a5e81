"""The way to the brokers: name, connection, TLS, and whether events are let in.

Whether events are let in is tried with the newest event itself, sent once more: receivers keep an
id once, so to send it again changes nothing. The probe has a client id of its own, keeps no
session and leaves no will, so that a daemon at work is not disturbed.
"""

import contextlib
import socket
import time
from collections.abc import Iterator
from typing import Self

from edge.appliance.doctor.context import Patient
from edge.appliance.doctor.result import Ailment, Finding, bad, good, unchecked
from edge.contract.envelope import CONTENT_TYPE
from edge.contract.topics import Leaf, UnitName
from edge.errors import OutboxError, SecretError, Trouble
from edge.mqtt.client import CONNECT_SECONDS
from edge.mqtt.connection import Connection, Hello
from edge.mqtt.reason_codes import Ended, of_puback, unconnected
from edge.mqtt.self_pipe import Waker
from edge.mqtt.tls import tls_context
from edge.mqtt.version import Version
from edge.outbox.summary import look
from edge.settings import BrokerSettings
from edge.system.privileges import acting_as
from edge.system.text import counted

REFUSAL_S = 1.0  # for a certificate to be refused
ANSWER_S = 5.0  # for each answer of the broker
_DO = {
    Trouble.UNREACHABLE: "check network, broker.host and broker.port, and firewalls between",
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
        return bad(check, error.trouble, error.why, _DO.get(error.trouble, ""))
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
    """One short connection, by the version that the daemon would speak too.

    Raises Ended and SecretError.
    """

    def __init__(self, broker: BrokerSettings, client_id: str) -> None:
        self._waker = Waker()
        hello = Hello(client_id, content_type=CONTENT_TYPE, session=0)
        self._connection = Version(broker).connect(
            lambda five: Connection(broker, hello, self._waker, five=five)
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()
        self._waker.close()

    def publish(self, topic: str, token: str) -> Trouble | None:
        """Return why an event is not let in, or None where it is."""
        self._connection.publish(topic, token, 1, retain=False)
        deadline = time.monotonic() + ANSWER_S
        while not self._connection.acks:
            left = deadline - time.monotonic()
            if left <= 0:
                raise self._connection.ended("does not answer", Trouble.SILENT)
            self._connection.turn(left)
        return of_puback(self._connection.acks.popleft().reason.value).trouble
