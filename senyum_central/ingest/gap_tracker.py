"""Track missing numbers of all units, and report them after a grace period.

A gap is detected when a later number is seen, as an event or in a signed state or health. Units
send in order, so an event from inside a gap shows that later ones are still on their way: their
grace period restarts, and a long backlog is not reported as a loss. A check costs a few statements,
however many numbers are missing. Queries run outside the transaction, which would block other
receivers.
"""

from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import islice
from operator import attrgetter

from edge.contract.topics import UnitName
from senyum_central.ingest.message import ReceivedAt
from senyum_central.ingest.notices import Notice, NoticeKind
from senyum_central.store.event_store import Store
from senyum_central.store.gaps import ChainStatus, Gap, describe_gaps, filled_gaps, subtract
from senyum_central.store.missing_events import GapChange, Gaps

_FIRST = attrgetter("first")


@dataclass(slots=True)
class _Gap:
    first: int
    last: int
    since_ns: int
    reported: bool


@dataclass(slots=True)
class GapTracker:
    """The numbers of one unit. Its cost grows with the number of gaps, never with a number."""

    grace_ns: int
    highest: int = 0
    under_other_names: tuple[
        Gap, ...
    ] = ()  # numbers that nobody waits for: given under other names
    _gaps: list[_Gap] = field(default_factory=list)  # ascending, disjoint
    # Since when all gaps above a number wait: both ascend, and one gap lies between two of them.
    _restarts: list[tuple[int, int]] = field(default_factory=list)
    _idle_until_ns: int = 0  # nothing is overdue before
    _settled: int = 0  # all gaps below are reported

    @classmethod
    def resume(cls, status: ChainStatus, grace_ns: int, now_ns: int) -> "GapTracker":
        """Continue from what is stored; gaps that nobody reported get a fresh grace period."""
        tracker = cls(grace_ns, status.highest, status.under_other_names)
        news = list(subtract(status.missing, sorted(status.reported)))
        known = subtract(status.missing, news)
        tracker._gaps = [_Gap(gap.first, gap.last, now_ns, reported=False) for gap in news]
        tracker._gaps += [_Gap(gap.first, gap.last, now_ns, reported=True) for gap in known]
        tracker._gaps.sort(key=_FIRST)
        return tracker

    @property
    def missing(self) -> tuple[Gap, ...]:
        """Return all numbers that are missing now, reported or not."""
        return tuple(Gap(gap.first, gap.last) for gap in self._gaps)

    def record_arrival(self, sequence: int, now_ns: int) -> bool:
        """Note that an event of this number is stored; returns whether it was missing."""
        if sequence > self.highest:
            self.record_head(sequence - 1, now_ns)
            self.highest = sequence
            return False
        at = bisect_right(self._gaps, sequence, key=_FIRST) - 1
        if at < 0 or sequence > self._gaps[at].last:
            return False
        gap = self._gaps[at]
        parts = []
        if gap.first < sequence:
            parts.append(_Gap(gap.first, sequence - 1, gap.since_ns, gap.reported))
        if sequence < gap.last:
            parts.append(_Gap(sequence + 1, gap.last, gap.since_ns, gap.reported))
        self._gaps[at : at + 1] = parts
        self._restart_after(sequence, now_ns)
        return True

    def misses(self, gap: Gap) -> bool:
        """Tell whether any number of this gap is missing."""
        at = bisect_right(self._gaps, gap.last, key=_FIRST) - 1
        return at >= 0 and self._gaps[at].last >= gap.first

    def _restart_after(self, sequence: int, now_ns: int) -> None:
        """Restart the grace period of all gaps above a number, without touching each of them."""
        restarts = self._restarts
        while restarts and restarts[-1][0] >= sequence:
            restarts.pop()
        if restarts:
            next_hole = bisect_right(self._gaps, restarts[-1][0], key=_FIRST)
            if next_hole == len(self._gaps) or self._gaps[next_hole].first > sequence:
                restarts.pop()  # it holds for no gap that this one does not hold for
        restarts.append((sequence, now_ns))

    def record_head(self, sequence: int, now_ns: int) -> None:
        """Note that the unit has numbered its events up to `sequence`, whether or not they came."""
        if sequence > self.highest:
            self._gaps.append(_Gap(self.highest + 1, sequence, now_ns, reported=False))
            self.highest = sequence

    def no_longer_under_other_names(self, gaps: Sequence[Gap]) -> list[Gap]:
        """Return what was believed to be given under other names, and is not of `gaps`."""
        return list(subtract(self.under_other_names, gaps))

    def set_under_other_names(self, gaps: Sequence[Gap]) -> None:
        """Note which numbers were given under other names, as it is known now: no gap is there."""
        at = 0
        left = []
        for part in subtract(self.missing, gaps):
            while self._gaps[at].last < part.first:
                at += 1
            gap = self._gaps[at]
            left.append(_Gap(part.first, part.last, gap.since_ns, gap.reported))
        self._gaps = left
        self.under_other_names = tuple(gaps)

    def add_missing(self, gaps: Sequence[Gap], now_ns: int) -> None:
        """Note that these numbers, ascending, are missing after all."""
        if not gaps:
            return
        self.record_head(gaps[-1].last, now_ns)
        self._settled = min(self._settled, gaps[0].first)
        self._gaps += [
            _Gap(part.first, part.last, now_ns, reported=False)
            for part in list(subtract(gaps, self.missing))
        ]
        self._gaps.sort(key=_FIRST)

    def restart_grace(self, now_ns: int) -> None:
        """Restart every grace period, because no event could arrive until now."""
        self._restarts = [(0, now_ns)]

    def report_overdue(self, now_ns: int) -> tuple[Gap, ...]:
        """Return the gaps whose grace is over, each once."""
        overdue = self._overdue(now_ns)
        for gap in overdue:
            gap.reported = True
        return tuple(Gap(gap.first, gap.last) for gap in overdue)

    def overdue(self, now_ns: int) -> tuple[Gap, ...]:
        """Return the gaps that the next sweep would report."""
        return tuple(Gap(gap.first, gap.last) for gap in self._overdue(now_ns))

    def _overdue(self, now_ns: int) -> list[_Gap]:
        if now_ns < self._idle_until_ns:
            return []
        found = []
        start = bisect_left(self._gaps, self._settled, key=_FIRST)
        at, restarted_ns = 0, 0
        if start < len(self._gaps):
            at = bisect_left(self._restarts, (self._gaps[start].first, 0))
            restarted_ns = self._restarts[at - 1][1] if at else 0
        next_ns = now_ns + self.grace_ns  # of gaps that are not there yet
        settled = self.highest + 1
        for gap in islice(self._gaps, start, None):
            while at < len(self._restarts) and self._restarts[at][0] < gap.first:
                restarted_ns = self._restarts[at][1]
                at += 1
            if not gap.reported:
                settled = min(settled, gap.first)
                due_ns = max(gap.since_ns, restarted_ns) + self.grace_ns
                next_ns = min(next_ns, due_ns)
                if due_ns <= now_ns:
                    found.append(gap)
        self._idle_until_ns, self._settled = next_ns, settled
        return found


