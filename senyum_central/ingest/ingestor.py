"""Verify, classify and store received messages, and return notices.

When `ingest` and `check_gaps` return, their changes are durable; only then may a message be
acknowledged. If they raise StoreError nothing of the batch was stored. Any other error concerns
one message: it is rejected as `internal`, and the others are stored.
"""

import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Generic, TypeVar

from edge.contract.envelope import MAX_BYTES, RejectReason, Verified
from edge.contract.events import AttendanceEvent, AuditEvent, HealthData, OnlineStatus, StateData
from edge.contract.keys import KeySet
from edge.contract.topics import TopicKind, UnitName
from edge.errors import RowRejected, StoreError, StoreUnavailable
from senyum_central.ingest.gap_requests import GapRequester
from senyum_central.ingest.gap_tracker import GapMonitor
from senyum_central.ingest.message import (
    Finding,
    LastWill,
    Message,
    ReceivedAt,
    RejectedMessage,
    check_message,
    topic_owner,
)
from senyum_central.ingest.notices import Failure, Notice, NoticeKind
from senyum_central.replies import ReplayReply
from senyum_central.store.chain_rules import ChainEntry, Classification, classify, classify_head
from senyum_central.store.event_store import NamedHead, Store, StoredEvent
from senyum_central.store.rejections import Rejection
from senyum_central.store.unknown_events import UnknownEvent

# Rejections that another key set or version may accept; retried at each start.
_REVISITED = (
    RejectReason.UNKNOWN_KEY,
    RejectReason.FOREIGN_KEY,
    RejectReason.OUTSIDE_VALIDITY,
    RejectReason.PAYLOAD,
    Failure.INTERNAL,
)
_RECENT_S = 300.0  # a unit that sent a message this recently is online: it reports every minute
_REMEMBERED = 10_000  # bounds memory: anyone with publish permission can invent topics and units

log = logging.getLogger(__name__)
K = TypeVar("K")
V = TypeVar("V")


_Found = tuple[Message, Finding]


