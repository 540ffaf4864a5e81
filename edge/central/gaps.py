"""Which numbers of one unit's chain are missing, and for how long. Pure: time is an argument.

A hole is noticed when a later number is seen, as an event or in a signed state or health. It is
reported once, when it is older than the grace period. A unit sends in order, so an event from
inside a hole shows that the later ones are still on their way: their grace begins anew, and a
long backlog is not mistaken for a loss.
"""

from bisect import bisect_right, insort
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True, order=True)
class Gap:
    """The numbers `first` to `last`, both included."""

    first: int
    last: int

    def __len__(self) -> int:
        return self.last - self.first + 1

    def __str__(self) -> str:
        if self.first == self.last:
            return f"event {self.first} is missing"
        return f"events {self.first}–{self.last} are missing"  # noqa: RUF001 - a range, for people

    def common(self, other: "Gap") -> "Gap | None":
        """Return the numbers in both, or None."""
        first, last = max(self.first, other.first), min(self.last, other.last)
        return Gap(first, last) if first <= last else None

    def without(self, others: Iterable["Gap"]) -> "list[Gap]":
        """Return what is left when the numbers of `others` are taken out, ascending."""
        left: list[Gap] = []
        first = self.first
        for other in sorted(others):
            if other.first > first:
                left += filter(None, [Gap(first, other.first - 1).common(self)])
            first = max(first, other.last + 1)
        return [*left, Gap(first, self.last)] if first <= self.last else left


@dataclass(frozen=True, slots=True)
class Standing:
    """What the store knows of one unit's numbers."""

    highest: int = 0  # the last number stored, or named by a state or health
    missing: tuple[Gap, ...] = ()  # holes in 1 to `highest`
    reported: tuple[Gap, ...] = ()  # reported and not healed
    apart: tuple[Gap, ...] = ()  # given under other names; told only where numbers are not stored


@dataclass(slots=True)
class _Hole:
    first: int
    last: int
    since_ns: int
    reported: bool


@dataclass(slots=True)
class Ledger:
    """The numbers of one unit."""

    grace_ns: int
    highest: int = 0
    apart: tuple[Gap, ...] = ()  # numbers that nobody waits for: given under other names
    _holes: list[_Hole] = field(default_factory=list)  # ascending, disjoint

    @classmethod
    def resume(cls, standing: Standing, grace_ns: int, now_ns: int) -> "Ledger":
        """Continue from what is stored; holes that nobody reported get a fresh grace period."""
        ledger = cls(grace_ns, standing.highest, standing.apart)
        reported = sorted(standing.reported)
        for gap in standing.missing:
            ledger._holes.extend(_split(gap, reported, now_ns))
        return ledger

    @property
    def holes(self) -> tuple[Gap, ...]:
        """Return all numbers that are missing now, reported or not."""
        return tuple(Gap(hole.first, hole.last) for hole in self._holes)

    def arrived(self, sequence: int, now_ns: int) -> None:
        """Note that an event of this number is stored. Twice is as good as once."""
        if sequence > self.highest:
            self.named(sequence - 1, now_ns)
            self.highest = sequence
            return
        at = bisect_right(self._holes, sequence, key=lambda hole: hole.first) - 1
        if at < 0 or sequence > self._holes[at].last:
            return
        hole = self._holes[at]
        parts = []
        if hole.first < sequence:
            parts.append(_Hole(hole.first, sequence - 1, hole.since_ns, hole.reported))
        if sequence < hole.last:
            parts.append(_Hole(sequence + 1, hole.last, now_ns, hole.reported))
        self._holes[at : at + 1] = parts
        for later in self._holes[at + len(parts) :]:
            later.since_ns = now_ns

    def named(self, sequence: int, now_ns: int) -> None:
        """Note that the unit has numbered its events up to `sequence`, whether or not they came."""
        if sequence > self.highest:
            self._holes.append(_Hole(self.highest + 1, sequence, now_ns, reported=False))
            self.highest = sequence

    def elsewhere(self, gaps: Sequence[Gap]) -> list[Gap]:
        """Note which numbers were given under other names, as it is known now: no hole is there.

        Returns those of which it was believed until now and is no longer, for `wanted`.
        """
        self._holes = [
            _Hole(part.first, part.last, hole.since_ns, hole.reported)
            for hole in self._holes
            for part in Gap(hole.first, hole.last).without(gaps)
        ]
        back = [part for gap in self.apart for part in gap.without(gaps)]
        self.apart = tuple(gaps)
        return back

    def wanted(self, gap: Gap, now_ns: int) -> None:
        """Note that these numbers are missing after all."""
        for part in gap.without(self.holes):
            hole = _Hole(part.first, part.last, now_ns, reported=False)
            insort(self._holes, hole, key=lambda other: other.first)

    def restart(self, now_ns: int) -> None:
        """Begin every grace period anew: nothing could arrive until now."""
        for hole in self._holes:
            hole.since_ns = now_ns

    def sweep(self, now_ns: int) -> tuple[Gap, ...]:
        """Return the holes whose grace is over, each once."""
        overdue = self.overdue(now_ns)
        for hole in self._overdue(now_ns):
            hole.reported = True
        return overdue

    def overdue(self, now_ns: int) -> tuple[Gap, ...]:
        """Return the holes that the next sweep would report."""
        return tuple(Gap(hole.first, hole.last) for hole in self._overdue(now_ns))

    def _overdue(self, now_ns: int) -> list[_Hole]:
        return [
            hole
            for hole in self._holes
            if not hole.reported and now_ns - hole.since_ns >= self.grace_ns
        ]


def _split(gap: Gap, reported: Iterable[Gap], now_ns: int) -> Iterable[_Hole]:
    """Cut a hole where what was reported begins and ends."""
    first = gap.first
    for known in reported:
        part = Gap(first, gap.last).common(known) if first <= gap.last else None
        if part is None:
            continue
        if first < part.first:
            yield _Hole(first, part.first - 1, now_ns, reported=False)
        yield _Hole(part.first, part.last, now_ns, reported=True)
        first = part.last + 1
    if first <= gap.last:
        yield _Hole(first, gap.last, now_ns, reported=False)
