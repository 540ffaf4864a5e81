"""Signed events of types that this version does not know. They keep their place in the chain.

Only the attributes that all versions have are read: `source`, `type` and the number.
"""

import re
from dataclasses import dataclass

from edge.contract.events import AUDIT, HEALTH, RECORDED, REFUSED, STATE
from edge.contract.jose import digest, json_object
from edge.contract.jose import parse as parse_jws
from edge.contract.limits import MAX_SEQUENCE
from edge.contract.topics import TopicKind, UnitName, parse

_KNOWN = frozenset({AUDIT, HEALTH, RECORDED, REFUSED, STATE})
_TYPE = re.compile(r"[a-z0-9.-]{1,100}")
_SEQUENCE = re.compile(r"[0-9]{20}")


@dataclass(frozen=True, slots=True)
class UnknownEvent:
    """A signed event of an unknown type."""

    unit: str
    sequence: int
    digest: str
    type: str
    topic: str
    jws: str


def parse_unknown_event(topic: str, token: str) -> UnknownEvent | None:
    """Return the unknown event in a message, or None if it is not a valid event.

    The caller has verified the signature, and that the key is that of the topic's unit.
    """
    unit, leaf = parse(topic)
    content = json_object(parse_jws(token).payload)
    type_, number = content.get("type"), content.get("sequence")
    if (
        leaf is not TopicKind.EVENT
        or not isinstance(type_, str)
        or not _TYPE.fullmatch(type_)
        or type_ in _KNOWN
        or not isinstance(number, str)
        or not _SEQUENCE.fullmatch(number)
        or not 0 < int(number) <= MAX_SEQUENCE
        or _unit(content.get("source")) != unit
    ):
        return None
    return UnknownEvent(unit.source, int(number), digest(token), type_, topic, token)


def _unit(source: object) -> UnitName | None:
    try:
        return UnitName.from_source(str(source))
    except ValueError:
        return None
