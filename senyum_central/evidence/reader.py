"""Read and verify a unit's events of a period from a store.

The columns do not decide which rows belong to the period. The reader follows the chain in both
directions until it finds a genuine event outside the period. A row that was deleted, stored under
another unit or given another time therefore leaves a gap, which is reported.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, time, timedelta
from zoneinfo import ZoneInfo

from edge.contract.envelope import EnvelopeRejected, verify
from edge.contract.events import AttendanceEvent, AuditEvent
from edge.contract.keys import KeySet
from edge.contract.topics import UnitName
from edge.system.clock import ClockState
from senyum_central.evidence.chain import Segment, find_breaks, key_changes
from senyum_central.evidence.entries import (
    NOTES,
    DatedEvent,
    Defect,
    DefectLog,
    EntryMark,
    LostDays,
    Note,
    RowEvidence,
    Span,
    UnitEvidence,
    by_number,
    reaches,
    row_evidence,
    spans,
)
from senyum_central.evidence.row_check import as_moment, check
from senyum_central.store.gaps import Gap
from senyum_central.store.queries import (
    ChainEvidence,
    EventReader,
    Period,
    parse_unit,
    shorten,
    zone_or_utc,
)
from senyum_central.store.time_correction import Anchor, nearest_anchor_time
from senyum_central.store.unit_renames import UnitRename, numbered_under_other_names

_MARGIN = timedelta(hours=15)  # between UTC and any zone
_HALF_A_DAY = timedelta(
    hours=12
)  # always read after the period, because night shifts end in the morning
_PORTION = 200  # numbers read at a time outside the range that the columns name
_SILENT = timedelta(minutes=15)  # a unit publishes its health every minute
_DAY = timedelta(days=1)


class UnitChainCheck:
    """Reports the defects of one unit's chain that concern the period."""

    def __init__(
        self,
        found: UnitEvidence,
        period: Period,
        place: ZoneInfo,
        apart: list[Gap],
        log: DefectLog,
    ) -> None:
        """`apart` are the numbers that the unit used under other names."""
        self._found = found
        self._period = period
        self._place = place
        self._apart = apart
        self._log = log
        self._begin = datetime.combine(period.first, time(), place).astimezone(UTC)
        self.end = datetime.combine(period.last + _DAY, time(), place).astimezone(UTC)

    def report(self, note: Note, text: str) -> None:
        self._log.report(Defect(note, self._found.unit.source, text))

    def concerns_period(self, since: datetime | None, until: datetime | None) -> bool:
        """Return whether the time between two moments (None: unknown) overlaps the period."""
        return (since is None or since < self.end) and (until is None or until >= self._begin)

    def check_row(self, entry: RowEvidence, span: Span) -> None:
        """Report a row that differs from what was signed, or is not proven."""
        assert entry.fault is not None, "the row has no defect"
        if entry.usable and entry.moment is not None:
            span = entry.moment, entry.moment
        note = NOTES[entry.fault]
        claims = [
            claim for claim in entry.claims if self.concerns_period(claim.moment, claim.moment)
        ]
        if not claims and not self.concerns_period(*span):
            return
        self.report(note, f"{entry.name}: {entry.why}")
        for claim in claims:
            day = claim.moment.astimezone(self._place).date()
            self._found.marks.append(EntryMark(claim.person, day, note, self._found.unit))
        if not entry.usable:
            self._mark_lost(span)

    def check_chain(
        self, segments: list[tuple[Segment, Span]], noted: frozenset[int], *, is_first: bool
    ) -> frozenset[int]:
        """Report missing and forked numbers; return the forked ones.

        `noted` are the forks that a receiver recorded. `is_first`: nothing is stored before.
        """
        spans = {id(segment): span for segment, span in segments}
        forks = set(noted)
        named = set()
        for each in find_breaks([segment for segment, _ in segments], "rows"):
            span = spans[id(each.segment)]
            if each.gap is not None:
                self.report_missing(each.gap, span)
            else:
                forks.add(each.segment.sequence)
                if self.concerns_period(span[1], span[1]):
                    self.report(Note.FORK, each.text)
                    named.add(each.segment.sequence)
        for segment, (_, own) in segments:
            if segment.sequence in noted - named and self.concerns_period(own, own):
                self.report(Note.FORK, f"event {segment.sequence} was reported as forked")
                named.add(segment.sequence)
        if is_first and segments:
            first, (_, own) = segments[0]
            self.report_missing(Gap(1, first.sequence - 1), (None, own))
        return frozenset(forks)

    def report_missing(self, gap: Gap, span: Span) -> None:
        """Report missing numbers, except those used under other names."""
        if gap.first > gap.last or not self.concerns_period(*span):
            return
        for part in gap.minus(self._apart):
            self.report(Note.GAP, f"{part}: {self._mark_lost(span)}")
            self._found.gaps.append(part)

    def _mark_lost(self, span: Span) -> str:
        """Record the lost days of a span, and return them as text."""
        since, until = (each and each.astimezone(self._place).date() for each in span)
        first, last = self._period.first, self._period.last
        begin = first if since is None else max(first, since)
        end = max(begin, last if until is None else min(last, until))
        self._found.lost.add(LostDays(self._found.unit, begin, end))
        return f"{begin}" if begin == end else f"{begin} to {end}"


