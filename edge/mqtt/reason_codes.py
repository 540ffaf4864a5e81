"""What each reason code of a broker means and what to do about it.

A code that is missing from a table below (a later version of MQTT, a code of the broker's own) is
treated as the default of that table.
"""

import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum, auto
from typing import Self

from edge.errors import ErrorCode, LinkError, LinkRefused


class Action(Enum):
    """What to do about a reason code."""

    DELIVERED = auto()  # nothing: the broker has the event
    RETRY = auto()  # try again after the back-off, or another broker at once if there is one
    RETRY_RARELY = auto()  # log a warning and try seldom: an operator has to correct something
    # As RETRY; the event may be the cause, so quarantine it if this happens several times.
    SUSPECT_EVENT = auto()
    QUARANTINE = auto()  # hold this event back and let the events after it pass


@dataclass(frozen=True, slots=True)
class Disposition:
    """What a reason code means, and what to do about it."""

    error_code: ErrorCode | None
    action: Action


def _dispositions(action: Action, codes: Mapping[int, ErrorCode]) -> dict[int, Disposition]:
    return {reason: Disposition(error_code, action) for reason, error_code in codes.items()}


# MQTT 5, section 2.4. paho turns the return codes of MQTT 3.1.1 into these.
CONNACK: Mapping[int, Disposition] = {
    **_dispositions(
        Action.RETRY_RARELY,
        {
            0x84: ErrorCode.PROTOCOL,  # `Connection` has tried the other version
            0x85: ErrorCode.CLIENT_ID,
            0x86: ErrorCode.PASSWORD,
            0x87: ErrorCode.NOT_AUTHORIZED,
            0x8A: ErrorCode.BANNED,
            0x8C: ErrorCode.NOT_AUTHORIZED,  # bad authentication method
            0x90: ErrorCode.INVALID,  # the topic of our will
            0x95: ErrorCode.TOO_LARGE,
            0x99: ErrorCode.INVALID,
            0x9A: ErrorCode.FEATURE,  # no retained messages
            0x9B: ErrorCode.FEATURE,  # no QoS 1
            0x9D: ErrorCode.MOVED,
        },
    ),
    **_dispositions(
        Action.RETRY,
        {
            0x81: ErrorCode.PROTOCOL,
            0x82: ErrorCode.PROTOCOL,
            0x88: ErrorCode.BUSY,  # unavailable
            0x89: ErrorCode.BUSY,
            0x97: ErrorCode.QUOTA,
            0x9C: ErrorCode.MOVED,  # for now
            0x9F: ErrorCode.BUSY,  # connection rate exceeded
        },
    ),
}
PUBACK: Mapping[int, Disposition] = {
    0x00: Disposition(None, Action.DELIVERED),
    **_dispositions(Action.RETRY, {0x10: ErrorCode.NO_RECEIVER}),  # no subscriber: not delivered
    **_dispositions(Action.RETRY_RARELY, {0x87: ErrorCode.NOT_AUTHORIZED}),
    **_dispositions(
        Action.QUARANTINE,
        {
            0x90: ErrorCode.INVALID,  # topic name
            0x95: ErrorCode.TOO_LARGE,
            0x97: ErrorCode.QUOTA,
            0x99: ErrorCode.INVALID,  # payload format
        },
    ),
}
DISCONNECT: Mapping[int, Disposition] = {
    **_dispositions(
        Action.RETRY_RARELY,
        {
            0x87: ErrorCode.NOT_AUTHORIZED,
            0x8E: ErrorCode.TAKEN_OVER,
            0x9A: ErrorCode.FEATURE,
            0x9B: ErrorCode.FEATURE,
            0x9D: ErrorCode.MOVED,
        },
    ),
    **_dispositions(
        Action.SUSPECT_EVENT,
        {
            0x81: ErrorCode.INVALID,  # malformed packet
            0x82: ErrorCode.PROTOCOL,
            0x90: ErrorCode.INVALID,
            0x93: ErrorCode.REFUSED,  # more in flight than it allows: publish one at a time then
            0x95: ErrorCode.TOO_LARGE,
            0x97: ErrorCode.QUOTA,
            0x99: ErrorCode.INVALID,
        },
    ),
    **_dispositions(
        Action.RETRY,
        {
            0x89: ErrorCode.BUSY,
            0x8B: ErrorCode.STOPPING,
            0x8D: ErrorCode.LOST,  # keep alive timeout
            0x96: ErrorCode.BUSY,  # message rate too high
            0x98: ErrorCode.STOPPING,  # administrative action
            0x9C: ErrorCode.MOVED,
        },
    ),
}
_CONNACK_ELSE = Disposition(ErrorCode.REFUSED, Action.RETRY)
_PUBACK_ELSE = Disposition(ErrorCode.REFUSED, Action.SUSPECT_EVENT)
_DISCONNECT_ELSE = Disposition(ErrorCode.LOST, Action.RETRY)


