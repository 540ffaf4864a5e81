"""Which version of MQTT is used with a broker: by the device, receiver, admin commands, doctor."""

import contextlib
import socket
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import hypothesis.strategies as st
import pytest
from hypothesis import given, settings
from mqtt_servers import OLD_REFUSAL, SILENCE, LoopbackServer, TcpProxy
from private_servers import PrivateBroker
from wireunit import UNIT, Listener, Signer, WireUnit, attempt, until

from edge.appliance.doctor.broker import probe
from edge.appliance.doctor.diagnostics import CheckStatus
from edge.contract.topics import TopicKind
from edge.errors import ErrorCode, LinkError, SettingsError
from edge.mqtt import connection
from edge.mqtt.connection import CONNECT_SECONDS, Connection, ConnectOptions
from edge.mqtt.reason_codes import Action, ConnectionEnded, ConnectionRejected
from edge.outbox.event_signer import ChainHead
from edge.settings import BrokerSettings
from senyum_central.admin.broker_session import BrokerSession
from senyum_central.ingest.message import Message
from senyum_central.ingest.subscriber import Subscriber

CLOSED = b""


# --- the rule ----------------------------------------------------------------------------------

REFUSED = b"\x20\x03\x00\x84\x00"  # CONNACK: unsupported protocol version
BAD_PASSWORD = b"\x20\x03\x00\x86\x00"
GARBAGE = b"SSH-2.0-x\r\n"
ACCEPTED = {5: b"\x20\x03\x00\x00\x00", 4: b"\x20\x02\x00\x00"}
# What a broker does with a CONNECT of MQTT 5 (True) or 3.1.1, the n-th since the start.
Behaviour = Callable[[bool, int], bytes | None]


class VersionBroker(LoopbackServer):
    """Accepts CONNECT, or answers it with the bytes that `behaviour` returns and closes."""

    def __init__(self, behaviour: Behaviour) -> None:
        super().__init__()
        self.behaviour = behaviour
        self.versions: list[int] = []

    def serve(self, peer: socket.socket) -> None:
        version = peer.recv(65_536)[8]
        self.versions.append(version)
        answer = self.behaviour(version == 5, len(self.versions))
        peer.sendall(ACCEPTED[version] if answer is None else answer)
        if answer is None:
            peer.recv(65_536)


def connects(connection: Connection) -> bool:
    """Connect and close; return whether that worked."""
    try:
        connection.connect(ConnectOptions("one"))
    except ConnectionEnded:
        return False
    connection.close()
    return True


@pytest.mark.parametrize("answer", [REFUSED, OLD_REFUSAL, CLOSED, GARBAGE])
def test_version_3_1_1_is_tried_at_once_and_remembered(answer: bytes) -> None:
    with VersionBroker(lambda five, _: answer if five else None) as broker:
        connection = Connection(broker.settings)
        assert connects(connection)
        assert not connection.mqtt5
        assert connects(connection)
        assert broker.versions == [5, 4, 4]


def test_a_failure_of_both_versions_concludes_nothing() -> None:
    with VersionBroker(lambda _, number: CLOSED if number < 3 else None) as broker:
        connection = Connection(broker.settings)
        assert not connects(connection)
        assert connects(connection)
        assert connection.mqtt5
        assert broker.versions == [5, 4, 5]


def test_a_remembered_version_that_fails_is_forgotten() -> None:
    def behaviour(five: bool, number: int) -> bytes | None:
        return CLOSED if number in (1, 3) else None

    with VersionBroker(behaviour) as broker:
        connection = Connection(broker.settings)
        assert connects(connection)
        assert not connects(connection)
        assert connects(connection)
        assert broker.versions == [5, 4, 4, 5]


def test_a_cluster_that_elects_a_leader_is_tried_again_soon() -> None:
    """As NATS does: it refuses MQTT 5 and does not answer 3.1.1 for some seconds."""
    with VersionBroker(
        lambda five, number: REFUSED if five else CLOSED if number < 3 else None
    ) as broker:
        connection = Connection(broker.settings)
        with pytest.raises(ConnectionEnded, match=r"MQTT 3\.1\.1; MQTT 5: refused us") as ended:
            connection.connect(ConnectOptions("one"))
        assert not isinstance(ended.value, ConnectionRejected)
        assert (ended.value.error_code, ended.value.action) == (ErrorCode.CLOSED, Action.RETRY)
        assert connects(connection)
        assert broker.versions == [5, 4, 5, 4]


