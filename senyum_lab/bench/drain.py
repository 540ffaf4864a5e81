"""The delivery rate of a backlog after an outage, compared with plain MQTT, and its memory.

The outbox is filled with events of realistic size (unsigned, because the link does not read them).
The link delivers them to a private mosquitto, and plain paho sends messages of the same size with
the same window, alternately, so that both run under the same conditions. A subscribed session that
is offline makes the broker store every message.
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
from senyum_lab.bench.delivery import bare_rate, create_offline_session
from senyum_lab.servers.mosquitto import PrivateBroker
from senyum_lab.simulate.simulated_unit import SimulatedUnit

BACKLOG = 20_000  # events; `senyum bench --backlog` takes more
BARE = 5_000  # maximum for plain paho, which gets slower with a longer queue
TURNS = 2
BYTES = 2_200  # of one event
_BATCH = 500  # events in one commit while the outbox is filled
_PATIENCE = 600.0  # seconds to deliver one backlog
_POLL_SECONDS = 0.05


class _MemoryPeak:
    """Records the peak resident memory of this process, in MB, until `stop`."""

    def __init__(self) -> None:
        self.before = self.most = _resident_mb()
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._done.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._done.wait(_POLL_SECONDS):
            self.most = max(self.most, _resident_mb())


def _resident_mb() -> float:
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * os.sysconf("SC_PAGESIZE") / 1e6


@contextmanager
def _filled(folder: Path, broker: BrokerSettings, events: int) -> Iterator[SimulatedUnit]:
    unit = SimulatedUnit(folder, UnitSettings(name="bench"), broker)
    try:
        for first in range(0, events, _BATCH):
            count = min(_BATCH, events - first)
            unit.outbox.append(*(partial(_event) for _ in range(count)))
        yield unit
    finally:
        unit.close()


def _event(head: ChainHead) -> SignedEvent:
    body = base64.urlsafe_b64encode(os.urandom(BYTES * 3 // 4)).decode("ascii")
    return SignedEvent(f"bench-{head.sequence + 1}", f"e30.{body}.AA")


def _drained(folder: Path, broker: BrokerSettings, events: int) -> tuple[float, float]:
    """Return the events per second, and the growth of the memory in MB."""
    with _filled(folder, broker, events) as unit:
        unit.link.start()
        until = time.monotonic() + _PATIENCE
        while not unit.is_connected:
            if time.monotonic() > until:
                raise OutboxError(f"{unit.file}: not connected to the broker")
            time.sleep(_POLL_SECONDS / 10)
        memory = _MemoryPeak()
        began, before = time.perf_counter(), unit.link.delivered
        until = time.monotonic() + _PATIENCE
        while unit.link.delivered < events and time.monotonic() < until:
            time.sleep(_POLL_SECONDS)
        rate = (unit.link.delivered - before) / (time.perf_counter() - began)
        memory.stop()
        if unit.link.delivered < events:
            raise OutboxError(
                f"{unit.file}: the backlog was not delivered within {_PATIENCE:.0f} s"
            )
    return rate, memory.most - memory.before


def measure(events: int = BACKLOG, folder: Path | None = None) -> dict[str, Any]:
    """Measure; return backlog_events, drain_per_s, drain_paho_per_s, drain_ratio, drain_mb.

    Raises LinkError if mosquitto is not installed, OutboxError if the backlog is not delivered.
    """
    disk = folder or Path("/var/tmp")  # noqa: S108 - a folder of our own is made in it
    rates, bare, grown = [], [], []
    with tempfile.TemporaryDirectory(dir=disk) as name:
        place = Path(name)
        for turn in range(TURNS):
            # A new broker each time; stored messages of the previous turn would slow it down.
            with PrivateBroker(place / f"broker-{turn}") as private:
                create_offline_session(private.settings)
                rate, mb = _drained(place / f"unit-{turn}", private.settings, events)
                rates.append(rate)
                grown.append(mb)
            with PrivateBroker(place / f"bare-{turn}") as private:
                create_offline_session(private.settings)
                bare.append(bare_rate(private.settings, min(events, BARE), BYTES))
    return {
        "backlog_events": events,
        "drain_per_s": round(max(rates), 1),
        "drain_paho_per_s": round(max(bare), 1),
        "drain_ratio": round(max(rates) / max(bare), 3),
        "drain_mb": round(max(grown), 1),
    }