def connack_disposition(code: int) -> Disposition:
    """Return what a CONNACK with a failure code means."""
    return CONNACK.get(code, _CONNACK_ELSE)


def puback_disposition(code: int) -> Disposition:
    """Return what a PUBACK means; with MQTT 3.1.1 the code is always 0."""
    return PUBACK.get(code, _PUBACK_ELSE)


def disconnect_disposition(code: int) -> Disposition:
    """Return what a DISCONNECT from the broker means."""
    return DISCONNECT.get(code, _DISCONNECT_ELSE)


class ConnectionEnded(LinkError):
    """The connection to a broker failed or ended: `where` names the broker, `why` the reason."""

    def __init__(
        self, where: str, why: str, error_code: ErrorCode, action: Action = Action.RETRY
    ) -> None:
        super().__init__(f"broker {where}: {why}")
        self.where = where
        self.why = why
        self.error_code = error_code
        self.action = action

    def with_detail(self, detail: str) -> Self:
        """Return a copy of this error with a longer message."""
        return type(self)(self.where, f"{self.why}; {detail}", self.error_code, self.action)


class ConnectionRejected(ConnectionEnded, LinkRefused):
    """The connection cannot succeed until an operator corrects the settings."""


_ISSUER = "add the certificate of the CA that issued it (broker.ca, --ca)"
_NAMES = "use a host name for which it was issued (broker.host, --broker)"
# By OpenSSL's X509_V_ERR codes: what to do. Everything else is a rule of RFC 5280.
_VERIFY_ADVICE = {
    2: _ISSUER,
    7: _ISSUER,
    9: "check the clocks of both machines",
    10: "have the broker's certificate, or the CA's, renewed; check the clock of this machine",
    18: _ISSUER,
    19: _ISSUER,
    20: _ISSUER,
    21: _ISSUER,
    62: _NAMES,
    64: _NAMES,
}
_RFC5280_ADVICE = (
    "the broker's certificate, or that of an intermediate CA, violates RFC 5280; have it reissued"
)


def connect_error(where: str, error: Exception) -> ConnectionEnded:
    """Return the error for a connection that TCP, TLS or name resolution could not establish."""
    if isinstance(error, ssl.SSLCertVerificationError):
        do = _VERIFY_ADVICE.get(error.verify_code, _RFC5280_ADVICE)
        why = f"its certificate was refused: {error.verify_message}; {do}"
        return ConnectionRejected(where, why, ErrorCode.BROKER_CERTIFICATE)
    if isinstance(error, ssl.SSLEOFError | ssl.SSLZeroReturnError | ConnectionResetError):
        # A proxy whose broker is down does this too, so retrying may help.
        why = (
            "closed the connection during the TLS handshake, as a port without TLS does "
            "(mqtt://, tls = false)"
        )
        return ConnectionEnded(where, why, ErrorCode.TLS_FAILED)
    if isinstance(error, ssl.SSLError):
        reason = error.reason or str(error)
        refused = "ALERT" in reason.upper()
        code = ErrorCode.CERTIFICATE_REFUSED if refused else ErrorCode.TLS_FAILED
        return ConnectionRejected(
            where, f"TLS failed: {reason}; check port, certificate and key", code
        )
    why = getattr(error, "strerror", None) or str(error) or type(error).__name__
    if isinstance(error, TimeoutError):
        why = "no answer in time"
    if isinstance(error, ValueError):  # raised by the codec for host names
        return ConnectionRejected(where, "not a valid host name", ErrorCode.UNREACHABLE)
    return ConnectionEnded(where, why, ErrorCode.UNREACHABLE)
