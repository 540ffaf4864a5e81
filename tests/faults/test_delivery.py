"""Power cuts for the unit and for the broker, in the middle of the work."""

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from wireunit import UNIT, Listener, Signer, until

from edge.bench.broker import PrivateBroker
from edge.mqtt.encoding import digest
from edge.mqtt.envelope import verify
from edge.mqtt.outbox import Reader, Row
from edge.mqtt.payload import ChainedEvent
from edge.mqtt.topics import Leaf

pytestmark = pytest.mark.broker
Start = Callable[[int], subprocess.Popen[bytes]]


@pytest.fixture
def start(broker: PrivateBroker, tmp_path: Path) -> Start:
    """Start a worker that stores up to so many events, and wait until it is at work."""

    def worker(events: int) -> subprocess.Popen[bytes]:
        paths = os.pathsep.join(path for path in sys.path if path)
        script = Path(__file__).with_name("wire_worker.py")
        process = subprocess.Popen(
            [sys.executable, script, tmp_path, str(broker.port), str(events)],
            env={**os.environ, "PYTHONPATH": paths},
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        return process

    return worker


def end(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.communicate()


def stored(folder: Path) -> list[Row]:
    reader = Reader(folder / "outbox.db")
    rows = reader.after(0, 10_000)
    reader.close()
    return rows


def check_chain(folder: Path, rows: list[Row]) -> None:
    """Verify every event and its link to the one before."""
    keys, previous = Signer(folder).keys, None
    for number, row in enumerate(rows, 1):
        event = verify(row.token, keys, UNIT.topic(Leaf.EVENT)).event
        assert isinstance(event, ChainedEvent)
        assert (event.number, event.previous, event.id) == (number, previous, row.id)
        previous = digest(row.token)
    assert len({row.id for row in rows}) == len(rows)


def survive(
    broker: PrivateBroker, folder: Path, start: Start, *, events: int, broker_kills: int, kills: int
) -> None:
    """Let events flow while broker and unit are killed; every one is kept, once, in order."""
    every = broker_kills // kills
    with Listener(broker.settings) as listener:
        worker = start(events)
        reader = Reader(folder / "outbox.db")
        for number in range(1, broker_kills + 1):
            enough = number * (events - 1) // broker_kills
            until(lambda enough=enough: reader.head().sequence >= enough, 30.0)  # type: ignore[misc]
            broker.kill()
            if number % every == 0:
                end(worker)
                worker = start(events)
            broker.start()
        until(lambda: reader.head().sequence == events, 30.0)
        for _ in range(10):  # deliveries are noted late; an orderly end notes them at once
            time.sleep(0.5)
            worker.terminate()
            worker.communicate(timeout=5.0)
            if reader.delivered() == events:
                break
            worker = start(events)
        assert reader.delivered() == events
        reader.close()
        rows = stored(folder)
        assert len(rows) == events
        check_chain(folder, rows)
        # Whatever arrived is one of them, to the byte; what a killed broker forgot after it had
        # acknowledged it is still in the outbox, to be asked for by number.
        arrived = set(listener.events())
        assert arrived <= {row.token for row in rows}
        assert len(arrived) > events // 2


def test_a_few_kills(broker: PrivateBroker, tmp_path: Path, start: Start) -> None:
    survive(broker, tmp_path, start, events=60, broker_kills=4, kills=2)


@pytest.mark.slow
def test_500_events_over_20_broker_kills_and_5_unit_kills(
    broker: PrivateBroker, tmp_path: Path, start: Start
) -> None:
    survive(broker, tmp_path, start, events=500, broker_kills=20, kills=5)


def test_killed_between_append_and_publish(
    broker: PrivateBroker, tmp_path: Path, start: Start
) -> None:
    broker.kill()  # so that nothing can be published
    worker = start(20)
    until(lambda: len(stored(tmp_path)) == 20, 20.0)
    end(worker)
    broker.start()
    with Listener(broker.settings) as listener:
        worker = start(21)
        until(lambda: len(listener.events()) >= 21, 20.0)
        time.sleep(0.2)
        end(worker)
        assert listener.events() == [row.token for row in stored(tmp_path)]
    check_chain(tmp_path, stored(tmp_path))
