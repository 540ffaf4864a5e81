"""Holds what the units recorded against what the central store has."""

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
    """What became of the events, counted."""

    recorded: int
    stored: int
    lost: int  # recorded, and not stored
    doubled: int  # stored once too often
    strange: int  # stored, and not what was recorded under that number
    broken: int  # units whose stored chain does not hold

    @property
    def good(self) -> bool:
        """Whether everything is there, once, and as it was signed."""
        return not (self.lost or self.doubled or self.strange or self.broken)


def stored(store: Path) -> Iterator[tuple[str, str]]:
    """Yield URN and JWS of every event of a receiver's SQLite store; raises StoreError."""
    try:
        with closing(sqlite3.connect(f"file:{store}?mode=ro", uri=True)) as db:
            yield from db.execute("SELECT unit, jws FROM event ORDER BY unit, sequence")
    except sqlite3.Error as error:
        raise StoreError(f"{store}: cannot be read: {error}") from error


def judge(
    recorded: Mapping[str, Mapping[int, str]], kept: Iterable[tuple[str, str]], keys: KeySet
) -> SimulationResult:
    """Verify every stored event anew and compare. `recorded` holds digests by URN and number."""
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
    """Return the value that `share` (0 to 1) of the values do not exceed; nan for none."""
    if not values:
        return float("nan")
    rank = max(math.ceil(share * len(values)), 1)
    return sorted(values)[rank - 1]
