"""The numbers of all units: what is missing, since when, and what of it is to be reported.

Looking costs a few statements, however many numbers are missing of however many units. All that
only reads is asked outside of the transaction, in which other receivers could not write.
"""

from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Iterable
from operator import attrgetter

from edge.contract.topics import UnitName
from senyum_central.ingest.gaps import Gap, GapTracker, in_words, whole
from senyum_central.ingest.message import ReceivedAt
from senyum_central.ingest.notices import Notice, NoticeKind
from senyum_central.store.missing_events import GapChange, Gaps
from senyum_central.store.store import Store

Number = tuple[str, int]  # unit and sequence
REREAD_NS = 60_000_000_000  # between two looks at what other receivers reported


class Chains:
    """One receiver's view of them. One thread; what reads or writes raises StoreError."""

    def __init__(self, store: Store, grace_s: float, now: ReceivedAt) -> None:
        """Report a number once it is missing for `grace_s` seconds."""
        self._store = store
        self._grace_ns = int(grace_s * 1e9)
        self._ledgers = {
            unit: GapTracker.resume(standing, self._grace_ns, now.monotonic_ns)
            for unit, standing in store.standings().items()
        }
        self._moves = store.moves()  # that the ledgers know of
        self._reported: dict[str, list[Gap]] = {}  # open, ascending, as far as is known here
        self._reread_ns: int | None = None  # when all of them are to be read again; None: now
        self._filled: dict[str, set[int]] = defaultdict(set)  # numbers that came, of reported gaps

    def count(self, stored: Iterable[Number], named: Iterable[Number], now: ReceivedAt) -> None:
        """Note the numbers of a batch that is durable."""
        for unit, sequence in stored:
            self._arrived(unit, sequence, now)
        for unit, sequence in named:
            self._ledger(unit).named(sequence, now.monotonic_ns)

    def moved(self, now: ReceivedAt) -> None:
        """Wait for no number that a unit gave under another name, as far as is known by now."""
        moves = self._store.moves()
        if moves == self._moves:
            return
        apart = self._store.apart()
        # A name that a unit came back to had all before it elsewhere, until it is known where it
        # went away.
        back = {
            unit: gaps
            for unit, ledger in self._ledgers.items()
            if (gaps := ledger.returned(apart.get(unit, ())))
        }
        missing = self._store.holes(back)
        for unit, ledger in self._ledgers.items():
            ledger.elsewhere(apart.get(unit, ()))
            ledger.wanted(missing.get(unit, ()), now.monotonic_ns)
        self._moves = moves
        self._reread_ns = None

    def restart(self, now: ReceivedAt) -> None:
        """Restart every grace period: nothing could arrive until now."""
        for ledger in self._ledgers.values():
            ledger.restart(now.monotonic_ns)

    def sweep(self, now: ReceivedAt) -> list[Notice]:
        """Report gaps whose grace is over, and those that healed."""
        for unit, sequence in self._store.arrivals():
            self._arrived(unit, sequence, now)
        self.moved(now)
        for unit, gap in self._store.present(self._overdue(now)):
            for sequence in range(gap.first, gap.last + 1):  # each of them is a stored event
                self._arrived(unit, sequence, now)
        overdue = self._overdue(now)
        healed = self._healed(now)
        changes: list[GapChange] = []
        if overdue or healed:
            with self._store.batch():
                changes = self._store.note_gaps(overdue, healed, now.utc)
        for unit in overdue:
            self._ledgers[unit].sweep(now.monotonic_ns)
        self._note(changes, healed)
        self._filled.clear()
        return [_notice(change, now) for change in changes]

    def _note(self, changes: Iterable[GapChange], healed: Gaps) -> None:
        """Keep what is reported as the store has it now."""
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

    def _ledger(self, unit: str) -> GapTracker:
        return self._ledgers.setdefault(unit, GapTracker(self._grace_ns))

    def _arrived(self, unit: str, sequence: int, now: ReceivedAt) -> None:
        if self._ledger(unit).arrived(sequence, now.monotonic_ns):
            self._filled[unit].add(sequence)

    def _overdue(self, now: ReceivedAt) -> dict[str, tuple[Gap, ...]]:
        found = {unit: ledger.overdue(now.monotonic_ns) for unit, ledger in self._ledgers.items()}
        return {unit: gaps for unit, gaps in found.items() if gaps}

    def _healed(self, now: ReceivedAt) -> dict[str, list[Gap]]:
        """Return the reported gaps that were filled. What is still missing of others is noted."""
        filled = self._candidates(now)
        missing = self._store.holes(filled)
        for unit, holes in missing.items():  # reported by others, and not known here until now
            self._ledger(unit).wanted(holes, now.monotonic_ns)
        healed = {unit: list(whole(gaps, missing.get(unit, ()))) for unit, gaps in filled.items()}
        return {unit: gaps for unit, gaps in healed.items() if gaps}

    def _candidates(self, now: ReceivedAt) -> dict[str, list[Gap]]:
        """Return the reported gaps of which nothing is missing here."""
        if self._reread_ns is None or now.monotonic_ns >= self._reread_ns:
            self._reported = self._store.reported()
            self._reread_ns = now.monotonic_ns + REREAD_NS
            looked_at: dict[str, Iterable[Gap]] = dict(self._reported)
        else:
            looked_at = {unit: self._with(unit, numbers) for unit, numbers in self._filled.items()}
        found = {
            unit: [gap for gap in gaps if not self._ledger(unit).misses(gap)]
            for unit, gaps in looked_at.items()
        }
        return {unit: gaps for unit, gaps in found.items() if gaps}

    def _with(self, unit: str, numbers: Iterable[int]) -> list[Gap]:
        """Return the reported gaps that have these numbers."""
        known = self._reported.get(unit, [])
        found = set()
        for number in numbers:
            at = bisect_right(known, number, key=attrgetter("first")) - 1
            if at >= 0 and number <= known[at].last:
                found.add(known[at])
        return sorted(found)


def _notice(change: GapChange, now: ReceivedAt) -> Notice:
    words = in_words(change.gaps, "no longer missing" if change.healed else "missing")
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
