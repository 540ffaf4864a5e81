"""Asks units for what is missing, and keeps in the store what became of asking.

A reported gap is asked for with the command `replay`, one request a unit at a time: while its
answer may still be on its way nothing more is asked of that unit, whichever receiver asked. Gaps
that lie close together are asked for at once. What does not come is asked for again, after longer
and longer waits; each number that comes starts the count anew. Only a unit that was heard lately
is asked. At last a gap is given up, loudly, with the unit's own words where it gave any.

Receivers of one store take turns in the transaction that claims a request and takes its number,
so none asks twice, and the numbers of their common key only go up.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import groupby
from typing import Any, Protocol

from sqlalchemy import ColumnElement, and_, case, func, or_, select

from edge.central.gaps import Gap
from edge.central.message import Instant, Message
from edge.central.notice import Kind, Notice
from edge.central.replies import Answer
from edge.central.schema import COMMAND, GAP
from edge.central.store import Store
from edge.mqtt.topics import UnitName

UNITS = 20  # asked in one go, by one receiver: a broker that forgot everything has many gaps
TIMES = 8  # a gap is asked for, before it is given up
FIRST_WAIT = timedelta(minutes=1)  # doubles each time
LONGEST_WAIT = timedelta(hours=1)
SLOWEST = 5.0  # events a second at which a unit may be replaying
SPAN = 5000  # numbers of one request
SPARSE = 200  # so many stored numbers between two gaps are sent once more, rather than asked apart
LIVES = timedelta(hours=1)  # of a request; a unit that was away longer is asked anew


class Commander(Protocol):
    """Who may ask: signs a `replay` command."""

    @property
    def kid(self) -> str:
        """The key, of which each number may be used once."""
        ...

    def replay(
        self, unit: UnitName, gap: Gap, number: int, at: datetime, until: datetime
    ) -> "Request":
        """Return the signed command for `gap`; `at` and `until` bound when it counts."""
        ...


@dataclass(frozen=True, slots=True)
class Request:
    """A signed command."""

    id: str
    message: Message


@dataclass(frozen=True, slots=True)
class _Row:
    """A gap that is open and not given up."""

    unit: str
    gap: Gap
    asked: int
    ask_after: datetime | None
    wanted: int | None  # numbers that were missing when it was last asked for
    answer: str | None


_OPEN = and_(GAP.c.healed_at.is_(None), GAP.c.given_up_at.is_(None))


class Asker:
    """Asks in the name of one authority key."""

    def __init__(
        self, store: Store, commander: Commander, first_wait: timedelta = FIRST_WAIT
    ) -> None:
        self._store = store
        self._commander = commander
        self._first_wait = first_wait

    def ask(self, heard: Callable[[str], bool], now: Instant) -> tuple[list[Message], list[Notice]]:
        """Claim what is due; returns the commands to publish and what there is to say.

        `heard` tells whether a unit was heard lately. Raises StoreError.
        """
        commands: list[Message] = []
        notices: list[Notice] = []
        if not any(heard(row.unit) for row in self._due(now)):  # the usual case needs no lock
            return commands, notices
        with self._store.batch():
            for source, rows in groupby(self._due(now), key=lambda row: row.unit):
                if heard(source) and len(commands) < UNITS:
                    unit = UnitName.from_source(source)
                    self._ask_unit(unit, list(rows), now, commands, notices)
        return commands, notices

    def answered(self, answer: Answer, now: Instant) -> list[Notice]:
        """Note what a unit said, inside a batch; returns what there is to say."""
        if answer.ok:
            return []
        changes: dict[Any, Any] = {GAP.c.answer: answer.text}
        if answer.final:  # once more, and then it is given up at once
            asked, after = GAP.c.asked, GAP.c.ask_after
            changes[asked] = case((asked < TIMES - 1, TIMES - 1), else_=asked)
            changes[after] = case((asked >= TIMES, str(now)), else_=after)
        mark = GAP.update().where(
            _OPEN, GAP.c.request == answer.to, GAP.c.unit == answer.unit.source
        )
        fresh = or_(GAP.c.answer.is_(None), GAP.c.answer != answer.text)
        # Every receiver hears the answer; one says it.
        if not self._store.database.run(mark.where(fresh).values(changes)).rowcount:
            return []
        text = f"does not send what was asked for: {answer.text}"
        return [Notice(Kind.ASKED, now.utc, answer.unit, text)]

    def _due(self, now: Instant) -> list[_Row]:
        """Return the gaps of units that nothing is on its way from, in order."""
        names = ("unit", "first", "last", "asked", "ask_after", "wanted", "answer")
        query = select(*(GAP.c[name] for name in names)).where(_OPEN)
        with self._store.database.reading():
            found = self._store.database.rows(query.order_by(GAP.c.unit, GAP.c.first))
        rows = [
            _Row(
                unit,
                Gap(first, last),
                asked,
                after and datetime.fromisoformat(after),
                wanted,
                answer,
            )
            for unit, first, last, asked, after, wanted, answer in found
        ]
        waits = {row.unit for row in rows if row.ask_after and row.ask_after > now.utc}
        return [row for row in rows if row.unit not in waits]

    def _ask_unit(
        self,
        unit: UnitName,
        rows: list[_Row],
        now: Instant,
        commands: list[Message],
        notices: list[Notice],
    ) -> None:
        missing = [(row, holes) for row in rows if (holes := self._holes(row))]
        hopeless = [row for row, holes in missing if _times(row, holes) >= TIMES]
        for row in hopeless:
            self._set(row, given_up_at=str(now))
            notices.append(Notice(Kind.GIVEN_UP, now.utc, unit, _epitaph(row)))
        missing = [(row, holes) for row, holes in missing if row not in hopeless]
        if not missing:
            return
        gap = _span(hole for _, holes in missing for hole in holes)
        asked = [(row, holes) for row, holes in missing if any(gap.common(hole) for hole in holes)]
        times = max(_times(row, holes) for row, holes in asked)
        wait = min(self._first_wait * 2**times, LONGEST_WAIT)
        after = now.utc + wait + timedelta(seconds=len(gap) / SLOWEST)
        number = self._next_number(now)
        request = self._commander.replay(unit, gap, number, now.utc, now.utc + LIVES)
        for row, holes in asked:
            self._set(
                row,
                asked=_times(row, holes) + 1,
                wanted=sum(map(len, holes)),
                ask_after=after.astimezone(UTC).isoformat(timespec="milliseconds"),
                request=request.id,
                answer=None,
            )
        commands.append(request.message)
        notices.append(Notice(Kind.ASKED, now.utc, unit, f"is asked again for {_numbers(gap)}"))

    def _holes(self, row: _Row) -> list[Gap]:
        return self._store.holes(row.unit, row.gap)

    def _set(self, row: _Row, **values: object) -> None:
        self._store.database.run(GAP.update().where(_is(row)).values(values))

    def _next_number(self, now: Instant) -> int:
        """Take the next number of our key: never one that was used, by this store or another.

        It follows the clock, as those of `senyum admin` do, so that a store that was lost and
        begun anew goes on above.
        """
        db, kid = self._store.database, self._commander.kid
        last = db.one(select(func.max(COMMAND.c.number)).where(COMMAND.c.kid == kid)) or 0
        number = max(int(last) + 1, int(now.utc.timestamp()))
        put = db.put(COMMAND)
        db.run(
            put.on_conflict_do_update(index_elements=["kid"], set_={"number": put.excluded.number}),
            {"kid": kid, "number": number},
        )
        return number


def _is(row: _Row) -> ColumnElement[bool]:
    return and_(GAP.c.unit == row.unit, GAP.c.first == row.gap.first, GAP.c.last == row.gap.last)


def _times(row: _Row, holes: list[Gap]) -> int:
    """Return how often it was asked for in vain: what came since counts as an answer."""
    came = row.wanted is not None and sum(map(len, holes)) < row.wanted
    return 0 if came else row.asked


def _span(holes: Iterable[Gap]) -> Gap:
    """Return what one request asks for: from the first hole on, while the next is close."""
    rest: Iterator[Gap] = iter(holes)
    first = next(rest)
    last = min(first.last, first.first + SPAN - 1)
    for hole in rest:
        if hole.first - last > SPARSE or hole.first - first.first >= SPAN:
            break
        last = min(hole.last, first.first + SPAN - 1)
    return Gap(first.first, last)


def _numbers(gap: Gap) -> str:
    return str(gap).partition(" is ")[0].partition(" are ")[0]


def _epitaph(row: _Row) -> str:
    said = f'; the unit says: "{row.answer}"' if row.answer else ""
    return f"{row.gap} and given up, after {max(row.asked, 1)} requests in vain{said}"
