"""The signed envelope: a CloudEvents JSON object in a compact JWS (RFC 7515).

A verifier accepts a message only if all of this holds, in this order:

1. it is no larger than MAX_BYTES;
2. it is three parts of canonical base64url and its header a JSON object of alg, kid, typ, cty;
3. `typ` and `cty` are those of the topic it came by, `alg` is one of ALGORITHMS;
4. `kid` is registered, for the unit that the topic names, with that very `alg`;
5. the signature is that key's;
6. the payload is an event of this contract and of that `typ`;
7. its `source` is the same unit, and the key was valid at its `time`.
"""

from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from functools import lru_cache
from typing import Any

from pydantic import ValidationError

from edge.errors import EnvelopeError
from edge.mqtt.algorithms import ALGORITHMS
from edge.mqtt.clock import ClockState
from edge.mqtt.encoding import digest, from_b64url, json_object
from edge.mqtt.keys import KeySet, PublicKey, SigningKey
from edge.mqtt.payload import (
    ANY_EVENT,
    AnyEvent,
    CloudEvent,
    HealthEvent,
    StateEvent,
    Will,
    encode,
)
from edge.mqtt.topics import Leaf, UnitName, parse

MAX_BYTES = 65_536  # an event takes about 2 KiB
CONTENT_TYPE = "application/jose"  # of the MQTT 5 message
CTY = "cloudevents+json"
TYP = {
    Leaf.EVENT: "senyum-event+jws",
    Leaf.STATE: "senyum-state+jws",
    Leaf.HEALTH: "senyum-health+jws",
}
_HEADER = {"alg", "kid", "typ", "cty"}
_SHORT = 512  # characters; a unit's header takes about 170, and is the same in all its events


class Flaw(StrEnum):
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


class Rejected(EnvelopeError):
    """A message that is not a genuine one of the unit it claims to be from."""

    def __init__(self, flaw: Flaw, message: str) -> None:
        super().__init__(message)
        self.flaw = flaw


@dataclass(frozen=True, slots=True)
class Verified:
    """A message that passed every rule."""

    unit: UnitName
    leaf: Leaf
    kid: str
    digest: str  # what the unit's next event carries as `previous`
    event: AnyEvent
    token: str


def leaf_of(event: CloudEvent) -> Leaf:
    """Return the topic that an event belongs on."""
    if isinstance(event, StateEvent):
        return Leaf.STATE
    return Leaf.HEALTH if isinstance(event, HealthEvent) else Leaf.EVENT


def sign(event: CloudEvent, key: SigningKey) -> str:
    """Return the compact JWS of an event."""
    header = {"alg": key.alg, "kid": key.kid, "typ": TYP[leaf_of(event)], "cty": CTY}
    return key.sign(header, encode(event))


def verify(token: bytes | str, keys: KeySet, topic: str, now: datetime | None = None) -> Verified:
    """Accept a message that came by `topic`, or raise Rejected with the first rule it breaks.

    `now` (default: this machine's clock) dates a message whose unit had no synchronized clock
    since it booted: its own `time` says nothing about the validity of its key.
    """
    try:
        unit, leaf = parse(topic)
    except ValueError as error:
        raise Rejected(Flaw.TOPIC, str(error)) from None
    text = _text(token)
    header, content, signature = _parts(text)
    key = _key(header, keys, unit, leaf)
    if not key.signed(text.rpartition(".")[0].encode("ascii"), signature):
        raise Rejected(
            Flaw.BAD_SIGNATURE,
            f"{unit.source}: the signature is not that of key {key.kid}: altered or forged",
        )
    event = _event(content, leaf)
    if event.source != unit.source:
        raise Rejected(Flaw.TOPIC, f"{event.source}: was sent on the topic of {unit.source}")
    moment = event.moment
    if event.data.clock.state is ClockState.UNSYNCHRONIZED:
        moment = now or datetime.now(UTC)
    if not key.valid_at(moment):
        raise Rejected(
            Flaw.OUTSIDE_VALIDITY,
            f"{unit.source}: key {key.kid} was not valid at {moment.isoformat()}; "
            "check nbf and exp in the key set",
        )
    return Verified(unit, leaf, key.kid, digest(text), event, text)


