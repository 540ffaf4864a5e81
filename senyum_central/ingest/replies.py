"""What units answer to commands, as far as the receiver looks into it."""

from dataclasses import dataclass
from datetime import datetime

from edge.contract.authority import OrderRejectReason
from edge.contract.envelope import EnvelopeRejected
from edge.contract.envelope import RejectReason as EnvelopeFlaw
from edge.contract.keys import KeySet
from edge.contract.replies import verify_reply
from edge.contract.topics import REPLY, ROOT, UnitName
from senyum_central.ingest.message import Message

# Reasons that waiting does not mend: nothing of it is kept, or our key may not ask.
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
    """What a unit said of a request: genuine, and of that unit."""

    to: str  # id of the request
    unit: UnitName
    ok: bool
    final: bool  # whether asking again is no use
    text: str


def is_reply(topic: str) -> bool:
    """Tell an answer from the messages of the other topics."""
    levels = topic.removeprefix(f"{ROOT}/").split("/")
    return topic.startswith(f"{ROOT}/") and len(levels) == 5 and levels[3] == REPLY


def reply_unit(topic: str) -> UnitName:
    """Return whose answer comes by a topic; ValueError if nobody's."""
    if not is_reply(topic):
        raise ValueError("is not the topic of an answer")
    return UnitName(*topic.removeprefix(f"{ROOT}/").split("/")[:3])


def read_reply(message: Message, keys: KeySet, now: datetime) -> ReplayReply:
    """Return what a unit answered. Raises Rejected.

    `message` is one that `is_reply`; `now` judges whether the unit's key is valid.
    """
    try:
        unit = reply_unit(message.topic)
    except ValueError as error:
        raise EnvelopeRejected(EnvelopeFlaw.TOPIC, str(error)) from None
    to = message.topic.rpartition("/")[2]
    reply = verify_reply(message.payload, keys, unit, to, now)
    text = f"{reply.text} ({reply.reason})" if reply.reason else reply.text
    return ReplayReply(reply.to, unit, reply.ok, reply.reason in _FINAL, text)
