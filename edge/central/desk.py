"""Takes what came from the broker: verify, judge, store, and say what happened.

When `take` and `sweep` return, everything they did is durable; only then may a message be
acknowledged. When they raise StoreError nothing of the batch was kept.
"""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Self

from edge.central.gaps import Gap, Ledger
from edge.central.judge import Entry, Verdict, judge, judge_head
from edge.central.later import read_later
from edge.central.notice import Kind, Notice
from edge.central.recent import Recent
from edge.central.refused import Refusal
from edge.central.store import LARGEST_SEQUENCE, Head, Later, Record, Store
from edge.mqtt.envelope import MAX_BYTES, Flaw, Rejected, Verified, parse_will, verify
from edge.mqtt.keys import KeySet
from edge.mqtt.payload import AttendanceEvent, AuditEvent, HealthData, StateData, Status
from edge.mqtt.topics import Leaf, UnitName, parse

# What another key set or a newer program may accept: looked at again at each start.
_REVISITED = (Flaw.UNKNOWN_KEY, Flaw.FOREIGN_KEY, Flaw.OUTSIDE_VALIDITY, Flaw.PAYLOAD)
_HEARD_S = 300.0  # a unit that was heard so lately is there: it says how it is every minute
_REMEMBERED = 10_000  # topics and units that may be made up by whoever may publish


@dataclass(frozen=True, slots=True)
class Message:
    """A PUBLISH packet, without what only the transport needs."""

    topic: str
    payload: bytes


@dataclass(frozen=True, slots=True)
class Instant:
    """Now, on the clock that people read and on the one that grace periods are measured with."""

    utc: datetime
    monotonic_ns: int

    @classmethod
    def now(cls) -> Self:
        return cls(datetime.now(UTC), time.monotonic_ns())

    def __str__(self) -> str:
        return self.utc.isoformat(timespec="milliseconds")


@dataclass(frozen=True, slots=True)
class _Refused:
    refusal: Refusal
    flaw: Flaw


@dataclass(frozen=True, slots=True)
class _Went:
    """A Last Will: unsigned, so it is shown and nothing is concluded from it."""

    unit: UnitName
    session: int


_Finding = Verified | _Refused | _Went | Later