Number = tuple[str, int]  # unit and sequence
REREAD_NS = 60_000_000_000  # between two looks at what other receivers reported


class GapMonitor:
    """One receiver's view of them. One thread; what reads or writes raises StoreError."""

    def __init__(self, store: Store, grace_s: float, now: ReceivedAt) -> None:
        """Report a number after it has been missing for `grace_s` seconds."""
        self._store = store
        self._grace_ns = int(grace_s * 1e9)
        self._trackers = {
            unit: GapTracker.resume(status, self._grace_ns, now.monotonic_ns)
            for unit, status in store.chain_statuses().items()
        }
        self._renames = store.count_renames()  # that the ledgers know of
        self._reported: dict[str, list[Gap]] = {}  # open, ascending, as far as is known here
        self._reread_ns: int | None = None  # when all of them are to be read again; None: now
        self._filled: dict[str, set[int]] = defaultdict(set)  # numbers that came, of reported gaps

    def record_batch(
        self, stored: Iterable[Number], named: Iterable[Number], now: ReceivedAt
    ) -> None:
        """Record the numbers of a durable batch."""
        for unit, sequence in stored:
            self._arrived(unit, sequence, now)
        for unit, sequence in named:
            self._tracker(unit).record_head(sequence, now.monotonic_ns)

    def apply_renames(self, now: ReceivedAt) -> None:
        """Exclude numbers that units used under other names, as far as known."""
        moves = self._store.count_renames()
        if moves == self._renames:
            return
        elsewhere = self._store.numbers_under_other_names()
        # A name that a unit came back to had all before it elsewhere, until it is known where it
        # went away.
        back = {
            unit: gaps
            for unit, tracker in self._trackers.items()
            if (gaps := tracker.no_longer_under_other_names(elsewhere.get(unit, ())))
        }
        missing = self._store.missing_ranges(back)
        for unit, tracker in self._trackers.items():
            tracker.set_under_other_names(elsewhere.get(unit, ()))
            tracker.add_missing(missing.get(unit, ()), now.monotonic_ns)
        self._renames = moves
        self._reread_ns = None

    def restart_grace(self, now: ReceivedAt) -> None:
        """Restart every grace period, because no event could arrive until now."""
        for tracker in self._trackers.values():
            tracker.restart_grace(now.monotonic_ns)

    def check(self, now: ReceivedAt) -> list[Notice]:
        """Report gaps whose grace is over, and those that healed."""
        for unit, sequence in self._store.arrivals():
            self._arrived(unit, sequence, now)
        self.apply_renames(now)
        for unit, gap in self._store.stored_ranges(self._overdue(now)):
            for sequence in range(gap.first, gap.last + 1):  # each of them is a stored event
                self._arrived(unit, sequence, now)
        overdue = self._overdue(now)
        healed = self._healed(now)
        changes: list[GapChange] = []
        if overdue or healed:
            with self._store.batch():
                changes = self._store.record_gaps(overdue, healed, now.utc)
        for unit in overdue:
            self._trackers[unit].report_overdue(now.monotonic_ns)
        self._update_reported(changes, healed)
        self._filled.clear()
        return [_notice(change, now) for change in changes]

    def _update_reported(self, changes: Iterable[GapChange], healed: Gaps) -> None:
        """Update the reported gaps after a check."""
        for unit, gaps in healed.items():
            known = self._reported[unit]
            for gap in gaps:
                del known[bisect_left(known, gap)]
        for change in changes:
            if not change.healed:
                known = self._reported.setdefault(change.unit, [])
                later = not known or known[-1] < change.gaps[0]
                known += change.gaps
                if not later:
                    known.sort()

    def _tracker(self, unit: str) -> GapTracker:
        return self._trackers.setdefault(unit, GapTracker(self._grace_ns))

    def _arrived(self, unit: str, sequence: int, now: ReceivedAt) -> None:
        if self._tracker(unit).record_arrival(sequence, now.monotonic_ns):
            self._filled[unit].add(sequence)

    def _overdue(self, now: ReceivedAt) -> dict[str, tuple[Gap, ...]]:
        found = {
            unit: tracker.overdue(now.monotonic_ns) for unit, tracker in self._trackers.items()
        }
        return {unit: gaps for unit, gaps in found.items() if gaps}

    def _healed(self, now: ReceivedAt) -> dict[str, list[Gap]]:
        """Return the reported gaps that were filled. What is still missing of others is noted."""
        filled = self._candidates(now)
        missing = self._store.missing_ranges(filled)
        for unit, gaps in missing.items():  # reported by others, and not known here until now
            self._tracker(unit).add_missing(gaps, now.monotonic_ns)
        healed = {
            unit: list(filled_gaps(gaps, missing.get(unit, ()))) for unit, gaps in filled.items()
        }
        return {unit: gaps for unit, gaps in healed.items() if gaps}

    def _candidates(self, now: ReceivedAt) -> dict[str, list[Gap]]:
        """Return the reported gaps of which nothing is missing here."""
        if self._reread_ns is None or now.monotonic_ns >= self._reread_ns:
            self._reported = self._store.open_gaps()
            self._reread_ns = now.monotonic_ns + REREAD_NS
            looked_at: dict[str, Iterable[Gap]] = dict(self._reported)
        else:
            looked_at = {
                unit: self._gaps_with(unit, numbers) for unit, numbers in self._filled.items()
            }
        found = {
            unit: [gap for gap in gaps if not self._tracker(unit).misses(gap)]
            for unit, gaps in looked_at.items()
        }
        return {unit: gaps for unit, gaps in found.items() if gaps}

    def _gaps_with(self, unit: str, numbers: Iterable[int]) -> list[Gap]:
        """Return the reported gaps that have these numbers."""
        known = self._reported.get(unit, [])
        found = set()
        for number in numbers:
            at = bisect_right(known, number, key=attrgetter("first")) - 1
            if at >= 0 and number <= known[at].last:
                found.add(known[at])
        return sorted(found)


def _notice(change: GapChange, now: ReceivedAt) -> Notice:
    words = describe_gaps(change.gaps, "no longer missing" if change.healed else "missing")
    if change.healed and change.ongoing:
        words = f"{words}; others still are"
    return Notice(
        NoticeKind.HEALED if change.healed else NoticeKind.GAP,
        now.utc,
        UnitName.from_source(change.unit),
        words,
        gaps=change.gaps,
        outage=change.outage,
        ongoing=change.ongoing,
    )
