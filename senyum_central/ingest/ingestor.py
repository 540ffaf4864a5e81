"""Takes what came from the broker: verify, judge, store, and say what happened.

When `take` and `sweep` return, everything they did is durable; only then may a message be
acknowledged. When they raise StoreError nothing of the batch was kept. Whatever else a message
raises concerns that message only: it is refused as `internal`, and the others are stored.
"""

import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from edge.contract.envelope import MAX_BYTES, RejectReason, Verified
from edge.contract.events import AttendanceEvent, AuditEvent, HealthData, OnlineStatus, StateData
from edge.contract.keys import KeySet
from edge.contract.topics import TopicKind, UnitName
from edge.errors import RowRejected, StoreError, StoreUnavailable
from senyum_central.ingest.chain_rules import ChainEntry, Classification, judge, judge_head
from senyum_central.ingest.chains import Chains
from senyum_central.ingest.gap_requests import GapRequester
from senyum_central.ingest.lru_set import LruSet
from senyum_central.ingest.message import Message, ReceivedAt
from senyum_central.ingest.message_check import (
    Finding,
    LastWill,
    RejectedMessage,
    address,
    check_message,
)
from senyum_central.ingest.notices import Failure, Notice, NoticeKind
from senyum_central.replies import ReplayReply
from senyum_central.store.rejections import Rejection
from senyum_central.store.store import NamedHead, Record, Store, UnknownEvent

__all__ = ["Ingestor", "Message", "ReceivedAt"]

# What another key set or a newer program may accept: looked at again at each start.
_REVISITED = (
    RejectReason.UNKNOWN_KEY,
    RejectReason.FOREIGN_KEY,
    RejectReason.OUTSIDE_VALIDITY,
    RejectReason.PAYLOAD,
    Failure.INTERNAL,
)
_HEARD_S = 300.0  # a unit that was heard so lately is there: it says how it is every minute
_REMEMBERED = 10_000  # topics and units that may be made up by whoever may publish

log = logging.getLogger(__name__)


_Found = tuple[Message, Finding]


@dataclass(slots=True)
class _BatchResult:
    """What storing messages leads to, once the transaction is durable."""

    notices: list[Notice] = field(default_factory=list)
    stored: list[tuple[str, int]] = field(default_factory=list)
    named: list[tuple[str, int]] = field(default_factory=list)
    heard: list[str] = field(default_factory=list)
    remembered: list[tuple[LruSet[Any, Any], Any]] = field(default_factory=list)
    moved: bool = False  # whether a unit's other name became known

    def news(self, recent: LruSet[Any, Any], key: object, value: object) -> bool:
        """Remember a value unless the transaction fails; returns whether it is news."""
        self.remembered.append((recent, key))
        return recent.put(key, value)

    def undo(self) -> None:
        """Forget what was remembered: nothing of it was stored."""
        for recent, key in self.remembered:
            recent.forget(key)

    def add(self, other: "_BatchResult") -> None:
        self.notices += other.notices
        self.stored += other.stored
        self.named += other.named
        self.heard += other.heard
        self.remembered += other.remembered
        self.moved |= other.moved


def _is_stores(error: Exception) -> bool:
    """Tell a store that fails from a message that cannot be stored."""
    return isinstance(error, StoreError) and not isinstance(error, RowRejected)


