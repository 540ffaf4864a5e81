"""Received messages, and their verification before the store is used. Never raises."""

import logging
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Self

from edge.contract.envelope import (
    MAX_BYTES,
    EnvelopeRejected,
    RejectReason,
    Verified,
    parse_will,
    verify,
)
from edge.contract.keys import KeySet
from edge.contract.topics import TopicKind, UnitName, parse
from senyum_central.ingest.notices import Failure
from senyum_central.replies import ReplayReply, is_reply, read_reply, reply_unit
from senyum_central.store.rejections import Rejection
from senyum_central.store.unknown_events import UnknownEvent, parse_unknown_event

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Message:
    """Topic and payload of a PUBLISH packet."""

    topic: str
    payload: bytes


@dataclass(frozen=True, slots=True)
class ReceivedAt:
    """A time of receipt: UTC for people, monotonic for grace periods."""

    utc: datetime
    monotonic_ns: int

    @classmethod
    def now(cls) -> Self:
        return cls(datetime.now(UTC), time.monotonic_ns())

    def __str__(self) -> str:
        return self.utc.isoformat(timespec="milliseconds")


class ReceiptClock:
    """Gives the time of receipt."""

    def now(self) -> ReceivedAt:
        return ReceivedAt.now()


@dataclass(frozen=True, slots=True)
class RejectedMessage:
    """A message that is not accepted, with the reason."""

    rejection: Rejection
    flaw: RejectReason | Failure

    @classmethod
    def from_message(
        cls, message: Message, flaw: RejectReason | Failure, why: str
    ) -> "RejectedMessage":
        return cls(
            Rejection.from_message(message.topic, flaw, why, message.payload, MAX_BYTES), flaw
        )

    @classmethod
    def internal(cls, message: Message, error: Exception) -> "RejectedMessage":
        """Describe a message that caused an unexpected error.

        Only the class of the error is quoted, because its text may contain personal data.
        """
        log.debug("a message cannot be processed", exc_info=error)
        cause = getattr(error.__cause__, "orig", None) or error  # the database's own error
        why = f"cannot be processed ({type(cause).__name__}); it is retried at each start"
        return cls.from_message(message, Failure.INTERNAL, why)


@dataclass(frozen=True, slots=True)
class LastWill:
    """A Last Will. It is unsigned, so it is only shown."""

    unit: UnitName
    session: int


Finding = Verified | RejectedMessage | LastWill | UnknownEvent | ReplayReply


def topic_owner(topic: str) -> tuple[UnitName | None, TopicKind | None]:
    """Return unit and kind of a topic; None if unknown. Replies have no kind."""
    try:
        return reply_unit(topic), None
    except ValueError:
        pass
    try:
        return parse(topic)
    except ValueError:
        return None, None


def check_message(message: Message, keys: KeySet, now: ReceivedAt) -> Finding:
    """Return the verified message, or the reason for its rejection."""
    try:
        return _found(message, keys, now)
    except EnvelopeRejected as error:
        return RejectedMessage.from_message(message, error.flaw, str(error))
    except Exception as error:  # noqa: BLE001 - whatever it is, it concerns this message only
        return RejectedMessage.internal(message, error)


def _found(message: Message, keys: KeySet, now: ReceivedAt) -> Finding:
    if is_reply(message.topic):
        return read_reply(message.topic, message.payload, keys, now.utc)
    if message.topic.endswith(f"/{TopicKind.STATE}") and message.payload[:1] == b"{":
        try:
            unit, _ = parse(message.topic)
        except ValueError as error:
            raise EnvelopeRejected(RejectReason.TOPIC, str(error)) from None
        return LastWill(unit, parse_will(message.payload).session)
    try:
        found = verify(message.payload, keys, message.topic, now.utc)
    except EnvelopeRejected as error:
        later = _later(message) if error.flaw is RejectReason.PAYLOAD else None
        if later is None:
            raise
        return later
    return found


def _later(message: Message) -> UnknownEvent | None:
    return parse_unknown_event(message.topic, message.payload.decode("ascii"))
