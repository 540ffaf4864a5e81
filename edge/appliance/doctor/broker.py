"""Checks the path to each broker: name, connection, TLS, and whether it accepts events.

To test that, the newest event is published again; receivers store each id once, so this changes
nothing. The probe uses its own client id, no session and no will, so it does not disturb a running
daemon.
"""

import socket
import time
from collections.abc import Iterator
from typing import Self

from edge.appliance.doctor.diagnostics import (
    DiagnosticCode,
    DiagnosticContext,
    DiagnosticResult,
    failed,
    ok,
    skipped,
)
from edge.contract.envelope import CONTENT_TYPE
from edge.contract.topics import TopicKind, UnitName
from edge.errors import ErrorCode, OutboxError, SecretError
from edge.mqtt.connection import Connection, ConnectOptions, check_reachable
from edge.mqtt.reason_codes import ConnectionEnded, puback_disposition
from edge.outbox.summary import summarize
from edge.settings import BrokerSettings
from edge.system.privileges import run_as
from edge.system.text import pluralize

ANSWER_S = 5.0  # time for each answer of the broker
_REMEDIES = {
    ErrorCode.UNREACHABLE: "check the network, broker.host, broker.port and firewalls",
    ErrorCode.CERTIFICATE_REFUSED: "get a certificate, then: senyum provision --certificate PEM",
    ErrorCode.PASSWORD: "set the password: senyum provision",
    ErrorCode.NOT_AUTHORIZED: "let this unit publish its own topics (the broker's access list)",
    ErrorCode.NO_RECEIVER: "start the central server; events wait until it subscribes",
}


def check_brokers(context: DiagnosticContext) -> Iterator[DiagnosticResult]:
    """Test each broker, except one that the daemon is connected to."""
    daemon = context.daemon_status
    unit = UnitName.of(context.settings.unit)
    try:
        with run_as(context.owner):
            contents = summarize(context.settings.outbox.file)
    except OutboxError as error:
        yield failed("outbox", ErrorCode.STORE_FAILED, str(error), "journalctl -u senyum -n 20")
        return
    # The daemon writes to the file only now and then which events were delivered.
    waiting = contents.waiting if daemon is None else daemon.waiting
    yield ok("outbox", f"{pluralize(contents.newest, 'event')}, {waiting} not delivered yet")
    token = contents.token if contents.source == unit.source else None
    for broker in context.settings.broker.in_order:
        where = f"{broker.host}:{broker.port}"
        check = f"broker {where}"
        if daemon is not None and daemon.link_up and daemon.broker == where:
            trouble = next((ErrorCode(c) for c in daemon.codes if c in _STANDING), None)
            if trouble is None:
                yield ok(check, f"the daemon is connected, {daemon.waiting} not delivered yet")
            else:
                yield failed(
                    check, trouble, "connected, but events wait", _REMEDIES.get(trouble, "")
                )
            continue
        with run_as(context.owner):
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
    """Test one broker, from its host name to the PUBACK of an event."""
    try:
        socket.getaddrinfo(broker.host, broker.port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        remedy = "check broker.host and the unit's name server: resolvectl status"
        text = f"host name not found: {broker.host}"
        return failed(check, DiagnosticCode.NAME_UNKNOWN, text, remedy)
    try:
        if broker.tls:
            check_reachable(broker)
        with _Probe(broker, f"{unit.client_id}.doctor") as connection:
            if token is None:
                text = "connected; cannot test whether it accepts events before the first event"
                return skipped(check, text)
            trouble = connection.publish(unit.topic(TopicKind.EVENT), token)
    except SecretError as error:
        return failed(check, ErrorCode.CREDENTIALS, str(error))
    except ConnectionEnded as error:
        return failed(check, error.error_code, error.why, _REMEDIES.get(error.error_code, ""))
    if trouble is not None:
        return failed(
            check,
            trouble,
            "connected, but the broker does not accept events",
            _REMEDIES.get(trouble, ""),
        )
    return ok(check, "accepts events")


class _Probe:
    """A short connection with the MQTT version that the daemon would use.

    Raises ConnectionEnded and SecretError.
    """

    def __init__(self, broker: BrokerSettings, client_id: str) -> None:
        self._connection = Connection(broker)
        self._connection.connect(
            ConnectOptions(client_id, content_type=CONTENT_TYPE, session_expiry=0)
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()

    def publish(self, topic: str, token: str) -> ErrorCode | None:
        """Return why the broker does not accept an event, or None if it does."""
        self._connection.publish(topic, token, 1, retain=False)
        deadline = time.monotonic() + ANSWER_S
        while not self._connection.pubacks:
            left = deadline - time.monotonic()
            if left <= 0:
                raise self._connection.failure("does not answer", ErrorCode.SILENT)
            self._connection.poll(left)
        return puback_disposition(self._connection.pubacks.popleft().reason.value).error_code
