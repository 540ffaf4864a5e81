"""Many units in a few processes: 400 in one would wait for each other's turn at Python's lock.

A process is told what its units are, says when they are ready, connected and done, and hands back
what each of them has recorded: by number, the digest of what was signed.
"""

import logging
import multiprocessing
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
from edge.types import EventStored, StoreFailed
from senyum_lab.simulate.arrivals import Arrival
from senyum_lab.simulate.simulated_unit import SimulatedUnit, attempt

ORG, SITE = "senyum", "simulated"
LOOK_SECONDS = 0.05  # between two looks while waiting
OPEN_SECONDS = 300.0  # for a process to make its units
_FILES_PER_UNIT = 16  # sockets, databases and their helpers


def name(number: int) -> str:
    """Return the name of unit `number`, from 0."""
    return f"unit-{number + 1:03d}"


@dataclass(frozen=True, slots=True)
class Share:
    """What one process simulates. `brokers` holds one entry a unit, as `numbers` does."""

    folder: Path
    numbers: tuple[int, ...]
    brokers: tuple[BrokerSettings, ...]
    arrivals: tuple[Arrival, ...]  # at these units only, in the order of time
    patience: float  # seconds that the broker gets for the last events


@dataclass(frozen=True, slots=True)
class Recorded:
    """What the units recorded."""

    digests: dict[str, dict[int, str]]  # by URN and number
    failed: int  # attempts that could not be stored
    undelivered: int  # events that no broker took in time
    late_s: float  # how late the latest attempt was submitted: above 0.1 the machine is too small


class _Units:
    """The units of one process."""

    def __init__(self, share: Share, close: ExitStack) -> None:
        self._share = share
        self._failed = 0
        self._sides: dict[int, SimulatedUnit] = {}
        for number, broker in zip(share.numbers, share.brokers, strict=True):
            unit = UnitSettings(org=ORG, site=SITE, name=name(number))
            side = SimulatedUnit(share.folder / name(number), unit, broker, self._report)
            close.callback(side.close)
            self._sides[number] = side

    @property
    def registrations(self) -> list[dict[str, Any]]:
        return [side.registration for side in self._sides.values()]

    def connect(self) -> float:
        """Start all in the same instant; returns the seconds until the last is connected."""
        began = time.monotonic()
        for side in self._sides.values():
            side.start()
        _wait(lambda: all(side.up.is_set() for side in self._sides.values()), self._share.patience)
        return time.monotonic() - began

    def rush(self, begin: float) -> float:
        """Let people come; `begin` is on CLOCK_MONOTONIC. Returns how late the latest was."""
        late = 0.0
        for ref, arrival in enumerate(self._share.arrivals, 1):
            left = begin + arrival.at - time.monotonic()
            if left > 0:
                time.sleep(left)
            late = max(late, -left)
            self._sides[arrival.unit].recorder.submit(attempt(ref, arrival.person))
        return late

    def finish(self, late: float) -> Recorded:
        """Wait until the brokers took all, and tell what was recorded."""
        for side in self._sides.values():
            side.recorder.close(self._share.patience)
        heads = {number: side.outbox.head() for number, side in self._sides.items()}
        _wait(
            lambda: all(
                side.link.delivered >= heads[number].sequence
                for number, side in self._sides.items()
            ),
            self._share.patience,
        )
        undelivered = sum(
            heads[number].sequence - side.link.delivered for number, side in self._sides.items()
        )
        digests = {side.name.source: _digests(side.file) for side in self._sides.values()}
        return Recorded(digests, self._failed, undelivered, late)

    def _report(self, what: EventStored | StoreFailed) -> None:
        self._failed += isinstance(what, StoreFailed)


def _digests(file: Path) -> dict[int, str]:
    reader = OutboxReader(file)
    try:
        return {row.sequence: digest(row.token) for row in reader.after(0, 1_000_000)}
    finally:
        reader.close()


def _wait(condition: Callable[[], bool], seconds: float) -> None:
    until = time.monotonic() + seconds
    while not condition() and time.monotonic() < until:
        time.sleep(LOOK_SECONDS)


def _work(share: Share, parent: Pipe) -> None:
    """Run in a process of its own: answer each word of the parent with what it asks for."""
    # Hundreds of links would each say that a broker is gone.
    logging.getLogger("edge.mqtt").setLevel(logging.CRITICAL)
    try:
        _allow_files(len(share.numbers) * _FILES_PER_UNIT + 256)
        with ExitStack() as close:
            units = _Units(share, close)
            parent.send(units.registrations)
            parent.recv()
            parent.send(units.connect())
            begin: float = parent.recv()
            parent.send(units.finish(units.rush(begin)))
            parent.recv()  # until the parent has seen it stored: units stay connected
    except EOFError:
        return  # the parent has what it wanted
    except (OSError, SenyumError) as error:
        parent.send(error)


def _allow_files(count: int) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < count:
        raise OSError(f"{count} files are needed, {hard} allowed: raise it with ulimit -Hn {count}")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, count), hard))


class Fleet:
    """All processes. Raises LinkError where one of them fails."""

    def __init__(self, shares: Sequence[Share]) -> None:
        context = multiprocessing.get_context("spawn")
        self._pipes: list[Pipe] = []
        self._processes = []
        for share in shares:
            here, there = context.Pipe()
            self._pipes.append(here)
            self._processes.append(context.Process(target=_work, args=(share, there), daemon=True))
        self._patience = max(share.patience for share in shares)

    def open(self) -> list[dict[str, Any]]:
        """Make the units; returns the entries of their keys for a receiver's keys.json."""
        for process in self._processes:
            process.start()
        return [entry for part in self._answers(OPEN_SECONDS) for entry in part]

    def connect(self) -> float:
        """Connect all in the same instant; returns the seconds until the last one was."""
        self._tell(None)
        return float(max(self._answers(self._patience + OPEN_SECONDS)))

    def rush(self, begin: float, seconds: float) -> Recorded:
        """Record everybody's arrival, `begin` on CLOCK_MONOTONIC; takes about `seconds`."""
        self._tell(begin)
        parts = self._answers(seconds + 2 * self._patience + OPEN_SECONDS)
        return Recorded(
            {source: numbers for part in parts for source, numbers in part.digests.items()},
            sum(part.failed for part in parts),
            sum(part.undelivered for part in parts),
            max(part.late_s for part in parts),
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for pipe in self._pipes:
            pipe.close()  # wakes a process that waits for a word
        for process in self._processes:
            if process.pid is not None:
                process.join(20.0)
                process.kill()

    def _tell(self, word: float | None) -> None:
        for pipe in self._pipes:
            pipe.send(word)

    def _answers(self, seconds: float) -> list[Any]:
        until = time.monotonic() + seconds
        answers = []
        for pipe in self._pipes:
            if not pipe.poll(max(until - time.monotonic(), 0.0)):
                raise LinkError("a process of the simulation does not answer; is the machine busy?")
            try:
                answer = pipe.recv()
            except EOFError:
                raise LinkError("a process of the simulation has ended; see above") from None
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
) -> list[Share]:
    """Divide the units, one entry of `brokers` each, so that neighbours are in other processes."""
    made = []
    for part in range(min(processes, len(brokers))):
        numbers = range(part, len(brokers), processes)
        made.append(
            Share(
                folder,
                tuple(numbers),
                tuple(brokers[number] for number in numbers),
                tuple(arrival for arrival in arrivals if arrival.unit in numbers),
                patience,
            )
        )
    return made