def latest(moments: Iterable[datetime | None]) -> datetime | None:
    """Return the latest known moment."""
    return max((each for each in moments if each is not None), default=None)


class EvidenceReader:
    """Reads the evidence of a period, unit by unit. Raises StoreError.

    `context` is read before and after the period without being checked.
    """

    def __init__(
        self,
        events: EventReader,
        keys: KeySet,
        period: Period,
        log: DefectLog,
        *,
        context: timedelta = timedelta(0),
        now: datetime | None = None,
    ) -> None:
        self._events = events
        self._keys = keys
        self._period = period
        self._log = log
        self._now = now or datetime.now(UTC)
        begin = datetime.combine(period.first, time(), UTC)
        end = datetime.combine(period.last, time(), UTC) + _DAY
        self._window = begin - _MARGIN - context, end + _MARGIN + max(context, _HALF_A_DAY)
        self._renames: dict[UnitRename, _RenameProof] | None = None

    def units(self, site: str | None = None, name: str | None = None) -> Iterator[UnitEvidence]:
        """Read all units, or those of a site or name; report rows that do not belong to a unit."""
        for row in self._events.rows_without_unit():
            filed = shorten(row.values["unit"])
            self._log.report(Defect(Note.ALTERED, filed, f"{row}: is not stored under a unit"))
        known = self._events.units(site, name)
        for unit in known:
            yield self.read(unit)
        for unit in sorted(self._keys.units() - set(known)):
            if site in (None, unit.site) and name in (None, unit.name):
                self._log.remark(
                    f"{unit.source}: has a registered key, but nothing is stored of it"
                )

    def read(self, unit: UnitName) -> UnitEvidence:
        """Read one unit."""
        entries, is_first, is_last = self._entries(unit)
        found = UnitEvidence(unit)
        self._date(unit, entries)
        forks = self._judge(unit, entries, found, is_first=is_first, is_last=is_last)
        for entry in entries:
            if entry.attempt is None or entry.moment is None:
                continue
            words = [*entry.attempt.notes]
            if entry.fault is not None:
                words.append(NOTES[entry.fault])
            if entry.attempt.number in forks:
                words.append(Note.FORK)
            local = entry.moment.astimezone(zone_or_utc(entry.zone))
            found.attempts.append(replace(entry.attempt, moment=local, notes=tuple(words)))
        found.numbers = [*self._numbers(entries)]
        return found

    # --- reading --------------------------------------------------------------------------

    def _entries(self, unit: UnitName) -> tuple[list[RowEvidence], bool, bool]:
        """Return the entries around the period, and whether they are the first and last stored."""
        gap = self._events.locate(unit, *self._window)
        entries = [] if gap is None else self._read(unit, gap)
        whole = Gap(1, 0) if gap is None else gap
        is_last = True
        before, after = self._events.adjacent_ranges(unit, whole, _PORTION)
        while before is not None and not reaches(by_number(entries), self._window[0], -1):
            entries += self._read(unit, before)
            whole = Gap(before.first, whole.last)
            before = self._events.adjacent_ranges(unit, whole, _PORTION)[0]
        while after is not None:
            if reaches(by_number(entries)[::-1], self._window[1], 1):
                is_last = False
                break
            entries += self._read(unit, after)
            whole = Gap(whole.first, after.last)
            after = self._events.adjacent_ranges(unit, whole, _PORTION)[1]
        return by_number(entries), before is None, is_last

    def _read(self, unit: UnitName, gap: Gap) -> list[RowEvidence]:
        return [row_evidence(check(row, unit, self._keys)) for row in self._events.rows(unit, gap)]

    def _date(self, unit: UnitName, entries: list[RowEvidence]) -> None:
        """Compute the time of events with an unsynchronized clock from the unit's anchors."""
        boots = {entry.undated.boot_id for entry in entries if entry.undated is not None}
        anchors: dict[str, list[Anchor]] = {boot: [] for boot in boots}
        seen = set()
        for entry in entries:
            if entry.anchor is not None and entry.anchor[0] in anchors:
                anchors[entry.anchor[0]].append(entry.anchor[1])
                seen.add(entry.number)
        for boot, known in anchors.items():
            for number in set(self._events.anchors(unit, boot)) - seen:
                for other in self._read(unit, Gap(number, number)):
                    if other.anchor is not None and other.anchor[0] == boot:
                        known.append(other.anchor[1])
        for entry in entries:
            undated = entry.undated
            if undated is None:
                continue
            corrected = nearest_anchor_time(anchors[undated.boot_id], undated.monotonic_ns)
            entry.moment = corrected or entry.moment
            entry.sure = corrected is not None
            if entry.attempt is not None:
                dated = DatedEvent.UNCERTAIN if corrected is None else DatedEvent.CORRECTED
                entry.attempt = replace(entry.attempt, notes=(str(dated),))

    def _all_renames(self) -> "dict[UnitRename, _RenameProof]":
        """Return the renames that units signed, at the numbers that the store names."""
        if self._renames is not None:
            return self._renames
        self._renames = {}
        for source, number in self._events.renames():
            unit = parse_unit(source)
            known = unit is not None and type(number) is int
            entries = self._read(unit, Gap(number, number)) if unit and known else []
            renames = _signed_renames(entries)
            self._renames |= renames
            if not renames:
                text = f"is stored as moved at event {shorten(number)}, and did not sign that"
                self._log.report(Defect(Note.ALTERED, shorten(source), text))
        return self._renames

    def _numbers(self, entries: list[RowEvidence]) -> Iterator[int]:
        """Yield the numbers that belong to the period according to the columns."""
        for entry, (since, until) in zip(entries, spans(entries), strict=True):
            place = zone_or_utc(entry.zone)
            if entry.moment is not None:
                moments = [entry.moment]
            else:
                moments = [claim.moment for claim in entry.claims]
                moments += [each for each in (since, until) if each is not None]
            inside = any(each.astimezone(place).date() in self._period for each in moments)
            if inside and type(entry.number) is int:
                yield entry.number

    # --- checker --------------------------------------------------------------------------

    def _judge(
        self,
        unit: UnitName,
        entries: list[RowEvidence],
        found: UnitEvidence,
        *,
        is_first: bool,
        is_last: bool,
    ) -> frozenset[int]:
        """Report the defects of the chain; return the forked numbers."""
        renames = self._all_renames() | _signed_renames(entries)
        place = zone_or_utc(next((entry.zone for entry in entries if entry.zone), "UTC"))
        apart = numbered_under_other_names(renames, unit.source)
        checker = UnitChainCheck(found, self._period, place, apart, self._log)
        own: dict[str, tuple[Segment, Span]] = {}
        for entry, span in zip(entries, spans(entries), strict=True):
            if entry.fault is not None:
                checker.check_row(entry, span)
            if entry.segment is not None and entry.segment.unit == unit:
                own.setdefault(entry.segment.digest or entry.name, (entry.segment, span))
        segments = [*own.values()]
        forks = checker.check_chain(segments, self._events.forks(unit), is_first=is_first)
        chain = [segment for segment, _ in segments]
        if is_last:
            digests = {segment.sequence: segment.digest for segment in chain}
            left = {
                rename.sequence: proof.since
                for rename, proof in renames.items()
                if rename.origin == unit.source
                # else it is a fork
                and digests.get(rename.sequence - 1, proof.previous) == proof.previous
            }
            chain += self._end(unit, segments, left, checker)
        for each in key_changes(chain, self._keys):
            checker.report(Note.KEYS, each.text)
        return forks

    def _end(
        self,
        unit: UnitName,
        segments: list[tuple[Segment, Span]],
        left: Mapping[int, datetime | None],
        checker: UnitChainCheck,
    ) -> list[Segment]:
        """Compare the newest event with the newest signed head; return the head's segment.

        `left` are the numbers at which the chain continues under another name, according to the
        unit of that name, each with the time since when.
        """
        last = max((segment.sequence for segment, _ in segments), default=0)
        newest = latest(span[1] for _, span in segments)
        head, sure = self._head(unit, checker)
        alive_at = head.moment if head is not None and sure else None
        if head is not None:
            if head.sequence > last:
                checker.report_missing(Gap(last + 1, head.sequence), (newest, head.moment))
            named = {segment.digest for segment, _ in segments if segment.sequence == head.sequence}
            if named and "" not in named and head.digest not in named:
                text = f"event {head.sequence} is not the one that the unit named"
                checker.report(Note.FORK, text)
            newest = latest([newest, head.moment])
        # The unit's own head is stronger: if it is newer, the unit still used this name.
        went = min(
            (
                number
                for number, since in left.items()
                if number > last and (since is None or alive_at is None or alive_at <= since)
            ),
            default=None,
        )
        if went is not None:
            checker.report_missing(Gap(last + 1, went - 1), (newest, None))
        elif self._has_ended(unit, newest):
            pass
        elif head is None and segments and checker.concerns_period(newest, None):
            checker.report(Note.UNPROVEN, f"nothing shows that event {last} is its last")
        elif newest is not None and newest < min(checker.end, self._now) - _SILENT:
            when = f"{newest:%Y-%m-%d %H:%M} UTC"
            self._log.remark(f"{unit.source}: nothing it signed after {when} is stored")
        return [] if head is None else [head]

    def _has_ended(self, unit: UnitName, newest: datetime | None) -> bool:
        """Return whether all keys of the unit expired before its newest stored message."""
        keys = self._keys.of_unit(unit)
        return newest is not None and all(
            key.not_after is not None and key.not_after <= newest + _SILENT for key in keys
        )

    def _head(self, unit: UnitName, checker: UnitChainCheck) -> tuple[Segment | None, bool]:
        """Return the head in the unit's newest state or health, and whether its time is certain."""
        proof = self._events.head(unit)
        if proof is None:
            return None, False
        try:
            segment, sure = self._verified_head(unit, proof)
        except Exception as error:  # noqa: BLE001 - the row may hold anything
            why = str(error) if isinstance(error, EnvelopeRejected) else type(error).__name__
            checker.report(Note.ALTERED, f"its state or health in table head is not genuine: {why}")
            return None, False
        if (proof.sequence, proof.digest) != (segment.sequence, segment.digest):
            text = "its state or health in table head names another event than the columns"
            checker.report(Note.ALTERED, text)
        return segment, sure

    def _verified_head(self, unit: UnitName, proof: ChainEvidence) -> tuple[Segment, bool]:
        received = as_moment(proof.received_at)
        found = verify(proof.jws, self._keys, proof.topic, received or self._now)
        event = found.event
        if isinstance(event, AttendanceEvent | AuditEvent) or found.unit != unit:
            raise ValueError("is not a state or health of this unit")
        sure = event.data.clock.state is not ClockState.UNSYNCHRONIZED
        segment = Segment(
            0,
            "head",
            found.unit,
            event.data.sequence,
            event.data.head or "",
            kid=found.kid,
            moment=event.moment if sure else received,
        )
        return segment, sure


@dataclass(frozen=True, slots=True)
class _RenameProof:
    """What a signed rename says besides the names."""

    previous: str  # digest of the event before it
    since: datetime | None  # when it was signed or received, whichever is later; None: unknown


def _signed_renames(entries: list[RowEvidence]) -> dict[UnitRename, _RenameProof]:
    """Return the signed renames among the entries."""
    return {
        entry.rename: _RenameProof(
            entry.segment.previous or "",
            latest([entry.moment, entry.received]) if entry.sure else None,
        )
        for entry in entries
        if entry.rename is not None and entry.segment is not None
    }
