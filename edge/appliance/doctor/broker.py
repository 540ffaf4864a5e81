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

from edge.appliance.doctor.context import DiagnosticContext
from edge.appliance.doctor.result import DiagnosticCode, DiagnosticResult, failed, ok, skipped
from edge.contract.envelope import CONTENT_TYPE
from edge.contract.topics import TopicKind, UnitName
from edge.errors import ErrorCode, OutboxError, SecretError
from edge.mqtt.client import CONNECT_SECONDS
from edge.mqtt.connection import Connection, ConnectOptions
from edge.mqtt.reason_codes import ConnectionEnded, connect_error, of_puback
from edge.mqtt.self_pipe import SelfPipe
from edge.mqtt.tls import tls_context
from edge.mqtt.version import VersionNegotiation
from edge.outbox.summary import summarize
from edge.settings import BrokerSettings
from edge.system.privileges import run_as
from edge.system.text import pluralize

REFUSAL_S = 1.0  # for a certificate to be refused
ANSWER_S = 5.0  # for each answer of the broker
_DO = {
    ErrorCode.UNREACHABLE: "check network, broker.host and broker.port, and firewalls between",
    ErrorCode.CERTIFICATE_REFUSED: "have a certificate issued: senyum provision --certificate PEM",
    ErrorCode.PASSWORD: "set the password anew: senyum provision",
    ErrorCode.NOT_AUTHORIZED: "let this unit write its own topics in the broker's access list",
    ErrorCode.NO_RECEIVER: "start the central server; events wait until it subscribes",
}


def brokers(patient: DiagnosticContext) -> Iterator[DiagnosticResult]:
    """Try each broker; what the daemon has connected is not tried a second time."""
    told = patient.bulletin
    unit = UnitName.of(patient.settings.unit)
    try:
        with run_as(patient.owner):
            contents = summarize(patient.settings.outbox.file)
    except OutboxError as error:
        yield failed("outbox", ErrorCode.STORE_FAILED, str(error), "journalctl -u senyum -n 20")
        return
    # The daemon knows more than the file, where it seldom notes what was delivered.
    waiting = contents.waiting if told is None else told.waiting
    yield ok("outbox", f"{pluralize(contents.newest, 'event')}, {waiting} not delivered yet")
    token = contents.token if contents.source == unit.source else None
    for broker in patient.settings.broker.in_order:
        where = f"{broker.host}:{broker.port}"
        check = f"broker {where}"
        if told is not None and told.link_up and told.broker == where:
            trouble = next((ErrorCode(c) for c in told.codes if c in _STANDING), None)
            if trouble is None:
                yield ok(check, f"the daemon is connected, {told.waiting} not delivered yet")
            else:
                yield failed(check, trouble, "connected, but events wait", _DO.get(trouble, ""))
            continue
        with run_as(patient.owner):
            yield probe(check, broker, unit, token)


_STANDING = {
    ErrorCode.NO_RECEIVER,
    ErrorCode.NOT_AUTHORIZED,
    ErrorCode.TOO_LARGE,
    ErrorCode.QUOTA,
    ErrorCode.INVALID,
    ErrorCode.REFUSED,
}


def probe(
    check: str, broker: BrokerSettings, unit: UnitName, token: str | None
) -> DiagnosticResult:
    """Try one broker, from its name to the answer to an event."""
    try:
        socket.getaddrinfo(broker.host, broker.port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        do = "check broker.host and the unit's name server: resolvectl status"
        return failed(check, DiagnosticCode.NAME_UNKNOWN, f"no such name: {broker.host}", do)
    try:
        if broker.tls:
            _shake_hands(broker)
        with _Probe(broker, f"{unit.client_id}.doctor") as caller:
            if token is None:
                text = "connected; no event yet to prove with that events are let in"
                return skipped(check, text)
            trouble = caller.publish(unit.topic(TopicKind.EVENT), token)
    except SecretError as error:
        return failed(check, ErrorCode.CREDENTIALS, str(error))
    except ConnectionEnded as error:
        return failed(check, error.trouble, error.why, _DO.get(error.trouble, ""))
    if trouble is not None:
        return failed(check, trouble, "connected, but events are not let in", _DO.get(trouble, ""))
    return ok(check, "lets events in")


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
        raise connect_error(f"{broker.host}:{broker.port}", error) from None


class _Probe:
    """One short connection, by the version that the daemon would speak too.

    Raises Ended and SecretError.
    """

    def __init__(self, broker: BrokerSettings, client_id: str) -> None:
        self._waker = SelfPipe()
        hello = ConnectOptions(client_id, content_type=CONTENT_TYPE, session=0)
        self._connection = VersionNegotiation(broker).connect(
            lambda five: Connection(broker, hello, self._waker, five=five)
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()
        self._waker.close()

    def publish(self, topic: str, token: str) -> ErrorCode | None:
        """Return why an event is not let in, or None where it is."""
        self._connection.publish(topic, token, 1, retain=False)
        deadline = time.monotonic() + ANSWER_S
        while not self._connection.acks:
            left = deadline - time.monotonic()
            if left <= 0:
                raise self._connection.ended("does not answer", ErrorCode.SILENT)
            self._connection.poll(left)
        return of_puback(self._connection.acks.popleft().reason.value).trouble
