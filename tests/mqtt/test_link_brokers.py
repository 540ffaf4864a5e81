"""Several brokers: which is tried when, over to the next, and back again."""

import logging
import socket
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
from mqtt_servers import ScriptedBroker, TcpProxy
from private_servers import PrivateBroker, free_port
from wireunit import FAST, Listener, WireUnit, attempt, until

from edge.mqtt.backoff import LinkTiming
from edge.mqtt.broker_pool import BrokerPool
from edge.mqtt.reason_codes import Action
from edge.outbox.replay import ReplayFinished, ReplayRequest
from edge.settings import BrokerSettings, OtherBrokerSettings

HOST = "127.0.0.1"
STAY = LinkTiming(failback_retry=600.0)


def both(first: int, second: int) -> BrokerSettings:
    return BrokerSettings(
        host=HOST, port=first, others=(OtherBrokerSettings(host=HOST, port=second),)
    )


@pytest.fixture
def second(tmp_path: Path) -> Iterator[PrivateBroker]:
    with PrivateBroker(tmp_path / "second") as private:
        yield private


# --- which is tried when: pure ---------------------------------------------------------------


def three() -> BrokerPool:
    others = tuple(OtherBrokerSettings(host=name) for name in ("second", "third"))
    settings = BrokerSettings(host="first", backoff_min=1.0, backoff_max=8.0, others=others)
    return BrokerPool(settings.in_order, LinkTiming(operator_retry=100.0))


def test_what_another_broker_leaves_out_is_as_in_the_first() -> None:
    first, second, third = BrokerSettings(
        host="a",
        port=8883,
        tls=True,
        ca=Path("ca.pem"),
        username="unit",
        others=(
            OtherBrokerSettings(host="b"),
            OtherBrokerSettings(host="c", port=1883, tls=False, username="other"),
        ),
    ).in_order
    assert (first.host, first.others) == ("a", ())
    assert (second.host, second.port, second.tls, second.username) == ("b", 8883, True, "unit")
    assert (third.host, third.port, third.tls, third.username) == ("c", 1883, False, "other")
    assert (second.ca, third.ca) == (Path("ca.pem"), None)


def test_the_next_is_tried_at_once_and_the_first_again_when_it_is_due() -> None:
    brokers = three()
    first, second, third = brokers.endpoints
    assert brokers.due(0.0) is first
    first.failed(Action.RETRY, 0.0)
    assert brokers.due(0.0) is second
    second.failed(Action.RETRY, 0.0)
    third.failed(Action.RETRY, 0.0)
    assert brokers.due(0.0) is None
    assert 0.0 < brokers.due_at < 1.0
    assert brokers.due(1.0) is first
    assert brokers.due(1.0, lost=first) is second
    alone = BrokerPool(BrokerSettings().in_order, STAY)
    assert alone.due(0.0, lost=alone.endpoints[0]) is alone.endpoints[0]


def test_each_is_tried_as_seldom_as_a_single_one() -> None:
    brokers = three()
    tries = dict.fromkeys(brokers.endpoints, 0)
    now = 0.0
    while now < 400.0:
        if (one := brokers.due(now)) is not None:
            tries[one] += 1
            one.failed(Action.RETRY, now)
        now += 0.01
    assert all(75 <= count <= 130 for count in tries.values())  # one in 4 s on average


def test_what_a_person_must_mend_is_tried_seldom() -> None:
    one = three().endpoints[0]
    one.failed(Action.RETRY_RARELY, 0.0)
    assert 75.0 <= one.due_at <= 125.0


# --- over, and back: real brokers ------------------------------------------------------------


