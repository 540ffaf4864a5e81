"""The signed envelope: a CloudEvents JSON object in a compact JWS (RFC 7515).

A verifier accepts a message only if it breaks none of the rules that docs/contract/README.md lists,
and names the first that it breaks, in the order of that list. Each step below says its numbers.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from functools import lru_cache
from typing import Any, Final

from pydantic import ValidationError

from edge.contract.algorithms import ALGORITHMS
from edge.contract.events import (
    ANY_EVENT,
    AUDIT,
    HEALTH,
    RECORDED,
    REFUSED,
    STATE,
    AnyEvent,
    Will,
    describe_errors,
    encode,
)
from edge.contract.jose import digest, from_b64url, json_object
from edge.contract.keys import KeySet, PublicKey, SigningKey
from edge.contract.limits import MAX_DEPTH, too_deep
from edge.contract.topics import TopicKind, UnitName, parse
from edge.errors import EnvelopeError
from edge.system.clock import ClockState

MAX_BYTES = 65_536  # an event takes about 2 KiB
CONTENT_TYPE = "application/jose"  # of the MQTT 5 message
CTY = "cloudevents+json"
TYP = {
    TopicKind.EVENT: "senyum-event+jws",
    TopicKind.STATE: "senyum-state+jws",
    TopicKind.HEALTH: "senyum-health+jws",
}
# The topic that a message of each type belongs on.
LEAF: Final[Mapping[str, TopicKind]] = {
    RECORDED: TopicKind.EVENT,
    REFUSED: TopicKind.EVENT,
    AUDIT: TopicKind.EVENT,
    STATE: TopicKind.STATE,
    HEALTH: TopicKind.HEALTH,
}
_HEADER = {"alg", "kid", "typ", "cty"}
_SHORT = 512  # characters; a unit's header takes about 170, and is the same in all its events


class RejectReason(StrEnum):
    """Why a message was refused."""

    OVERSIZED = "oversized"
    MALFORMED = "malformed"
    TOPIC = "topic"
    TYPE = "type"
    ALGORITHM = "algorithm"
    UNKNOWN_KEY = "unknown-key"
    FOREIGN_KEY = "foreign-key"
    BAD_SIGNATURE = "bad-signature"
    PAYLOAD = "payload"
    OUTSIDE_VALIDITY = "outside-validity"


class EnvelopeRejected(EnvelopeError):
    """A message that is not a genuine one of the unit it claims to be from."""

    def __init__(self, flaw: RejectReason, message: str) -> None:
        super().__init__(message)
        self.flaw = flaw


@dataclass(frozen=True, slots=True)
class Verified:
    """A message that passed every rule."""

    unit: UnitName
    leaf: TopicKind
    kid: str
    digest: str  # what the unit's next event carries as `previous`
    event: AnyEvent
    token: str


def kind_of_topic(event: AnyEvent) -> TopicKind:
    """Return the topic that an event belongs on."""
    return LEAF[event.type]


def sign(event: AnyEvent, key: SigningKey) -> str:
    """Return the compact JWS of an event."""
    header = {"alg": key.alg, "kid": key.kid, "typ": TYP[kind_of_topic(event)], "cty": CTY}
    return key.sign(header, encode(event))


def verify(token: bytes | str, keys: KeySet, topic: str, now: datetime | None = None) -> Verified:
    """Accept a message that came by `topic`, or raise Rejected with the first rule it breaks.

    `now` (default: this machine's clock) dates a message whose unit had no synchronized clock
    since it booted: its own `time` says nothing about the validity of its key.
    """
    try:
        unit, leaf = parse(topic)
    except ValueError as error:
        raise EnvelopeRejected(RejectReason.TOPIC, str(error)) from None
    key, content, text = opened(token, keys, unit, {"typ": TYP[leaf], "cty": CTY})
    event = _event(content, leaf)
    if event.source != unit.source:
        raise EnvelopeRejected(
            RejectReason.TOPIC, f"{event.source}: was sent on the topic of {unit.source}"
        )
    moment = event.moment
    if event.data.clock.state is ClockState.UNSYNCHRONIZED:
        moment = now or datetime.now(UTC)
    check_validity(key, moment)
    return Verified(unit, leaf, key.kid, digest(text), event, text)


def opened(
    token: bytes | str, keys: KeySet, unit: UnitName | None, form: Mapping[str, str]
) -> tuple[PublicKey, bytes, str]:
    """Return the key that signed a message, its payload and its text, or raise Rejected: 3 to 12.

    `form` is what the header says beside `alg` and `kid`; `unit` (None: any) must be the key's.
    """
    text = _text(token)
    header, content, signature = _parts(text)
    key = _key(header, keys, unit, form)
    if not key.signed(text.rpartition(".")[0].encode("ascii"), signature):
        raise EnvelopeRejected(
            RejectReason.BAD_SIGNATURE,
            f"{key.unit.source}: the signature is not that of key {key.kid}: altered or forged",
        )
    return key, content, text


def payload_object(content: bytes) -> dict[str, Any]:
    """Read the payload of a message that was signed, or raise Rejected: rule 13."""
    return _json(content, "payload")


def check_validity(key: PublicKey, moment: datetime) -> None:
    """Raise Rejected if a key was not valid at a moment: rule 17."""
    if not key.valid_at(moment):
        raise EnvelopeRejected(
            RejectReason.OUTSIDE_VALIDITY,
            f"{key.unit.source}: key {key.kid} was not valid at {moment.isoformat()}; "
            "check nbf and exp in the key set",
        )


def parse_will(content: bytes) -> Will:
    """Read the unsigned Last Will on `state`; raises Rejected (rules 3 and 4)."""
    _sized(content)
    _json(content, "Last Will")
    try:
        return Will.model_validate_json(content)
    except ValidationError:
        raise EnvelopeRejected(
            RejectReason.MALFORMED, "state: is neither signed nor a Last Will"
        ) from None


def _sized(message: bytes | str) -> None:
    """Rule 3."""
    if len(message) > MAX_BYTES:
        raise EnvelopeRejected(
            RejectReason.OVERSIZED,
            f"{len(message)} bytes are more than the {MAX_BYTES} of any message",
        )


def _text(token: bytes | str) -> str:
    _sized(token)
    try:
        return token if isinstance(token, str) else token.decode("ascii")
    except UnicodeDecodeError:
        raise EnvelopeRejected(
            RejectReason.MALFORMED, "is not a compact JWS: holds other than ASCII"
        ) from None


def _json(content: bytes, what: str) -> dict[str, Any]:
    try:
        return json_object(content)
    except ValueError as error:
        raise EnvelopeRejected(RejectReason.MALFORMED, f"the {what} {error}") from None


def _parts(text: str) -> tuple[dict[str, str], bytes, bytes]:
    """Return header, payload and signature: rules 5 and 6.

    Nothing is believed, and no value of the payload read, before the signature is checked.
    """
    parts = text.split(".")
    if len(parts) != 3:
        raise EnvelopeRejected(
            RejectReason.MALFORMED, "is not a compact JWS: it has not three parts"
        )
    first, *others = parts
    content, signature = map(_decoded, others)
    if too_deep(content):
        raise EnvelopeRejected(
            RejectReason.MALFORMED, f"the payload is nested deeper than {MAX_DEPTH} levels"
        )
    return (_known_header if len(first) <= _SHORT else _header)(first), content, signature


def _decoded(part: str) -> bytes:
    try:
        return from_b64url(part)
    except ValueError as error:
        raise EnvelopeRejected(RejectReason.MALFORMED, f"is not a compact JWS: {error}") from None


def _header(part: str) -> dict[str, str]:
    """Read the protected header."""
    header = _json(_decoded(part), "header")
    if not all(isinstance(value, str) for value in header.values()) or not header.keys() <= _HEADER:
        raise EnvelopeRejected(
            RejectReason.MALFORMED, "the header holds other than alg, kid, typ and cty"
        )
    return header


_known_header = lru_cache(maxsize=1024)(_header)  # what was refused is not kept


def _key(
    header: dict[str, str], keys: KeySet, unit: UnitName | None, form: Mapping[str, str]
) -> PublicKey:
    """Choose the key by the header, where the header is one that this topic allows: 7 to 11."""
    whose = "" if unit is None else f"{unit.source}: "
    if any(header.get(name) != value for name, value in form.items()):
        said = " and ".join(f"{name} {value}" for name, value in form.items())
        raise EnvelopeRejected(RejectReason.TYPE, f"{whose}the header does not say {said}")
    if header.get("alg") not in ALGORITHMS:
        raise EnvelopeRejected(
            RejectReason.ALGORITHM, f"{whose}alg is not one of {', '.join(ALGORITHMS)}"
        )
    kid = header.get("kid", "")
    key = keys.find(kid)
    if key is None:
        raise EnvelopeRejected(
            RejectReason.UNKNOWN_KEY,
            f"{whose}key {kid[:64]!r} is not registered; add it to the key set "
            "if it is this unit's",
        )
    if unit not in (None, key.unit):
        raise EnvelopeRejected(
            RejectReason.FOREIGN_KEY, f"{whose}key {kid} belongs to {key.unit.source}"
        )
    if key.alg != header["alg"]:
        raise EnvelopeRejected(
            RejectReason.ALGORITHM, f"{whose}key {kid} signs with {key.alg} only"
        )
    return key


def _event(content: bytes, leaf: TopicKind) -> AnyEvent:
    """Read what was signed: rules 13 to 15."""
    kind = payload_object(content).get("type")
    if not isinstance(kind, str) or kind not in LEAF:
        raise EnvelopeRejected(RejectReason.PAYLOAD, "type: is not one of this contract")
    if LEAF[kind] is not leaf:
        raise EnvelopeRejected(RejectReason.TYPE, f"type {kind} does not belong on {leaf}")
    try:
        return ANY_EVENT.validate_json(content)
    except ValidationError as error:
        raise EnvelopeRejected(RejectReason.PAYLOAD, describe_errors(error)) from None
