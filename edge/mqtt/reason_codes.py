"""What each answer of a broker means for us, in one place.

A reason that stands in no table below (a later version of MQTT, a broker's own invention) is
treated as the table's default.
"""

import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum, auto
from typing import Self

from edge.errors import LinkError, LinkRefused, Trouble


class Remedy(Enum):
    """What to do about it."""

    TAKEN = auto()  # nothing: this is delivery
    AGAIN = auto()  # later, by the back-off; another broker at once, where there is one
    SLOW = auto()  # a person has to mend something: seldom, and told loudly
    BLAME = auto()  # as AGAIN, and the event may be the cause: set aside when it happens again
    ASIDE = auto()  # this event alone waits; those behind it pass


@dataclass(frozen=True, slots=True)
class Verdict:
    """What happened, and what to do about it."""

    trouble: Trouble | None
    remedy: Remedy


def _verdicts(remedy: Remedy, troubles: Mapping[int, Trouble]) -> dict[int, Verdict]:
    return {code: Verdict(trouble, remedy) for code, trouble in troubles.items()}


# MQTT 5, section 2.4. The codes of MQTT 3.1.1 are turned into these before they come here.
CONNACK: Mapping[int, Verdict] = {
    **_verdicts(
        Remedy.SLOW,
        {
            0x84: Trouble.PROTOCOL,  # `edge.mqtt.version` has tried the other one
            0x85: Trouble.CLIENT_ID,
            0x86: Trouble.PASSWORD,
            0x87: Trouble.NOT_AUTHORIZED,
            0x8A: Trouble.BANNED,
            0x8C: Trouble.NOT_AUTHORIZED,  # bad authentication method
            0x90: Trouble.INVALID,  # the topic of our will
            0x95: Trouble.TOO_LARGE,
            0x99: Trouble.INVALID,
            0x9A: Trouble.FEATURE,  # no retained messages
            0x9B: Trouble.FEATURE,  # no QoS 1
            0x9D: Trouble.MOVED,
        },
    ),
    **_verdicts(
        Remedy.AGAIN,
        {
            0x81: Trouble.PROTOCOL,
            0x82: Trouble.PROTOCOL,
            0x88: Trouble.BUSY,  # unavailable
            0x89: Trouble.BUSY,
            0x97: Trouble.QUOTA,
            0x9C: Trouble.MOVED,  # for now
            0x9F: Trouble.BUSY,  # connection rate exceeded
        },
    ),
}
PUBACK: Mapping[int, Verdict] = {
    0x00: Verdict(None, Remedy.TAKEN),
    **_verdicts(Remedy.AGAIN, {0x10: Trouble.NO_RECEIVER}),  # handed to nobody: no delivery
    **_verdicts(Remedy.SLOW, {0x87: Trouble.NOT_AUTHORIZED}),
    **_verdicts(
        Remedy.ASIDE,
        {
            0x90: Trouble.INVALID,  # topic name
            0x95: Trouble.TOO_LARGE,
            0x97: Trouble.QUOTA,
            0x99: Trouble.INVALID,  # payload format
        },
    ),
}
DISCONNECT: Mapping[int, Verdict] = {
    **_verdicts(
        Remedy.SLOW,
        {
            0x87: Trouble.NOT_AUTHORIZED,
            0x8E: Trouble.TAKEN_OVER,
            0x9A: Trouble.FEATURE,
            0x9B: Trouble.FEATURE,
            0x9D: Trouble.MOVED,
        },
    ),
    **_verdicts(
        Remedy.BLAME,
        {
            0x81: Trouble.INVALID,  # malformed packet
            0x82: Trouble.PROTOCOL,
            0x90: Trouble.INVALID,
            0x93: Trouble.REFUSED,  # more in flight than it allows: one at a time, then
            0x95: Trouble.TOO_LARGE,
            0x97: Trouble.QUOTA,
            0x99: Trouble.INVALID,
        },
    ),
    **_verdicts(
        Remedy.AGAIN,
        {
            0x89: Trouble.BUSY,
            0x8B: Trouble.STOPPING,
            0x8D: Trouble.LOST,  # keep alive timeout
            0x96: Trouble.BUSY,  # message rate too high
            0x98: Trouble.STOPPING,  # administrative action
            0x9C: Trouble.MOVED,
        },
    ),
}
_CONNACK_ELSE = Verdict(Trouble.REFUSED, Remedy.AGAIN)
_PUBACK_ELSE = Verdict(Trouble.REFUSED, Remedy.BLAME)
_DISCONNECT_ELSE = Verdict(Trouble.LOST, Remedy.AGAIN)


def of_connack(code: int) -> Verdict:
    """Return what a CONNACK that refuses us means."""
    return CONNACK.get(code, _CONNACK_ELSE)


def of_puback(code: int) -> Verdict:
    """Return what the answer to an event means; MQTT 3.1.1 has no other than 0."""
    return PUBACK.get(code, _PUBACK_ELSE)


def of_disconnect(code: int) -> Verdict:
    """Return what a broker's goodbye means."""
    return DISCONNECT.get(code, _DISCONNECT_ELSE)


class Ended(LinkError):
    """The connection to a broker failed or ended: `where` names the broker, `why` the reason."""

    def __init__(
        self, where: str, why: str, trouble: Trouble, remedy: Remedy = Remedy.AGAIN
    ) -> None:
        super().__init__(f"broker {where}: {why}")
        self.where = where
        self.why = why
        self.trouble = trouble
        self.remedy = remedy

    def also(self, more: str) -> Self:
        """Return the same with more words."""
        return type(self)(self.where, f"{self.why}; {more}", self.trouble, self.remedy)


class Refused(Ended, LinkRefused):
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


def unconnected(where: str, error: Exception) -> Ended:
    """Return, in words, why no connection came about."""
    if isinstance(error, ssl.SSLCertVerificationError):
        do = _VERIFYING.get(error.verify_code, _AGAINST_RULES)
        why = f"its certificate was refused: {error.verify_message}; {do}"
        return Refused(where, why, Trouble.BROKER_CERTIFICATE)
    if isinstance(error, ssl.SSLEOFError | ssl.SSLZeroReturnError | ConnectionResetError):
        # A proxy whose broker is down does so too: waiting may help.
        why = (
            "closed the connection during the TLS handshake, as a port without TLS does "
            "(mqtt://, tls = false)"
        )
        return Ended(where, why, Trouble.TLS_FAILED)
    if isinstance(error, ssl.SSLError):
        said = error.reason or str(error)
        refused = "ALERT" in said.upper()
        trouble = Trouble.CERTIFICATE_REFUSED if refused else Trouble.TLS_FAILED
        return Refused(where, f"TLS failed: {said}; check port, certificate and key", trouble)
    why = getattr(error, "strerror", None) or str(error) or type(error).__name__
    if isinstance(error, TimeoutError):
        why = "no answer in time"
    if isinstance(error, ValueError):  # of the codec that host names go through
        return Refused(where, "its name is not a host name", Trouble.UNREACHABLE)
    return Ended(where, why, Trouble.UNREACHABLE)
