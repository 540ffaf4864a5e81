"""The signed envelope: a CloudEvents JSON object in a compact JWS (RFC 7515).

A verifier accepts a message only if it breaks none of the rules that docs/contract/README.md lists,
and names the first that it breaks, in the order of that list. Each step below says its numbers.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, Final

from pydantic import ValidationError

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
from edge.contract.jose import JwsTooLarge, ParsedJws, digest, json_object
from edge.contract.jose import parse as parse_jws
from edge.contract.keys import ALGORITHMS, KeySet, PublicKey, SigningKey
from edge.contract.topics import TopicKind, UnitName
from edge.contract.topics import parse as parse_topic
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
        unit, leaf = parse_topic(topic)
    except ValueError as error:
        raise EnvelopeRejected(RejectReason.TOPIC, str(error)) from None
    key, parsed = verify_signature(token, keys, unit, {"typ": TYP[leaf], "cty": CTY})
    event = _event(parsed.payload, leaf)
    if event.source != unit.source:
        raise EnvelopeRejected(
            RejectReason.TOPIC, f"{event.source}: was sent on the topic of {unit.source}"
        )
    moment = event.moment
    if event.data.clock.state is ClockState.UNSYNCHRONIZED:
        moment = now or datetime.now(UTC)
    check_validity(key, moment)
    return Verified(unit, leaf, key.kid, digest(parsed.token), event, parsed.token)


def verify_signature(
    token: bytes | str, keys: KeySet, unit: UnitName | None, header: Mapping[str, str]
) -> tuple[PublicKey, ParsedJws]:
    """Return the key that signed a message, and its parts. Raises EnvelopeRejected: rules 3 to 12.

    `header` holds the members required besides `alg` and `kid`; the key must be that of `unit`
    (None: of any unit).
    """
    try:
        parsed = parse_jws(token, MAX_BYTES)
    except JwsTooLarge as error:
        raise EnvelopeRejected(RejectReason.OVERSIZED, str(error)) from None
    except ValueError as error:
        raise EnvelopeRejected(RejectReason.MALFORMED, str(error)) from None
    key = _key(parsed.header, keys, unit, header)
    if not key.verifies(parsed):
        raise EnvelopeRejected(
            RejectReason.BAD_SIGNATURE,
            f"{key.unit.source}: the signature is not that of key {key.kid}: altered or forged",
        )
    return key, parsed


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
    if len(content) > MAX_BYTES:
        raise EnvelopeRejected(
            RejectReason.OVERSIZED, f"{len(content)} bytes are more than the {MAX_BYTES} allowed"
        )
    _json(content, "Last Will")
    try:
        return Will.model_validate_json(content)
    except ValidationError:
        raise EnvelopeRejected(
            RejectReason.MALFORMED, "state: is neither signed nor a Last Will"
        ) from None


def _json(content: bytes, what: str) -> dict[str, Any]:
    try:
        return json_object(content)
    except ValueError as error:
        raise EnvelopeRejected(RejectReason.MALFORMED, f"the {what} {error}") from None


def _key(
    header: Mapping[str, str], keys: KeySet, unit: UnitName | None, wanted: Mapping[str, str]
) -> PublicKey:
    """Return the key named in the header, if the header is valid on this topic: rules 7 to 11."""
    whose = "" if unit is None else f"{unit.source}: "
    if any(header.get(name) != value for name, value in wanted.items()):
        required = " and ".join(f"{name} {value}" for name, value in wanted.items())
        raise EnvelopeRejected(RejectReason.TYPE, f"{whose}the header does not have {required}")
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
