"""One unit, one mosquitto, one receiver, and everything between them failing all the time.

The unit's outbox, recorder and link are a process that is killed; the broker is killed; unit and
receiver reach it through a proxy each, in bad weather. What the receiver then misses is asked for
again until nothing is missing. In the end its store is held against what the unit wrote.
"""

import argparse
import json
import logging
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from faulty_proxy import FaultRates, FaultyProxy
from private_servers import PrivateBroker
from receiving import Central
from survival import UnitProcess, check_central, check_chain, stored
from wireunit import Signer, until

from senyum_central.ingest.notices import NoticeKind

GRACE_S = 2.0  # before the receiver calls a number missing
ASK_SECONDS = 1.0  # between two requests for what is missing
PROGRESS_SECONDS = 900.0  # for the unit to come one step further, on a machine that does much else
HEAL_SECONDS = 300.0  # for the last gap, in calm weather


@dataclass(frozen=True, slots=True)
class Plan:
    """How much."""

    events: int
    broker_kills: int
    process_kills: int


SHORT, LONG = Plan(400, 8, 4), Plan(10_000, 200, 100)


class Asking:
    """Asks for gaps, as a central server does by the `replay` command, until `stop`."""

    def __init__(self, central: Central, ask: Callable[[list[range]], None]) -> None:
        self.asked: set[range] = set()
        self._central = central
        self._ask = ask
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._done.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._done.wait(ASK_SECONDS):
            kept = self._central.stored().keys()
            gaps = [gap for gap in self._central.numbers(NoticeKind.GAP) if not kept >= set(gap)]
            self.asked.update(gaps)
            self._ask(gaps)


def torture(plan: Plan, folder: Path, seed: int) -> dict[str, object]:
    """Do it; returns what happened. AssertionError where something was lost, doubled or forged."""
    began = time.monotonic()
    shown = 0
    with (
        PrivateBroker(folder / "broker") as broker,
        FaultyProxy(broker.port, FaultRates(), seed) as before,
        FaultyProxy(broker.port, FaultRates(), seed + 1) as behind,
    ):
        settings = broker.settings.model_copy(update={"port": behind.port, "keepalive": 5})
        with Central(folder / "central.db", settings, Signer(folder).keys, GRACE_S) as central:
            unit = UnitProcess(folder, before.port, plan.events)
            asking = Asking(central, lambda gaps: unit.replay(gaps))  # noqa: PLW0108 - `unit` changes
            faults = _schedule(plan)
            for enough in sorted(faults):
                until(lambda: unit.shown >= enough, PROGRESS_SECONDS)  # noqa: B023 - called here
                if faults[enough]["process"]:
                    unit.kill()
                    shown = max(shown, unit.shown)
                    unit = UnitProcess(folder, before.port, plan.events)
                if faults[enough]["broker"]:
                    broker.kill()
                    broker.start()
            before.calm = behind.calm = True
            before.cut()  # those that are swallowed would only be noticed by their keepalive
            behind.cut()
            until(lambda: unit.delivered, HEAL_SECONDS)
            shown = max(shown, unit.shown)
            until(lambda: len(central.stored()) >= plan.events, HEAL_SECONDS)
            asking.stop()
            rows = stored(folder)
            check_central(central, rows)
            unit.stop()
    assert len(rows) == plan.events >= shown
    check_chain(folder, rows)
    kept = central.stored()
    return {
        "events": plan.events,
        "broker_kills": plan.broker_kills,
        "process_kills": plan.process_kills,
        "met": dict(sorted((before.met + behind.met).items())),
        "connections": before.accepted + behind.accepted,
        "gaps_reported": len(central.said(NoticeKind.GAP)),
        "missing_then": sum(len(gap) for gap in central.numbers(NoticeKind.GAP)),
        "replays_asked": len(asking.asked),
        "came_again": len(central.said(NoticeKind.DUPLICATE)),
        "missing": plan.events - len(kept),
        "doubled": 0,  # `stored` of the receiver has looked
        "forks": len(central.said(NoticeKind.FORK)),
        "seconds": round(time.monotonic() - began, 1),
    }


def _schedule(plan: Plan) -> dict[int, Counter[str]]:
    """Return after how many events what is killed, evenly, never both out of the same step."""
    faults: dict[int, Counter[str]] = {}
    for what, count, shift in (
        ("broker", plan.broker_kills, 0),
        ("process", plan.process_kills, plan.events // (3 * plan.broker_kills)),
    ):
        for number in range(1, count + 1):
            at = min(number * plan.events // (count + 1) + shift, plan.events - 1)
            faults.setdefault(at, Counter())[what] += 1
    return faults


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--long", action="store_true", help="10,000 events; about ten minutes")
    parser.add_argument("--seed", type=int, default=1, help="of the weather (default: 1)")
    options = parser.parse_args()
    logging.disable()  # what the receiver has to say of the weather, nobody reads
    plan = LONG if options.long else SHORT
    with tempfile.TemporaryDirectory(prefix="senyum-faults-", dir="/var/tmp") as folder:
        result = torture(plan, Path(folder), options.seed)
    sys.stdout.write(json.dumps(result, indent=2) + "\n")
    sys.stdout.write("faults rig: 1 passed, 0 failed\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
