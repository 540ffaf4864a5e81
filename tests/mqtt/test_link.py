import logging
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from private_servers import PrivateBroker, free_port
from wireunit import UNIT, Listener, WireUnit, until

from edge.contract.envelope import parse_will, verify
from edge.contract.events import ChainedEvent, HealthEvent, OnlineStatus, StateEvent, Will
from edge.contract.jose import digest
from edge.contract.topics import TopicKind
from edge.errors import LinkError, LinkRefused, SecretError
from edge.mqtt.backoff import LinkTiming
from edge.mqtt.connection import (
    DISCONNECT_SECONDS,
    WILL_DELAY_SECONDS,
    Connection,
    ConnectOptions,
    new_client,
)
from edge.mqtt.link import LinkState
from edge.outbox.event_signer import HealthReport
from edge.outbox.store import OutboxReader
from edge.settings import BrokerSettings
from edge.system.clock import ClockReading, SystemClock

pytestmark = pytest.mark.broker


def numbers(unit: WireUnit, tokens: list[str]) -> list[int]:
    """Verify each and return the sequence numbers."""
    topic = UNIT.topic(TopicKind.EVENT)
    events = [verify(token, unit.signer.keys, topic).event for token in tokens]
    return [event.number for event in events if isinstance(event, ChainedEvent)]


def state_of(unit: WireUnit, listener: Listener) -> StateEvent | None:
    """Return the last word on `state`."""
    topic = UNIT.topic(TopicKind.STATE)
    bodies = [body for where, body, _ in listener.messages if where == topic]
    if not bodies or bodies[-1].startswith(b"{"):
        return None
    event = verify(bodies[-1], unit.signer.keys, topic).event
    assert isinstance(event, StateEvent)
    return event


def test_events_arrive_in_order_once(broker: PrivateBroker, tmp_path: Path) -> None:
    with Listener(broker.settings) as listener, WireUnit(tmp_path, broker.settings) as unit:
        unit.record(60)
        until(lambda: len(listener.events()) >= 60, 10.0)
        assert numbers(unit, listener.events()) == list(range(1, 61))


def test_birth_health_and_an_orderly_end(broker: PrivateBroker, tmp_path: Path) -> None:
    with Listener(broker.settings) as listener:
        with WireUnit(tmp_path, broker.settings) as unit:
            until(lambda: len(listener.messages) == 2, 5.0)
            born = state_of(unit, listener)
            assert born is not None
            assert (born.data.status, born.data.session) == (OnlineStatus.ONLINE, 1)
            unit.record(3)
            began = time.monotonic()
        assert time.monotonic() - began < 10.0
        assert unit.changes == [True, False]
        assert unit.link.state is LinkState.CLOSED
        until(lambda: len(listener.messages) == 6, 5.0)
        gone = state_of(unit, listener)
        assert gone is not None
        assert gone.data.status is OnlineStatus.OFFLINE
        assert (gone.data.sequence, gone.data.head) == (3, digest(listener.events()[-1]))
        topic, body, _ = next(m for m in listener.messages if m[0].endswith("/health"))
        assert isinstance(verify(body, unit.signer.keys, topic).event, HealthEvent)

    with Listener(broker.settings) as late:  # state and health are retained, events are not
        until(lambda: len(late.messages) == 2, 5.0)
        assert all(retained for _, _, retained in late.messages)


@pytest.mark.slow
def test_the_broker_speaks_for_a_unit_that_vanished(broker: PrivateBroker) -> None:
    topic = UNIT.topic(TopicKind.STATE)
    will = Will(status=OnlineStatus.OFFLINE, session=3).model_dump_json().encode()
    with Listener(broker.settings) as listener:
        vanished = Connection(broker.settings)
        vanished.connect(ConnectOptions(UNIT.client_id, (topic, will)))
        vanished.drop()
        time.sleep(WILL_DELAY_SECONDS - 5)
        assert listener.messages == []
        until(lambda: listener.messages, 15.0)
        where, body, _ = listener.messages[0]
        assert where == topic
        assert parse_will(body).session == 3


