"""The rate at which a central server verifies, checks, stores and acknowledges events.

Signed events of several units wait at a private mosquitto, as after an outage. Then RECEIVERS
processes of `senyum receive` start, which share them, and the time runs from a tenth of the events
stored to nine tenths. Nothing is left out but TLS: network, lines of output, durability.
"""

import multiprocessing
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import func, select

from edge import __version__
from edge.contract.keys import SigningKey, add_registration
from edge.contract.topics import TopicKind, UnitName
from edge.errors import StoreError
from edge.inference.models import liveness_rules
from edge.mqtt.connection import connect_client, new_client
from edge.outbox.event_signer import ChainHead, EventSigner, SigningContext
from edge.settings import BrokerSettings, Settings, UnitSettings
from edge.system.clock import SystemClock
from edge.types import Attempt, Match, Outcome, Reason
from senyum_central.store.event_store import Store
from senyum_central.store.schema import EVENT
from senyum_lab.servers.mosquitto import PrivateBroker
from senyum_lab.servers.postgres import PrivatePostgres

UNITS = 20
EVENTS = 20_000
RECEIVERS = 2  # one per core
PATIENCE = 300.0  # seconds for each part
METHOD = (
    f"{EVENTS} signed events of {UNITS} units wait at a local mosquitto; {RECEIVERS} processes of "
    "`senyum receive` share them ($share) into one store. Rate: events stored, between the first "
    "and the last tenth of them; CPU: of the receivers meanwhile, mosquitto and the database's "
    "server not counted. SQLite: WAL, synchronous FULL; PostgreSQL: fsync and "
    "synchronous_commit on; both on the disk of the folder."
)


def _publish(broker: BrokerSettings, folder: Path, number: int, events: int) -> None:
    """Sign and publish the chain of one unit; in its own process."""
    unit = UnitSettings(name=f"bench-{number}")
    name = UnitName.of(unit)
    context = SigningContext(
        unit,
        __version__,
        {"identity": "0" * 64},
        None,
        Settings().thresholds(liveness_rules(Settings())),
    )
    sealer = EventSigner(
        context, SigningKey.load_or_create(folder / f"{number}.key"), SystemClock()
    )
    client = new_client(broker, f"bench-{number}")
    client.max_inflight_messages_set(100)
    connect_client(client, broker)
    client.loop_start()
    head = ChainHead()
    sent = None
    for ref in range(events):
        attempt = Attempt(
            ref=ref,
            outcome=Outcome.RECORDED,
            reason=Reason.ACCEPTED,
            captured_ns=time.monotonic_ns(),
            person=f"{ref % 350:032x}",
            smile=75.0,
            smile_threshold=50.0,
            match=Match("0" * 32, 0.75, 0.25),
        )
        token = sealer.event(attempt, head).token
        head = head.followed_by(token)
        sent = client.publish(name.topic(TopicKind.EVENT), token, qos=1)
        if ref % 100 == 0:
            sent.wait_for_publish(PATIENCE)
    if sent is not None:
        sent.wait_for_publish(PATIENCE)
    client.disconnect()
    client.loop_stop()


def _receiver(folder: Path, broker: BrokerSettings, number: int, store: list[str]) -> list[str]:
    """Return the command line of one receiver."""
    program = "import sys; from edge.cli import main; sys.exit(main())"
    return [
        sys.executable,
        "-c",
        program,
        "receive",
        f"--broker={broker.host}:{broker.port}",
        f"--keys={folder / 'keys.json'}",
        f"--client-id=bench-receiver-{number}",
        "--group=bench",
        "--json",
        *store,
    ]


@dataclass(frozen=True, slots=True)
class _Figures:
    rate: float  # events per second
    cpu_us: float  # of all receivers, per event, without their start


