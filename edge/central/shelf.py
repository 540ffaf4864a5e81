"""Reads what is stored, for those who take it elsewhere: by unit, by number, by day.

Days are those of the place where the unit hangs. An event whose clock nobody had set is dated by
an anchor where there is one (`edge.central.dating`); else by its own word, unless that is after it
was received or from before any unit still had it, and then by its receipt.
"""

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from enum import StrEnum
from functools import lru_cache
from zoneinfo import ZoneInfo

from sqlalchemy import and_, or_, select, text

from edge.central.gaps import Gap
from edge.central.schema import EVENT, FORK, GAP, HEAD, UNDATED
from edge.central.store import Store
from edge.errors import StoreError
from edge.mqtt.encoding import from_b64url
from edge.mqtt.payload import ANY_EVENT, AttendanceEvent, AuditEvent
from edge.mqtt.topics import UnitName

_LONGEST = timedelta(days=90)  # that a unit keeps an event that was not delivered yet, and more
_MARGIN = timedelta(hours=15)  # between UTC and any zone

# All that is known of a unit's chain, whichever version of the contract an event is of.
_CHAIN = text(
    "SELECT sequence, jws, received_at FROM event WHERE unit = :unit AND sequence BETWEEN :a AND :z"
    " UNION SELECT sequence, jws, received_at FROM later"
    " WHERE unit = :unit AND sequence BETWEEN :a AND :z ORDER BY 1, 3, 2"
)
_BEFORE = text(
    "SELECT max(sequence) FROM (SELECT sequence FROM event WHERE unit = :unit AND sequence < :n"
    " UNION ALL SELECT sequence FROM later WHERE unit = :unit AND sequence < :n) AS known"
)
_AFTER = text(
    "SELECT min(sequence) FROM (SELECT sequence FROM event WHERE unit = :unit AND sequence > :n"
    " UNION ALL SELECT sequence FROM later WHERE unit = :unit AND sequence > :n) AS known"
)


class Dated(StrEnum):
    """What the time of an event is worth."""

    SURE = ""
    CORRECTED = "time-corrected"  # by an anchor
    UNCERTAIN = "time-uncertain"


@dataclass(frozen=True, slots=True)
class Period:
    """The days `first` to `last`, both included, where each unit hangs."""

    first: date
    last: date

    def __contains__(self, day: date) -> bool:
        return self.first <= day <= self.last


@dataclass(frozen=True, slots=True)
class Item:
    """A stored event and when it was."""

    unit: UnitName
    event: AttendanceEvent | AuditEvent
    moment: datetime  # in the zone of the place
    dated: Dated


@dataclass(frozen=True, slots=True)
class Link:
    """An event of a chain as it was signed."""

    sequence: int
    jws: str
    received_at: str


@dataclass(frozen=True, slots=True)
class Proof:
    """The signed state or health that names the end of a chain."""

    topic: str
    jws: str
    received_at: str


@dataclass(frozen=True, slots=True)
class Loss:
    """A gap that is open."""

    unit: UnitName
    gap: Gap
    reported_at: str
    asked: int
    answer: str | None
    given_up_at: str | None


@lru_cache(maxsize=64)
def zone(name: str) -> ZoneInfo:
    """Return a zone by name, UTC where this machine's tzdata has none of that name."""
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        return ZoneInfo("UTC")


