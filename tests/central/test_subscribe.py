import logging
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from central_parts import Unit
from mqtt_servers import OLD_REFUSAL, TcpProxy
from private_servers import PrivateBroker

from edge.errors import LinkError, LinkRefused, SenyumError, StoreError
from edge.mqtt.connection import connect_client, new_client
from edge.settings import BrokerSettings
from senyum_central.ingest.message import Message
from senyum_central.ingest.subscriber import Subscriber
from senyum_central.ingest.subscriptions import OWN_EXPIRY_S, SHARED_EXPIRY_S

GROUP = "central"
ME = "receiver-1"
UNIT = Unit()
IMPATIENT = BrokerSettings(host="127.0.0.1", backoff_min=0.05, backoff_max=0.2)


class Recording:
    """Keeps what it is handed; fails as a full disk does while `full` is set."""

    def __init__(self) -> None:
        self.payloads: list[bytes] = []
        self.batches: list[int] = []
        self.connections = 0
        self.full = False

    def connected(self) -> None:
        self.connections += 1

    def take(self, messages: Sequence[Message]) -> None:
        if self.full:
            raise StoreError("events.db: the store cannot be written: disk full")
        self.batches.append(len(messages))
        self.payloads += [message.payload for message in messages]

    def idle(self) -> list[Message]:
        return []


class Running:
    """A subscriber in a thread of its own, and how it ended."""

    def __init__(
        self, broker: BrokerSettings, client_id: str = ME, group: str | None = None
    ) -> None:
        self.handler = Recording()
        self.error: SenyumError | None = None
        self.subscriber = Subscriber(broker, client_id, self.handler, group=group)
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def _run(self) -> None:
        try:
            self.subscriber.run()
        except SenyumError as error:
            self.error = error

    def until(self, reached: Callable[[], bool], seconds: float = 10.0) -> None:
        deadline = time.monotonic() + seconds
        while not reached():
            assert time.monotonic() < deadline, "not in time"
            time.sleep(0.01)

    def ready(self, connections: int = 1) -> None:
        self.until(lambda: self.handler.connections >= connections or self.error is not None)
        assert self.error is None

    def failed(self) -> str:
        self.thread.join(10.0)
        assert not self.thread.is_alive()
        assert isinstance(self.error, LinkError), self.error
        assert "\n" not in str(self.error)
        return str(self.error)

    def close(self) -> None:
        self.subscriber.stop()
        self.thread.join(5.0)
        assert not self.thread.is_alive()


@contextmanager
def running(
    broker: BrokerSettings, client_id: str = ME, group: str | None = None
) -> Iterator[Running]:
    one = Running(broker, client_id, group)
    try:
        yield one
    finally:
        one.close()


def impatient(broker: PrivateBroker) -> BrokerSettings:
    return IMPATIENT.model_copy(update={"port": broker.port})


@pytest.fixture
def mosquitto(tmp_path: Path) -> Iterator[PrivateBroker]:
    with PrivateBroker(tmp_path / "broker") as broker:
        yield broker


def publish(broker: BrokerSettings, *messages: Message) -> None:
    client = new_client(broker, "publisher")
    connect_client(client, broker)
    client.loop_start()
    try:
        for message in messages:
            client.publish(message.topic, message.payload, qos=1).wait_for_publish(10.0)
    finally:
        client.disconnect()
        client.loop_stop()


def numbered(*numbers: int) -> list[Message]:
    return [UNIT.message(str(number)) for number in numbers]


@pytest.mark.broker
def test_what_was_not_stored_comes_again(mosquitto: PrivateBroker) -> None:
    with running(mosquitto.settings) as first:
        first.ready()
        first.handler.full = True
        publish(mosquitto.settings, *numbered(1))
        first.thread.join(10.0)
    assert isinstance(first.error, StoreError)
    assert first.handler.payloads == []
    publish(mosquitto.settings, *numbered(2))
    with running(mosquitto.settings) as second:
        second.until(lambda: second.handler.payloads == [b"1", b"2"])
    with running(mosquitto.settings) as third:
        third.ready()
        publish(mosquitto.settings, *numbered(3))
        third.until(lambda: bool(third.handler.payloads))
    assert third.handler.payloads == [b"3"], "what was stored was acknowledged"


@pytest.mark.broker
def test_many_waiting_messages_are_taken_in_few_batches(mosquitto: PrivateBroker) -> None:
    with running(mosquitto.settings) as one:
        one.ready()
    publish(mosquitto.settings, *numbered(*range(200)))
    with running(mosquitto.settings) as one:
        one.until(lambda: len(one.handler.payloads) == 200)
    assert one.handler.payloads == [str(number).encode() for number in range(200)]
    assert len(one.handler.batches) <= 100


