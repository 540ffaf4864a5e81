"""What signed, durable delivery costs: beside bare MQTT, and in bytes on the disk.

Both rates are taken in one run against one private mosquitto, with the same payload size and the
same number of messages in flight. A session that is subscribed but not connected makes the
broker keep every message, so that no receiver shares the processor with the sender.

The bytes are those that the kernel counts for a process (`write_bytes` of /proc/self/io: whole
pages made dirty on a block device) while it stores and delivers events one at a time, the outbox
opened, checkpointed and closed within the count. The card's own wear adds the file system's
journal and the card's erase blocks, which no process sees.
"""

import multiprocessing
import tempfile
import threading
import time
from collections.abc import Callable
from multiprocessing.connection import Connection as Pipe
from pathlib import Path
from typing import Any

from paho.mqtt.client import Client

from edge.contract.topics import TopicKind, UnitName, subscription
from edge.errors import OutboxError
from edge.mqtt.client import connect, new_client
from edge.outbox.recorder import BATCH, CAPACITY
from edge.outbox.store import OutboxReader
from edge.settings import BrokerSettings, UnitSettings
from edge.types import EventStored, StoreFailed
from senyum_lab.bench.commits import commit_rate
from senyum_lab.servers.mosquitto import PrivateBroker
from senyum_lab.simulate.simulated_unit import SimulatedUnit, attempt

PERSON = "0" * 32
PATIENCE = 60.0  # seconds for any one part
IDLE_SECONDS = 20.0  # watched while nothing happens
METHOD = (
    "events_per_s: submitted to the recorder (sign, SQLite WAL, synchronous FULL) until the last "
    "PUBACK; paho_events_per_s: the same bytes by paho QoS 1 with nothing signed or stored; both "
    "in one run, one local mosquitto, same window. events_cpu_us: of the sender, mosquitto "
    "not counted. commit_per_s: the same bytes put into bare SQLite on the same disk, a durable "
    f"commit each; commit_together_per_s: {BATCH} in each, as the recorder does when so many wait. "
    "bytes_per_event: write_bytes of "
    "/proc/self/io of a process that stores and delivers events one by one. bytes_per_idle_hour: "
    "of the same, connected, over 20 s in which nothing happens, times 180."
)


class _Unit:
    """Outbox, recorder and link over one folder."""

    def __init__(self, folder: Path, broker: BrokerSettings) -> None:
        self.side = SimulatedUnit(folder, UnitSettings(name="bench"), broker, self._report)
        self.reader = OutboxReader(self.side.file)
        self._free = threading.Semaphore(CAPACITY)
        self._failed = 0

    def start(self) -> None:
        self.side.start()
        self.side.up.wait(PATIENCE)

    def submit(self, ref: int) -> None:
        """Hand over an attempt as soon as the recorder has room."""
        self._free.acquire(timeout=PATIENCE)
        self.side.recorder.submit(attempt(ref, PERSON))

    def wait_delivered(self, sequence: int) -> None:
        until(lambda: self.side.link.delivered >= sequence)

    def close(self) -> None:
        self.reader.close()
        self.side.close(PATIENCE)
        if self._failed:
            raise OutboxError(f"{self.side.file}: {self._failed} events could not be stored")

    def _report(self, what: EventStored | StoreFailed) -> None:
        self._failed += isinstance(what, StoreFailed)
        self._free.release()


def until(condition: Callable[[], bool]) -> None:
    """Wait for what another thread brings about; TimeoutError after PATIENCE."""
    deadline = time.monotonic() + PATIENCE
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError("the broker did not take the events in time")
        time.sleep(0.0005)


def park_a_session(broker: BrokerSettings) -> None:
    """Subscribe and leave, so that the broker has somebody to keep messages for."""
    subscribed = threading.Event()
    client = new_client(broker, "parked")
    client.on_connect = lambda client, *_: client.subscribe(subscription(TopicKind.EVENT), 1)
    client.on_subscribe = lambda *_: subscribed.set()
    connect(client, broker)
    client.loop_start()
    subscribed.wait(PATIENCE)
    client.disconnect()
    client.loop_stop()