class Shelf:
    """The readers' side of a store, inside `snapshot`. What goes wrong there is a StoreError."""

    def __init__(self, store: Store) -> None:
        self._db = store.database

    def snapshot(self) -> AbstractContextManager[None]:
        """Read one moment of the store, whatever receivers write meanwhile."""
        return self._db.snapshot()

    def units(self, site: str | None = None, name: str | None = None) -> list[UnitName]:
        """Return the units that anything is stored of, perhaps of one site or of one name."""
        sources = self._db.rows(select(EVENT.c.unit).distinct().order_by(EVENT.c.unit))
        found = [UnitName.from_source(source) for (source,) in sources]
        return [unit for unit in found if site in (None, unit.site) and name in (None, unit.name)]

    def items(self, units: Sequence[UnitName], period: Period) -> Iterator[Item]:
        """Yield the events of a period, unit by unit, in the order of their chains."""
        first = datetime.combine(period.first, time(), UTC) - _MARGIN
        last = datetime.combine(period.last, time(), UTC) + timedelta(days=1) + _MARGIN
        undated = select(UNDATED.c.id)
        for unit in units:
            of_unit = and_(
                EVENT.c.unit == unit.source,
                or_(
                    EVENT.c.time.between(first.isoformat(), last.isoformat()),
                    EVENT.c.id.in_(undated.where(UNDATED.c.unit == unit.source)),
                ),
            )
            query = (
                select(
                    EVENT.c.number,
                    EVENT.c.jws,
                    EVENT.c.received_at,
                    UNDATED.c.id,
                    UNDATED.c.corrected,
                )
                .join(UNDATED, UNDATED.c.id == EVENT.c.id, isouter=True)
                .where(of_unit)
                .order_by(EVENT.c.sequence, EVENT.c.number)
            )
            for _, jws, received_at, uncertain, corrected in self._db.stream(query):
                item = self._item(unit, jws, received_at, uncertain is not None, corrected)
                if item.moment.date() in period:
                    yield item

    def _item(
        self, unit: UnitName, jws: str, received_at: str, uncertain: bool, corrected: str | None
    ) -> Item:
        event = read_event(jws)
        if event is None:
            raise StoreError(f"{self._db.label}: an event of {unit.source} is damaged")
        moment, dated = event.moment, Dated.SURE
        if corrected is not None:
            moment, dated = datetime.fromisoformat(corrected), Dated.CORRECTED
        elif uncertain:
            dated = Dated.UNCERTAIN
            received = datetime.fromisoformat(received_at)
            if not received - _LONGEST <= moment <= received:
                moment = received
        return Item(unit, event, moment.astimezone(zone(event.data.place.zone)), dated)

    def forks(self) -> frozenset[tuple[str, int]]:
        """Return the numbers of which more than one thing was signed."""
        return frozenset((u, n) for u, n in self._db.rows(select(FORK.c.unit, FORK.c.sequence)))

    def chain(self, unit: UnitName, gap: Gap) -> Iterator[Link]:
        """Yield what is stored of these numbers, in order."""
        for row in self._db.stream(_CHAIN, unit=unit.source, a=gap.first, z=gap.last):
            yield Link(*row)

    def neighbours(self, unit: UnitName, gap: Gap) -> tuple[list[Link], list[Link]]:
        """Return the events stored next before and next after these numbers."""
        found = []
        for query, n in ((_BEFORE, gap.first), (_AFTER, gap.last)):
            number = self._db.rows(query, unit=unit.source, n=n)[0][0]
            found.append([] if number is None else list(self.chain(unit, Gap(number, number))))
        return found[0], found[1]

    def head(self, unit: UnitName) -> Proof | None:
        """Return the signed message that names the end of a chain, if one was kept."""
        query = select(HEAD.c.topic, HEAD.c.jws, HEAD.c.received_at).where(
            HEAD.c.unit == unit.source, HEAD.c.jws.is_not(None)
        )
        rows = self._db.rows(query)
        return Proof(*rows[0]) if rows else None

    def losses(self) -> list[Loss]:
        """Return the gaps that are open."""
        names = ("unit", "first", "last", "reported_at", "asked", "answer", "given_up_at")
        query = select(*(GAP.c[name] for name in names)).where(GAP.c.healed_at.is_(None))
        rows = self._db.rows(query.order_by(GAP.c.unit, GAP.c.first))
        return [
            Loss(UnitName.from_source(unit), Gap(first, last), *rest)
            for unit, first, last, *rest in rows
        ]


def read_event(jws: str) -> AttendanceEvent | AuditEvent | None:
    """Read the payload of a JWS, unverified; None where it is no event."""
    try:
        event = ANY_EVENT.validate_json(from_b64url(jws.split(".")[1]))
    except (ValueError, IndexError):
        return None
    return event if isinstance(event, AttendanceEvent | AuditEvent) else None