def test_the_broker_is_away_at_the_start(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    broker = PrivateBroker(tmp_path / "broker")
    with (
        caplog.at_level(logging.INFO, "edge"),
        WireUnit(tmp_path, broker.settings) as unit,
    ):
        unit.record(5)
        until(lambda: unit.link.state is LinkState.WAITING, 5.0)
        time.sleep(0.5)
        with broker, Listener(broker.settings) as listener:
            until(lambda: len(listener.events()) >= 5, 10.0)
            assert sorted(set(numbers(unit, listener.events()))) == [1, 2, 3, 4, 5]
            unit.link.close()
    loud = [record for record in caplog.records if "Connection refused" in record.message]
    assert len(loud) == 1
    assert any("reached again" in record.message for record in caplog.records)


def test_the_broker_is_killed_in_the_middle(broker: PrivateBroker, tmp_path: Path) -> None:
    """What the unit has is whole; what arrived is part of it, and nothing else."""
    with Listener(broker.settings) as listener, WireUnit(tmp_path, broker.settings) as unit:
        for _ in range(4):
            unit.record(15)
            broker.kill()
            until(lambda: unit.changes[-1] is False, 5.0)
            broker.start()
            until(lambda: unit.changes[-1] is True, 5.0)
        until(lambda: unit.link.delivered == 60, 20.0)
        with closing(OutboxReader(unit.file)) as reader:
            rows = reader.after(0, 100)
        assert numbers(unit, [row.token for row in rows]) == list(range(1, 61))
        assert set(listener.events()) <= {row.token for row in rows}
        assert unit.changes.count(False) == 4


def test_without_a_subscriber_events_wait(
    broker: PrivateBroker, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with (
        caplog.at_level(logging.INFO, "edge"),
        WireUnit(tmp_path, broker.settings) as unit,
    ):
        unit.record(40)
        time.sleep(0.5)
        assert unit.link.delivered == 0
        with Listener(broker.settings, UNIT.topic(TopicKind.EVENT)) as listener:
            until(lambda: unit.link.delivered == 40, 10.0)
            until(lambda: set(numbers(unit, listener.events())) == set(range(1, 41)), 5.0)
            assert len(listener.events()) < 80
    said = [record.message for record in caplog.records]
    assert said.count("no central server is subscribed; events wait") == 1
    assert said.count("events are delivered again") == 1


def test_what_was_delivered_is_not_sent_again_after_a_restart(
    broker: PrivateBroker, tmp_path: Path
) -> None:
    with Listener(broker.settings) as listener:
        with WireUnit(tmp_path, broker.settings) as unit:
            unit.record(10)
        with WireUnit(tmp_path, broker.settings) as unit:
            unit.record(1)
            until(lambda: len(listener.events()) >= 11, 5.0)
        assert numbers(unit, listener.events()) == list(range(1, 12))


def test_an_event_stored_by_a_process_that_died_is_sent_by_the_next(
    broker: PrivateBroker, tmp_path: Path
) -> None:
    dead = WireUnit(tmp_path, broker.settings)  # its link never starts: killed before it sent
    dead.recorder.start()
    dead.record(3)
    dead.__exit__(None, None, None)
    with Listener(broker.settings) as listener, WireUnit(tmp_path, broker.settings) as unit:
        until(lambda: len(listener.events()) == 3, 5.0)
        assert numbers(unit, listener.events()) == [1, 2, 3]


def noted(file: Path) -> int:
    with closing(OutboxReader(file)) as reader:
        return reader.delivered()


def test_deliveries_are_noted_on_disk_in_time(broker: PrivateBroker, tmp_path: Path) -> None:
    with Listener(broker.settings), WireUnit(tmp_path, broker.settings) as unit:
        unit.record(70)
        until(lambda: noted(unit.file) >= 64, 10.0)


def test_a_few_deliveries_are_noted_after_a_while(broker: PrivateBroker, tmp_path: Path) -> None:
    pace = LinkTiming(persist_interval=0.1)
    with Listener(broker.settings), WireUnit(tmp_path, broker.settings, pace=pace) as unit:
        unit.record(3)
        until(lambda: noted(unit.file) == 3, 10.0)


def test_a_few_deliveries_leave_the_disk_alone_until_the_end(
    broker: PrivateBroker, tmp_path: Path
) -> None:
    with Listener(broker.settings):
        with WireUnit(tmp_path, broker.settings) as unit:
            unit.record(3)
            until(lambda: unit.link.delivered == 3, 10.0)
            assert noted(unit.file) == 0
        assert noted(unit.file) == 3


def test_deliveries_are_noted_at_the_end_though_the_broker_is_gone(
    broker: PrivateBroker, tmp_path: Path
) -> None:
    with WireUnit(tmp_path, broker.settings) as unit, Listener(broker.settings):
        unit.record(3)
        until(lambda: unit.link.delivered == 3, 10.0)
        broker.kill()
        until(lambda: unit.changes[-1:] == [False], 10.0)
    assert noted(unit.file) == 3


def test_a_broker_that_does_not_answer_is_given_up(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        settings = BrokerSettings(host="127.0.0.1", port=silent.getsockname()[1])
        with WireUnit(tmp_path, settings) as unit:
            until(lambda: unit.link.state is LinkState.WAITING, 20.0)
            assert unit.changes == []


@pytest.mark.parametrize(
    "answer", [b"HTTP/1.1 400 Bad Request\r\n\r\n", b"\x20\xff\xff\xff\xff\x01"]
)
def test_what_is_no_broker_is_told_and_tried_again(tmp_path: Path, answer: bytes) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        settings = BrokerSettings(host="127.0.0.1", port=server.getsockname()[1])
        with WireUnit(tmp_path, settings) as unit:
            for _ in range(2):
                peer, _ = server.accept()
                peer.sendall(answer)
                peer.close()
            assert unit.changes == []


def test_a_link_that_never_started_closes(tmp_path: Path) -> None:
    unit = WireUnit(tmp_path, BrokerSettings(port=free_port()))
    assert unit.link.close()
    assert unit.link.state is LinkState.CLOSED
    unit.outbox.close()


def test_a_wrong_password_file_is_named_before_anything_starts(tmp_path: Path) -> None:
    missing = BrokerSettings(username="unit", password=tmp_path / "password")
    with pytest.raises(SecretError, match="password"):
        new_client(missing, "x")


def test_a_broker_that_cannot_start_says_why(tmp_path: Path) -> None:
    broken = PrivateBroker(tmp_path, options=("no_such_option 1",))
    with pytest.raises(LinkError, match="does not start"):
        broken.start()


def test_events_that_the_broker_forbids_wait(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Mosquitto 2.0.11 answers the first with "Not authorized" and then drops the connection."""
    acl = tmp_path / "acl"
    acl.write_text(f"topic readwrite {UNIT.topic(TopicKind.STATE)}\n")
    folder = tmp_path / "broker"
    strict = PrivateBroker(folder, options=(f"acl_file {acl}",))
    with strict, WireUnit(tmp_path, strict.settings) as unit:
        unit.record(5)
        until(lambda: unit.changes.count(True) >= 3, 10.0)
        assert unit.link.delivered == 0
        said = [record.message for record in caplog.records]
        assert len(said) == len(set(said))
        strict.stop()
        with PrivateBroker(folder, strict.port) as mild, Listener(mild.settings) as listener:
            until(lambda: unit.link.delivered == 5, 10.0)
            until(lambda: set(numbers(unit, listener.events())) == {1, 2, 3, 4, 5}, 5.0)


def test_a_wrong_figure_of_health_does_not_stop_the_events(
    broker: PrivateBroker, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    unit = WireUnit(tmp_path, broker.settings)
    unit.link.set_health(HealthReport(temperature_c=float("nan")))
    with Listener(broker.settings) as listener, unit:
        unit.record(2)
        until(lambda: len(listener.events()) == 2, 5.0)
    assert "temperature_c" in caplog.text
    assert not any(topic.endswith("health") for topic, _, _ in listener.messages)


def test_a_password_that_is_away_for_a_moment_ends_nothing(
    broker: PrivateBroker, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """As when it is renewed: the link must be there once the file is back."""
    password = tmp_path / "password"
    password.touch(0o600)
    password.write_text("secret")
    known = broker.settings.model_copy(update={"username": "unit", "password": password})
    with Listener(broker.settings) as listener, WireUnit(tmp_path, known) as unit:
        until(lambda: unit.changes == [True], 5.0)
        password.rename(tmp_path / "elsewhere")
        broker.kill()
        broker.start()
        until(lambda: "No such file or directory\n" in caplog.text, 10.0)
        time.sleep(0.3)
        assert unit.link.state is not LinkState.CLOSED
        (tmp_path / "elsewhere").rename(password)
        unit.record(3)
        until(lambda: unit.link.delivered == 3, 10.0)
        until(lambda: set(numbers(unit, listener.events())) == {1, 2, 3}, 5.0)
    said = [r.message for r in caplog.records if "password cannot" in r.message]
    assert len([message for message in said if message.endswith("is kept")]) <= 1
    assert len([message for message in said if message.endswith("directory")]) == 1


def test_the_link_survives_what_nobody_thought_of(
    broker: PrivateBroker, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    troubles = iter([ZeroDivisionError("of a person"), ZeroDivisionError("of a person")])

    class FailingClock(SystemClock):
        """Fails while the link signs its first messages."""

        def read(self) -> ClockReading:
            for trouble in troubles:
                raise trouble
            return super().read()

    clock = FailingClock()
    with (
        Listener(broker.settings) as listener,
        WireUnit(tmp_path, broker.settings, clock=clock) as unit,
    ):
        until(lambda: unit.changes == [True, False, True, False, True], 30.0)
        unit.record(2)  # only now: an event that is taken would end the first trouble
        until(lambda: set(numbers(unit, listener.events())) == {1, 2}, 30.0)
    said = [record for record in caplog.records if "ZeroDivisionError" in record.message]
    assert len(said) == 1
    assert "of a person" not in caplog.text


@contextmanager
def answering(connack: bytes) -> Iterator[BrokerSettings]:
    """A peer with small buffers that answers CONNECT and then reads no more."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        peers: list[socket.socket] = []

        def serve() -> None:
            peer, _ = server.accept()
            peers.append(peer)
            peer.recv(4096)
            peer.sendall(connack)

        thread = threading.Thread(target=serve)
        thread.start()
        yield BrokerSettings(host="127.0.0.1", port=server.getsockname()[1])
        thread.join()
        for peer in peers:
            peer.close()


def connection(broker: BrokerSettings) -> Connection:
    opened = Connection(broker)
    opened.connect(ConnectOptions(UNIT.client_id))
    return opened


def test_closing_gives_up_a_peer_that_does_not_read_and_does_not_spin() -> None:
    with answering(b"\x20\x03\x00\x00\x00") as broker:
        stuck = connection(broker)
        for _ in range(300):  # more than the buffers of both sockets hold
            stuck.publish(UNIT.topic(TopicKind.EVENT), "x" * 100_000, qos=1, retain=False)
        worked: list[float] = []

        def close() -> None:
            stuck.close()
            worked.append(time.thread_time())

        closing = threading.Thread(target=close, daemon=True)
        closing.start()
        closing.join(DISCONNECT_SECONDS + 1.5)
        assert not closing.is_alive()
        assert worked[0] < DISCONNECT_SECONDS / 2


def test_who_is_refused_for_good_is_the_callers_mistake() -> None:
    with answering(b"\x20\x03\x00\x86\x00") as broker:
        with pytest.raises(LinkRefused, match="Bad user name or password") as caught:
            connection(broker)
        assert caught.value.exit_status == 2
    with answering(b"\x20\x03\x00\x88\x00") as broker:
        with pytest.raises(LinkError, match="Server unavailable") as later:
            connection(broker)
        assert later.value.exit_status == 1


def test_a_credential_whose_name_is_impossible_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    wrong = BrokerSettings(username="unit", password=tmp_path / ("p" * 300))
    with pytest.raises(SecretError, match="File name too long"):
        new_client(wrong, "x")


def test_the_first_try_too_is_put_off_by_chance(
    broker: PrivateBroker, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Hundreds of units get their power back in the same instant."""
    with (
        caplog.at_level(logging.DEBUG, "edge"),
        WireUnit(tmp_path, broker.settings) as unit,
    ):
        until(lambda: unit.link.state is LinkState.UP, 10.0)
    steps = [r.message for r in caplog.records if r.message.startswith("link ")]
    assert steps[:3] == [
        "link idle -> waiting",
        "link waiting -> connecting",
        "link connecting -> up",
    ]