def _signed_rate(folder: Path, broker: BrokerSettings, events: int) -> tuple[float, float, int]:
    """Return events a second through the unit, their CPU seconds, and the bytes of one message."""
    unit = _Unit(folder, broker)
    unit.start()
    began, spent = time.perf_counter(), time.process_time()
    for ref in range(events):
        unit.submit(ref)
    unit.wait_delivered(events)
    rate, cpu = events / (time.perf_counter() - began), time.process_time() - spent
    size = len(unit.reader.after(events - 1, 1)[0].token)
    unit.close()
    return rate, cpu, size


def bare_rate(broker: BrokerSettings, events: int, size: int) -> float:
    """Return messages a second by paho alone, its own thread and window."""
    answered = threading.Semaphore(0)
    connected = threading.Event()
    client: Client = new_client(broker, "bare")
    client.max_inflight_messages_set(broker.window)
    client.on_connect = lambda *_: connected.set()
    client.on_publish = lambda *_: answered.release()
    connect(client, broker)
    client.loop_start()
    connected.wait(PATIENCE)
    topic, payload = UnitName("org", "site", "bare").topic(TopicKind.EVENT), b"x" * size
    began = time.perf_counter()
    for _ in range(events):
        client.publish(topic, payload, qos=1)
    for _ in range(events):
        answered.acquire(timeout=PATIENCE)
    rate = events / (time.perf_counter() - began)
    client.disconnect()
    client.loop_stop()
    return rate


def _written() -> int:
    lines = Path("/proc/self/io").read_text(encoding="ascii").splitlines()
    return int(dict(line.split(": ") for line in lines)["write_bytes"])


def _count_bytes(folder: Path, broker: BrokerSettings, events: int, result: Pipe) -> None:
    """Run in a process of its own; send what one event wrote, and what an idle hour would."""
    before = _written()
    unit = _Unit(folder, broker)
    unit.start()
    for ref in range(events):
        unit.submit(ref)
        unit.wait_delivered(ref + 1)
    busy = _written()
    time.sleep(IDLE_SECONDS)
    idle = _written() - busy
    unit.close()
    result.send(((_written() - before - idle) / events, idle * 3600 / IDLE_SECONDS))


def _count_writes(folder: Path, broker: BrokerSettings, events: int) -> tuple[float, float]:
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe(duplex=False)
    process = context.Process(target=_count_bytes, args=(folder, broker, events, there))
    process.start()
    there.close()
    written, idle = here.recv() if here.poll(PATIENCE * 3) else (0.0, 0.0)
    process.join(PATIENCE)
    if written == 0.0:
        raise OutboxError(
            f"{folder}: no bytes were counted; name a folder on a disk, not in memory"
        )
    return written, idle


def measure(events: int = 1000, folder: Path | None = None) -> dict[str, Any]:
    """Measure delivery; `folder` (default /var/tmp) must be on the kind of disk that is meant.

    Returns events_per_s, events_cpu_us, paho_events_per_s, commit_per_s, commit_together_per_s,
    bytes_per_event, bytes_per_idle_hour, message_bytes, window, method.
    Raises LinkError where mosquitto cannot be had, OutboxError where the disk is none.
    """
    # /var/tmp outlives a restart, so unlike /tmp it is not in memory.
    disk = folder or Path("/var/tmp")  # noqa: S108 - a folder of our own is made in it
    with tempfile.TemporaryDirectory(dir=disk) as name:
        place = Path(name)
        with PrivateBroker(place / "broker") as private:
            broker = private.settings
            park_a_session(broker)
            for part in ("rate", "bytes"):
                (place / part).mkdir()
            rate, cpu, size = _signed_rate(place / "rate", broker, events)
            bare = bare_rate(broker, events, size)
            commits = [
                commit_rate(place / f"commits-{together}.db", size, events, together)
                for together in (1, BATCH)
            ]
            written, idle = _count_writes(place / "bytes", broker, events)
    return {
        "events_per_s": round(rate, 1),
        "events_cpu_us": round(cpu / events * 1e6, 1),
        "paho_events_per_s": round(bare, 1),
        "commit_per_s": round(commits[0], 1),
        "commit_together_per_s": round(commits[1], 1),
        "bytes_per_event": round(written),
        "bytes_per_idle_hour": round(idle),
        "message_bytes": size,
        "window": broker.window,
        "method": METHOD,
    }
