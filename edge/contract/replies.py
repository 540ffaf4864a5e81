"""Whether an answer to a command, or to a roster, is truly the unit's.

The rules are those of every message (`edge.contract.envelope`), and an answer is to what was sent.
"""

from datetime import datetime

from pydantic import ValidationError

from edge.contract.commands import REPLY_TYP, Reply
from edge.contract.envelope import (
    EnvelopeRejected,
    RejectReason,
    check_validity,
    opened,
    payload_object,
)
from edge.contract.events import describe_errors
from edge.contract.keys import KeySet
from edge.contract.topics import UnitName


def verify_reply(token: bytes, keys: KeySet, unit: UnitName, to: str, now: datetime) -> Reply:
    """Return the answer of `unit` to the command with the id `to`, or raise Rejected.

    The unit's own clock may be wrong, so `now` judges whether its key is valid.
    """
    reply = _read(token, keys, unit, now)
    if reply.to != to:
        raise EnvelopeRejected(
            RejectReason.TOPIC, f"{reply.source}: answers another command than was sent"
        )
    return reply


def parse_stored_reply(token: bytes, keys: KeySet) -> Reply:
    """Return an answer that was kept, of whichever unit of `keys`, or raise Rejected.

    Its own time judges whether the key was valid.
    """
    return _read(token, keys)


def _read(
    token: bytes, keys: KeySet, unit: UnitName | None = None, now: datetime | None = None
) -> Reply:
    key, content, _ = opened(token, keys, unit, {"typ": REPLY_TYP})
    payload_object(content)
    try:
        reply = Reply.model_validate_json(content)
    except ValidationError as error:
        raise EnvelopeRejected(
            RejectReason.PAYLOAD, f"{key.unit.source}: {describe_errors(error)}"
        ) from None
    if reply.source != key.unit.source:
        raise EnvelopeRejected(
            RejectReason.TOPIC, f"{key.unit.source}: signed an answer of {reply.source}"
        )
    check_validity(key, now or datetime.fromisoformat(reply.time))
    return reply
