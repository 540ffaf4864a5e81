"""Many simulated units in a few processes; in one process, 400 would compete for the Python lock.

Each process creates its units, reports when they are ready, connected and done, and returns the
digest of every event that they recorded, by number.
"""

import logging
import multiprocessing
import random
import resource
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from multiprocessing.connection import Connection as Pipe
from pathlib import Path
from typing import Any, Self

from edge.contract.jose import digest
from edge.errors import LinkError, SenyumError
from edge.outbox.store import OutboxReader
from edge.settings import BrokerSettings, UnitSettings
from edge.types import StoreFailed
from senyum_lab.simulate.simulated_unit import SimulatedUnit, attempt

ORG, SITE = "senyum", "simulated"
POLL_SECONDS = 0.05  # while waiting
OPEN_SECONDS = 300.0  # for a process to create its units
_FILES_PER_UNIT = 16  # sockets, databases and their helpers
DOOR_SECONDS = 2.0  # per person at one unit
_PERSON_BITS = 128


@dataclass(frozen=True, slots=True, order=True)
class Arrival:
    """One person at one unit."""

    at: float  # seconds after the beginning, divided by the speed
    unit: int  # from 0
    person: str  # opaque id


def morning(units: int, people: int, minutes: float, speed: float, seed: int) -> list[Arrival]:
    """Return the arrivals of a working morning, in chronological order; the same for a seed.

    `minutes` pass `speed` times as fast. Arrivals follow a beta distribution (3, 2) over the time
    before work begins: the peak, with 1.8 times the mean, is at two thirds of the time. Some units
    are busier than others (weights from a gamma distribution, shape 2). One person takes
    `DOOR_SECONDS` at a unit and the others wait, so the last one may arrive later.
    """
    chance = random.Random(seed)  # noqa: S311 - a simulation
    weights = [chance.gammavariate(2.0, 1.0) for _ in range(units)]
    doors = chance.choices(range(units), weights, k=people)
    moments = sorted(chance.betavariate(3.0, 2.0) * minutes * 60.0 for _ in range(people))
    free = [0.0] * units  # when the door is free again
    arrivals = []
    for moment, door in zip(moments, doors, strict=True):
        at = max(moment, free[door])
        free[door] = at + DOOR_SECONDS
        arrivals.append(Arrival(at / speed, door, f"{chance.getrandbits(_PERSON_BITS):032x}"))
    return sorted(arrivals)


def unit_name(number: int) -> str:
    """Return the name of unit `number`, from 0."""
    return f"unit-{number + 1:03d}"


@dataclass(frozen=True, slots=True)
class FleetShare:
    """The work of one process. `brokers` and `numbers` have one entry per unit."""

    folder: Path
    numbers: tuple[int, ...]
    brokers: tuple[BrokerSettings, ...]
    arrivals: tuple[Arrival, ...]  # at these units only, in chronological order
    patience: float  # seconds for the broker to accept the last events


@dataclass(frozen=True, slots=True)
class FleetRecord:
    """The events that the units recorded."""

    digests: dict[str, dict[int, str]]  # by URN and number
    failed: int  # attempts that could not be stored
    undelivered: int  # events that no broker accepted in time
    late_s: float  # the longest delay of an attempt; above 0.1 the machine is too slow


class _FleetPart:
    """The units of one process."""

    def __init__(self, share: FleetShare, close: ExitStack) -> None:
        self._share = share
        self._units: dict[int, SimulatedUnit] = {}
        for number, broker in zip(share.numbers, share.brokers, strict=True):
            settings = UnitSettings(org=ORG, site=SITE, name=unit_name(number))
            unit = SimulatedUnit(share.folder / unit_name(number), settings, broker)
            close.callback(unit.close)
            self._units[number] = unit

    @property
    def registrations(self) -> list[dict[str, Any]]:
        return [unit.registration for unit in self._units.values()]

    def connect(self) -> float:
        """Start all units at once; return the seconds until the last one is connected."""
        began = time.monotonic()
        for unit in self._units.values():
            unit.start()
        _wait(lambda: all(unit.is_connected for unit in self._units.values()), self._share.patience)
        return time.monotonic() - began

    def record(self, begin: float) -> float:
        """Record the arrivals from `begin` (CLOCK_MONOTONIC); return the longest delay."""
        late = 0.0
        for ref, arrival in enumerate(self._share.arrivals, 1):
            left = begin + arrival.at - time.monotonic()
            if left > 0:
                time.sleep(left)
            late = max(late, -left)
            self._units[arrival.unit].recorder.submit(attempt(ref, arrival.person))
        return late

    def finish(self, late: float) -> FleetRecord:
        """Wait until the brokers have accepted all events; return what was recorded."""
        for unit in self._units.values():
            unit.recorder.close(time.monotonic() + self._share.patience)
        heads = {number: unit.outbox.head() for number, unit in self._units.items()}
        _wait(
            lambda: all(
                unit.link.delivered >= heads[number].sequence
                for number, unit in self._units.items()
            ),
            self._share.patience,
        )
        undelivered = sum(
            heads[number].sequence - unit.link.delivered for number, unit in self._units.items()
        )
        digests = {unit.name.source: _digests(unit.file) for unit in self._units.values()}
        failed = sum(
            isinstance(report, StoreFailed)
            for unit in self._units.values()
            for report in unit.reports.get(0.0)
        )
        return FleetRecord(digests, failed, undelivered, late)