def test_a_refusal_for_another_reason_is_raised_at_once() -> None:
    with VersionBroker(lambda *_: BAD_PASSWORD) as broker:
        with pytest.raises(ConnectionRejected, match="Bad user name or password"):
            Connection(broker.settings).connect(ConnectOptions("one"))
        assert broker.versions == [5]
    old = b"\x20\x02\x00\x04"  # of MQTT 3.1.1: bad user name or password
    with VersionBroker(lambda five, _: CLOSED if five else old) as broker:
        with pytest.raises(ConnectionRejected) as ended:
            Connection(broker.settings).connect(ConnectOptions("one"))
        assert ended.value.error_code is ErrorCode.PASSWORD


@pytest.mark.parametrize(("protocol", "version"), [("5", 5), ("3.1.1", 4)])
def test_a_protocol_setting_is_the_only_version_tried(protocol: str, version: int) -> None:
    with VersionBroker(lambda *_: CLOSED) as broker:
        connection = Connection(broker.settings.model_copy(update={"protocol": protocol}))
        for _ in range(2):
            with pytest.raises(ConnectionEnded, match=rf"protocol = {protocol}\)$"):
                connection.connect(ConnectOptions("one"))
        assert broker.versions == [version] * 2


def test_a_version_is_a_setting() -> None:
    assert BrokerSettings.model_validate({"protocol": 5}).protocol == "5"
    for wrong in ("4", 3.1, "mqtt5", "", None, True, "3.1"):
        with pytest.raises((SettingsError, ValueError), match="protocol"):
            BrokerSettings.model_validate({"protocol": wrong})
    first = BrokerSettings.model_validate(
        {"protocol": "3.1.1", "others": [{"host": "b"}, {"host": "c", "protocol": "auto"}]}
    )
    assert [each.protocol for each in first.in_order] == ["3.1.1", "3.1.1", "auto"]


ANSWERS = st.sampled_from([None, REFUSED, CLOSED, GARBAGE, BAD_PASSWORD])


@pytest.fixture(scope="module")
def version_broker() -> Iterator[VersionBroker]:
    with VersionBroker(lambda *_: None) as one:
        yield one


@settings.get_profile("inputs")
@given(past=st.lists(ANSWERS, max_size=6), five=ANSWERS, four=ANSWERS)
def test_whatever_a_broker_did_before_the_second_try_uses_what_works_now(
    version_broker: VersionBroker,
    past: list[bytes | None],
    five: bytes | None,
    four: bytes | None,
) -> None:
    """It gives the answers of `past` in turn, and from then on the same to each version."""
    history = iter(past)
    version_broker.behaviour = lambda is_five, _: next(history, five if is_five else four)
    version_broker.versions.clear()
    connection = Connection(version_broker.settings)
    while len(version_broker.versions) < len(past):
        connects(connection)
    tried = [connects(connection) for _ in range(2)]
    if five is None or (five is not BAD_PASSWORD and four is None):
        assert tried[-1]
    if five is None and not connection.mqtt5:
        assert past  # MQTT 3.1.1 stays only if it once worked


# --- all who connect ---------------------------------------------------------------------------

# Yields a function that does it again, on the connection there is by then.
Client = Callable[
    [BrokerSettings, Path, PrivateBroker], contextlib.AbstractContextManager[Callable[[], None]]
]


@contextlib.contextmanager
def unit(
    settings: BrokerSettings, folder: Path, broker: PrivateBroker
) -> Iterator[Callable[[], None]]:
    """A unit whose event arrives."""
    with Listener(broker.settings) as listener, WireUnit(folder, settings) as one:

        def work() -> None:
            one.record(1)
            until(lambda: len(set(listener.events())) == len(one.reports), 30.0)

        work()
        yield work


class Hearing:
    """A receiver's handler that keeps what it is handed."""

    def __init__(self) -> None:
        self.payloads: list[bytes] = []
        self.connections = 0

    def connected(self) -> None:
        self.connections += 1

    def take(self, messages: Sequence[Message]) -> None:
        self.payloads += [message.payload for message in messages]

    def idle(self) -> Sequence[Message]:
        return ()


@contextlib.contextmanager
def receiver(
    settings: BrokerSettings, _folder: Path, broker: PrivateBroker
) -> Iterator[Callable[[], None]]:
    """A receiver that hears a message."""
    quick = settings.model_copy(update={"backoff_min": 0.05, "backoff_max": 0.2})
    handler = Hearing()
    subscriber = Subscriber(quick, "receiver", handler)
    thread = threading.Thread(target=subscriber.run, daemon=True)
    thread.start()

    def work() -> None:
        handler.payloads.clear()
        with BrokerSession(broker.settings, "sender") as post:

            def heard() -> bool:  # a broker that was killed has forgotten its sessions
                post.publish(UNIT.topic(TopicKind.STATE), b"x", retain=False)
                return post.wait(0.2, lambda: bool(handler.payloads))

            until(heard, 30.0)

    try:
        until(lambda: handler.connections, 30.0)
        work()
        yield work
    finally:
        subscriber.stop()
        thread.join(10.0)
    assert not thread.is_alive()


