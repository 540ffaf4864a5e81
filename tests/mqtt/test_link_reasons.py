"""What each reason of a broker leads to, with a scripted broker and with a real one."""

import re
import threading
import time
from pathlib import Path

import pytest
from mqtt_servers import ScriptedBroker
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.reasoncodes import ReasonCode
from private_servers import PrivateBroker
from wireunit import FAST, UNIT, Listener, WireUnit, until

from edge.contract.topics import TopicKind
from edge.errors import ErrorCode
from edge.mqtt.backoff import LinkTiming
from edge.mqtt.inflight import MAX_FAILURES
from edge.mqtt.link import LinkState
from edge.mqtt.reason_codes import (
    CONNACK,
    DISCONNECT,
    PUBACK,
    Action,
    connack_disposition,
    disconnect_disposition,
    puback_disposition,
)
from edge.types import Audit, AuditCode

EVENT = UNIT.topic(TopicKind.EVENT)
PATIENT = LinkTiming(operator_retry=60.0, quarantine_retry=60.0)


def disconnect(code: int) -> bytes:
    return bytes([0xE0, 0x02, code, 0x00])


def test_every_reason_of_the_standard_has_its_row() -> None:
    """A reason that no table names gets a default, which for these would be wrong."""
    for code, names in ReasonCode(PacketTypes.CONNACK).names.items():
        for packets in names.values():
            if PacketTypes.CONNACK in packets and code not in (0x00, 0x80, 0x83):
                assert code in CONNACK, hex(code)
            if PacketTypes.DISCONNECT in packets and code not in (0, 4, 0x80, 0x83, 0x8C):
                unrelated = code in (0x8F, 0x94, 0x9E, 0x9F, 0xA0, 0xA1, 0xA2)
                assert unrelated or code in DISCONNECT, hex(code)
    assert {0x00, 0x10, 0x87, 0x90, 0x97, 0x99} <= set(PUBACK)


@pytest.mark.parametrize(
    "packet", [PacketTypes.CONNACK, PacketTypes.PUBACK, PacketTypes.DISCONNECT]
)
def test_any_reason_is_taken_in_any_packet(packet: int) -> None:
    reason = ReasonCode(packet)
    for code in range(256):
        assert reason.unpack(bytes((code,))) == 1
        assert (reason.value, reason.is_failure) == (code, code >= 0x80)
        assert str(reason)
    assert str(ReasonCode(PacketTypes.PUBACK, identifier=0x95)) == "Packet too large"
    assert str(ReasonCode(PacketTypes.PUBACK, identifier=0xF0)) == "reason code 0xf0"


def test_reasons_of_a_later_standard_are_tried_again() -> None:
    for of in (connack_disposition, disconnect_disposition):
        assert of(0xF0).action is Action.RETRY
    assert puback_disposition(0xF0).action is Action.SUSPECT_EVENT


def test_only_success_is_delivery() -> None:
    assert [code for code in range(256) if puback_disposition(code).action is Action.DELIVERED] == [
        0
    ]


@pytest.mark.parametrize("code", [0x90, 0x95, 0x97, 0x99])
def test_an_event_refused_for_its_own_sake_blocks_nobody(
    tmp_path: Path, code: int, caplog: pytest.LogCaptureFixture
) -> None:
    pace = LinkTiming(health_interval=0.1, quarantine_retry=0.5)
    mended = threading.Event()
    with (
        ScriptedBroker(lambda n, _: code if n == 2 and not mended.is_set() else 0) as broker,
        WireUnit(tmp_path, broker.settings, pace=pace) as unit,
    ):
        unit.record(10)
        until(lambda: set(broker.numbers) == set(range(1, 11)), 20.0)
        assert unit.link.delivered == 1
        until(lambda: broker.last_error() == puback_disposition(code).error_code, 5.0)
        until(lambda: broker.health[-1]["outbox_depth"] == 1, 5.0)
        mended.set()
        until(lambda: unit.link.delivered == 10, 5.0)  # once it was tried again
        assert len(broker.numbers) == 9 + broker.times(2)
        until(lambda: broker.last_error() is None, 5.0)
        assert unit.changes == [True]
    loud = [record.message for record in caplog.records if "later events pass" in record.message]
    assert len(loud) == 1


@pytest.mark.parametrize("code", [0x80, 0x83, 0x91])
def test_an_unexplained_refusal_is_held_against_the_event_in_the_end(
    tmp_path: Path, code: int
) -> None:
    with (
        ScriptedBroker(lambda number, _: code if number == 2 else 0) as broker,
        WireUnit(tmp_path, broker.settings, pace=PATIENT) as unit,
    ):
        unit.record(6)
        until(lambda: broker.times(2) == 5, 10.0)
        unit.record(1)  # and from then on, nobody waits for it
        until(lambda: set(broker.numbers) == set(range(1, 8)), 10.0)
        assert broker.times(2) == 5
        assert unit.link.delivered == 1