def _digests(file: Path) -> dict[int, str]:
    reader = OutboxReader(file)
    try:
        return {row.sequence: digest(row.token) for row in reader.after(0, 1_000_000)}
    finally:
        reader.close()


def _wait(condition: Callable[[], bool], seconds: float) -> None:
    until = time.monotonic() + seconds
    while not condition() and time.monotonic() < until:
        time.sleep(POLL_SECONDS)


def _work(share: FleetShare, parent: Pipe) -> None:
    """Run the units of one process; each message of the parent starts the next step."""
    # Otherwise, hundreds of links would log that a broker is unavailable.
    logging.getLogger("edge.mqtt").setLevel(logging.CRITICAL)
    try:
        _allow_files(len(share.numbers) * _FILES_PER_UNIT + 256)
        with ExitStack() as close:
            units = _FleetPart(share, close)
            parent.send(units.registrations)
            parent.recv()
            parent.send(units.connect())
            begin: float = parent.recv()
            parent.send(units.finish(units.record(begin)))
            parent.recv()  # units stay connected until the parent has checked the store
    except EOFError:
        return  # the parent has closed the pipe
    except (OSError, SenyumError) as error:
        parent.send(error)


def _allow_files(count: int) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < count:
        raise OSError(
            f"needs {count} open files, the limit is {hard}; raise it: ulimit -Hn {count}"
        )
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, count), hard))


class Fleet:
    """All processes. Raises LinkError if one of them fails."""

    def __init__(self, shares: Sequence[FleetShare]) -> None:
        context = multiprocessing.get_context("spawn")
        self._pipes: list[Pipe] = []
        self._processes = []
        for share in shares:
            here, there = context.Pipe()
            self._pipes.append(here)
            self._processes.append(context.Process(target=_work, args=(share, there), daemon=True))
        self._patience = max(share.patience for share in shares)

    def open(self) -> list[dict[str, Any]]:
        """Create the units; return their entries for the keys.json of a receiver."""
        for process in self._processes:
            process.start()
        return [entry for part in self._answers(OPEN_SECONDS) for entry in part]

    def connect(self) -> float:
        """Connect all units at once; return the seconds until the last one is connected."""
        self._send(None)
        return float(max(self._answers(self._patience + OPEN_SECONDS)))

    def record(self, begin: float, seconds: float) -> FleetRecord:
        """Record all arrivals from `begin` (CLOCK_MONOTONIC); takes about `seconds`."""
        self._send(begin)
        parts = self._answers(seconds + 2 * self._patience + OPEN_SECONDS)
        return FleetRecord(
            {source: numbers for part in parts for source, numbers in part.digests.items()},
            sum(part.failed for part in parts),
            sum(part.undelivered for part in parts),
            max(part.late_s for part in parts),
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for pipe in self._pipes:
            pipe.close()  # ends a process that waits for a message
        for process in self._processes:
            if process.pid is not None:
                process.join(20.0)
                process.kill()

    def _send(self, message: float | None) -> None:
        for pipe in self._pipes:
            pipe.send(message)

    def _answers(self, seconds: float) -> list[Any]:
        until = time.monotonic() + seconds
        answers = []
        for pipe in self._pipes:
            if not pipe.poll(max(until - time.monotonic(), 0.0)):
                raise LinkError(
                    "a process of the simulation does not answer; the machine may be overloaded"
                )
            try:
                answer = pipe.recv()
            except EOFError:
                raise LinkError(
                    "a process of the simulation has ended; see the messages above"
                ) from None
            if isinstance(answer, Exception):
                raise LinkError(f"a process of the simulation failed: {answer}")
            answers.append(answer)
        return answers


def shares(
    folder: Path,
    brokers: Sequence[BrokerSettings],
    arrivals: Sequence[Arrival],
    processes: int,
    patience: float,
) -> list[FleetShare]:
    """Divide the units, one per entry of `brokers`; neighbours are in different processes."""
    made = []
    for part in range(min(processes, len(brokers))):
        numbers = range(part, len(brokers), processes)
        made.append(
            FleetShare(
                folder,
                tuple(numbers),
                tuple(brokers[number] for number in numbers),
                tuple(arrival for arrival in arrivals if arrival.unit in numbers),
                patience,
            )
        )
    return made