def parse_will(content: bytes) -> Will:
    """Read the unsigned Last Will on `state`; raises Rejected."""
    try:
        return Will.model_validate_json(content[:MAX_BYTES])
    except ValidationError:
        raise Rejected(Flaw.MALFORMED, "state: is neither signed nor a Last Will") from None


def _text(token: bytes | str) -> str:
    if len(token) > MAX_BYTES:
        raise Rejected(
            Flaw.OVERSIZED, f"{len(token)} bytes are more than the {MAX_BYTES} of any message"
        )
    try:
        return token if isinstance(token, str) else token.decode("ascii")
    except UnicodeDecodeError:
        raise Rejected(Flaw.MALFORMED, "is not a compact JWS: holds other than ASCII") from None


def _json(content: bytes, what: str) -> dict[str, Any]:
    try:
        return json_object(content)
    except ValueError as error:
        raise Rejected(Flaw.MALFORMED, f"the {what} {error}") from None


def _parts(text: str) -> tuple[dict[str, str], bytes, bytes]:
    """Return header, payload and signature. Nothing is believed before the latter is checked."""
    parts = text.split(".")
    if len(parts) != 3:
        raise Rejected(Flaw.MALFORMED, "is not a compact JWS: it has not three parts")
    first, *others = parts
    content, signature = map(_decoded, others)
    return (_known_header if len(first) <= _SHORT else _header)(first), content, signature


def _decoded(part: str) -> bytes:
    try:
        return from_b64url(part)
    except ValueError as error:
        raise Rejected(Flaw.MALFORMED, f"is not a compact JWS: {error}") from None


def _header(part: str) -> dict[str, str]:
    """Read the protected header."""
    header = _json(_decoded(part), "header")
    if not all(isinstance(value, str) for value in header.values()) or not header.keys() <= _HEADER:
        raise Rejected(Flaw.MALFORMED, "the header holds other than alg, kid, typ and cty")
    return header


_known_header = lru_cache(maxsize=1024)(_header)  # what was refused is not kept


def _key(header: dict[str, str], keys: KeySet, unit: UnitName, leaf: Leaf) -> PublicKey:
    """Choose the key by the header, where the header is one that this topic allows."""
    if (header.get("typ"), header.get("cty")) != (TYP[leaf], CTY):
        raise Rejected(Flaw.TYPE, f"{unit.source}: typ and cty are not {TYP[leaf]} and {CTY}")
    if header.get("alg") not in ALGORITHMS:
        raise Rejected(Flaw.ALGORITHM, f"{unit.source}: alg is not one of {', '.join(ALGORITHMS)}")
    kid = header.get("kid", "")
    key = keys.find(kid)
    if key is None:
        raise Rejected(
            Flaw.UNKNOWN_KEY,
            f"{unit.source}: key {kid[:64]!r} is not registered; add it to the key set "
            "if it is this unit's",
        )
    if key.unit != unit:
        raise Rejected(Flaw.FOREIGN_KEY, f"{unit.source}: key {kid} belongs to {key.unit.source}")
    if key.alg != header["alg"]:
        raise Rejected(Flaw.ALGORITHM, f"{unit.source}: key {kid} signs with {key.alg} only")
    return key


def _event(content: bytes, leaf: Leaf) -> AnyEvent:
    _json(content, "payload")
    try:
        event = ANY_EVENT.validate_json(content)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part) for part in first["loc"]) or "payload"
        raise Rejected(Flaw.PAYLOAD, f"{where}: {first['msg']}") from None
    if leaf_of(event) is not leaf:
        raise Rejected(Flaw.TYPE, f"type {event.type} does not belong on {leaf}")
    return event
