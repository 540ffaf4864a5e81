"""What one message is, before any store is asked. Never raises: the worst is a refusal."""

import logging
from dataclasses import dataclass

from edge.contract.envelope import MAX_BYTES, Flaw, Rejected, Verified, parse_will, verify
from edge.contract.keys import KeySet
from edge.contract.topics import Leaf, UnitName, parse
from senyum_central.ingest.message import Instant, Message
from senyum_central.ingest.notices import Failure
from senyum_central.ingest.replies import Answer, is_reply, read_reply, reply_unit
from senyum_central.store.rejections import Refusal
from senyum_central.store.store import Later
from senyum_central.store.unknown_events import read_later

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Refused:
    """A message that is not accepted, and why."""

    refusal: Refusal
    flaw: Flaw | Failure

    @classmethod
    def of(cls, message: Message, flaw: Flaw | Failure, why: str) -> "Refused":
        return cls(Refusal.of(message.topic, flaw, why, message.payload, MAX_BYTES), flaw)

    @classmethod
    def internal(cls, message: Message, error: Exception) -> "Refused":
        """Describe a message that raised what nobody expected.

        Of the error only the class is quoted: its text may hold personal data.
        """
        log.debug("a message cannot be processed", exc_info=error)
        cause = getattr(error.__cause__, "orig", None) or error  # the database's own error
        why = f"cannot be processed ({type(cause).__name__}); it is tried again at each start"
        return cls.of(message, Failure.INTERNAL, why)


@dataclass(frozen=True, slots=True)
class Went:
    """A Last Will: unsigned, so it is shown and nothing is concluded from it."""

    unit: UnitName
    session: int


Finding = Verified | Refused | Went | Later | Answer


def address(topic: str) -> tuple[UnitName | None, Leaf | None]:
    """Return whose topic it is, and the kind; None if it is not of this contract, or a reply's."""
    try:
        return reply_unit(topic), None
    except ValueError:
        pass
    try:
        return parse(topic)
    except ValueError:
        return None, None


def examine(message: Message, keys: KeySet, now: Instant) -> Finding:
    """Return what a message says, or why it is refused."""
    try:
        return _found(message, keys, now)
    except Rejected as error:
        return Refused.of(message, error.flaw, str(error))
    except Exception as error:  # noqa: BLE001 - whatever it is, it concerns this message only
        return Refused.internal(message, error)


def _found(message: Message, keys: KeySet, now: Instant) -> Finding:
    if is_reply(message.topic):
        return read_reply(message, keys, now.utc)
    if message.topic.endswith(f"/{Leaf.STATE}") and message.payload[:1] == b"{":
        try:
            unit, _ = parse(message.topic)
        except ValueError as error:
            raise Rejected(Flaw.TOPIC, str(error)) from None
        return Went(unit, parse_will(message.payload).session)
    try:
        found = verify(message.payload, keys, message.topic, now.utc)
    except Rejected as error:
        later = _later(message) if error.flaw is Flaw.PAYLOAD else None
        if later is None:
            raise
        return later
    return found


def _later(message: Message) -> Later | None:
    return read_later(message.topic, message.payload.decode("ascii"))
