"""Events of a contract that is newer than this program: kept in their place of the chain.

Only what its unit signed gets so far. What every version of an event has (CloudEvents' `source`
and `type`, the number) is read, and nothing of the rest.
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
    """An event that its unit signed, of a type that this program does not know."""

    unit: str
    sequence: int
    digest: str
    type: str
    topic: str
    jws: str


def parse_unknown_event(topic: str, token: str) -> UnknownEvent | None:
    """Return what is known of a message whose payload is of no known form; None where it is none.

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