@pytest.mark.parametrize("code", [0x81, 0x95, 0x97, 0x99])
def test_an_event_that_ends_the_connection_is_found_and_set_aside(
    tmp_path: Path, code: int
) -> None:
    """With several in flight the broker does not say which: they go one by one then."""
    with (
        ScriptedBroker(lambda number, _: disconnect(code) if number == 7 else 0) as broker,
        WireUnit(tmp_path, broker.settings, pace=PATIENT) as unit,
    ):
        unit.record(20)
        until(lambda: set(broker.numbers) == set(range(1, 21)), 10.0)
        assert unit.link.delivered == 6
        # Three times, but where we were still writing, the goodbye and its reason may be lost.
        assert broker.times(7) < 2 * MAX_FAILURES


def test_a_broker_that_drops_the_connection_without_a_word_is_got_past(tmp_path: Path) -> None:
    """As 3.1.1 brokers do with what is too large for them."""
    with (
        ScriptedBroker(lambda number, _: b"" if number == 3 else 0) as broker,
        WireUnit(tmp_path, broker.settings, pace=PATIENT) as unit,
    ):
        unit.record(6)
        until(lambda: set(broker.numbers) == set(range(1, 7)), 20.0)
        assert unit.link.delivered == 2


def test_what_is_refused_as_not_authorized_is_not_tried_like_a_time_out(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    pace = LinkTiming(operator_retry=1.0, health_interval=0.1)
    with (
        ScriptedBroker(lambda number, time: 0x87 if time < 3 else 0) as broker,
        WireUnit(tmp_path, broker.settings, pace=pace) as unit,
    ):
        began = time.monotonic()
        unit.record(1)
        until(lambda: broker.last_error() == "not-authorized", 5.0)
        until(lambda: unit.link.delivered == 1, 10.0)
        assert time.monotonic() - began > 1.9  # though the back-off ends at 0.2 s
        assert broker.times(1) == 3
        assert unit.changes == [True]
    loud = [record for record in caplog.records if "access list" in record.message]
    assert len(loud) == 1


def test_nobody_there_is_no_delivery_and_no_hammering(tmp_path: Path) -> None:
    with ScriptedBroker(lambda _, time: 0x10) as broker:
        settings = broker.settings
        with WireUnit(tmp_path, settings, pace=LinkTiming(health_interval=0.1)) as unit:
            unit.record(30)
            until(lambda: broker.last_error() == "no-receiver", 5.0)
            seen = len(broker.numbers)
            time.sleep(2.0)
            assert len(broker.numbers) - seen < 60  # one a back-off of 0.1 s on average
            assert unit.link.delivered == 0
            broker.answer = lambda _number, _time: 0
            until(lambda: unit.link.delivered == 30, 5.0)


def test_a_whole_backlog_refused_for_its_size_is_probed_not_hammered(tmp_path: Path) -> None:
    with (
        ScriptedBroker(lambda _number, _time: 0x97) as broker,
        WireUnit(tmp_path, broker.settings, pace=PATIENT) as unit,
    ):
        unit.record(60)
        until(lambda: len(broker.numbers) >= 16, 20.0)
        before = len(broker.numbers)
        time.sleep(1.0)
        assert len(broker.numbers) - before < 44
        broker.answer = lambda _number, _time: 0
        until(lambda: unit.link.delivered == 60, 60.0)
        assert unit.link.error_code is None


@pytest.mark.parametrize(
    ("code", "trouble"),
    [
        (0x85, "client-id-refused"),
        (0x86, "password-refused"),
        (0x87, "not-authorized"),
        (0x8A, "banned"),
        (0x9A, "feature-missing"),
        (0x9D, "broker-moved"),
    ],
)
def test_a_refusal_that_a_person_must_mend_is_slow_and_told(
    tmp_path: Path, code: int, trouble: str, caplog: pytest.LogCaptureFixture
) -> None:
    with (
        ScriptedBroker(connack=bytes([0x20, 3, 0, code, 0])) as broker,
        WireUnit(tmp_path, broker.settings, pace=LinkTiming(operator_retry=0.5)) as unit,
    ):
        time.sleep(1.1)
        assert 2 <= broker.accepted <= 3  # though the back-off averages 0.1 s
        assert unit.link.error_code == trouble
        until(lambda: unit.link.state is LinkState.WAITING, 1.0)
    assert len([r for r in caplog.records if "refused us" in r.message]) == 1


@pytest.mark.parametrize("code", [0x88, 0x89, 0x97, 0x9C, 0x9F])
def test_a_busy_broker_is_tried_again_by_the_back_off(tmp_path: Path, code: int) -> None:
    with (
        ScriptedBroker(connack=bytes([0x20, 3, 0, code, 0])) as broker,
        WireUnit(tmp_path, broker.settings, pace=PATIENT) as unit,
    ):
        until(lambda: broker.accepted >= 3, 5.0)
        broker.connack = b"\x20\x03\x00\x00\x00"
        unit.record(1)
        until(lambda: unit.link.delivered == 1, 5.0)


def test_another_unit_of_the_same_name_is_told_and_not_fought(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with (
        ScriptedBroker(lambda *_: disconnect(0x8E)) as broker,
        WireUnit(tmp_path, broker.settings, pace=PATIENT) as unit,
    ):
        unit.record(1)
        until(lambda: unit.link.error_code is ErrorCode.TAKEN_OVER, 5.0)
        time.sleep(1.0)
        assert unit.changes == [True, False]
        assert broker.accepted == 1
    assert "Session taken over" in caplog.text


def test_a_packet_larger_than_the_broker_takes_is_never_sent(tmp_path: Path) -> None:
    limit = b"\x20\x08\x00\x00\x05\x27" + (1000).to_bytes(4)
    with ScriptedBroker(connack=limit) as broker:
        with WireUnit(tmp_path, broker.settings, pace=PATIENT) as unit:
            unit.record(3)
            until(lambda: unit.link.error_code is ErrorCode.TOO_LARGE, 5.0)
            assert unit.changes == [True]
        until(lambda: len(broker.sizes) > 1, 5.0)
        assert broker.numbers == []
        assert max(broker.sizes[1:]) <= 1000


@pytest.mark.parametrize("most", [1, 2, 5])
def test_no_more_is_in_flight_than_the_broker_allows(tmp_path: Path, most: int) -> None:
    limit = b"\x20\x06\x00\x00\x03\x21" + most.to_bytes(2)
    with (
        ScriptedBroker(lambda _, time: None if time == 1 else 0, connack=limit) as broker,
        WireUnit(tmp_path, broker.settings, pace=LinkTiming(puback_timeout=1.0)) as unit,
    ):
        unit.record(10)
        time.sleep(0.3)
        until(lambda: broker.numbers, 20.0)
        sent = list(broker.numbers)  # and some again, where recording took longer than `answer`
        again = next((n for n, number in enumerate(sent) if number in sent[:n]), len(sent))
        assert again <= most
        broker.answer = lambda _number, _time: 0
        until(lambda: unit.link.delivered == 10, 10.0)


def test_a_broker_without_qos_1_is_no_broker_for_events(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with (
        ScriptedBroker(connack=b"\x20\x05\x00\x00\x02\x24\x00") as broker,
        WireUnit(tmp_path, broker.settings, pace=PATIENT) as unit,
    ):
        until(lambda: unit.link.error_code is ErrorCode.FEATURE, 5.0)
        assert unit.changes == []
    assert "does not support QoS 1" in caplog.text


@pytest.mark.broker
def test_mosquitto_refuses_a_large_event_with_a_reason_the_standard_has_not(
    tmp_path: Path,
) -> None:
    """`message_size_limit` answers PUBACK 0x95 and ends the connection; the smaller one passes."""
    options = ("message_size_limit 1700",)
    with PrivateBroker(tmp_path / "broker", options=options) as broker:
        unit = WireUnit(tmp_path, broker.settings, pace=PATIENT)
        with Listener(broker.settings) as listener, unit:
            unit.record(1)  # about 1,850 bytes
            small = Audit(ref=-1, code=AuditCode.STARTED, captured_ns=time.monotonic_ns())
            unit.recorder.submit(small)  # about 1,500
            until(lambda: len(listener.events()) == 1, 10.0)
            assert unit.link.error_code is ErrorCode.TOO_LARGE
            assert unit.link.delivered == 0


@pytest.mark.broker
def test_mosquittos_packet_limit_is_honoured_before_sending(tmp_path: Path) -> None:
    with (
        PrivateBroker(tmp_path / "broker", options=("max_packet_size 1500",)) as broker,
        WireUnit(tmp_path, broker.settings, pace=FAST) as unit,
    ):
        unit.record(3)
        until(lambda: unit.link.error_code is ErrorCode.TOO_LARGE, 5.0)
        assert unit.changes == [True]


def test_the_docs_list_every_code() -> None:
    page = (Path(__file__).parents[2] / "docs" / "link.md").read_text(encoding="utf-8")
    listed = re.findall(r"`([a-z-]+)`", page[page.index("| code |") :])
    assert sorted(listed) == sorted(trouble.value for trouble in ErrorCode)