@contextlib.contextmanager
def admin(
    settings: BrokerSettings, _folder: Path, broker: PrivateBroker
) -> Iterator[Callable[[], None]]:
    """An admin command that says something, and hears it."""
    with BrokerSession(settings, "admin") as post:
        post.subscribe(["senyum/v1/x"])

        def work() -> None:
            post.received.clear()
            post.publish("senyum/v1/x", b"x", retain=False)
            assert post.wait(10.0, lambda: [heard.payload for heard in post.received] == [b"x"])

        work()
        yield work


@contextlib.contextmanager
def doctor(
    settings: BrokerSettings, folder: Path, broker: PrivateBroker
) -> Iterator[Callable[[], None]]:
    """The doctor, who finds that events are let in."""
    token = Signer(folder).sealer.event(attempt(1), ChainHead()).token

    def work() -> None:
        found = probe("broker", settings, UNIT, token)
        assert found.status is CheckStatus.OK, found

    with Listener(broker.settings):
        work()
        yield work


CLIENTS = pytest.mark.parametrize("client", [unit, receiver, admin, doctor])


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A broker is silent after two seconds already."""
    monkeypatch.setattr(connection, "CONNECT_SECONDS", 2.0)


@pytest.mark.broker
@pytest.mark.usefixtures("impatient")
@CLIENTS
@pytest.mark.parametrize("refusal", [OLD_REFUSAL, REFUSED, CLOSED, SILENCE, GARBAGE])
def test_every_client_finds_and_remembers_a_broker_of_3_1_1(
    broker: PrivateBroker, tmp_path: Path, client: Client, refusal: bytes
) -> None:
    with TcpProxy(broker.port, refusal) as wire:
        with client(wire.settings, tmp_path, broker) as work:
            assert wire.versions == [5, 4]
            if client in (unit, receiver):
                wire.cut()
                work()
                work()
        assert set(wire.versions[2:]) <= {4}


@pytest.mark.broker
@pytest.mark.parametrize("client", [unit, receiver])
def test_a_broker_that_restarts_behind_a_proxy_is_found_again(
    broker: PrivateBroker, tmp_path: Path, client: Client
) -> None:
    """The proxy closes connections of both versions meanwhile."""
    with TcpProxy(broker.port) as wire, client(wire.settings, tmp_path, broker) as work:
        seen = len(wire.versions)
        broker.kill()
        until(lambda: {4, 5} <= set(wire.versions[seen:]), 10.0)
        broker.start()
        work()


@pytest.mark.broker
@pytest.mark.parametrize("client", [unit, receiver])
def test_a_cluster_node_without_a_leader_is_found_soon(
    broker: PrivateBroker, tmp_path: Path, client: Client
) -> None:
    with (
        TcpProxy(broker.port, REFUSED, closed=3) as wire,
        client(wire.settings, tmp_path, broker),
    ):
        assert wire.versions == [5, 4] * 4


@pytest.mark.broker
@CLIENTS
@pytest.mark.parametrize(("protocol", "version"), [("5", 5), ("3.1.1", 4)])
def test_every_client_keeps_to_the_protocol_setting(
    broker: PrivateBroker, tmp_path: Path, client: Client, protocol: str, version: int
) -> None:
    with TcpProxy(broker.port) as wire:
        only = wire.settings.model_copy(update={"protocol": protocol})
        with client(only, tmp_path, broker):
            assert set(wire.versions) == {version}


class Shut(LoopbackServer):
    """Says the same to whatever comes, and closes."""

    def __init__(self, words: bytes = b"") -> None:
        super().__init__()
        self.words = words

    def serve(self, peer: socket.socket) -> None:
        peer.recv(65_536)
        peer.sendall(self.words)


def test_a_broker_that_answers_neither_version_is_reported(
    caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    """The words say that the broker closed both, and only then what else may be the matter."""
    neither = (
        "closed the connection instead of answering MQTT 5; MQTT 3.1.1: closed the "
        "connection instead of answering MQTT 3.1.1; a port with TLS"
    )
    with Shut() as shut:
        with pytest.raises(LinkError, match=neither):
            BrokerSession(shut.settings, "admin")
        found = probe("broker", shut.settings, UNIT, None)
        assert (found.code, neither in found.text) == (ErrorCode.CLOSED, True)
        with WireUnit(tmp_path, shut.settings):
            until(lambda: neither in caplog.text, 10.0)
        caplog.clear()
        only = shut.settings.model_copy(update={"protocol": "5"})
        with pytest.raises(LinkError, match=r"MQTT 5; no other version .* \(protocol = 5\)$"):
            BrokerSession(only, "admin")
        subscriber = Subscriber(shut.settings, "receiver", Hearing())
        thread = threading.Thread(target=subscriber.run, daemon=True)
        thread.start()
        until(lambda: neither in caplog.text, 10.0)
        subscriber.stop()
        thread.join(10.0)
        assert not thread.is_alive()


def test_the_wait_for_a_silent_broker_can_be_stopped(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        settings = BrokerSettings(host="127.0.0.1", port=silent.getsockname()[1])
        subscriber = Subscriber(settings, "receiver", Hearing())
        thread = threading.Thread(target=subscriber.run, daemon=True)
        thread.start()
        peer, _ = silent.accept()
        assert peer.recv(1)
        subscriber.stop()
        thread.join(CONNECT_SECONDS - 1.0)
        assert not thread.is_alive()
        peer.close()


PACKETS = st.one_of(
    st.binary(max_size=40),
    st.builds(
        lambda kind, body: bytes([kind, len(body)]) + body,
        st.integers(0, 255),
        st.binary(max_size=30),
    ),
    st.builds(  # an answer to one of the first packets: PUBACK, SUBACK, UNSUBACK
        lambda kind, mid, rest: bytes([kind, 2 + len(rest), 0, mid]) + rest,
        st.sampled_from([0x40, 0x90, 0xB0]),
        st.integers(0, 6),
        st.binary(max_size=4),
    ),
    st.builds(  # a CONNACK of any kind
        lambda flags, code, rest: bytes([0x20, 2 + len(rest), flags, code]) + rest,
        st.integers(0, 255),
        st.integers(0, 255),
        st.binary(max_size=12),
    ),
)


class Babbling(Shut):
    """Lets everybody in and answers each packet with `words`, then closes."""

    def serve(self, peer: socket.socket) -> None:
        first = peer.recv(65_536)
        if len(first) > 8:
            peer.sendall(b"\x20\x03\x00\x00\x00" if first[8] == 5 else b"\x20\x02\x00\x00")
        peer.recv(65_536)
        peer.sendall(self.words)


@pytest.fixture(scope="module")
def babbling() -> Iterator[Babbling]:
    with Babbling() as one:
        yield one


@settings.get_profile("inputs")
@given(words=st.lists(PACKETS, max_size=4).map(b"".join), protocol=st.sampled_from(["5", "3.1.1"]))
def test_whatever_bytes_follow_the_connack_no_client_fails_otherwise(
    babbling: Babbling, words: bytes, protocol: str
) -> None:
    """Receiver, admin command and doctor; the unit's thread outlives any exception anyhow."""
    babbling.words = words
    only = babbling.settings.model_copy(
        update={"protocol": protocol, "backoff_min": 0.001, "backoff_max": 0.001}
    )
    found = probe("broker", only, UNIT, "e30.e30.x")
    assert found.status in (CheckStatus.OK, CheckStatus.FAILED)

    def visit() -> None:
        with BrokerSession(only, "admin") as post:
            post.subscribe(["a"])
            post.publish("a", b"x", retain=False)
            post.wait_acknowledged()
            post.wait(10.0)

    with pytest.raises(LinkError):
        visit()
    handler = Hearing()
    subscriber = Subscriber(only, "receiver", handler)
    seen = babbling.accepted
    ends: list[Exception] = []

    def receive() -> None:
        try:
            subscriber.run()
        except Exception as error:  # noqa: BLE001 - any of them would end the receiver
            ends.append(error)

    thread = threading.Thread(target=receive, daemon=True)
    thread.start()
    until(lambda: babbling.accepted > seen + 1 or ends, 10.0)
    subscriber.stop()
    thread.join(20.0)
    assert not thread.is_alive()
    assert all(isinstance(error, LinkError) for error in ends), ends


@pytest.fixture(scope="module")
def shut() -> Iterator[Shut]:
    with Shut() as one:
        yield one


@settings.get_profile("inputs")
@given(words=st.lists(PACKETS, max_size=3).map(b"".join), five=st.booleans())
def test_whatever_bytes_a_peer_answers_end_in_one_sentence(
    shut: Shut, words: bytes, five: bool
) -> None:
    shut.words = words
    protocol = "5" if five else "3.1.1"
    connection = Connection(shut.settings.model_copy(update={"protocol": protocol}))

    def visit() -> None:
        connection.connect(ConnectOptions("one"))
        while True:
            connection.poll(10.0)

    with pytest.raises(ConnectionEnded) as ended:
        visit()
    assert "\n" not in str(ended.value)
