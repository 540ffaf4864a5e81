"""The cost of missing events for a receiver, for a number of gaps and for twice as many.

Every other event of one unit is missing, reported, requested and received late. Measured is the CPU
time without storing the events, alternately in one run; the ratio shows the growth.
"""

import time
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

from edge.contract.keys import SigningKey
from edge.contract.topics import UnitName
from senyum_central.ingest.gap_requests import GapRequester, ReplayAuthority
from senyum_central.ingest.gap_tracker import GapMonitor
from senyum_central.ingest.message import ReceivedAt
from senyum_central.store.chain_rules import ChainEntry
from senyum_central.store.event_store import Store, StoredEvent

GAPS = 1000
TURNS = 7  # the fastest counts, because other programs only add time
BATCH = 200  # events received at once
GRACE_S = 60.0
_UNIT = UnitName("kota", "depok", "lobby-1")


def measure(folder: Path) -> dict[str, object]:
    """Return the CPU time in milliseconds by the number of gaps, and the ratio."""
    times: dict[int, list[float]] = {GAPS: [], 2 * GAPS: []}
    for turn in range(TURNS):
        for gaps, taken in times.items():
            taken.append(1000 * _once(folder / f"gaps-{gaps}-{turn}.db", gaps))
    few, many = (min(taken) for taken in times.values())
    return {
        "gaps_ms": {str(GAPS): round(few), str(2 * GAPS): round(many)},
        "gaps_ratio": many / few,
    }


def _once(path: Path, gaps: int) -> float:
    now = ReceivedAt(datetime(2026, 3, 2, tzinfo=UTC), 0)
    with closing(Store(path)) as store:
        monitor = GapMonitor(store, GRACE_S, now)
        key = SigningKey.load_or_create(path.with_suffix(".key"))
        requester = GapRequester(store, ReplayAuthority(key))
        taken = 0.0
        for parity in (0, 1):
            numbers = range(1 + parity, 2 * gaps + 2, 2)
            for start in range(0, len(numbers), BATCH):
                batch = numbers[start : start + BATCH]
                _store(store, batch, now)
                began = time.process_time()
                monitor.record_batch([(_UNIT.source, n) for n in batch], [], now)
                now = _later(now, 1.0)
                monitor.check(now)
                requester.request_missing({_UNIT.source}, now)
                taken += time.process_time() - began
            now = _later(now, GRACE_S)
            began = time.process_time()
            monitor.check(now)
            taken += time.process_time() - began
        assert not store.open_gaps(), "all events were received"
    return taken


def _store(store: Store, numbers: range, now: ReceivedAt) -> None:
    source = _UNIT.source
    entries = [ChainEntry(source, f"id-{n}", n, f"d{n}", f"d{n - 1}") for n in numbers]
    with store.batch(entries):
        for entry in entries:
            kind, moment = "senyum.unit.audit.v1", str(now)
            store.add(
                StoredEvent(entry, kind, moment, None, "kid", f"jws-{entry.sequence}"), moment
            )


def _later(now: ReceivedAt, seconds: float) -> ReceivedAt:
    return ReceivedAt(now.utc + timedelta(seconds=seconds), now.monotonic_ns + int(seconds * 1e9))
