"""What each answer of a broker means for us, in one place.

A reason that stands in no table below (a later version of MQTT, a broker's own invention) is
treated as the table's default.
"""

import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum, auto
from typing import Self

from edge.errors import ErrorCode, LinkError, LinkRefused


class Action(Enum):
    """What to do about it."""

    TAKEN = auto()  # nothing: this is delivery
    AGAIN = auto()  # later, by the back-off; another broker at once, where there is one
    SLOW = auto()  # a person has to mend something: seldom, and told loudly
    BLAME = auto()  # as AGAIN, and the event may be the cause: set aside when it happens again
    ASIDE = auto()  # this event alone waits; those behind it pass


@dataclass(frozen=True, slots=True)
class Disposition:
    """What happened, and what to do about it."""

    trouble: ErrorCode | None
    remedy: Action


def _verdicts(remedy: Action, troubles: Mapping[int, ErrorCode]) -> dict[int, Disposition]:
    return {code: Disposition(trouble, remedy) for code, trouble in troubles.items()}


# MQTT 5, section 2.4. The codes of MQTT 3.1.1 are turned into these before they come here.
CONNACK: Mapping[int, Disposition] = {
    **_verdicts(
        Action.SLOW,
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
    **_verdicts(
        Action.AGAIN,
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
    0x00: Disposition(None, Action.TAKEN),
    **_verdicts(Action.AGAIN, {0x10: ErrorCode.NO_RECEIVER}),  # handed to nobody: no delivery
    **_verdicts(Action.SLOW, {0x87: ErrorCode.NOT_AUTHORIZED}),
    **_verdicts(
        Action.ASIDE,
        {
            0x90: ErrorCode.INVALID,  # topic name
            0x95: ErrorCode.TOO_LARGE,
            0x97: ErrorCode.QUOTA,
            0x99: ErrorCode.INVALID,  # payload format
        },
    ),
}
DISCONNECT: Mapping[int, Disposition] = {
    **_verdicts(
        Action.SLOW,
        {
            0x87: ErrorCode.NOT_AUTHORIZED,
            0x8E: ErrorCode.TAKEN_OVER,
            0x9A: ErrorCode.FEATURE,
            0x9B: ErrorCode.FEATURE,
            0x9D: ErrorCode.MOVED,
        },
    ),
    **_verdicts(
        Action.BLAME,
        {
            0x81: ErrorCode.INVALID,  # malformed packet
            0x82: ErrorCode.PROTOCOL,
            0x90: ErrorCode.INVALID,
            0x93: ErrorCode.REFUSED,  # more in flight than it allows: one at a time, then
            0x95: ErrorCode.TOO_LARGE,
            0x97: ErrorCode.QUOTA,
            0x99: ErrorCode.INVALID,
        },
    ),
    **_verdicts(
        Action.AGAIN,
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
_CONNACK_ELSE = Disposition(ErrorCode.REFUSED, Action.AGAIN)
_PUBACK_ELSE = Disposition(ErrorCode.REFUSED, Action.BLAME)
_DISCONNECT_ELSE = Disposition(ErrorCode.LOST, Action.AGAIN)


def of_connack(code: int) -> Disposition:
    """Return what a CONNACK that refuses us means."""
    return CONNACK.get(code, _CONNACK_ELSE)


def of_puback(code: int) -> Disposition:
    """Return what the answer to an event means; MQTT 3.1.1 has no other than 0."""
    return PUBACK.get(code, _PUBACK_ELSE)


def of_disconnect(code: int) -> Disposition:
    """Return what a broker's goodbye means."""
    return DISCONNECT.get(code, _DISCONNECT_ELSE)


class ConnectionEnded(LinkError):
    """The connection to a broker failed or ended: `where` names the broker, `why` the reason."""

    def __init__(
        self, where: str, why: str, trouble: ErrorCode, remedy: Action = Action.AGAIN
    ) -> None:
        super().__init__(f"broker {where}: {why}")
        self.where = where
        self.why = why
        self.trouble = trouble
        self.remedy = remedy

    def also(self, more: str) -> Self:
        """Return the same with more words."""
        return type(self)(self.where, f"{self.why}; {more}", self.trouble, self.remedy)


class PublishRefused(ConnectionEnded, LinkRefused):
    """There is none because what we were told of the broker is wrong."""


_ISSUER = "add the certificate of the CA that issued it (broker.ca, --ca)"
_NAMES = "use a host name for which it was issued (broker.host, --broker)"
# By OpenSSL's X509_V_ERR codes: what to do. Everything else is a rule of RFC 5280.
_VERIFYING = {
    2: _ISSUER,
    7: _ISSUER,
    9: "check the clock here and there",
    10: "have the broker's certificate, or the CA's, renewed; check the clock here",
    18: _ISSUER,
    19: _ISSUER,
    20: _ISSUER,
    21: _ISSUER,
    62: _NAMES,
    64: _NAMES,
}
_AGAINST_RULES = (
    "the broker's certificate, or that of a CA between, is against RFC 5280; have it issued again"
)


def connect_error(where: str, error: Exception) -> ConnectionEnded:
    """Return, in words, why no connection came about."""
    if isinstance(error, ssl.SSLCertVerificationError):
        do = _VERIFYING.get(error.verify_code, _AGAINST_RULES)
        why = f"its certificate was refused: {error.verify_message}; {do}"
        return PublishRefused(where, why, ErrorCode.BROKER_CERTIFICATE)
    if isinstance(error, ssl.SSLEOFError | ssl.SSLZeroReturnError | ConnectionResetError):
        # A proxy whose broker is down does so too: waiting may help.
        why = (
            "closed the connection during the TLS handshake, as a port without TLS does "
            "(mqtt://, tls = false)"
        )
        return ConnectionEnded(where, why, ErrorCode.TLS_FAILED)
    if isinstance(error, ssl.SSLError):
        said = error.reason or str(error)
        refused = "ALERT" in said.upper()
        trouble = ErrorCode.CERTIFICATE_REFUSED if refused else ErrorCode.TLS_FAILED
        return PublishRefused(
            where, f"TLS failed: {said}; check port, certificate and key", trouble
        )
    why = getattr(error, "strerror", None) or str(error) or type(error).__name__
    if isinstance(error, TimeoutError):
        why = "no answer in time"
    if isinstance(error, ValueError):  # of the codec that host names go through
        return PublishRefused(where, "its name is not a host name", ErrorCode.UNREACHABLE)
    return ConnectionEnded(where, why, ErrorCode.UNREACHABLE)