class LruSet(Generic[K, V]):
    """A value for each of the last `limit` keys that were put.

    For untrusted keys: a flood may evict entries but cannot fill the memory.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._values: dict[K, V] = {}  # a dict keeps the order of insertion

    def put(self, key: K, value: V) -> bool:
        """Remember a value; return whether it is new."""
        news = key not in self._values or self._values.pop(key) != value
        self._values[key] = value
        if len(self._values) > self._limit:
            del self._values[next(iter(self._values))]
        return news

    def remove(self, key: K) -> None:
        """Make the next value of a key news."""
        self._values.pop(key, None)


@dataclass(slots=True)
class _BatchResult:
    """Consequences of stored messages, applied once the transaction is durable."""

    notices: list[Notice] = field(default_factory=list)
    stored: list[tuple[str, int]] = field(default_factory=list)
    heads: list[tuple[str, int]] = field(default_factory=list)
    seen: list[str] = field(default_factory=list)
    remembered: list[tuple[LruSet[Any, Any], Any]] = field(default_factory=list)
    renamed: bool = False  # whether a rename was stored

    def is_news(self, recent: LruSet[Any, Any], key: object, value: object) -> bool:
        """Remember a value unless the transaction fails; return whether it is new."""
        self.remembered.append((recent, key))
        return recent.put(key, value)

    def undo(self) -> None:
        """Forget the remembered values, because nothing was stored."""
        for recent, key in self.remembered:
            recent.remove(key)

    def add(self, other: "_BatchResult") -> None:
        self.notices += other.notices
        self.stored += other.stored
        self.heads += other.heads
        self.seen += other.seen
        self.remembered += other.remembered
        self.renamed |= other.renamed


def _is_stores(error: Exception) -> bool:
    """Return whether the store failed, as opposed to one message that cannot be stored."""
    return isinstance(error, StoreError) and not isinstance(error, RowRejected)


class Ingestor:
    """Turns messages into stored events, rejections and notices. Single-threaded."""

    def __init__(
        self,
        store: Store,
        keys: KeySet,
        grace_s: float,
        now: ReceivedAt,
        gap_requester: GapRequester | None = None,
    ) -> None:
        """With `gap_requester`, missing events are requested from the units."""
        self._store = store
        self._gap_requester = gap_requester
        self.keys = keys
        self._gaps = GapMonitor(store, grace_s, now)
        self._states: LruSet[UnitName, tuple[OnlineStatus, int]] = LruSet(_REMEMBERED)
        self._reported_rejections: LruSet[tuple[str, RejectReason | Failure], None] = LruSet(
            _REMEMBERED
        )
        self._received: LruSet[str, None] = LruSet(_REMEMBERED)  # digests of events
        self._last_seen: dict[str, int] = {}  # unit to when, monotonic
        self._pending_notices: list[
            Notice
        ] = []  # of what was looked at again before the store went away

    def ingest(self, messages: Sequence[Message], now: ReceivedAt) -> list[Notice]:
        """Verify and store a batch in one transaction. Raises StoreError.

        A message that cannot be processed is rejected, and the rest is stored.
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
            result = self._transact(found, now, self._store_together)
        except Exception as error:
            if _is_stores(error):
                raise
            result = self._transact(found, now, self._store_one_by_one)
        self._record_batch(result, now)
        return result.notices

    def _transact(
        self,
        found: Sequence[_Found],
        now: ReceivedAt,
        put: Callable[[Sequence[_Found], _BatchResult, ReceivedAt], None],
    ) -> _BatchResult:
        result = _BatchResult()
        try:
            with self._store.batch(_entries(found)):
                put(found, result, now)
        except BaseException:
            result.undo()
            raise
        return result

    def _store_together(
        self, found: Sequence[_Found], result: _BatchResult, now: ReceivedAt
    ) -> None:
        for _, finding in found:
            self._store_finding(finding, result, now)

    def _store_one_by_one(
        self, found: Sequence[_Found], result: _BatchResult, now: ReceivedAt
    ) -> None:
        """Store each message separately after the batch failed."""
        for message, finding in found:
            part = _BatchResult()
            try:
                with self._store.savepoint():
                    self._store_finding(finding, part, now)
            except Exception as error:
                part.undo()
                if _is_stores(error):
                    raise
                part = _BatchResult()
                self._store_finding(RejectedMessage.internal(message, error), part, now)
            result.add(part)

    def _store_finding(self, finding: Finding, result: _BatchResult, now: ReceivedAt) -> None:
        """Store one finding, inside a transaction."""
        if isinstance(finding, RejectedMessage):
            self._reject(finding, result, now)
        elif isinstance(finding, UnknownEvent):
            self._store_unknown_event(finding, result, now)
        elif isinstance(finding, LastWill):
            self._report_status(finding.unit, OnlineStatus.OFFLINE, finding.session, result, now)
        elif isinstance(finding, ReplayReply):
            if self._gap_requester is not None:
                result.notices += self._gap_requester.record_reply(finding, now)
        else:
            event = finding.event
            if isinstance(event, AttendanceEvent | AuditEvent):
                self._record(finding, event, result, now)
            else:
                self._check_head(finding, event.data, result, now)
            result.seen.append(finding.unit.source)

    def _record_batch(self, result: _BatchResult, now: ReceivedAt) -> None:
        """Record the numbers of a durable batch; an error does not prevent acknowledgement."""
        self._last_seen.update(dict.fromkeys(result.seen, now.monotonic_ns))
        try:
            self._gaps.record_batch(result.stored, result.heads, now)
            if result.renamed:
                self._gaps.apply_renames(now)
        except StoreUnavailable:
            pass  # the next sweep tries again
        except Exception as error:
            log.error("numbers cannot be counted (%s)", type(error).__name__, exc_info=error)  # noqa: TRY400

    def restart_grace(self, now: ReceivedAt) -> None:
        """Restart the grace periods: no message could arrive until now."""
        self._gaps.restart_grace(now)

    def request_missing(self, now: ReceivedAt) -> tuple[list[Message], list[Notice]]:
        """Return commands that request missing events, and notices. Raises StoreError."""
        if self._gap_requester is None:
            return [], []

        since_ns = now.monotonic_ns - int(_RECENT_S * 1e9)
        seen = {unit for unit, at_ns in self._last_seen.items() if at_ns > since_ns}
        return self._gap_requester.request_missing(seen, now)

    def set_keys(self, keys: KeySet, now: ReceivedAt) -> list[Notice]:
        """Use another key set, and retry rejected messages. Raises StoreError."""
        self.keys = keys
        return self.retry_unknown(now)

    def check_gaps(self, now: ReceivedAt) -> list[Notice]:
        """Report overdue and healed gaps. Raises StoreError."""
        return self._gaps.check(now)

    def retry_unknown(self, now: ReceivedAt) -> list[Notice]:
        """Retry rejections and unknown events that another key set or version may accept."""
        for rejection in self._store.rejections(*_REVISITED):
            message = Message(rejection.topic, rejection.payload)
            self._retry(message, now, partial(self._store.drop_rejection, rejection))
        for unknown in self._store.unknown_events():
            message = Message(unknown.topic, unknown.jws.encode("utf-8", "replace"))
            self._retry(message, now, partial(self._store.drop_unknown_event, unknown.digest))
        notices, self._pending_notices = self._pending_notices, []
        return notices

    def _retry(self, message: Message, now: ReceivedAt, drop: Callable[[], None]) -> None:
        """Store a rejected message and remove the rejection, if it is accepted now."""

        def put(found: Sequence[_Found], result: _BatchResult, now: ReceivedAt) -> None:
            self._store_together(found, result, now)
            drop()

        try:
            finding = check_message(message, self.keys, now)
            if not isinstance(finding, Verified):
                return
            result = self._transact([(message, finding)], now, put)
        except Exception as error:
            if _is_stores(error):
                raise
            log.debug("a message cannot be processed yet", exc_info=error)
            return
        self._record_batch(result, now)
        self._pending_notices += result.notices

    # --- one message ------------------------------------------------------------------------

    def _reject(self, rejected: RejectedMessage, result: _BatchResult, now: ReceivedAt) -> None:
        rejection = rejected.rejection
        unit, leaf = topic_owner(rejection.topic)
        # With a wrong key every health message is rejected: report once per run.
        if leaf in (TopicKind.STATE, TopicKind.HEALTH) and not result.is_news(
            self._reported_rejections, (rejection.topic, rejected.flaw), None
        ):
            self._store.count_rejection(rejection)
            return
        # If every receiver gets every message, one of them reports it.
        if self._store.add_rejection(rejection, str(now)):
            notice = Notice(NoticeKind.REFUSED, now.utc, unit, rejection.why, flaw=rejected.flaw)
            result.notices.append(notice)

    def _store_unknown_event(
        self, unknown: UnknownEvent, result: _BatchResult, now: ReceivedAt
    ) -> None:
        """Store an event of an unknown type; it is retried at each start."""
        if not self._store.add_unknown_event(unknown, str(now)):
            return
        result.stored.append((unknown.unit, unknown.sequence))
        text = f"event {unknown.sequence} is kept for a later version: unknown type {unknown.type}"
        unit = UnitName.from_source(unknown.unit)
        result.notices.append(
            Notice(NoticeKind.REFUSED, now.utc, unit, text, flaw=RejectReason.PAYLOAD)
        )

    def _record(
        self,
        found: Verified,
        event: AttendanceEvent | AuditEvent,
        result: _BatchResult,
        now: ReceivedAt,
    ) -> None:
        entry = _entry(found, event)
        decision = classify(entry, self._store.neighbours(entry))
        again = not result.is_news(self._received, entry.digest, None)
        if decision.classification is Classification.DUPLICATE:
            # Every receiver of a store gets every event: one that another receiver stored first is
            # reported only if this receiver gets it a second time.
            if again:
                text = f"event {entry.sequence} was received again and is stored once"
                result.notices.append(
                    Notice(NoticeKind.DUPLICATE, event.moment, found.unit, text, event)
                )
            return
        if decision.keep:
            subject = event.subject if isinstance(event, AttendanceEvent) else None
            self._store.add(
                StoredEvent(entry, event.type, event.time, subject, found.kid, found.token),
                str(now),
            )
            if decision.classification is Classification.GENUINE:
                self._store.record_clock(event)
                result.notices += self._record_rename(event, result, now)
            result.stored.append((entry.unit, entry.sequence))
            result.notices.append(Notice(NoticeKind.EVENT, event.moment, found.unit, event=event))
        else:
            topic, content = found.unit.topic(TopicKind.EVENT), found.token.encode("ascii")
            rejection = Rejection.from_message(
                topic, Classification.FORK, decision.reason, content, MAX_BYTES
            )
            self._store.add_rejection(rejection, str(now))
        if decision.classification is Classification.FORK:
            # A stored event is reported as a fork even if a head was reported before.
            fresh = self._store.record_fork(
                entry.unit, entry.sequence, entry.digest, decision.reason, str(now)
            )
            if fresh or decision.keep:
                result.notices.append(Notice(NoticeKind.FORK, now.utc, found.unit, decision.reason))

    def _record_rename(
        self, event: AttendanceEvent | AuditEvent, result: _BatchResult, now: ReceivedAt
    ) -> Iterator[Notice]:
        """Record a rename, and check that the chain continues from the previous name."""
        rename = self._store.record_rename(event)
        if rename is None:
            return
        result.renamed = True
        last = self._store.digests(rename.origin, rename.sequence - 1)
        if last and event.previous not in last:
            why = (
                f"event {event.number} does not follow event {event.number - 1} of {rename.origin}"
            )
            digest = event.previous or ""
            if self._store.record_fork(rename.unit, event.number, digest, why, str(now)):
                yield Notice(NoticeKind.FORK, now.utc, UnitName.from_source(rename.unit), why)

    def _check_head(
        self, found: Verified, data: StateData | HealthData, result: _BatchResult, now: ReceivedAt
    ) -> None:
        unit = found.unit
        if isinstance(data, StateData):
            self._report_status(unit, data.status, data.session, result, now)
        if data.sequence == 0 or data.head is None:
            return
        source = unit.source
        decision = classify_head(
            data.sequence,
            data.head,
            self._store.digests(source, data.sequence),
            self._store.head(source, data.sequence),
        )
        if decision.classification is Classification.FORK:
            if self._store.record_fork(source, data.sequence, data.head, decision.reason, str(now)):
                result.notices.append(Notice(NoticeKind.FORK, now.utc, unit, decision.reason))
            return
        head = NamedHead(source, data.sequence, data.head, unit.topic(found.leaf), found.token)
        self._store.record_head(head, str(now))
        result.heads.append((source, data.sequence))

    def _report_status(
        self,
        unit: UnitName,
        status: OnlineStatus,
        session: int,
        result: _BatchResult,
        now: ReceivedAt,
    ) -> None:
        if result.is_news(self._states, unit, (status, session)):
            text = f"{status}, session {session}"
            result.notices.append(Notice(NoticeKind.STATE, now.utc, unit, text))


def _entry(found: Verified, event: AttendanceEvent | AuditEvent) -> ChainEntry:
    return ChainEntry(event.source, event.id, event.number, found.digest, event.previous)


def _entries(findings: Iterable[_Found]) -> Iterator[ChainEntry]:
    for _, found in findings:
        if isinstance(found, Verified) and isinstance(found.event, AttendanceEvent | AuditEvent):
            yield _entry(found, found.event)