@pytest.mark.broker
def test_over_to_the_second_and_back_to_the_first(
    broker: PrivateBroker,
    second: PrivateBroker,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    first = broker
    settings = both(first.port, second.port)
    with (
        caplog.at_level(logging.INFO, "edge"),
        Listener(first.settings) as at_first,
        Listener(second.settings) as at_second,
        WireUnit(tmp_path, settings, pace=FAST) as unit,
    ):
        unit.record(10)
        until(lambda: len(set(at_first.events())) == 10, 5.0)
        first.kill()
        unit.record(10)
        until(lambda: unit.link.delivered == 20, 10.0)
        assert unit.link.broker.endswith(str(second.port))
        until(lambda: len(set(at_second.events())) >= 10, 5.0)
        time.sleep(2.0)
        changes = list(unit.changes)
        first.start()
        until(lambda: unit.link.broker.endswith(str(first.port)), 20.0)
        unit.record(10)
        until(lambda: unit.link.delivered == 30, 10.0)
        until(lambda: len(set(at_first.events()) | set(at_second.events())) == 30, 5.0)
        assert unit.changes == changes == [True, False, True]  # going back is no loss
        until(lambda: len([m for m in at_second.messages if m[0].endswith("/state")]) >= 2, 5.0)
    assert "returning to broker" in caplog.text
    assert caplog.text.count("Connection refused") <= 1


@pytest.mark.broker
def test_the_second_serves_where_the_first_is_away_from_the_start(
    second: PrivateBroker, tmp_path: Path
) -> None:
    settings = both(free_port(), second.port)
    with Listener(second.settings) as listener, WireUnit(tmp_path, settings, pace=STAY) as unit:
        unit.record(3)
        until(lambda: len(listener.events()) == 3, 5.0)
        assert unit.changes == [True]


@pytest.mark.broker
def test_a_first_broker_that_dies_and_takes_connections_still_is_not_waited_for(
    broker: PrivateBroker, second: PrivateBroker, tmp_path: Path
) -> None:
    with WireUnit(tmp_path, both(broker.port, second.port), pace=STAY) as unit:
        until(lambda: unit.changes == [True], 5.0)
        broker.kill()
        with socket.create_server((HOST, broker.port)) as silent:
            until(lambda: unit.changes == [True, False, True], 10.0)
            assert unit.link.broker.endswith(str(second.port))
            silent.setblocking(False)
            with pytest.raises(BlockingIOError):
                silent.accept()


@pytest.mark.broker
def test_both_dead_and_the_second_comes_back(
    broker: PrivateBroker, second: PrivateBroker, tmp_path: Path
) -> None:
    with WireUnit(tmp_path, both(broker.port, second.port), pace=STAY) as unit:
        until(lambda: unit.changes == [True], 5.0)
        broker.kill()
        second.kill()
        unit.record(3)
        until(lambda: unit.changes == [True, False], 5.0)
        second.start()
        with Listener(second.settings):
            until(lambda: unit.link.delivered == 3, 10.0)


def test_a_first_broker_that_throws_us_out_is_not_gone_back_to_again_and_again(
    tmp_path: Path,
) -> None:
    """It lets us in each time, and takes no event."""
    with (
        ScriptedBroker(lambda *_: b"") as bad,
        ScriptedBroker() as good,
        WireUnit(
            tmp_path,
            both(bad.port, good.port),
            pace=LinkTiming(failback_retry=0.3, quarantine_retry=60.0),
        ) as unit,
    ):
        for _ in range(60):
            unit.record(1)
            time.sleep(0.1)
        until(lambda: unit.link.delivered == 60, 10.0)
        # 0.3 s, doubled each time: in 6 s about 5 times, beside the first tries by the back-off.
        assert bad.accepted <= 12


@pytest.mark.parametrize("code", [0x9C, 0x9D, 0x89, 0x8B, 0x87])
def test_a_broker_that_sends_us_away_is_left_for_the_next(tmp_path: Path, code: int) -> None:
    goodbye = bytes([0xE0, 0x02, code, 0x00])
    with (
        ScriptedBroker(lambda *_: goodbye) as first,
        ScriptedBroker() as next_,
        WireUnit(tmp_path, both(first.port, next_.port), pace=STAY) as unit,
    ):
        unit.record(5)
        until(lambda: unit.link.delivered == 5, 10.0)
        assert set(next_.numbers) == {1, 2, 3, 4, 5}


def test_what_one_broker_refuses_the_other_may_take(tmp_path: Path) -> None:
    with (
        ScriptedBroker(lambda number, _: 0x95 if number == 2 else 0) as first,
        ScriptedBroker() as next_,
        WireUnit(
            tmp_path, both(first.port, next_.port), pace=LinkTiming(quarantine_retry=600.0)
        ) as unit,
    ):
        unit.record(5)
        until(lambda: set(first.numbers) == {1, 2, 3, 4, 5}, 5.0)
        first.connack = b"\x20\x03\x00\x89\x00"
        first.cut()
        until(lambda: unit.link.delivered == 5, 5.0)
        assert next_.numbers == [2]


# --- a backlog -------------------------------------------------------------------------------


def test_a_live_event_overtakes_a_backlog(tmp_path: Path) -> None:
    with ScriptedBroker() as broker:
        unit = WireUnit(tmp_path, broker.settings)
        unit.outbox.append(*(partial(unit.signer.sealer.event, attempt(n)) for n in range(3000)))
        with unit:
            until(lambda: len(broker.numbers) > 100, 10.0)
            before = len(broker.numbers)
            unit.record(1)
            until(lambda: 3001 in broker.numbers, 10.0)
            assert broker.numbers.index(3001) - before < 1000
            until(lambda: unit.link.delivered == 3001, 30.0)
            assert len(broker.numbers) == 3001


@pytest.mark.parametrize("trouble", [0x10, 0x97, b""])
def test_what_the_archive_gives_is_sent_until_it_is_taken(
    tmp_path: Path, trouble: int | bytes
) -> None:
    """Refused, set aside or lost with the connection: and never in the way of a new event."""
    with (
        ScriptedBroker(lambda number, time: trouble if (number, time) == (4, 2) else 0) as broker,
        WireUnit(tmp_path, broker.settings) as unit,
    ):
        unit.record(10)
        until(lambda: unit.link.delivered == 10, 5.0)
        unit.link.request_replay(ReplayRequest(1, 3, 6))
        until(lambda: unit.events.of(ReplayFinished), 10.0)
        assert all(broker.times(number) >= 2 for number in (3, 4, 5, 6))
        assert broker.times(4) == (2 if trouble == 0x97 else 3)
        assert broker.times(7) == 1
        unit.record(1)
        until(lambda: unit.link.delivered == 11, 5.0)


# --- half open -------------------------------------------------------------------------------


@pytest.mark.broker
def test_a_half_open_connection_is_given_up(
    broker: PrivateBroker, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Neither end hears that the wire between swallows everything."""
    with TcpProxy(broker.port) as wire, Listener(broker.settings) as listener:
        with WireUnit(tmp_path, wire.settings, pace=LinkTiming(puback_timeout=1.0)) as unit:
            unit.record(3)
            until(lambda: unit.link.delivered == 3, 5.0)
            wire.blocked = True
            unit.record(3)
            until(lambda: unit.changes[-1] is False, 5.0)
            assert unit.link.error_code == "broker-silent"
            wire.blocked = False
            until(lambda: unit.link.delivered == 6, 10.0)
        until(lambda: len(set(listener.events())) == 6, 5.0)
    assert "answers no event" in caplog.text


@pytest.mark.broker
@pytest.mark.slow
def test_a_half_open_connection_without_events_is_given_up_by_keepalive(
    broker: PrivateBroker, tmp_path: Path
) -> None:
    with TcpProxy(broker.port) as wire:
        settings = wire.settings.model_copy(update={"keepalive": 5})
        with WireUnit(tmp_path, settings) as unit:
            until(lambda: unit.changes == [True], 5.0)
            wire.blocked = True
            until(lambda: unit.changes == [True, False], 20.0)
