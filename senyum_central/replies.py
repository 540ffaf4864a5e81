"""Replies of units to commands, replay requests and rosters, verified by the centre.

A reply must obey the rules of every message (`edge.contract.envelope`) and answer what was sent.
"""

from dataclasses import dataclass
from datetime import datetime

from pydantic import ValidationError

from edge.contract.authority import OrderRejectReason
from edge.contract.commands import REPLY_TYP, Reply
from edge.contract.envelope import (
    EnvelopeRejected,
    RejectReason,
    check_validity,
    payload_object,
    verify_signature,
)
from edge.contract.events import describe_errors
from edge.contract.keys import KeySet
from edge.contract.topics import REPLY, ROOT, UnitName

# Reasons that a later attempt does not change: the events are gone, or our key lacks the role.
_FINAL = frozenset(
    {
        OrderRejectReason.BAD_DATA,
        OrderRejectReason.FAILED,
        OrderRejectReason.FOREIGN,
        OrderRejectReason.UNKNOWN_COMMAND,
        OrderRejectReason.WRONG_ROLE,
    }
)


@dataclass(frozen=True, slots=True)
class ReplayReply:
    """A unit's verified reply to a replay request."""

    request_id: str
    unit: UnitName
    ok: bool
    final: bool  # whether repeating the request is useless
    text: str


def is_reply(topic: str) -> bool:
    """Return whether this is the topic of a reply."""
    levels = topic.removeprefix(f"{ROOT}/").split("/")
    return topic.startswith(f"{ROOT}/") and len(levels) == 5 and levels[3] == REPLY


def reply_unit(topic: str) -> UnitName:
    """Return the unit of a reply's topic. Raises ValueError."""
    if not is_reply(topic):
        raise ValueError("is not the topic of a reply")
    return UnitName(*topic.removeprefix(f"{ROOT}/").split("/")[:3])


def read_reply(topic: str, payload: bytes, keys: KeySet, now: datetime) -> ReplayReply:
    """Return the verified reply in the message of a topic. Raises EnvelopeRejected.

    `now` decides whether the unit's key is valid.
    """
    try:
        unit = reply_unit(topic)
    except ValueError as error:
        raise EnvelopeRejected(RejectReason.TOPIC, str(error)) from None
    request_id = topic.rpartition("/")[2]
    reply = verify_reply(payload, keys, unit, request_id, now)
    text = f"{reply.text} ({reply.reason})" if reply.reason else reply.text
    return ReplayReply(reply.to, unit, reply.ok, reply.reason in _FINAL, text)


def verify_reply(token: bytes, keys: KeySet, unit: UnitName, to: str, now: datetime) -> Reply:
    """Return the reply of `unit` to the command with the id `to`. Raises EnvelopeRejected.

    The unit's own clock may be wrong, so `now` decides whether its key is valid.
    """
    reply = _read(token, keys, unit, now)
    if reply.to != to:
        raise EnvelopeRejected(
            RejectReason.TOPIC, f"{reply.source}: replies to another command than the one sent"
        )
    return reply


def parse_stored_reply(token: bytes, keys: KeySet) -> Reply:
    """Return a stored reply of any unit in `keys`. Raises EnvelopeRejected.

    The reply's own time decides whether the key was valid.
    """
    return _read(token, keys)


def _read(
    token: bytes, keys: KeySet, unit: UnitName | None = None, now: datetime | None = None
) -> Reply:
    key, parsed = verify_signature(token, keys, unit, {"typ": REPLY_TYP})
    payload_object(parsed.payload)
    try:
        reply = Reply.model_validate_json(parsed.payload)
    except ValidationError as error:
        raise EnvelopeRejected(
            RejectReason.PAYLOAD, f"{key.unit.source}: {describe_errors(error)}"
        ) from None
    if reply.source != key.unit.source:
        raise EnvelopeRejected(
            RejectReason.TOPIC, f"{key.unit.source}: signed a reply of {reply.source}"
        )
    check_validity(key, now or datetime.fromisoformat(reply.time))
    return reply