def _run(folder: Path, store: list[str], count: Callable[[], int], events: int) -> _Figures:
    """Receive the events into one store."""
    with PrivateBroker(folder / "broker") as private, ExitStack() as stack:
        broker = private.settings
        printed = stack.enter_context((folder / "printed").open("wb"))

        def start() -> list[subprocess.Popen[bytes]]:
            return [
                subprocess.Popen(_receiver(folder, broker, number, store), stdout=printed)
                for number in range(RECEIVERS)
            ]

        processes = start()  # so that the broker stores the events for them
        _until(lambda: (folder / "broker" / "mosquitto.log").read_text().count("receiver-") >= 2)
        time.sleep(3.0)
        for process in processes:
            process.terminate()
            process.wait(PATIENCE)
        context = multiprocessing.get_context("spawn")
        with context.Pool(2) as pool:
            arguments = [(broker, folder, number, events // UNITS) for number in range(UNITS)]
            pool.starmap(_publish, arguments)
        processes = start()
        try:
            first, last = events // 10, events - events // 10
            stored = _until(lambda: count() if count() >= first else 0)
            began, before = time.perf_counter(), _spent(processes)
            ended = _until(lambda: count() if count() >= last else 0)
            lasted, spent = time.perf_counter() - began, _spent(processes) - before
            _until(lambda: count() == events)
        finally:
            for process in processes:
                process.terminate()
            for process in processes:
                process.wait(PATIENCE)
    if (taken := ended - stored) == 0:
        raise StoreError(f"{events} events are too few to time: they were stored at once")
    return _Figures(round(taken / lasted, 1), round(spent / taken * 1e6, 1))


def _spent(processes: list[subprocess.Popen[bytes]]) -> float:
    """Return the CPU seconds of these processes so far."""
    ticks = 0
    for process in processes:
        # proc(5): the name, in brackets, may contain spaces; utime and stime are fields 14 and 15.
        fields = Path(f"/proc/{process.pid}/stat").read_text(encoding="ascii").rpartition(")")[2]
        ticks += sum(map(int, fields.split()[11:13]))
    return ticks / os.sysconf("SC_CLK_TCK")


def _until(condition: Callable[[], int]) -> int:
    deadline = time.monotonic() + PATIENCE
    while not (found := condition()):
        if time.monotonic() > deadline:
            raise StoreError("the receivers did not store the events in time")
        time.sleep(0.02)
    return int(found)


def _measure_store(folder: Path, where: Path | str, password: Path | None, events: int) -> _Figures:
    folder.mkdir()
    for number in range(UNITS):
        key = SigningKey.load_or_create(folder / f"{number}.key")
        name = UnitName.of(UnitSettings(name=f"bench-{number}"))
        add_registration(folder / "keys.json", key.registration(name))
    options = [f"--store={where}"]
    if password is not None:
        options.append(f"--store-password-file={password}")
    with closing(Store(where, password=password)) as store:

        def count() -> int:
            with store.database.reading():
                return int(store.database.one(select(func.count()).select_from(EVENT)))

        return _run(folder, options, count, events)


def measure(
    events: int = EVENTS, folder: Path | None = None, *, postgres: bool = True
) -> dict[str, Any]:
    """Measure SQLite, and optionally PostgreSQL; `folder` (/var/tmp) is on the disk to measure.

    Returns received_per_s and received_cpu_us by database, and the method. Raises LinkError
    without mosquitto, StoreError without a PostgreSQL that is wanted, and for too few events.
    """
    disk = folder or Path("/var/tmp")  # noqa: S108 - a folder of our own is made in it
    found: dict[str, _Figures] = {}
    with tempfile.TemporaryDirectory(dir=disk) as name:
        place = Path(name)
        found["sqlite"] = _measure_store(place / "file", place / "events.db", None, events)
        if postgres:
            with PrivatePostgres(disk, durable=True) as server:
                address = server.create("events")
                found["postgresql"] = _measure_store(
                    place / "server", address, server.password_file, events
                )
    return {
        "received_per_s": {name: figures.rate for name, figures in found.items()},
        "received_cpu_us": {name: figures.cpu_us for name, figures in found.items()},
        "receive_method": METHOD,
    }
