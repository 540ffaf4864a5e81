"""The cost of signed, durable delivery, compared with plain MQTT, and in bytes on the disk.

Both rates are measured in one run against one private mosquitto, with the same payload size and
the same number of messages in flight. A subscribed session that is not connected makes the broker
store every message, so that no receiver shares the processor with the sender.

The bytes are those that the kernel counts for a process (`write_bytes` of /proc/self/io: whole
pages made dirty on a block device) while it stores and delivers events one at a time, including
opening, checkpointing and closing the outbox. The journal of the file system and the erase blocks
of the card come in addition; no process can measure them.
"""

import multiprocessing
import os
import sqlite3
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from multiprocessing.connection import Connection as Pipe
from pathlib import Path
from typing import Any

from paho.mqtt.client import Client

from edge.contract.topics import TopicKind, UnitName, subscription
from edge.errors import OutboxError
from edge.mqtt.connection import connect_client, new_client
from edge.outbox.recorder import BATCH, CAPACITY
from edge.outbox.schema import PAGE_BYTES
from edge.outbox.store import OutboxReader
from edge.settings import BrokerSettings, UnitSettings
from edge.types import EventStored, StoreFailed
from senyum_lab.servers.mosquitto import PrivateBroker
from senyum_lab.simulate.simulated_unit import SimulatedUnit, attempt

PERSON = "0" * 32
PATIENCE = 60.0  # seconds for each part
IDLE_SECONDS = 20.0  # measured without events
METHOD = (
    "events_per_s: submitted to the recorder (sign, SQLite WAL, synchronous FULL) until the last "
    "PUBACK; paho_events_per_s: the same bytes by paho QoS 1 with nothing signed or stored; both "
    "in one run, one local mosquitto, same window. events_cpu_us: of the sender, mosquitto "
    "not counted. commit_per_s: the same bytes put into bare SQLite on the same disk, a durable "
    f"commit each; commit_together_per_s: {BATCH} in each, as the recorder does if they wait. "
    "bytes_per_event: write_bytes of "
    "/proc/self/io of a process that stores and delivers events one by one. bytes_per_idle_hour: "
    "of the same, connected, over 20 s in which nothing happens, times 180."
)


class _BenchUnit:
    """A simulated unit that limits the number of attempts in the recorder."""

    def __init__(self, folder: Path, broker: BrokerSettings) -> None:
        self.unit = SimulatedUnit(folder, UnitSettings(name="bench"), broker)
        self.reader = OutboxReader(self.unit.file)
        self._submitted = 0
        self._reported = 0
        self._failed = 0

    def start(self) -> None:
        self.unit.start()
        until(lambda: self.unit.is_connected)

    def submit(self, ref: int) -> None:
        """Submit an attempt as soon as the recorder has capacity."""
        if self._submitted - self._reported >= CAPACITY:
            self._count(self.unit.reports.get(PATIENCE))
        self._submitted += 1
        self.unit.recorder.submit(attempt(ref, PERSON))

    def wait_delivered(self, sequence: int) -> None:
        until(lambda: self.unit.link.delivered >= sequence)

    def close(self) -> None:
        self.reader.close()
        self.unit.close(PATIENCE)
        self._count(self.unit.reports.get(0.0))
        if self._failed:
            raise OutboxError(f"{self.unit.file}: {self._failed} events were not stored")

    def _count(self, reports: Sequence[EventStored | StoreFailed]) -> None:
        self._reported += len(reports)
        self._failed += sum(isinstance(report, StoreFailed) for report in reports)


def until(condition: Callable[[], bool]) -> None:
    """Wait for a condition that another thread fulfils. Raises TimeoutError after PATIENCE."""
    deadline = time.monotonic() + PATIENCE
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError("the broker did not accept the events in time")
        time.sleep(0.0005)


def create_offline_session(broker: BrokerSettings) -> None:
    """Subscribe and disconnect, so that the broker stores messages for the session."""
    subscribed = threading.Event()
    client = new_client(broker, "offline")
    client.on_connect = lambda client, *_: client.subscribe(subscription(TopicKind.EVENT), 1)
    client.on_subscribe = lambda *_: subscribed.set()
    connect_client(client, broker)
    client.loop_start()
    subscribed.wait(PATIENCE)
    client.disconnect()
    client.loop_stop()


def _signed_rate(folder: Path, broker: BrokerSettings, events: int) -> tuple[float, float, int]:
    """Return the events per second of the unit, their CPU seconds, and the message size."""
    unit = _BenchUnit(folder, broker)
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
    """Return the messages per second of paho alone, with its own thread and window."""
    answered = threading.Semaphore(0)
    connected = threading.Event()
    client: Client = new_client(broker, "bare")
    client.max_inflight_messages_set(broker.window)
    client.on_connect = lambda *_: connected.set()
    client.on_publish = lambda *_: answered.release()
    connect_client(client, broker)
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
    """Run in its own process; send the bytes written per event and per idle hour."""
    before = _written()
    unit = _BenchUnit(folder, broker)
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
            f"{folder}: no bytes were counted; choose a folder on a disk, not in memory"
        )
    return written, idle


def measure(events: int = 1000, folder: Path | None = None) -> dict[str, Any]:
    """Measure delivery; `folder` (default /var/tmp) must be on the disk to measure.

    Returns events_per_s, events_cpu_us, paho_events_per_s, commit_per_s, commit_together_per_s,
    bytes_per_event, bytes_per_idle_hour, message_bytes, window, method.
    Raises LinkError if mosquitto is not installed, OutboxError if `folder` is not on a disk.
    """
    # Unlike /tmp, /var/tmp is not in memory.
    disk = folder or Path("/var/tmp")  # noqa: S108 - a folder of our own is made in it
    with tempfile.TemporaryDirectory(dir=disk) as name:
        place = Path(name)
        with PrivateBroker(place / "broker") as private:
            broker = private.settings
            create_offline_session(broker)
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


def commit_rate(file: Path, size: int, messages: int, together: int = 1) -> float:
    """Return the messages of `size` bytes per second that SQLite commits durably.

    `together` messages are in one commit. WAL, synchronous FULL and the page size are those of the
    outbox, so this is an upper limit for the outbox on that disk. Raises sqlite3.Error.
    """
    with closing(sqlite3.connect(file, isolation_level=None)) as db:
        db.execute(f"PRAGMA page_size = {PAGE_BYTES}")
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("PRAGMA synchronous = FULL")
        db.execute("CREATE TABLE message (number INTEGER PRIMARY KEY, content TEXT) STRICT")
        content = os.urandom(size // 2 + 1).hex()[:size]
        began = time.perf_counter()
        for _ in range(0, messages, together):
            db.execute("BEGIN IMMEDIATE")
            for _ in range(together):
                db.execute("INSERT INTO message (content) VALUES (?)", (content,))
            db.execute("COMMIT")
        return -(-messages // together) * together / (time.perf_counter() - began)
