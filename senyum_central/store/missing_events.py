"""Find numbers missing from the store, and record the reported gaps.

Each query is one statement for all units and gaps, and returns ranges: its cost grows with the gaps
and the events inside them, not with the numbers between.
"""

import json
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import bindparam, select, text

from senyum_central.store.database import Database
from senyum_central.store.gaps import ChainStatus, Gap, subtract
from senyum_central.store.schema import GAP, HEAD
from senyum_central.store.unit_renames import load_numbers_under_other_names

# A gap reported within this time of another open gap of the unit belongs to the same outage.
SAME_OUTAGE = timedelta(hours=1)
Gaps = Mapping[str, Sequence[Gap]]  # by unit, ascending
_Run = tuple[str, int, int]
_ALL = Gap(1, 1)  # for queries that do not depend on the numbers

# The holes between neighbouring numbers, 1 being the first that is expected.
_HOLES = text("""
SELECT unit, before + 1, sequence - 1 FROM (
    SELECT unit, sequence, lag(sequence, 1, CAST(0 AS BIGINT))
        OVER (PARTITION BY unit ORDER BY sequence) AS before
    FROM (SELECT unit, sequence FROM event UNION SELECT unit, sequence FROM later) AS known
) AS pairs WHERE sequence > before + 1 ORDER BY unit, sequence
""")
_HIGHEST = text(
    "SELECT unit, max(sequence) FROM"
    " (SELECT unit, sequence FROM event UNION ALL SELECT unit, sequence FROM later) AS known"
    " GROUP BY unit"
)
# The requested ranges, each looked up in the index separately.
_RUNS = """WITH run AS (
    SELECT key AS place, json_extract(value, '$[0]') AS unit,
        json_extract(value, '$[1]') AS first, json_extract(value, '$[2]') AS last
    FROM json_each(:runs)
)"""
_RUNS_OF_SERVER = """WITH run AS (
    SELECT unit, first, last, place - 1 AS place
    FROM unnest(CAST(:units AS text[]), CAST(:firsts AS bigint[]), CAST(:lasts AS bigint[]))
        WITH ORDINALITY AS given(unit, first, last, place)
)"""
# The ranges of stored numbers.
_PRESENT = """, known AS (
    SELECT place, sequence FROM run CROSS JOIN event
        ON event.unit = run.unit AND sequence BETWEEN first AND last
    UNION SELECT place, sequence FROM run CROSS JOIN later
        ON later.unit = run.unit AND sequence BETWEEN first AND last
)"""
_PRESENT_OF_SERVER = """, known AS (
    SELECT place, sequence FROM run, LATERAL (SELECT sequence FROM event
        WHERE unit = run.unit AND sequence BETWEEN run.first AND run.last OFFSET 0) AS found
    UNION SELECT place, sequence FROM run, LATERAL (SELECT sequence FROM later
        WHERE unit = run.unit AND sequence BETWEEN run.first AND run.last OFFSET 0) AS found
)"""
_RANGES = """
SELECT place, min(sequence), max(sequence) FROM (
    SELECT place, sequence,
        sequence - row_number() OVER (PARTITION BY place ORDER BY sequence) AS part
    FROM known
) AS parts GROUP BY place, part ORDER BY 1, 2
"""
# The open gaps that overlap a run. They do not overlap each other; one may begin before the run.
_REPORTED = """
SELECT gap.unit, gap.first, gap.last, outage
    FROM run CROSS JOIN gap WHERE gap.unit = run.unit
    AND gap.healed_at IS NULL AND gap.first BETWEEN run.first AND run.last
UNION SELECT gap.unit, gap.first, gap.last, outage
    FROM run CROSS JOIN gap WHERE gap.unit = run.unit
    AND gap.healed_at IS NULL AND gap.last >= run.first
    AND gap.first = (SELECT max(first) FROM gap AS other WHERE other.unit = run.unit
        AND other.healed_at IS NULL AND other.first < run.first)
ORDER BY 2
"""
# The outage of a recently reported open gap.
_CURRENT = """
SELECT run.unit, (SELECT outage FROM gap WHERE gap.unit = run.unit
    AND healed_at IS NULL AND reported_at > :lately ORDER BY gap.first LIMIT 1) FROM run
"""
THIS_GAP = (
    (GAP.c.unit == bindparam("of"))
    & (GAP.c.first == bindparam("a"))
    & (GAP.c.last == bindparam("z"))
)


