"""Read stored events by unit, number and time, without verifying them.

`senyum_central.evidence.row_check` verifies the rows; the columns are only used to find them.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date, datetime
from functools import lru_cache
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from sqlalchemy import bindparam, or_, select, text

from edge.contract.limits import MAX_SEQUENCE
from edge.contract.topics import UnitName
from edge.system.time_zones import find_zone
from senyum_central.store.event_store import Store
from senyum_central.store.gaps import Gap
from senyum_central.store.schema import (
    ANCHOR,
    EVENT,
    FORK,
    GAP,
    HEAD,
    KEY_FILE,
    LATER,
    MOVE,
)

# All events of a unit's chain, including those of unknown types.
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
# The first and last number of a period according to the columns, and the numbers next to them. An
# event with an unsynchronized clock counts at its corrected time or at its time of receipt.
_IN_TIME = text(
    "SELECT min(e.sequence), max(e.sequence) FROM event e LEFT JOIN undated u"
    " ON u.unit = e.unit AND u.id = e.id"
    " WHERE e.unit = :unit AND (e.time BETWEEN :first AND :last"
    " OR u.corrected BETWEEN :first AND :last"
    " OR (u.id IS NOT NULL AND e.received_at BETWEEN :first AND :last))"
)
_SURE = "NOT EXISTS (SELECT 1 FROM undated u WHERE u.unit = event.unit AND u.id = event.id)"
_BEFORE_TIME = text(
    f"SELECT sequence FROM event WHERE unit = :unit AND time < :first AND {_SURE}"  # noqa: S608
    " ORDER BY sequence DESC LIMIT 1"
)
_AFTER_TIME = text(
    f"SELECT sequence FROM event WHERE unit = :unit AND time > :last AND {_SURE}"  # noqa: S608
    " ORDER BY sequence LIMIT 1"
)
_SOURCES = text(
    "SELECT unit FROM event GROUP BY unit UNION SELECT unit FROM later GROUP BY unit"
    " UNION SELECT unit FROM head"
)


_SHOWN = 80  # characters of a column


COLUMNS = (
    "number",
    "id",
    "unit",
    "sequence",
    "digest",
    "previous",
    "type",
    "time",
    "subject",
    "kid",
    "jws",
    "received_at",
)


LATER_COLUMNS = ("unit", "sequence", "digest", "type", "topic", "jws", "received_at")


@dataclass(frozen=True, slots=True)
class StoredRow:
    """A row as read from the database: every value may have any type."""

    table: str
    values: dict[str, Any]  # by column name

    @property
    def sequence(self) -> Any:
        return self.values["sequence"]

    @property
    def jws(self) -> Any:
        return self.values["jws"]

    def __str__(self) -> str:
        number = self.values.get("number")
        where = f"table {self.table}" if number is None else f"row {number}"
        return f"{where}, event {shorten(self.sequence)}"


def shorten(value: object) -> str:
    """Return the value of a column as text, shortened to fit into a line."""
    text = str(value)
    return text if len(text) <= _SHOWN else f"{text[: _SHOWN - 3]}..."


@dataclass(frozen=True, slots=True)
class Period:
    """The days `first` to `last`, both included, in the time zone of each unit."""

    first: date
    last: date

    def __contains__(self, day: date) -> bool:
        return self.first <= day <= self.last


@dataclass(frozen=True, slots=True)
class ChainLink:
    """A signed event of a chain; in a damaged row every value may have any type."""

    sequence: int
    jws: Any
    received_at: Any


@dataclass(frozen=True, slots=True)
class ChainEvidence:
    """The stored state or health that names the end of a chain."""

    sequence: Any
    digest: Any
    topic: Any
    jws: Any
    received_at: Any


@dataclass(frozen=True, slots=True)
class OpenGap:
    """An open gap with its requests."""

    unit: UnitName
    gap: Gap
    reported_at: str
    asked: int
    answer: str | None
    given_up_at: str | None


@lru_cache(maxsize=64)
def zone_or_utc(name: str) -> ZoneInfo:
    """Return a time zone by name, or UTC if this machine's tzdata does not contain it."""
    return find_zone(name) or ZoneInfo("UTC")


def parse_unit(source: object) -> UnitName | None:
    """Return the unit named by a column, or None if it is invalid."""
    try:
        return UnitName.from_source(source) if isinstance(source, str) else None
    except ValueError:
        return None


