"""How fast a backlog leaves after an outage: beside bare MQTT, and with how much memory.

The outbox is filled with events of the size of real ones (not signed: the link does not look into
them). The link then brings them to a private mosquitto, and bare paho sends messages of that size
with the same window, in turns, so that both meet the same machine. A session that is subscribed
and away makes the broker keep every message.
"""

import base64
import os
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from edge.errors import OutboxError
from edge.outbox.event_signer import ChainHead, SignedEvent
from edge.settings import BrokerSettings, UnitSettings
from senyum_lab.bench.delivery import bare_rate, park_a_session
from senyum_lab.servers.mosquitto import PrivateBroker
from senyum_lab.simulate.simulated_unit import SimulatedUnit

BACKLOG = 20_000  # events; `senyum bench --backlog` takes more
BARE = 5_000  # messages of bare paho at most: the longer the queue it holds, the slower it gets
TURNS = 2
BYTES = 2_200  # of one event
_BATCH = 500  # events in one commit while the outbox is filled
_PATIENCE = 600.0  # seconds for one backlog to leave
_LOOK_SECONDS = 0.05


class _Memory(threading.Thread):
    """Remembers the most memory that this process held, MB resident, until `done`."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.before = self.most = _resident_mb()
        self.done = threading.Event()

    def run(self) -> None:
        while not self.done.wait(_LOOK_SECONDS):
            self.most = max(self.most, _resident_mb())


def _resident_mb() -> float:
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * os.sysconf("SC_PAGESIZE") / 1e6


@contextmanager
def _filled(folder: Path, broker: BrokerSettings, events: int) -> Iterator[SimulatedUnit]:
    side = SimulatedUnit(folder, UnitSettings(name="bench"), broker, lambda _report: None)
    try:
        for first in range(0, events, _BATCH):
            count = min(_BATCH, events - first)
            side.outbox.append(*(partial(_event) for _ in range(count)))
        yield side
    finally:
        side.close()


def _event(head: ChainHead) -> SignedEvent:
    body = base64.urlsafe_b64encode(os.urandom(BYTES * 3 // 4)).decode("ascii")
    return SignedEvent(f"bench-{head.sequence + 1}", f"e30.{body}.AA")


def _drained(folder: Path, broker: BrokerSettings, events: int) -> tuple[float, float]:
    """Return events a second, and MB by which memory grew while they left."""
    with _filled(folder, broker, events) as side:
        side.link.start()
        if not side.up.wait(_PATIENCE):
            raise OutboxError(f"{side.file}: no broker to drain to")
        memory = _Memory()
        memory.start()
        began, before = time.perf_counter(), side.link.delivered
        until = time.monotonic() + _PATIENCE
        while side.link.delivered < events and time.monotonic() < until:
            time.sleep(_LOOK_SECONDS)
        rate = (side.link.delivered - before) / (time.perf_counter() - began)
        memory.done.set()
        memory.join()
        if side.link.delivered < events:
            raise OutboxError(f"{side.file}: the backlog did not leave in {_PATIENCE:.0f} s")
    return rate, memory.most - memory.before


def measure(events: int = BACKLOG, folder: Path | None = None) -> dict[str, Any]:
    """Measure; returns backlog_events, drain_per_s, drain_paho_per_s, drain_ratio, drain_mb.

    Raises LinkError where mosquitto cannot be had, OutboxError where the backlog does not leave.
    """
    disk = folder or Path("/var/tmp")  # noqa: S108 - a folder of our own is made in it
    rates, bare, grown = [], [], []
    with tempfile.TemporaryDirectory(dir=disk) as name:
        place = Path(name)
        for turn in range(TURNS):
            # A fresh one each time, or what it keeps of the turn before would slow it.
            with PrivateBroker(place / f"broker-{turn}") as private:
                park_a_session(private.settings)
                rate, mb = _drained(place / f"unit-{turn}", private.settings, events)
                rates.append(rate)
                grown.append(mb)
            with PrivateBroker(place / f"bare-{turn}") as private:
                park_a_session(private.settings)
                bare.append(bare_rate(private.settings, min(events, BARE), BYTES))
    return {
        "backlog_events": events,
        "drain_per_s": round(max(rates), 1),
        "drain_paho_per_s": round(max(bare), 1),
        "drain_ratio": round(max(rates) / max(bare), 3),
        "drain_mb": round(max(grown), 1),
    }