@pytest.mark.broker
def test_a_broker_that_restarts_is_found_again(
    mosquitto: PrivateBroker, caplog: pytest.LogCaptureFixture
) -> None:
    with running(impatient(mosquitto)) as one:
        one.ready()
        mosquitto.kill()
        time.sleep(0.5)
        mosquitto.start()
        one.ready(2)
        publish(mosquitto.settings, *numbered(1))
        one.until(lambda: one.handler.payloads == [b"1"])
    assert len(warnings(caplog)) == 1


@pytest.mark.broker
def test_a_broker_that_is_not_there_yet_is_said_once_and_waited_for(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    broker = PrivateBroker(tmp_path / "broker")
    with running(impatient(broker)) as one:
        time.sleep(0.8)
        with broker:
            one.ready()
            one.close()
    (said,) = warnings(caplog)
    assert f"127.0.0.1:{broker.port}" in said
    assert "Connection refused" in said


@pytest.mark.broker
def test_a_wrong_password_ends_with_one_line(tmp_path: Path) -> None:
    passwords = tmp_path / "passwords"
    passwords.write_text("")
    options = ["allow_anonymous false", f"password_file {passwords}"]
    secret = tmp_path / "password"
    secret.write_text("hunter2")
    secret.chmod(0o600)
    with PrivateBroker(tmp_path / "broker", options=options) as broker:
        settings = broker.settings.model_copy(update={"username": "central", "password": secret})
        with running(settings) as one:
            said = one.failed()
    assert "Not authorized" in said
    assert "--password-file" in said
    assert "hunter2" not in said


@pytest.mark.broker
def test_two_receivers_of_one_name_are_told_so(
    mosquitto: PrivateBroker, caplog: pytest.LogCaptureFixture
) -> None:
    with running(impatient(mosquitto)) as first:
        first.ready()
        with running(impatient(mosquitto)):
            first.until(lambda: any("--client-id" in said for said in warnings(caplog)))


@pytest.mark.broker
def test_two_receivers_of_a_group_share_the_load(mosquitto: PrivateBroker) -> None:
    settings = mosquitto.settings
    with (
        running(settings, "receiver-1", GROUP) as first,
        running(settings, "receiver-2", GROUP) as second,
    ):
        first.ready()
        second.ready()
        publish(settings, *numbered(*range(20)))
        first.until(lambda: len(first.handler.payloads + second.handler.payloads) == 20)
    assert first.handler.payloads
    assert second.handler.payloads
    assert not set(first.handler.payloads) & set(second.handler.payloads)


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [r.getMessage() for r in caplog.records if r.levelno >= logging.WARNING]


# --- brokers that mosquitto cannot play --------------------------------------------------------


class ScriptedBroker:
    """Answers CONNECT and SUBSCRIBE with what it was given, and keeps the filters asked for."""

    def __init__(
        self,
        connack: bytes = bytes(3),
        refuse_shared: int = 0,
        farewell: bytes = b"",
        retained: bytes = b"",
    ) -> None:
        """`retained` is a PUBLISH before each SUBACK, which waits for its acknowledgement."""
        self.filters: list[str] = []
        self.expiries: list[int] = []
        self._connack = connack
        self._refuse_shared = refuse_shared
        self._farewell = farewell
        self._retained = retained
        self._waiting: list[bytes] = []  # SUBSCRIBEs
        self._listener = socket.create_server(("127.0.0.1", 0))
        port = self._listener.getsockname()[1]
        self.settings = IMPATIENT.model_copy(update={"port": port})
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        with suppress(OSError):
            while True:
                self._serve_one()

    def _serve_one(self) -> None:
        peer, _ = self._listener.accept()
        peer.settimeout(10.0)
        with peer, peer.makefile("rb") as stream:
            while head := stream.read(1):
                kind = head[0] >> 4
                content = stream.read(self._length(stream.read))
                if kind == 1:
                    # Fixed fields of ten bytes, the length of the properties, and the first one.
                    assert content[11] == 0x11  # session expiry interval
                    self.expiries.append(struct.unpack(">I", content[12:16])[0])
                    peer.sendall(bytes([0x20, len(self._connack)]) + self._connack)
                    if self._connack[1]:
                        return
                elif kind == 8 and self._retained:
                    self._waiting.append(content)
                    peer.sendall(self._retained)
                elif kind == 8:
                    self._suback(peer, content)
                elif kind == 4:
                    self._suback(peer, self._waiting.pop(0))
                elif kind == 14:
                    return

    @staticmethod
    def _length(read: Callable[[int], bytes]) -> int:
        value, shift = 0, 0
        while True:
            byte = read(1)[0]
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                return value
            shift += 7

    def _suback(self, peer: socket.socket, content: bytes) -> None:
        mid, properties = content[:2], content[2]
        (length,) = struct.unpack(">H", content[3 + properties : 5 + properties])
        wanted = content[5 + properties : 5 + properties + length].decode()
        self.filters.append(wanted)
        code = self._refuse_shared if wanted.startswith("$share") and self._refuse_shared else 1
        peer.sendall(bytes([0x90, 4]) + mid + bytes([0, code]))
        if len(self.filters) == 3:
            peer.sendall(self._farewell)

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join(5.0)


@pytest.mark.parametrize(
    ("connack", "suback"),
    [
        (bytes([0, 0, 2, 0x2A, 0]), 0),  # property: Shared Subscription Available 0
        (bytes(3), 0x9E),  # SUBACK: Shared Subscriptions not supported
    ],
)
def test_without_shared_subscriptions_it_subscribes_plainly(
    connack: bytes, suback: int, caplog: pytest.LogCaptureFixture
) -> None:
    broker = ScriptedBroker(connack, suback)
    with running(broker.settings, group=GROUP) as one:
        one.ready()
    broker.close()
    assert broker.filters[-1] == "senyum/v1/+/+/+/event"
    assert broker.expiries == [SHARED_EXPIRY_S, OWN_EXPIRY_S]
    assert "no shared subscriptions" in warnings(caplog)[0]


def test_a_broker_that_answers_only_once_what_it_sent_is_acknowledged() -> None:
    broker = ScriptedBroker(retained=b"\x32\x07\x00\x01t\x00\x01\x00x")
    with running(broker.settings) as one:
        one.ready()
        one.until(lambda: one.handler.payloads == [b"x"] * 3)
    broker.close()


def test_a_refused_subscription_ends_with_one_line() -> None:
    broker = ScriptedBroker(refuse_shared=0x87)
    with running(broker.settings, group=GROUP) as one:
        said = one.failed()
    broker.close()
    assert "$share/central/senyum/v1/+/+/+/event" in said
    assert "access list" in said


def test_a_broker_that_says_another_came_under_our_name() -> None:
    broker = ScriptedBroker(farewell=bytes([0xE0, 1, 0x8E]))
    with running(broker.settings) as one:
        assert "--client-id" in one.failed()
    broker.close()
    assert not isinstance(one.error, LinkRefused)


@pytest.mark.broker
def test_a_password_that_counts_no_more_is_not_the_callers_mistake(
    mosquitto: PrivateBroker, tmp_path: Path
) -> None:
    """A service that was let in once is worth starting again."""
    with running(impatient(mosquitto)) as one:
        one.ready()
        mosquitto.kill()
        strict = ["allow_anonymous false", f"password_file {tmp_path / 'passwords'}"]
        (tmp_path / "passwords").write_text("")
        with PrivateBroker(tmp_path / "strict", mosquitto.port, strict):
            assert "Not authorized" in one.failed()
    assert one.error is not None
    assert one.error.exit_status == 1


@pytest.mark.broker
def test_a_broker_that_speaks_only_mqtt_3_1_1(
    mosquitto: PrivateBroker, caplog: pytest.LogCaptureFixture
) -> None:
    with (
        caplog.at_level(logging.INFO, "edge"),
        TcpProxy(mosquitto.port, refusal=OLD_REFUSAL) as wire,
        running(impatient(mosquitto).model_copy(update={"port": wire.port})) as one,
    ):
        one.ready()
        publish(mosquitto.settings, *numbered(1))
        one.until(lambda: one.handler.payloads == [b"1"])
    assert set(wire.versions) == {4, 5}
    assert caplog.text.count("connected with MQTT 3.1.1") == 1


@pytest.mark.parametrize(("code", "words"), [(0x8A, "Banned"), (0x85, "identifier")])
def test_a_broker_that_refuses_us(code: int, words: str) -> None:
    broker = ScriptedBroker(bytes([0, code, 0]))
    with running(broker.settings) as one:
        assert words in one.failed()
    broker.close()
    assert isinstance(one.error, LinkRefused)


def test_a_broker_that_is_busy_is_tried_again(caplog: pytest.LogCaptureFixture) -> None:
    broker = ScriptedBroker(bytes([0, 0x89, 0]))
    with running(broker.settings) as one:
        one.until(lambda: bool(warnings(caplog)))
    broker.close()
    assert one.error is None
    assert "busy" in warnings(caplog)[0]