class EventReader:
    """Reads a store, inside `snapshot`. Raises StoreError."""

    def __init__(self, store: Store) -> None:
        self._db = store.database

    @contextmanager
    def snapshot(self) -> Iterator[None]:
        """Read a consistent snapshot while receivers continue to write."""
        with self._db.snapshot(), self._undecodable_text_allowed():
            yield

    def key_file(self) -> Path | None:
        """Return the key set last used by a receiver with this store, or None."""
        with self._db.reading():
            query = select(KEY_FILE.c.path).order_by(KEY_FILE.c.noted_at.desc()).limit(1)
            path = self._db.one(query)
            return Path(path) if isinstance(path, str) else None

    def units(self, site: str | None = None, name: str | None = None) -> list[UnitName]:
        """Return the units in the store, optionally of one site or name."""
        known = filter(None, map(parse_unit, self._sources()))
        return sorted(
            unit for unit in known if site in (None, unit.site) and name in (None, unit.name)
        )

    def rows_without_unit(self) -> Iterator[StoredRow]:
        """Yield the rows whose column `unit` does not name a unit."""
        named = [unit.source for unit in self.units()]
        if len(named) == len(self._sources()):
            return
        query = select(*(EVENT.c[name] for name in COLUMNS)).where(
            or_(EVENT.c.unit.not_in(named), EVENT.c.unit.is_(None))
        )
        for row in self._db.stream(query):
            yield StoredRow(EVENT.name, dict(zip(COLUMNS, row, strict=True)))

    def locate(self, unit: UnitName, first: datetime, last: datetime) -> Gap | None:
        """Return the numbers around a time, according to the columns; None if nothing is stored.

        Includes the next stored event on each side of the period.
        """
        about = {"unit": unit.source, "first": first.isoformat(), "last": last.isoformat()}
        found = [*self._db.rows(_IN_TIME, **about)[0]]
        for query in (_BEFORE_TIME, _AFTER_TIME):
            found += [number for (number,) in self._db.rows(query, **about)]
        numbers = [number for number in found if type(number) is int]
        return Gap(min(numbers), max(numbers)) if numbers else None

    def rows(self, unit: UnitName, gap: Gap) -> Iterator[StoredRow]:
        """Yield the rows stored under these numbers of a unit, those of table `later` last."""
        for table, names in ((EVENT, COLUMNS), (LATER, LATER_COLUMNS)):
            query = (
                select(*(table.c[name] for name in names))
                .where(
                    table.c.unit == bindparam("unit"),
                    table.c.sequence.between(bindparam("a"), bindparam("z")),
                )
                .order_by(table.c.sequence)
            )
            for row in self._db.stream(query, unit=unit.source, a=gap.first, z=gap.last):
                yield StoredRow(table.name, dict(zip(names, row, strict=True)))

    def adjacent_ranges(
        self, unit: UnitName, gap: Gap, count: int
    ) -> tuple[Gap | None, Gap | None]:
        """Return ranges of up to `count` numbers at the next stored events on both sides."""
        found: list[Gap | None] = []
        for query, n, step in ((_BEFORE, gap.first, -count), (_AFTER, gap.last, count)):
            next_one = self._db.rows(query, unit=unit.source, n=n)[0][0]
            if type(next_one) is not int:
                found.append(None)
            else:
                low, high = sorted((next_one, next_one + step))
                found.append(Gap(max(low, -MAX_SEQUENCE), min(high, MAX_SEQUENCE)))
        return found[0], found[1]

    def forks(self, unit: UnitName) -> frozenset[int]:
        """Return the recorded forks of a unit."""
        query = select(FORK.c.sequence).where(FORK.c.unit == bindparam("unit"))
        return frozenset(number for (number,) in self._db.rows(query, unit=unit.source))

    def renames(self) -> list[tuple[Any, Any]]:
        """Return unit and number of each recorded rename."""
        return [(unit, n) for unit, n in self._db.rows(select(MOVE.c.unit, MOVE.c.sequence))]

    def anchors(self, unit: UnitName, boot_id: str) -> list[int]:
        """Return the numbers of the recorded anchors of a boot."""
        query = select(ANCHOR.c.sequence).where(
            ANCHOR.c.unit == bindparam("unit"), ANCHOR.c.boot_id == bindparam("boot")
        )
        rows = self._db.rows(query, unit=unit.source, boot=boot_id)
        return [number for (number,) in rows if type(number) is int]

    def chain(self, unit: UnitName, gap: Gap) -> Iterator[ChainLink]:
        """Yield the stored events of these numbers, in order."""
        for row in self._db.stream(_CHAIN, unit=unit.source, a=gap.first, z=gap.last):
            yield ChainLink(*row)

    def neighbours(self, unit: UnitName, gap: Gap) -> tuple[list[ChainLink], list[ChainLink]]:
        """Return the next stored events before and after these numbers."""
        found = []
        for query, n in ((_BEFORE, gap.first), (_AFTER, gap.last)):
            number = self._db.rows(query, unit=unit.source, n=n)[0][0]
            found.append([] if number is None else list(self.chain(unit, Gap(number, number))))
        return found[0], found[1]

    def head(self, unit: UnitName) -> ChainEvidence | None:
        """Return the signed message that names the end of a chain, if one was received."""
        names = ("sequence", "digest", "topic", "jws", "received_at")
        query = select(*(HEAD.c[name] for name in names)).where(HEAD.c.unit == bindparam("unit"))
        rows = self._db.rows(query, unit=unit.source)
        return ChainEvidence(*rows[0]) if rows else None

    def open_gaps(self) -> Iterator[OpenGap | str]:
        """Yield the open gaps; for a damaged row a description of the defect."""
        names = ("unit", "first", "last", "reported_at", "asked", "answer", "given_up_at")
        query = select(*(GAP.c[name] for name in names)).where(GAP.c.healed_at.is_(None))
        kinds = (int, int, str, int, str | None, str | None)
        for unit, *rest in self._db.stream(query.order_by(GAP.c.unit, GAP.c.first)):
            name, (first, last, *others) = parse_unit(unit), rest
            if name is not None and all(map(isinstance, rest, kinds)):
                yield OpenGap(name, Gap(first, last), *others)
            else:
                yield f"{shorten(unit)}, {shorten(first)} to {shorten(last)}: is damaged"

    def _sources(self) -> list[Any]:
        return [source for (source,) in self._db.rows(_SOURCES)]

    @contextmanager
    def _undecodable_text_allowed(self) -> Iterator[None]:
        """Allow text that is not UTF-8, which SQLite can contain."""
        driver = self._db.connection.connection.driver_connection
        if self._db.server or driver is None:
            yield
            return
        before = driver.text_factory
        driver.text_factory = _decoded
        try:
            yield
        finally:
            driver.text_factory = before


def _decoded(content: bytes) -> str:
    return content.decode("utf-8", "surrogateescape")
