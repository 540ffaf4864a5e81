"""Compare the events that the units recorded with the central store."""

import math
import sqlite3
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from edge.contract.envelope import verify
from edge.contract.events import ChainedEvent
from edge.contract.jose import digest
from edge.contract.keys import KeySet
from edge.contract.topics import TopicKind, UnitName
from edge.errors import EnvelopeError, StoreError


@dataclass(frozen=True, slots=True)
class SimulationResult:
    """The counts of a comparison."""

    recorded: int
    stored: int
    lost: int  # recorded but not stored
    doubled: int  # stored more than once
    strange: int  # stored, but not the event recorded under this number
    broken: int  # units whose stored chain is broken

    @property
    def good(self) -> bool:
        """Whether every event is stored once and as it was signed."""
        return not (self.lost or self.doubled or self.strange or self.broken)


def stored_events(store: Path) -> Iterator[tuple[str, str]]:
    """Yield the URN and the JWS of every event of a SQLite store. Raises StoreError."""
    try:
        with closing(sqlite3.connect(f"file:{store}?mode=ro", uri=True)) as db:
            yield from db.execute("SELECT unit, jws FROM event ORDER BY unit, sequence")
    except sqlite3.Error as error:
        raise StoreError(f"{store}: cannot read the store: {error}") from error


def check_store(
    recorded: Mapping[str, Mapping[int, str]], kept: Iterable[tuple[str, str]], keys: KeySet
) -> SimulationResult:
    """Verify every stored event again and compare. `recorded` has digests by URN and number."""
    found: dict[str, dict[int, str]] = defaultdict(dict)
    broken: set[str] = set()
    ids: set[str] = set()
    count = doubled = strange = 0
    for unit, token in kept:
        count += 1
        event = _event(unit, token, keys)
        if event is None or recorded.get(unit, {}).get(event.number) != digest(token):
            strange += 1
            continue
        if event.id in ids or event.number in found[unit]:
            doubled += 1
        ids.add(event.id)
        found[unit][event.number] = digest(token)
        before = found[unit].get(event.number - 1)
        if event.previous != before and (before is not None or event.number == 1):
            broken.add(unit)
    lost = sum(len(numbers.keys() - found[unit].keys()) for unit, numbers in recorded.items())
    total = sum(len(numbers) for numbers in recorded.values())
    return SimulationResult(total, count, lost, doubled, strange, len(broken))


def _event(unit: str, token: str, keys: KeySet) -> ChainedEvent | None:
    try:
        event = verify(token, keys, UnitName.from_source(unit).topic(TopicKind.EVENT)).event
    except EnvelopeError:
        return None
    return event if isinstance(event, ChainedEvent) else None


def percentile(values: Sequence[float], share: float) -> float:
    """Return the value that `share` (0 to 1) of the values do not exceed, or nan without values."""
    if not values:
        return float("nan")
    rank = max(math.ceil(share * len(values)), 1)
    return sorted(values)[rank - 1]
