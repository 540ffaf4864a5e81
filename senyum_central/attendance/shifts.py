"""Groups one person's recorded attempts into shifts, across midnight where that is what they did.

A door with a direction says which attempt is an arrival and which a departure. At a door without
one nothing does, and 06:05 and 21:58 of one day may be a long day, or the ends of two nights. So
the grouping with the lowest cost is chosen:

- an attempt without a partner costs 12 hours (two attempts within half an hour at a door without a
  direction count as one);
- a shift of more than 12 hours costs what it is longer, and one across midnight may last at most
  13 hours, or 25 from a marked arrival to a marked departure;
- less than 6 hours between two shifts cost 12 hours;
- at the same cost the grouping with fewer shifts across midnight counts, then that of fewer shifts.

With a fixed start of the day no shift crosses it. Costs are whole seconds: nothing is rounded.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from typing import Generic, Protocol, TypeVar

from edge.types import Direction

CONTEXT = timedelta(days=7)  # before and after the days of a table: shows how a person works
_HOUR = 3600
_LONE = 12 * _HOUR
_USUAL = 12 * _HOUR
_LONGEST = 13 * _HOUR
_LONGEST_MARKED = 25 * _HOUR
_REST = 6 * _HOUR
_AT_ONCE = 1800
_AGAIN = _HOUR
_MOST = 500  # attempts of one person within 25 hours; with more, each day is one shift


class Passage(Protocol):
    """A recorded attempt."""

    @property
    def moment(self) -> datetime: ...  # in the zone of the place

    @property
    def direction(self) -> Direction: ...


P = TypeVar("P", bound=Passage)


@dataclass(frozen=True, slots=True)
class Shift(Generic[P]):
    """Attempts that belong together, in order; at least one."""

    day: date  # on which it began
    all: Sequence[P]
    first_in: P | None
    last_out: P | None  # another one

    @property
    def shown(self) -> list[P]:
        return [each for each in (self.first_in, self.last_out) if each is not None]


def shifts(passages: Sequence[P], day_start: time | None = None) -> list[Shift[P]]:
    """Return the shifts of one person, in order.

    `day_start` is the time of the place at which a working day begins, and no shift crosses it;
    None lets shifts cross midnight as this module says.
    """
    ordered = sorted(passages, key=lambda each: each.moment)
    days = [working_day(each.moment, day_start) for each in ordered]
    if _is_crowd(ordered):
        groups = _by_day(days)
    else:
        groups = _grouped(ordered, days, crossing=day_start is None)
    found = []
    for i, j in groups:
        first, last = _ends(ordered, i, j)
        found.append(
            Shift(
                days[i],
                ordered[i : j + 1],
                None if first is None else ordered[first],
                None if last is None else ordered[last],
            )
        )
    return found


def working_day(moment: datetime, day_start: time | None) -> date:
    """Return the working day of a moment in the zone of the place; None begins it at midnight."""
    begin = day_start or time()
    since = timedelta(hours=begin.hour, minutes=begin.minute)
    return (moment.replace(tzinfo=None) - since).date()


def _is_crowd(ordered: Sequence[Passage]) -> bool:
    """Whether too many attempts lie close together to be grouped in a short time."""
    pairs = zip(ordered, ordered[_MOST:], strict=False)
    return any(_seconds(one, other) <= _LONGEST_MARKED for one, other in pairs)


def _by_day(days: Sequence[date]) -> list[tuple[int, int]]:
    begins = [at for at, day in enumerate(days) if not at or day != days[at - 1]]
    return [(i, j - 1) for i, j in zip(begins, [*begins[1:], len(days)], strict=True)]


def _grouped(
    ordered: Sequence[Passage], days: Sequence[date], *, crossing: bool
) -> list[tuple[int, int]]:
    """Return the best grouping, each group by its first and last index."""
    count = len(ordered)
    # By the number of attempts that are grouped: cost, shifts across midnight, shifts; and where
    # the last group begins.
    best: list[tuple[tuple[int, int, int], int] | None] = [((0, 0, 0), 0), *[None] * count]
    for i in range(count):
        before = best[i]
        assert before is not None, "an attempt alone is a group"
        cost, crossed, groups = before[0]
        if i and _seconds(ordered[i - 1], ordered[i]) < _REST:
            cost += _LONE
        for j, own in _candidates(ordered, days, i, crossing=crossing):
            total = cost + own, crossed + (days[i] != days[j]), groups + 1
            known = best[j + 1]
            if known is None or total < known[0]:
                best[j + 1] = total, i
    groups_found = []
    end = count
    while end:
        reached = best[end]
        assert reached is not None, "every number of attempts can be grouped"
        groups_found.append((reached[1], end - 1))
        end = reached[1]
    return groups_found[::-1]


def _candidates(
    ordered: Sequence[Passage], days: Sequence[date], i: int, *, crossing: bool
) -> Iterator[tuple[int, int]]:
    """Yield where a group that begins at `i` may end, and what that costs in seconds."""
    first: int | None = None  # arrival
    last: int | None = None  # departure
    repeats = 0
    only_out = True
    for j in range(i, len(ordered)):
        same_day = days[j] == days[i]
        if not same_day and (not crossing or _seconds(ordered[i], ordered[j]) > _LONGEST_MARKED):
            return
        way = ordered[j].direction
        if j > i and way is not Direction.UNSPECIFIED and way is ordered[j - 1].direction:
            repeats += _seconds(ordered[j - 1], ordered[j]) > _AGAIN
        if way is not Direction.OUT:
            only_out = False
            first = j if first is None else first
        if way is not Direction.IN and (first is None or j > first):
            last = j
        if first is not None and last is not None and last < first:
            last = None
        inverted = first is not None and last is None and ordered[i].direction is Direction.OUT
        if inverted:
            continue
        if same_day:
            yield j, _cost(ordered, i, j, first, last)
        elif not only_out and (first, last) == (i, j) and _may_cross(ordered[i], ordered[j]):
            yield j, _cost(ordered, i, j, first, last) + repeats * _LONE


def _may_cross(arrival: Passage, departure: Passage) -> bool:
    marked = arrival.direction is Direction.IN and departure.direction is Direction.OUT
    return _seconds(arrival, departure) <= (_LONGEST_MARKED if marked else _LONGEST)


def _cost(ordered: Sequence[Passage], i: int, j: int, first: int | None, last: int | None) -> int:
    """Return what a group costs, in seconds."""
    if first is None or last is None:
        return _LONE
    span = _seconds(ordered[first], ordered[last])
    ways = {ordered[first].direction, ordered[last].direction}
    if span < _AT_ONCE and ways == {Direction.UNSPECIFIED}:
        return _LONE
    ends = (first > i) + (last < j)  # a departure before the arrival, an arrival after the other
    return max(0, span - _USUAL) + ends * _LONE


def _ends(ordered: Sequence[Passage], i: int, j: int) -> tuple[int | None, int | None]:
    """Return the first arrival and the last departure of a group; the latter comes later."""
    ways = [each.direction for each in ordered[i : j + 1]]
    first = next((i + at for at, way in enumerate(ways) if way is not Direction.OUT), None)
    outs = [i + at for at, way in enumerate(ways) if way is not Direction.IN]
    last = outs[-1] if outs and (first is None or outs[-1] > first) else None
    return first, last


def _seconds(one: Passage, other: Passage) -> int:
    return int((other.moment - one.moment).total_seconds())