@dataclass(frozen=True, slots=True)
class _OpenGap:
    """An open gap with its outage."""

    gap: Gap
    outage: str


@dataclass(frozen=True, slots=True)
class GapChange:
    """A change of a unit's missing numbers, reported once."""

    unit: str
    gaps: tuple[Gap, ...]  # ascending
    outage: str
    healed: bool  # no longer missing; otherwise newly missing
    ongoing: bool  # the outage was reported before and is not over


class MissingEvents:
    """The queries. Reading needs no transaction; call `record` inside one."""

    def __init__(self, db: Database) -> None:
        self._db = db

    def _query(
        self, query: str, of_server: str, wanted: Gaps, **more: str
    ) -> tuple[list[_Run], list[Any]]:
        """Run one statement for all gaps; return the requested ranges and the rows."""
        runs = [(unit, gap.first, gap.last) for unit, gaps in wanted.items() for gap in gaps]
        if not runs:
            return runs, []
        with self._db.reading():
            if self._db.server:
                units, firsts, lasts = map(list, zip(*runs, strict=True))
                lists = {"units": units, "firsts": firsts, "lasts": lasts}
                return runs, self._db.rows(text(_RUNS_OF_SERVER + of_server), **lists, **more)
            return runs, self._db.rows(text(_RUNS + query), runs=json.dumps(runs), **more)

    def stored_ranges(self, wanted: Gaps) -> Iterator[tuple[str, Gap]]:
        """Yield the ranges of stored numbers inside of gaps; in the order of `wanted`."""
        runs, rows = self._query(_PRESENT + _RANGES, _PRESENT_OF_SERVER + _RANGES, wanted)
        for place, first, last in rows:
            yield runs[place][0], Gap(first, last)

    def missing_ranges(self, wanted: Gaps) -> dict[str, list[Gap]]:
        """Return the numbers inside gaps that are neither stored nor used under another name."""
        if not any(wanted.values()):
            return {}
        present: dict[str, list[Gap]] = defaultdict(list)
        for unit, gap in self.stored_ranges(wanted):
            present[unit].append(gap)
        apart = self.numbers_under_other_names()
        left = {
            unit: list(subtract(subtract(gaps, present[unit]), apart.get(unit, ())))
            for unit, gaps in wanted.items()
        }
        return {unit: gaps for unit, gaps in left.items() if gaps}

    def numbers_under_other_names(self) -> dict[str, list[Gap]]:
        """Return for each unit the numbers that it used under other names."""
        with self._db.reading():
            return load_numbers_under_other_names(self._db)

    def open_gaps(self) -> dict[str, list[Gap]]:
        """Return the gaps that are open, by unit, ascending."""
        query = select(GAP.c.unit, GAP.c.first, GAP.c.last).where(GAP.c.healed_at.is_(None))
        found: dict[str, list[Gap]] = defaultdict(list)
        with self._db.reading():
            for unit, first, last in self._db.rows(query.order_by(GAP.c.first)):
                found[unit].append(Gap(first, last))
        return found

    def _recent_outages(self, units: Iterable[str], lately: str) -> dict[str, str]:
        """Return the outage of each unit with a recently reported open gap."""
        _, rows = self._query(_CURRENT, _CURRENT, {unit: [_ALL] for unit in units}, lately=lately)
        return {unit: outage for unit, outage in rows if outage is not None}

    def _open_outages(self, outages: Iterable[tuple[str, str]]) -> set[tuple[str, str]]:
        """Return the outages, by unit, with an open gap."""
        found = set()
        for unit, began in outages:
            query = select(GAP.c.first).where(
                GAP.c.unit == unit,
                GAP.c.healed_at.is_(None),
                GAP.c.outage == began,
            )
            if self._db.one(query.limit(1)) is not None:
                found.add((unit, began))
        return found

    def chain_statuses(self) -> dict[str, ChainStatus]:
        """Return the stored, missing and reported numbers of every known unit."""
        missing: dict[str, list[Gap]] = defaultdict(list)
        with self._db.reading():
            for unit, first, last in self._db.rows(_HOLES):
                missing[unit].append(Gap(first, last))
            highest = {unit: int(last) for unit, last in self._db.rows(_HIGHEST)}
            for unit, last in self._db.rows(select(HEAD.c.unit, HEAD.c.sequence)):
                stored = highest.get(unit, 0)
                if last > stored:
                    missing[unit].append(Gap(stored + 1, last))
                    highest[unit] = last
        apart, reported = self.numbers_under_other_names(), self.open_gaps()
        return {
            unit: ChainStatus(
                last,
                tuple(subtract(missing[unit], apart.get(unit, ()))),
                tuple(reported.get(unit, ())),
                tuple(apart.get(unit, ())),
            )
            for unit, last in highest.items()
        }

    def record(self, overdue: Gaps, healed: Gaps, now: datetime) -> list[GapChange]:
        """Record missing numbers and filled gaps; return the changes.

        Other receivers may have recorded some of them, and events may have arrived meanwhile.
        """
        at = now.isoformat(timespec="milliseconds")
        lately = (now - SAME_OUTAGE).isoformat(timespec="milliseconds")
        missing = self.missing_ranges(overdue)
        known, to_heal = self._overlapping(missing), self._overlapping(healed)
        current = self._recent_outages(missing, lately)
        news: dict[str, tuple[Gap, ...]] = {}
        for unit, gaps in missing.items():
            before = (each.gap for each in known.get(unit, []))
            if found := tuple(subtract(gaps, before)):
                news[unit] = found
        filled: dict[tuple[str, str], list[Gap]] = defaultdict(list)
        for unit, whole in healed.items():
            named = set(whole)
            for each in to_heal.get(unit, []):
                if each.gap in named:
                    filled[unit, each.outage].append(each.gap)
        self._write(news, current, filled, at)
        ongoing = self._open_outages(filled)
        return [
            *(
                GapChange(unit, tuple(gaps), began, healed=True, ongoing=(unit, began) in ongoing)
                for (unit, began), gaps in sorted(filled.items())
            ),
            *(
                GapChange(unit, gaps, current.get(unit, at), healed=False, ongoing=unit in current)
                for unit, gaps in news.items()
            ),
        ]

    def _overlapping(self, wanted: Gaps) -> dict[str, list[_OpenGap]]:
        """Return the open gaps that overlap these."""
        _, rows = self._query(_REPORTED, _REPORTED, wanted)
        found: dict[str, list[_OpenGap]] = defaultdict(list)
        for unit, first, last, outage in rows:
            found[unit].append(_OpenGap(Gap(first, last), outage))
        return found

    def _write(
        self,
        news: Gaps,
        current: Mapping[str, str],
        filled: Mapping[tuple[str, str], Sequence[Gap]],
        at: str,
    ) -> None:
        if filled:
            rows = [
                {"of": unit, "a": gap.first, "z": gap.last}
                for (unit, _), gaps in filled.items()
                for gap in gaps
            ]
            self._db.run(GAP.update().where(THIS_GAP).values(healed_at=at), rows)
        if news:
            put = self._db.put(GAP)
            # The same numbers may have been healed by a rename before its origin was known.
            columns = [column.name for column in GAP.c if not column.primary_key]
            put = put.on_conflict_do_update(
                index_elements=GAP.primary_key.columns,
                set_={name: put.excluded[name] for name in columns},
            )
            added = [
                {
                    "unit": unit,
                    "first": gap.first,
                    "last": gap.last,
                    "reported_at": at,
                    "outage": current.get(unit, at),
                }
                for unit, gaps in news.items()
                for gap in gaps
            ]
            self._db.run(put, added)
