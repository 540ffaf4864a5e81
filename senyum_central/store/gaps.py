"""Ranges of sequence numbers: subtraction, and text for people. Pure."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

_SHOWN = 5  # ranges in one sentence


@dataclass(frozen=True, slots=True, order=True)
class Gap:
    """The numbers `first` to `last`, both included."""

    first: int
    last: int

    def __len__(self) -> int:
        return self.last - self.first + 1

    def __str__(self) -> str:
        return f"{self.label} {'is' if self.first == self.last else 'are'} missing"

    @property
    def label(self) -> str:
        """Return the range with its noun, for people."""
        return f"event{'' if self.first == self.last else 's'} {self.numbers}"

    @property
    def numbers(self) -> str:
        """Return the range, for people."""
        if self.first == self.last:
            return str(self.first)
        return f"{self.first}–{self.last}"  # noqa: RUF001 - a range

    def intersection(self, other: "Gap") -> "Gap | None":
        """Return the numbers in both, or None."""
        first, last = max(self.first, other.first), min(self.last, other.last)
        return Gap(first, last) if first <= last else None

    def minus(self, others: Iterable["Gap"]) -> "list[Gap]":
        """Return the numbers that are not in `others`, ascending."""
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


def filled_gaps(gaps: Iterable[Gap], missing: Iterable[Gap]) -> Iterator[Gap]:
    """Yield those of `gaps` of which no number is in `missing`; both ascend and are disjoint."""
    rest = iter(missing)
    other = next(rest, None)
    for gap in gaps:
        while other is not None and other.last < gap.first:
            other = next(rest, None)
        if other is None or other.first > gap.last:
            yield gap


def describe_gaps(gaps: Sequence[Gap], state: str = "missing") -> str:
    """Return a sentence that these are missing: each of a few ranges, or the extent of many."""
    if len(gaps) == 1:
        return str(gaps[0]).replace("missing", state)
    count = sum(len(gap) for gap in gaps)
    text = f"{count} events between {gaps[0].first} and {gaps[-1].last} are {state}"
    if len(gaps) > _SHOWN:
        return f"{text}, in {len(gaps)} gaps"
    return f"{text}: {', '.join(gap.numbers for gap in gaps)}"


@dataclass(frozen=True, slots=True)
class ChainStatus:
    """The numbers of one unit according to the store."""

    highest: int = 0  # the last number stored, or named by a state or health
    missing: tuple[Gap, ...] = ()  # holes in 1 to `highest`
    reported: tuple[Gap, ...] = ()  # reported and not healed
    under_other_names: tuple[
        Gap, ...
    ] = ()  # used under other names; only numbers that are not stored
