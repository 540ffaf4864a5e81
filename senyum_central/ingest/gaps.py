"""Which numbers of one unit's chain are missing, and for how long. Pure: time is an argument.

A hole is noticed when a later number is seen, as an event or in a signed state or health. It is
reported once, when it is older than the grace period. A unit sends in order, so an event from
inside a hole shows that the later ones are still on their way: their grace begins anew, and a
long backlog is not mistaken for a loss.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from operator import attrgetter

_SHOWN = 5  # ranges in one sentence
_FIRST = attrgetter("first")


@dataclass(frozen=True, slots=True, order=True)
class Gap:
    """The numbers `first` to `last`, both included."""

    first: int
    last: int

    def __len__(self) -> int:
        return self.last - self.first + 1

    def __str__(self) -> str:
        return f"{self.events} {'is' if self.first == self.last else 'are'} missing"

    @property
    def events(self) -> str:
        """Return the range with its noun, for people."""
        return f"event{'' if self.first == self.last else 's'} {self.numbers}"

    @property
    def numbers(self) -> str:
        """Return the range, for people."""
        if self.first == self.last:
            return str(self.first)
        return f"{self.first}–{self.last}"  # noqa: RUF001 - a range

    def common(self, other: "Gap") -> "Gap | None":
        """Return the numbers in both, or None."""
        first, last = max(self.first, other.first), min(self.last, other.last)
        return Gap(first, last) if first <= last else None

    def without(self, others: Iterable["Gap"]) -> "list[Gap]":
        """Return what is left when the numbers of `others` are taken out, ascending."""
        return list(subtract([self], sorted(others)))


def subtract(gaps: Iterable[Gap], others: Iterable[Gap]) -> Iterator[Gap]:
    """Yield what is left of `gaps` without the numbers of `others`, in one pass over both.

    Both ascend by their first number; `gaps` do not overlap each other.
    """
    rest = iter(others)
    other = next(rest, None)
    taken = 0  # the last number of all `others` so far
    for gap in gaps:
        first = max(gap.first, taken + 1)
        while other is not None and other.first <= gap.last:
            if other.first > first:
                yield Gap(first, other.first - 1)
            taken = max(taken, other.last)
            first = max(first, taken + 1)
            other = next(rest, None)
        if first <= gap.last:
            yield Gap(first, gap.last)


def whole(gaps: Iterable[Gap], missing: Iterable[Gap]) -> Iterator[Gap]:
    """Yield those of `gaps` of which no number is in `missing`; both ascend and are disjoint."""
    rest = iter(missing)
    other = next(rest, None)
    for gap in gaps:
        while other is not None and other.last < gap.first:
            other = next(rest, None)
        if other is None or other.first > gap.last:
            yield gap


def in_words(gaps: Sequence[Gap], state: str = "missing") -> str:
    """Return that these are missing, as a sentence: each range of a few, the extent of many."""
    if len(gaps) == 1:
        return str(gaps[0]).replace("missing", state)
    count = sum(len(gap) for gap in gaps)
    text = f"{count} events between {gaps[0].first} and {gaps[-1].last} are {state}"
    if len(gaps) > _SHOWN:
        return f"{text}, in {len(gaps)} gaps"
    return f"{text}: {', '.join(gap.numbers for gap in gaps)}"


@dataclass(frozen=True, slots=True)
class ChainStatus:
    """What the store knows of one unit's numbers."""

    highest: int = 0  # the last number stored, or named by a state or health
    missing: tuple[Gap, ...] = ()  # holes in 1 to `highest`
    reported: tuple[Gap, ...] = ()  # reported and not healed
    apart: tuple[Gap, ...] = ()  # given under other names; told only where numbers are not stored


@dataclass(slots=True)
class _Gap:
    first: int
    last: int
    since_ns: int
    reported: bool


