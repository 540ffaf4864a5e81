"""Cache the stored events around one batch, and collect the events that the batch adds.

One query per event to a database server would cost more than verifying the event.
"""

import json
from collections import defaultdict
from collections.abc import Iterable
from typing import Any

from sqlalchemy import select, text

from edge.contract.limits import MAX_SEQUENCE
from senyum_central.store.chain_rules import ChainEntry, Neighbours
from senyum_central.store.database import Database
from senyum_central.store.schema import EVENT, HEAD

_CLOSE = 8  # numbers that are no further apart are fetched as one run

# The events of the numbers `first` to `last` of a unit; on a server of many such runs at once.
_RUN = text(
    "SELECT unit, sequence, digest, previous FROM event"
    " WHERE unit = :unit AND sequence BETWEEN :first AND :last"
)
_RUNS = text(  # OFFSET keeps the planner from joining some other way than by the index
    "SELECT e.unit, e.sequence, e.digest, e.previous"
    " FROM unnest(CAST(:units AS text[]), CAST(:firsts AS bigint[]), CAST(:lasts AS bigint[]))"
    " AS run(unit, first, last), LATERAL (SELECT unit, sequence, digest, previous FROM event"
    " WHERE unit = run.unit AND sequence BETWEEN run.first AND run.last OFFSET 0) AS e"
)
# One parameter holds them all: hundreds of them take longer to bind than to look up.
_IDS = text(
    "SELECT event.unit, event.id, digest FROM json_each(:keys) AS wanted CROSS JOIN event"
    " ON event.unit = json_extract(wanted.value, '$[0]')"
    " AND event.id = json_extract(wanted.value, '$[1]')"
)
_IDS_OF_SERVER = text(
    "SELECT e.unit, e.id, e.digest"
    " FROM unnest(CAST(:units AS text[]), CAST(:ids AS text[])) AS wanted(unit, id),"
    " LATERAL (SELECT unit, id, digest FROM event"
    " WHERE unit = wanted.unit AND id = wanted.id OFFSET 0) AS e"
)
Run = tuple[str, int, int]


class ChainCache:
    """The part of the store that one transaction needs. Raises the database's errors."""

    def __init__(self, db: Database) -> None:
        self._db = db
        self._known: set[tuple[str, int]] = set()  # numbers that were fetched
        self._events: dict[tuple[str, int], list[tuple[str, str | None]]] = defaultdict(list)
        self._ids: dict[tuple[str, str], str | None] = {}  # digest by unit and id
        self._heads: dict[str, tuple[int, str] | None] = {}
        self._added: list[dict[str, Any]] = []

    def fetch(self, entries: Iterable[ChainEntry]) -> None:
        """Fetch everything that `neighbours` needs for these entries."""
        wanted = [entry for entry in entries if entry.key not in self._ids]
        if not wanted:
            return
        self._fetch_numbers(
            (entry.unit, number)
            for entry in wanted
            for number in range(entry.sequence - 1, min(entry.sequence + 1, MAX_SEQUENCE) + 1)
        )
        keys = [entry.key for entry in wanted]
        self._ids.update(dict.fromkeys(keys))
        if self._db.server:
            units, ids = zip(*keys, strict=True)
            found = self._db.rows(_IDS_OF_SERVER, units=list(units), ids=list(ids))
        else:
            found = self._db.rows(_IDS, keys=json.dumps(keys))
        self._ids.update(((unit, id_), digest) for unit, id_, digest in found)
        self._fetch_heads({entry.unit for entry in wanted})

    def neighbours(self, entry: ChainEntry) -> Neighbours:
        """Return the stored neighbours of `entry`, including those of this batch."""
        self.fetch([entry])
        n = entry.sequence
        before, same, after = (self._events.get((entry.unit, n + by), []) for by in (-1, 0, 1))
        return Neighbours(
            same_id=self._ids[entry.key],
            before=frozenset(digest for digest, _ in before),
            same=frozenset(digest for digest, _ in same),
            after=frozenset(previous for _, previous in after if previous is not None),
            head=self.head(entry.unit, n),
        )

    def digests(self, unit: str, sequence: int) -> frozenset[str]:
        """Return the digests of the events stored under this number."""
        self._fetch_numbers([(unit, sequence)])
        return frozenset(digest for digest, _ in self._events.get((unit, sequence), []))

    def head(self, unit: str, sequence: int) -> str | None:
        """Return the chain head that a state or health named for exactly this number."""
        self._fetch_heads({unit})
        found = self._heads[unit]
        return found[1] if found is not None and found[0] == sequence else None

    def add(self, entry: ChainEntry, row: dict[str, Any]) -> None:
        """Add an event, which `flush` writes."""
        self.fetch([entry])
        self._added.append(row)
        self._events[entry.unit, entry.sequence].append((entry.digest, entry.previous))
        self._ids[entry.key] = entry.digest

    def set_head(self, unit: str, sequence: int, digest: str) -> None:
        """Update the head after it was written."""
        self._fetch_heads({unit})
        found = self._heads[unit]
        if found is None or sequence > found[0]:
            self._heads[unit] = sequence, digest

    def flush(self) -> None:
        """Write the events that were added."""
        rows, self._added = self._added, []
        if rows:
            self._db.run(EVENT.insert(), rows)

    def _fetch_numbers(self, numbers: Iterable[tuple[str, int]]) -> None:
        wanted = sorted(set(numbers) - self._known)
        self._known.update(wanted)
        runs = list(_runs(wanted))
        if self._db.server and runs:
            units, firsts, lasts = zip(*runs, strict=True)
            lists = {"units": list(units), "firsts": list(firsts), "lasts": list(lasts)}
            self._add_rows(self._db.rows(_RUNS, **lists), set(wanted))
        elif runs:
            for unit, first, last in runs:
                rows = self._db.rows(_RUN, unit=unit, first=first, last=last)
                self._add_rows(rows, set(wanted))

    def _add_rows(self, rows: Iterable[Any], wanted: set[tuple[str, int]]) -> None:
        for unit, sequence, digest, previous in rows:
            if (
                unit,
                sequence,
            ) in wanted:  # numbers in between were fetched before or are not needed
                self._events[unit, sequence].append((digest, previous))

    def _fetch_heads(self, units: set[str]) -> None:
        missing = units - self._heads.keys()
        if not missing:
            return
        self._heads.update(dict.fromkeys(missing))
        query = select(HEAD.c.unit, HEAD.c.sequence, HEAD.c.digest).where(
            HEAD.c.unit.in_(sorted(missing))
        )
        for unit, sequence, digest in self._db.rows(query):
            self._heads[unit] = sequence, digest


def _runs(numbers: list[tuple[str, int]]) -> Iterable[Run]:
    """Join sorted numbers that are close together."""
    run: Run | None = None
    for unit, number in numbers:
        if run is not None and run[0] == unit and number - run[2] <= _CLOSE:
            run = unit, run[1], number
            continue
        if run is not None:
            yield run
        run = unit, number, number
    if run is not None:
        yield run
