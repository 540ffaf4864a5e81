"""One simulated morning, from creating the keys to checking the store."""

import json
import os
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edge.contract.keys import KeySet
from edge.settings import BrokerSettings, OtherBrokerSettings
from edge.system.text import pluralize
from senyum_lab.servers.mosquitto import PrivateBroker
from senyum_lab.simulate.checks import SimulationResult, check_store, percentile, stored_events
from senyum_lab.simulate.fleet import Fleet, FleetRecord, morning, shares
from senyum_lab.simulate.receivers import ReceiverProcess

MEDIAN_MS, P99_MS = 300.0, 2000.0  # the limits, from recording to storing
LEAD_SECONDS = 1.0  # between the last connection and the first arrival


@dataclass(frozen=True, slots=True)
class Scenario:
    """What to simulate. Without `brokers`, a private mosquitto is started."""

    units: int = 400
    people: int = 7000
    minutes: float = 15.0
    speed: float = 10.0
    seed: int = 1
    brokers: tuple[BrokerSettings, ...] = ()  # in order of preference
    receivers: tuple[tuple[str, ...], ...] = ()  # the options of each `senyum receive`
    spread: bool = False  # consecutive units prefer different brokers
    processes: int = 4
    patience: float = 60.0  # seconds for the last events to arrive
    store: Path | None = None  # SQLite file of the receivers; default: a temporary one
    keys_out: Path | None = None  # file for the keys of the units, for other receivers


def simulate(plan: Scenario, log: Callable[[str], None]) -> dict[str, Any]:
    """Run the simulation and return the figures. Raises LinkError, StoreError."""
    with ExitStack() as close:
        # Unlike /tmp, /var/tmp is not in memory.
        temporary = tempfile.TemporaryDirectory(prefix="senyum-simulate-", dir="/var/tmp")
        folder = Path(close.enter_context(temporary))
        brokers, receivers = plan.brokers, plan.receivers
        if not brokers:
            private = close.enter_context(PrivateBroker(folder / "broker"))
            brokers = (private.settings,)
            receivers = (("--broker", f"127.0.0.1:{private.port}"),)
        arrivals = morning(plan.units, plan.people, plan.minutes, plan.speed, plan.seed)
        orders = [_in_order(brokers, number if plan.spread else 0) for number in range(plan.units)]
        parts = shares(folder / "units", orders, arrivals, plan.processes, plan.patience)
        fleet = close.enter_context(Fleet(parts))
        log(f"creating {pluralize(plan.units, 'unit')} in {pluralize(len(parts), 'process')}")
        keys = fleet.open()
        key_file = folder / "keys.json"
        for file in filter(None, (key_file, plan.keys_out)):
            file.write_text(json.dumps({"keys": keys}), encoding="utf-8")
        store = plan.store or folder / "central.db"
        commands = [
            (*how, "--keys", str(key_file), "--store", str(store), "--client-id", f"simulated-{n}")
            for n, how in enumerate(receivers, 1)
        ]
        listener = close.enter_context(ReceiverProcess(commands, folder / "receiver"))
        log("connecting")
        connected_s = fleet.connect()
        seconds = arrivals[-1].at if arrivals else 0.0
        log(f"recording: {pluralize(plan.people, 'person')} in {seconds:.0f} s")
        recorded = fleet.record(time.monotonic() + LEAD_SECONDS, seconds)
        listener.wait_for(sum(map(len, recorded.digests.values())), plan.patience)
        log("all events are sent; checking the store")
        verdict = check_store(recorded.digests, stored_events(store), KeySet.of(keys))
        return {
            **{name: getattr(plan, name) for name in ("units", "people", "minutes", "speed")},
            "brokers": [f"{broker.host}:{broker.port}" for broker in brokers],
            "processes": len(parts),
            "connected_s": round(connected_s, 2),
            "rush_s": round(seconds, 1),
            **_figures(recorded, verdict, listener),
        }


def _figures(
    recorded: FleetRecord, verdict: SimulationResult, listener: ReceiverProcess
) -> dict[str, Any]:
    delays = [delay * 1000.0 for delay in listener.delays.values()]
    first = min(listener.moments.values(), default=0.0)
    slow = sorted(
        listener.moments[place] - first
        for place, delay in listener.delays.items()
        if delay * 1000.0 > P99_MS
    )
    median, p99 = percentile(delays, 0.5), percentile(delays, 0.99)
    return {
        "recorded": verdict.recorded,
        "not_recorded": recorded.failed,
        "undelivered": recorded.undelivered,
        "stored": verdict.stored,
        "lost": verdict.lost,
        "doubled": verdict.doubled,
        "strange": verdict.strange,
        "broken_chains": verdict.broken,
        "came_again": listener.kinds["duplicate"],
        "refused": listener.kinds["refused"],
        "alarms": listener.alarms[:20],
        "median_ms": round(median, 1),
        "p90_ms": round(percentile(delays, 0.9), 1),
        "p99_ms": round(p99, 1),
        "max_ms": round(max(delays, default=float("nan")), 1),
        "slow": len(slow),
        "slow_from_s": round(slow[0], 1) if slow else None,
        "slow_to_s": round(slow[-1], 1) if slow else None,
        "late_s": round(recorded.late_s, 3),
        "load": round(os.getloadavg()[0], 1),
        "good": verdict.good
        and not (
            recorded.failed or recorded.undelivered or listener.alarms or listener.kinds["refused"]
        ),
        "fast": median <= MEDIAN_MS and p99 <= P99_MS,
    }


def _in_order(brokers: Sequence[BrokerSettings], first: int) -> BrokerSettings:
    """Return the settings of a unit that prefers `brokers[first]`, then the following ones."""
    first %= len(brokers)
    preferred, *others = (*brokers[first:], *brokers[:first])
    rest = tuple(
        OtherBrokerSettings(**other.model_dump(include=set(OtherBrokerSettings.model_fields)))
        for other in others
    )
    return BrokerSettings(**{**preferred.model_dump(), "others": rest})
