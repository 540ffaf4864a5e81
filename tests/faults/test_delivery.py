"""Power cuts for the unit and for the broker, in the middle of the work."""

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from receiving import Central
from wireunit import UNIT, Listener, Signer, WireUnit, until

from edge.bench.broker import PrivateBroker
from edge.central.notice import Kind
from edge.mqtt.encoding import digest
from edge.mqtt.envelope import verify
from edge.mqtt.link import LinkState
from edge.mqtt.outbox import Reader, Row
from edge.mqtt.payload import ChainedEvent
from edge.mqtt.topics import Leaf

pytestmark = pytest.mark.broker
GRACE_S = 2.0  # before the receiver calls a number missing
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


def check_central(central: Central, rows: list[Row]) -> None:
    """Hold what the receiver stored and reported against what the unit wrote."""
    stored = central.stored()
    written = {number: row.token for number, row in enumerate(rows, 1)}
    assert stored.items() <= written.items()  # to the byte
    assert central.missing() == written.keys() - stored.keys()
    # A gap is called healed exactly where all of it has come.
    gaps, healed = central.numbers(Kind.GAP), central.numbers(Kind.HEALED)
    assert len(set(gaps)) == len(gaps)
    assert [gap for gap in gaps if stored.keys() >= set(gap)] == [g for g in gaps if g in healed]
    assert set(healed) <= set(gaps)
    assert not central.said(Kind.FORK) + central.said(Kind.REFUSED)


def survive(
    broker: PrivateBroker, folder: Path, start: Start, *, events: int, broker_kills: int, kills: int
) -> None:
    """Let events flow while broker and unit are killed; every one is kept, once, in order.

    What a killed broker forgot after it had acknowledged it, the receiver reports by number.
    """
    every = broker_kills // kills
    store = folder / "central.db"
    with Central(store, broker.settings, Signer(folder).keys, GRACE_S) as central:
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
        until(lambda: len(central.stored()) + len(central.missing()) >= events, 20.0)
        time.sleep(2.0)  # one more look for gaps, which would tell of one that healed
    rows = stored(folder)
    assert len(rows) == events
    check_chain(folder, rows)
    check_central(central, rows)
    assert len(central.stored()) > events // 2


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


@pytest.mark.parametrize("wiped", [True, False])
def test_what_a_broker_acknowledged_and_forgot_is_reported_by_number(
    broker: PrivateBroker, tmp_path: Path, *, wiped: bool
) -> None:
    """The events of a receiver that is away are on the broker's disk, and nowhere else there."""
    store, keys = tmp_path / "central.db", Signer(tmp_path).keys
    with WireUnit(tmp_path, broker.settings) as unit:
        with Central(store, broker.settings, keys, GRACE_S) as central:
            unit.record(5)
            until(lambda: len(central.stored()) == 5, 10.0)
        unit.record(7)
        until(lambda: unit.link.delivered == 12, 10.0)
        broker.stop()  # it saves all that it holds
        saved = tmp_path / "broker" / "mosquitto.db"
        assert saved.is_file()
        if wiped:
            saved.unlink()
        broker.start()
        with Central(store, broker.settings, keys, GRACE_S) as central:
            until(lambda: unit.link.state is LinkState.UP, 10.0)
            unit.record(1)
            until(lambda: 13 in central.stored(), 10.0)
            if wiped:
                until(lambda: central.said(Kind.GAP), 10.0)
            time.sleep(GRACE_S + 1.5)
    texts = [notice.text for notice in central.said(Kind.GAP)]
    assert texts == (["events 6–12 are missing"] if wiped else [])  # noqa: RUF001 - a range
    check_central(central, stored(tmp_path))
    check_chain(tmp_path, stored(tmp_path))
