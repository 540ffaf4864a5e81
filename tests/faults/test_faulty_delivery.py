"""Power cuts for the unit and for the broker, in the middle of the work."""

import time
from pathlib import Path

import pytest
from private_servers import PrivateBroker
from receiving import Central
from survival import PATIENCE, UnitProcess, check_central, check_chain, stored
from wireunit import Listener, Signer, WireUnit, until

from edge.mqtt.link import LinkState
from edge.outbox.store import OutboxReader
from senyum_central.ingest.notices import NoticeKind

pytestmark = pytest.mark.broker
GRACE_S = 2.0  # before the receiver calls a number missing


def survive(
    broker: PrivateBroker, folder: Path, *, events: int, broker_kills: int, kills: int
) -> None:
    """Let events flow while broker and unit are killed; every one is kept, once, in order.

    What a killed broker forgot after it had acknowledged it, the receiver reports by number.
    """
    every = broker_kills // kills
    store = folder / "central.db"
    with Central(store, broker.settings, Signer(folder).keys, GRACE_S) as central:
        unit = UnitProcess(folder, broker.port, events)
        for number in range(1, broker_kills + 1):
            enough = number * (events - 1) // broker_kills
            until(lambda: unit.shown >= enough, PATIENCE)  # noqa: B023 - called in this turn
            broker.kill()
            if number % every == 0:
                unit.kill()
                unit = UnitProcess(folder, broker.port, events)
            broker.start()
        until(lambda: unit.delivered, PATIENCE)
        rows = stored(folder)
        # The unit stays: what is missing at the end of its chain only its health tells.
        check_central(central, rows)
        unit.stop()
    assert len(rows) == events
    check_chain(folder, rows)
    reader = OutboxReader(folder / "outbox.db")
    assert reader.delivered() == events
    reader.close()
    assert len(central.stored()) > events // 2


@pytest.mark.slow
def test_a_few_kills(broker: PrivateBroker, tmp_path: Path) -> None:
    survive(broker, tmp_path, events=60, broker_kills=4, kills=2)


@pytest.mark.slow
@pytest.mark.timeout(600)  # it takes 20 s, and six times as long where six others compute
def test_500_events_over_20_broker_kills_and_5_unit_kills(
    broker: PrivateBroker, tmp_path: Path
) -> None:
    survive(broker, tmp_path, events=500, broker_kills=20, kills=5)


@pytest.mark.slow
def test_killed_between_append_and_publish(broker: PrivateBroker, tmp_path: Path) -> None:
    broker.kill()  # so that nothing can be published
    unit = UnitProcess(tmp_path, broker.port, 20)
    until(lambda: unit.shown == 20, PATIENCE)
    unit.kill()
    broker.start()
    with Listener(broker.settings) as listener:
        unit = UnitProcess(tmp_path, broker.port, 21)
        until(lambda: len(listener.events()) >= 21, PATIENCE)
        until(lambda: unit.delivered, PATIENCE)
        unit.stop()
        assert listener.events() == [row.token for row in stored(tmp_path)]
    check_chain(tmp_path, stored(tmp_path))


@pytest.mark.slow
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
                until(lambda: central.said(NoticeKind.GAP), 10.0)
            time.sleep(GRACE_S + 1.5)
    texts = [notice.text for notice in central.said(NoticeKind.GAP)]
    assert texts == (["events 6–12 are missing"] if wiped else [])  # noqa: RUF001 - a range
    check_central(central, stored(tmp_path))
    check_chain(tmp_path, stored(tmp_path))
