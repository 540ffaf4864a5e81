"""Whether an answer to a command, or to a roster, is truly the unit's."""

from datetime import datetime

from pydantic import ValidationError

from edge.errors import EnvelopeError
from edge.mqtt.command import MAX_REPLY_BYTES, REPLY_TYP, Reply
from edge.mqtt.encoding import from_b64url, json_object
from edge.mqtt.keys import KeySet
from edge.mqtt.topics import UnitName

_FALSE = "has another signature than that of the unit's key, or the key has ended"


def verify_reply(token: bytes, keys: KeySet, unit: UnitName, to: str, now: datetime) -> Reply:
    """Return the answer of `unit` to the command with the id `to`.

    Raises EnvelopeError, which says what is wrong with it. The unit's own clock may be wrong, so
    `now` judges whether its key is valid.
    """
    try:
        reply = _read(token, keys, unit, now)
    except ValidationError:
        raise EnvelopeError(f"{unit.source}: the answer is none of this contract") from None
    except ValueError as error:
        raise EnvelopeError(f"{unit.source}: the answer {error}") from None
    if reply.to != to:
        raise EnvelopeError(f"{reply.source}: the answer is to another command than was sent")
    return reply


def kept_reply(token: bytes, keys: KeySet) -> Reply:
    """Return an answer that was kept, of whichever unit of `keys`.

    Raises EnvelopeError. Its own time judges whether the key was valid.
    """
    try:
        return _read(token, keys)
    except ValidationError:
        raise EnvelopeError("the answer is none of this contract") from None
    except ValueError as error:
        raise EnvelopeError(f"the answer {error}") from None


def _read(
    token: bytes, keys: KeySet, unit: UnitName | None = None, now: datetime | None = None
) -> Reply:
    if len(token) > MAX_REPLY_BYTES:
        raise ValueError(f"is larger than {MAX_REPLY_BYTES} bytes")
    text = token.decode("ascii")
    first, payload, _ = (from_b64url(part) for part in text.split(".", 3))
    header = json_object(first)
    if header.keys() != {"alg", "kid", "typ"} or header["typ"] != REPLY_TYP:
        raise ValueError("is not signed as an answer is")
    key = keys.find(str(header["kid"]))
    if key is None or unit not in (None, key.unit) or key.alg != header["alg"]:
        raise ValueError("is signed by a key that is not registered for this unit")
    if not key.verifies(text):
        raise ValueError(_FALSE)
    json_object(payload)
    reply = Reply.model_validate_json(payload)
    if not key.valid_at(now or datetime.fromisoformat(reply.time)):
        raise ValueError(_FALSE)
    if reply.source != key.unit.source:
        raise ValueError(f"names {reply.source}, and the key is of {key.unit.source}")
    return reply
