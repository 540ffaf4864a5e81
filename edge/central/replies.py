"""What units answer to commands, as far as the receiver looks into it."""

from dataclasses import dataclass

from edge.central.desk import Message
from edge.mqtt.authority import Flaw
from edge.mqtt.command import REPLY_TYP
from edge.mqtt.encoding import from_b64url, json_object
from edge.mqtt.keys import KeySet
from edge.mqtt.topics import REPLY, ROOT, UnitName

_MOST_BYTES = 65_536
_TEXT_KEPT = 200  # characters
# Reasons that waiting does not mend: nothing of it is kept, or our key may not ask.
_FINAL = frozenset(
    {Flaw.BAD_DATA, Flaw.FAILED, Flaw.FOREIGN, Flaw.UNKNOWN_COMMAND, Flaw.WRONG_ROLE}
)


@dataclass(frozen=True, slots=True)
class Answer:
    """What a unit said of a request: genuine, and of that unit."""

    to: str  # id of the request
    unit: UnitName
    ok: bool
    final: bool  # whether asking again is no use
    text: str


def is_reply(topic: str) -> bool:
    """Tell an answer from the messages of the other topics."""
    return topic.startswith(f"{ROOT}/") and f"/{REPLY}/" in topic


def read_reply(message: Message, keys: KeySet) -> Answer | None:
    """Return what a unit answered; None where it is not genuine, or no answer."""
    levels = message.topic.removeprefix(f"{ROOT}/").split("/")
    if len(levels) != 5 or levels[3] != REPLY or len(message.payload) > _MOST_BYTES:
        return None
    try:
        unit = UnitName(*levels[:3])
        token = message.payload.decode("ascii")
        header, content, _ = (from_b64url(part) for part in token.split("."))
        kid, typ = (str(json_object(header).get(name)) for name in ("kid", "typ"))
        key = keys.find(kid)
        if typ != REPLY_TYP or key is None or key.unit != unit or not key.verifies(token):
            return None
        claims = json_object(content)
    except ValueError:
        return None
    if claims.get("source") != unit.source or not isinstance(claims.get("ok"), bool):
        return None
    reason, text = claims.get("reason"), str(claims.get("text"))[:_TEXT_KEPT]
    said = f"{text} ({reason})" if reason else text
    return Answer(str(claims.get("to")), unit, claims["ok"], reason in _FINAL, said)