class Ingestor:
    """Where messages become events, refusals and alarms. One thread."""

    def __init__(
        self,
        store: Store,
        keys: KeySet,
        grace_s: float,
        now: ReceivedAt,
        asker: GapRequester | None = None,
    ) -> None:
        """With `asker`, missing numbers are asked for."""
        self._store = store
        self._asker = asker
        self.keys = keys
        self._chains = Chains(store, grace_s, now)
        self._states: LruSet[UnitName, tuple[OnlineStatus, int]] = LruSet(_REMEMBERED)
        self._complained: LruSet[tuple[str, RejectReason | Failure], None] = LruSet(_REMEMBERED)
        self._heard: dict[str, int] = {}  # unit to when, monotonic
        self._unsaid: list[Notice] = []  # of what was looked at again before the store went away

    def ingest(self, messages: Sequence[Message], now: ReceivedAt) -> list[Notice]:
        """Judge and store a batch in one transaction. Raises StoreError.

        A message that cannot be processed is refused, and the rest is stored.
        """
        # An empty payload only removes a retained message.
        found = [
            (message, check_message(message, self.keys, now))
            for message in messages
            if message.payload
        ]
        if not found:
            return []
        try:
            done = self._transact(found, now, self._put_together)
        except Exception as error:
            if _is_stores(error):
                raise
            done = self._transact(found, now, self._put_apart)
        self._count(done, now)
        return done.notices

    def _transact(
        self,
        found: Sequence[_Found],
        now: ReceivedAt,
        put: Callable[[Sequence[_Found], _BatchResult, ReceivedAt], None],
    ) -> _BatchResult:
        done = _BatchResult()
        try:
            with self._store.batch(_entries(found)):
                put(found, done, now)
        except BaseException:
            done.undo()
            raise
        return done

    def _put_together(self, found: Sequence[_Found], done: _BatchResult, now: ReceivedAt) -> None:
        for _, finding in found:
            self._put(finding, done, now)

    def _put_apart(self, found: Sequence[_Found], done: _BatchResult, now: ReceivedAt) -> None:
        """Store each message by itself: some message of the batch cannot be stored."""
        for message, finding in found:
            part = _BatchResult()
            try:
                with self._store.attempt():
                    self._put(finding, part, now)
            except Exception as error:
                part.undo()
                if _is_stores(error):
                    raise
                part = _BatchResult()
                self._put(RejectedMessage.internal(message, error), part, now)
            done.add(part)

    def _put(self, finding: Finding, done: _BatchResult, now: ReceivedAt) -> None:
        """Store one finding, inside a transaction."""
        if isinstance(finding, RejectedMessage):
            self._refuse(finding, done, now)
        elif isinstance(finding, UnknownEvent):
            self._keep(finding, done, now)
        elif isinstance(finding, LastWill):
            self._status(finding.unit, OnlineStatus.OFFLINE, finding.session, done, now)
        elif isinstance(finding, ReplayReply):
            if self._asker is not None:
                done.notices += self._asker.answered(finding, now)
        else:
            event = finding.event
            if isinstance(event, AttendanceEvent | AuditEvent):
                self._record(finding, event, done, now)
            else:
                self._head(finding, event.data, done, now)
            done.heard.append(finding.unit.source)

    def _count(self, done: _BatchResult, now: ReceivedAt) -> None:
        """Note the numbers of a batch that is durable: whatever this raises, it is acknowledged."""
        self._heard.update(dict.fromkeys(done.heard, now.monotonic_ns))
        try:
            self._chains.count(done.stored, done.named, now)
            if done.moved:
                self._chains.moved(now)
        except StoreUnavailable:
            pass  # the next sweep tries again
        except Exception as error:
            log.error("numbers cannot be counted (%s)", type(error).__name__, exc_info=error)  # noqa: TRY400

    def connected(self, now: ReceivedAt) -> None:
        """Note that messages can arrive again: the time before counts towards no gap."""
        self._chains.restart(now)

    def ask(self, now: ReceivedAt) -> tuple[list[Message], list[Notice]]:
        """Return the commands that ask for missing numbers, and what to say. Raises StoreError."""
        if self._asker is None:
            return [], []

        def heard(source: str) -> bool:
            at = self._heard.get(source)
            return at is not None and now.monotonic_ns - at < _HEARD_S * 1e9

        return self._asker.ask(heard, now)

    def set_keys(self, keys: KeySet, now: ReceivedAt) -> list[Notice]:
        """Go on with another key set, and look again at what was refused. Raises StoreError."""
        self.keys = keys
        return self.retry_unknown(now)

    def check_gaps(self, now: ReceivedAt) -> list[Notice]:
        """Report gaps whose grace is over, and those that healed. Raises StoreError."""
        return self._chains.sweep(now)

    def retry_unknown(self, now: ReceivedAt) -> list[Notice]:
        """Accept what was refused only for want of a key that is registered by now."""
        for refusal in self._store.refusals(*_REVISITED):
            message = Message(refusal.topic, refusal.payload)
            self._retry(message, now, partial(self._store.drop_rejection, refusal))
        for later in self._store.unknown_events():
            message = Message(later.topic, later.jws.encode("utf-8", "replace"))
            self._retry(message, now, partial(self._store.drop_later, later.digest))
        notices, self._unsaid = self._unsaid, []
        return notices

    def _retry(self, message: Message, now: ReceivedAt, drop: Callable[[], None]) -> None:
        """Store a message that was kept apart, and drop it there; otherwise leave it as it is."""

        def put(found: Sequence[_Found], done: _BatchResult, now: ReceivedAt) -> None:
            self._put_together(found, done, now)
            drop()

        try:
            finding = check_message(message, self.keys, now)
            if not isinstance(finding, Verified):
                return
            done = self._transact([(message, finding)], now, put)
        except Exception as error:
            if _is_stores(error):
                raise
            log.debug("a message cannot be processed yet", exc_info=error)
            return
        self._count(done, now)
        self._unsaid += done.notices

    # --- one message ------------------------------------------------------------------------

    def _refuse(self, refused: RejectedMessage, done: _BatchResult, now: ReceivedAt) -> None:
        refusal = refused.refusal
        unit, leaf = address(refusal.topic)
        # A wrong key makes every health wrong: said once a run, not once a minute.
        if leaf in (TopicKind.STATE, TopicKind.HEALTH) and not done.news(
            self._complained, (refusal.topic, refused.flaw), None
        ):
            self._store.count_refused(refusal)
            return
        # Where every receiver gets every message, one of them says it.
        if self._store.refuse(refusal, str(now)):
            notice = Notice(NoticeKind.REFUSED, now.utc, unit, refusal.why, flaw=refused.flaw)
            done.notices.append(notice)

    def _keep(self, later: UnknownEvent, done: _BatchResult, now: ReceivedAt) -> None:
        """Keep what a later contract brought; it is looked at again at each start."""
        if not self._store.add_later(later, str(now)):
            return
        done.stored.append((later.unit, later.sequence))
        text = f"event {later.sequence} is kept for a later version: {later.type} is not known here"
        unit = UnitName.from_source(later.unit)
        done.notices.append(
            Notice(NoticeKind.REFUSED, now.utc, unit, text, flaw=RejectReason.PAYLOAD)
        )

    def _record(
        self,
        found: Verified,
        event: AttendanceEvent | AuditEvent,
        done: _BatchResult,
        now: ReceivedAt,
    ) -> None:
        entry = _entry(found, event)
        judgement = judge(entry, self._store.neighbours(entry))
        if judgement.verdict is Classification.DUPLICATE:
            text = f"event {entry.sequence} came again and is stored once"
            done.notices.append(Notice(NoticeKind.DUPLICATE, event.moment, found.unit, text, event))
            return
        if judgement.keep:
            subject = event.subject if isinstance(event, AttendanceEvent) else None
            self._store.add(
                Record(entry, event.type, event.time, subject, found.kid, found.token), str(now)
            )
            if judgement.verdict is Classification.GENUINE:
                self._store.date(event)
                done.notices += self._move(event, done, now)
            done.stored.append((entry.unit, entry.sequence))
            done.notices.append(Notice(NoticeKind.EVENT, event.moment, found.unit, event=event))
        else:
            topic, content = found.unit.topic(TopicKind.EVENT), found.token.encode("ascii")
            refusal = Rejection.of(topic, Classification.FORK, judgement.why, content, MAX_BYTES)
            self._store.refuse(refusal, str(now))
        if judgement.verdict is Classification.FORK:
            # A stored event is reported as a fork even if a head was reported before.
            fresh = self._store.note_fork(
                entry.unit, entry.sequence, entry.digest, judgement.why, str(now)
            )
            if fresh or judgement.keep:
                done.notices.append(Notice(NoticeKind.FORK, now.utc, found.unit, judgement.why))

    def _move(
        self, event: AttendanceEvent | AuditEvent, done: _BatchResult, now: ReceivedAt
    ) -> Iterator[Notice]:
        """Note a unit's other name; its chain goes on from what was stored under the one before."""
        move = self._store.move(event)
        if move is None:
            return
        done.moved = True
        last = self._store.digests(move.origin, move.sequence - 1)
        if last and event.previous not in last:
            why = f"event {event.number} does not follow event {event.number - 1} of {move.origin}"
            digest = event.previous or ""
            if self._store.note_fork(move.unit, event.number, digest, why, str(now)):
                yield Notice(NoticeKind.FORK, now.utc, UnitName.from_source(move.unit), why)

    def _head(
        self, found: Verified, data: StateData | HealthData, done: _BatchResult, now: ReceivedAt
    ) -> None:
        unit = found.unit
        if isinstance(data, StateData):
            self._status(unit, data.status, data.session, done, now)
        if data.sequence == 0 or data.head is None:
            return
        source = unit.source
        judgement = judge_head(
            data.sequence,
            data.head,
            self._store.digests(source, data.sequence),
            self._store.head(source, data.sequence),
        )
        if judgement.verdict is Classification.FORK:
            if self._store.note_fork(source, data.sequence, data.head, judgement.why, str(now)):
                done.notices.append(Notice(NoticeKind.FORK, now.utc, unit, judgement.why))
            return
        head = NamedHead(source, data.sequence, data.head, unit.topic(found.leaf), found.token)
        self._store.name_head(head, str(now))
        done.named.append((source, data.sequence))

    def _status(
        self,
        unit: UnitName,
        status: OnlineStatus,
        session: int,
        done: _BatchResult,
        now: ReceivedAt,
    ) -> None:
        if done.news(self._states, unit, (status, session)):
            text = f"{status}, session {session}"
            done.notices.append(Notice(NoticeKind.STATE, now.utc, unit, text))


def _entry(found: Verified, event: AttendanceEvent | AuditEvent) -> ChainEntry:
    return ChainEntry(event.source, event.id, event.number, found.digest, event.previous)


def _entries(findings: Iterable[_Found]) -> Iterator[ChainEntry]:
    for _, found in findings:
        if isinstance(found, Verified) and isinstance(found.event, AttendanceEvent | AuditEvent):
            yield _entry(found, found.event)