class Desk:
    """Where messages become events, refusals and alarms. One thread."""

    def __init__(self, store: Store, keys: KeySet, grace_s: float, now: Instant) -> None:
        self._store = store
        self.keys = keys
        self._grace_ns = int(grace_s * 1e9)
        self._ledgers = {
            unit: Ledger.resume(standing, self._grace_ns, now.monotonic_ns)
            for unit, standing in store.standings().items()
        }
        self._states: Recent[UnitName, tuple[Status, int]] = Recent(_REMEMBERED)
        self._complained: Recent[tuple[str, Flaw], None] = Recent(_REMEMBERED)
        self._heard: dict[str, int] = {}  # unit to when, monotonic
        self._moved = False  # whether a unit's other name became known of late
        self._stirred = True  # whether something came since the last look for healed gaps

    def take(self, messages: Sequence[Message], now: Instant) -> list[Notice]:
        """Judge and store a batch in one transaction. Raises StoreError."""
        findings = [
            self._examine(message, now) for message in messages if message.payload
        ]  # an empty payload only removes a retained message
        notices: list[Notice] = []
        stored: list[tuple[str, int]] = []
        named: list[tuple[str, int]] = []
        with self._store.batch(_entries(findings)):
            for finding in findings:
                if isinstance(finding, _Refused):
                    notices += self._refuse(finding, now)
                elif isinstance(finding, Later):
                    notices += self._keep(finding, stored, now)
                elif isinstance(finding, _Went):
                    notices += self._status(finding.unit, Status.OFFLINE, finding.session, now)
                elif isinstance(finding.event, AttendanceEvent | AuditEvent):
                    notices += self._record(finding, finding.event, stored, now)
                else:
                    notices += self._head(finding, finding.event.data, named, now)
        for finding in findings:
            if isinstance(finding, Verified):
                self._heard[finding.unit.source] = now.monotonic_ns
        self._count(stored, named, now)
        return notices

    def _count(
        self, stored: list[tuple[str, int]], named: list[tuple[str, int]], now: Instant
    ) -> None:
        """Note the numbers of a batch that is durable."""
        for unit, sequence in stored:
            self._ledger(unit).arrived(sequence, now.monotonic_ns)
        if self._moved:
            self._part(now)
        self._moved = False
        self._stirred |= bool(stored)
        for unit, sequence in named:
            self._ledger(unit).named(sequence, now.monotonic_ns)

    def connected(self, now: Instant) -> None:
        """Note that messages can arrive again: the time before counts towards no gap."""
        for ledger in self._ledgers.values():
            ledger.restart(now.monotonic_ns)

    def heard(self, source: str, now: Instant) -> bool:
        """Tell whether something genuine of this unit came lately."""
        at = self._heard.get(source)
        return at is not None and now.monotonic_ns - at < _HEARD_S * 1e9

    def trust(self, keys: KeySet, now: Instant) -> list[Notice]:
        """Go on with another key set, and look again at what was refused. Raises StoreError."""
        self.keys = keys
        return self.revisit(now)

    def sweep(self, now: Instant) -> list[Notice]:
        """Report gaps whose grace is over, and those that healed. Raises StoreError."""
        changed = self._learn_from_others(now) or self._stirred
        overdue = {unit: ledger.sweep(now.monotonic_ns) for unit, ledger in self._ledgers.items()}
        notices: list[Notice] = []
        if changed or any(overdue.values()):
            with self._store.batch():
                for source, gaps in overdue.items():
                    for gap in gaps:
                        notices += self._report(source, gap, now)
                notices += self._heal(now)
        self._stirred = False
        return notices

    def revisit(self, now: Instant) -> list[Notice]:
        """Accept what was refused only for want of a key that is registered by now."""
        notices: list[Notice] = []
        for refusal in self._store.refusals(*_REVISITED):
            message = Message(refusal.topic, refusal.payload)
            if isinstance(self._examine(message, now), Verified):
                notices += self.take([message], now)
                with self._store.batch():
                    self._store.forgive(refusal)
        for later in self._store.laters():
            message = Message(later.topic, later.jws.encode("ascii"))
            if isinstance(self._examine(message, now), Verified):
                notices += self.take([message], now)
                with self._store.batch():
                    self._store.drop_later(later.digest)
        return notices

    # --- one message ------------------------------------------------------------------------

    def _examine(self, message: Message, now: Instant) -> _Finding:
        """Everything about a message that needs no store."""
        try:
            if message.topic.endswith(f"/{Leaf.STATE}") and message.payload[:1] == b"{":
                return _Went(parse(message.topic)[0], parse_will(message.payload).session)
            found = verify(message.payload, self.keys, message.topic, now.utc)
            _check_number(found)
        except Rejected as error:
            later = _later(message) if error.flaw is Flaw.PAYLOAD else None
            if later is not None:
                return later
            flaw, why = error.flaw, str(error)
        except ValueError as error:  # the topic of a Last Will
            flaw, why = Flaw.TOPIC, str(error)
        else:
            return found
        return _Refused(Refusal.of(message.topic, flaw, why, message.payload, MAX_BYTES), flaw)

    def _refuse(self, refused: _Refused, now: Instant) -> list[Notice]:
        refusal = refused.refusal
        try:
            unit, leaf = parse(refusal.topic)
        except ValueError:
            unit, leaf = None, Leaf.EVENT
        # A wrong key makes every health wrong: said once a run, not once a minute.
        again = leaf is not Leaf.EVENT and not self._complained.put(
            (refusal.topic, refused.flaw), None
        )
        if again:
            return []
        # Where every receiver gets every message, one of them says it.
        if not self._store.refuse(refusal, str(now)):
            return []
        return [Notice(Kind.REFUSED, now.utc, unit, refusal.why, flaw=refused.flaw)]

    def _keep(self, later: Later, stored: list[tuple[str, int]], now: Instant) -> list[Notice]:
        """Keep what a later contract brought; it is looked at again at each start."""
        if not self._store.add_later(later, str(now)):
            return []
        stored.append((later.unit, later.sequence))
        text = f"event {later.sequence} is kept for a later version: {later.type} is not known here"
        unit = UnitName.from_source(later.unit)
        return [Notice(Kind.REFUSED, now.utc, unit, text, flaw=Flaw.PAYLOAD)]

    def _record(
        self,
        found: Verified,
        event: AttendanceEvent | AuditEvent,
        stored: list[tuple[str, int]],
        now: Instant,
    ) -> list[Notice]:
        entry = _entry(found, event)
        judgement = judge(entry, self._store.neighbours(entry))
        if judgement.verdict is Verdict.DUPLICATE:
            text = f"event {entry.sequence} came again and is stored once"
            return [Notice(Kind.DUPLICATE, event.moment, found.unit, text, event)]
        notices: list[Notice] = []
        if judgement.keep:
            subject = event.subject if isinstance(event, AttendanceEvent) else None
            self._store.add(
                Record(entry, event.type, event.time, subject, found.kid, found.token), str(now)
            )
            if judgement.verdict is Verdict.GENUINE:
                self._store.date(event)
                notices += self._move(event, now)
            stored.append((entry.unit, entry.sequence))
            notices.append(Notice(Kind.EVENT, event.moment, found.unit, event=event))
        else:
            topic, content = found.unit.topic(Leaf.EVENT), found.token.encode("ascii")
            refusal = Refusal.of(topic, Verdict.FORK, judgement.why, content, MAX_BYTES)
            self._store.refuse(refusal, str(now))
        if judgement.verdict is Verdict.FORK and self._store.note_fork(
            entry.unit, entry.sequence, entry.digest, judgement.why, str(now)
        ):
            notices.append(Notice(Kind.FORK, now.utc, found.unit, judgement.why))
        return notices

    def _move(self, event: AttendanceEvent | AuditEvent, now: Instant) -> Iterator[Notice]:
        """Note a unit's other name; its chain goes on from what was stored under the one before."""
        move = self._store.move(event)
        if move is None:
            return
        self._moved = True
        last = self._store.digests(move.origin, move.sequence - 1)
        if last and event.previous not in last:
            why = f"event {event.number} does not follow event {event.number - 1} of {move.origin}"
            digest = event.previous or ""
            if self._store.note_fork(move.unit, event.number, digest, why, str(now)):
                yield Notice(Kind.FORK, now.utc, UnitName.from_source(move.unit), why)

    def _head(
        self,
        found: Verified,
        data: StateData | HealthData,
        named: list[tuple[str, int]],
        now: Instant,
    ) -> list[Notice]:
        notices: list[Notice] = []
        unit = found.unit
        if isinstance(data, StateData):
            notices += self._status(unit, data.status, data.session, now)
        if data.sequence == 0 or data.head is None:
            return notices
        source = unit.source
        judgement = judge_head(
            data.sequence,
            data.head,
            self._store.digests(source, data.sequence),
            self._store.head(source, data.sequence),
        )
        if judgement.verdict is Verdict.FORK:
            if self._store.note_fork(source, data.sequence, data.head, judgement.why, str(now)):
                notices.append(Notice(Kind.FORK, now.utc, unit, judgement.why))
            return notices
        head = Head(source, data.sequence, data.head, unit.topic(found.leaf), found.token)
        self._store.name_head(head, str(now))
        named.append((source, data.sequence))
        return notices

    def _status(self, unit: UnitName, status: Status, session: int, now: Instant) -> list[Notice]:
        if not self._states.put(unit, (status, session)):
            return []
        return [Notice(Kind.STATE, now.utc, unit, f"{status}, session {session}")]

    def _report(self, source: str, gap: Gap, now: Instant) -> Iterator[Notice]:
        unit = UnitName.from_source(source)
        for part in self._store.report_gap(source, gap, str(now)):
            yield Notice(Kind.GAP, now.utc, unit, str(part))

    def _heal(self, now: Instant) -> Iterator[Notice]:
        for source, gap in self._store.heal_gaps(str(now)):
            text = str(gap).replace("missing", "no longer missing")
            yield Notice(Kind.HEALED, now.utc, UnitName.from_source(source), text)

    # --- the chains -------------------------------------------------------------------------

    def _ledger(self, unit: str) -> Ledger:
        return self._ledgers.setdefault(unit, Ledger(self._grace_ns))

    def _part(self, now: Instant) -> None:
        """Wait for no number that a unit gave under another name, as far as is known by now."""
        for unit, ledger in self._ledgers.items():
            if ledger.holes or ledger.apart:
                # A name that a unit came back to had all before it elsewhere, until it is told
                # where it went away.
                for gap in ledger.elsewhere(self._store.elsewhere(unit)):
                    for hole in self._store.holes(unit, gap):
                        ledger.wanted(hole, now.monotonic_ns)

    def _learn_from_others(self, now: Instant) -> bool:
        """Fill holes with what another receiver has put into the same store; whether it did."""
        changed = self._store.changed_by_others()
        if changed:
            self._part(now)
        for unit, ledger in self._ledgers.items():
            for hole in ledger.holes if changed else ledger.overdue(now.monotonic_ns):
                for sequence in self._store.present(unit, hole):
                    ledger.arrived(sequence, now.monotonic_ns)
        return changed


def _entry(found: Verified, event: AttendanceEvent | AuditEvent) -> Entry:
    return Entry(event.source, event.id, event.number, found.digest, event.previous)


def _entries(findings: Sequence[_Finding]) -> Iterator[Entry]:
    for found in findings:
        if isinstance(found, Verified) and isinstance(found.event, AttendanceEvent | AuditEvent):
            yield _entry(found, found.event)


def _later(message: Message) -> Later | None:
    return read_later(message.topic, message.payload.decode("ascii"))


def _check_number(found: Verified) -> None:
    """Refuse a number that the contract allows and the store cannot hold."""
    event = found.event
    if isinstance(event, AttendanceEvent | AuditEvent) and event.number > LARGEST_SEQUENCE:
        raise Rejected(Flaw.PAYLOAD, f"sequence: is more than {LARGEST_SEQUENCE}")