@dataclass(slots=True)
class GapTracker:
    """The numbers of one unit. Its cost grows with the number of holes, never with a number."""

    grace_ns: int
    highest: int = 0
    apart: tuple[Gap, ...] = ()  # numbers that nobody waits for: given under other names
    _holes: list[_Gap] = field(default_factory=list)  # ascending, disjoint
    # Since when all holes above a number wait: both ascend, and one hole lies between two of them.
    _restarts: list[tuple[int, int]] = field(default_factory=list)
    _idle_until_ns: int = 0  # nothing is overdue before
    _settled: int = 0  # all holes below are reported

    @classmethod
    def resume(cls, standing: ChainStatus, grace_ns: int, now_ns: int) -> "GapTracker":
        """Continue from what is stored; holes that nobody reported get a fresh grace period."""
        ledger = cls(grace_ns, standing.highest, standing.apart)
        news = list(subtract(standing.missing, sorted(standing.reported)))
        known = subtract(standing.missing, news)
        ledger._holes = [_Gap(gap.first, gap.last, now_ns, reported=False) for gap in news]
        ledger._holes += [_Gap(gap.first, gap.last, now_ns, reported=True) for gap in known]
        ledger._holes.sort(key=_FIRST)
        return ledger

    @property
    def holes(self) -> tuple[Gap, ...]:
        """Return all numbers that are missing now, reported or not."""
        return tuple(Gap(hole.first, hole.last) for hole in self._holes)

    def arrived(self, sequence: int, now_ns: int) -> bool:
        """Note that an event of this number is stored; returns whether it was missing."""
        if sequence > self.highest:
            self.named(sequence - 1, now_ns)
            self.highest = sequence
            return False
        at = bisect_right(self._holes, sequence, key=_FIRST) - 1
        if at < 0 or sequence > self._holes[at].last:
            return False
        hole = self._holes[at]
        parts = []
        if hole.first < sequence:
            parts.append(_Gap(hole.first, sequence - 1, hole.since_ns, hole.reported))
        if sequence < hole.last:
            parts.append(_Gap(sequence + 1, hole.last, hole.since_ns, hole.reported))
        self._holes[at : at + 1] = parts
        self._restart_after(sequence, now_ns)
        return True

    def misses(self, gap: Gap) -> bool:
        """Tell whether any number of this gap is missing."""
        at = bisect_right(self._holes, gap.last, key=_FIRST) - 1
        return at >= 0 and self._holes[at].last >= gap.first

    def _restart_after(self, sequence: int, now_ns: int) -> None:
        """Restart the grace period of all holes above a number, without touching each of them."""
        restarts = self._restarts
        while restarts and restarts[-1][0] >= sequence:
            restarts.pop()
        if restarts:
            next_hole = bisect_right(self._holes, restarts[-1][0], key=_FIRST)
            if next_hole == len(self._holes) or self._holes[next_hole].first > sequence:
                restarts.pop()  # it holds for no hole that this one does not hold for
        restarts.append((sequence, now_ns))

    def named(self, sequence: int, now_ns: int) -> None:
        """Note that the unit has numbered its events up to `sequence`, whether or not they came."""
        if sequence > self.highest:
            self._holes.append(_Gap(self.highest + 1, sequence, now_ns, reported=False))
            self.highest = sequence

    def returned(self, gaps: Sequence[Gap]) -> list[Gap]:
        """Return what was believed to be given under other names, and is not of `gaps`."""
        return list(subtract(self.apart, gaps))

    def elsewhere(self, gaps: Sequence[Gap]) -> None:
        """Note which numbers were given under other names, as it is known now: no hole is there."""
        at = 0
        left = []
        for part in subtract(self.holes, gaps):
            while self._holes[at].last < part.first:
                at += 1
            hole = self._holes[at]
            left.append(_Gap(part.first, part.last, hole.since_ns, hole.reported))
        self._holes = left
        self.apart = tuple(gaps)

    def wanted(self, gaps: Sequence[Gap], now_ns: int) -> None:
        """Note that these numbers, ascending, are missing after all."""
        if not gaps:
            return
        self.named(gaps[-1].last, now_ns)
        self._settled = min(self._settled, gaps[0].first)
        self._holes += [
            _Gap(part.first, part.last, now_ns, reported=False)
            for part in list(subtract(gaps, self.holes))
        ]
        self._holes.sort(key=_FIRST)

    def restart(self, now_ns: int) -> None:
        """Restart every grace period: nothing could arrive until now."""
        self._restarts = [(0, now_ns)]

    def sweep(self, now_ns: int) -> tuple[Gap, ...]:
        """Return the holes whose grace is over, each once."""
        overdue = self._overdue(now_ns)
        for hole in overdue:
            hole.reported = True
        return tuple(Gap(hole.first, hole.last) for hole in overdue)

    def overdue(self, now_ns: int) -> tuple[Gap, ...]:
        """Return the holes that the next sweep would report."""
        return tuple(Gap(hole.first, hole.last) for hole in self._overdue(now_ns))

    def _overdue(self, now_ns: int) -> list[_Gap]:
        if now_ns < self._idle_until_ns:
            return []
        found = []
        start = bisect_left(self._holes, self._settled, key=_FIRST)
        at, restarted_ns = 0, 0
        if start < len(self._holes):
            at = bisect_left(self._restarts, (self._holes[start].first, 0))
            restarted_ns = self._restarts[at - 1][1] if at else 0
        next_ns = now_ns + self.grace_ns  # of holes that are not there yet
        settled = self.highest + 1
        for hole in islice(self._holes, start, None):
            while at < len(self._restarts) and self._restarts[at][0] < hole.first:
                restarted_ns = self._restarts[at][1]
                at += 1
            if not hole.reported:
                settled = min(settled, hole.first)
                due_ns = max(hole.since_ns, restarted_ns) + self.grace_ns
                next_ns = min(next_ns, due_ns)
                if due_ns <= now_ns:
                    found.append(hole)
        self._idle_until_ns, self._settled = next_ns, settled
        return found
