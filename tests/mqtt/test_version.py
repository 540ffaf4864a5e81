"""Which version a broker is spoken to by, whoever connects: unit, receiver, admin, doctor."""

import contextlib
import socket
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import hypothesis.strategies as st
import pytest
from hypothesis import given, settings
from private_servers import PrivateBroker
from wires import OLD_REFUSAL, SILENCE, Wire, _Server
from wireunit import UNIT, Listener, Signer, WireUnit, attempt, until

from edge.appliance.doctor.broker import probe
from edge.appliance.doctor.diagnostics import CheckStatus
from edge.contract.topics import TopicKind
from edge.errors import ErrorCode, LinkError, SettingsError
from edge.mqtt import connection
from edge.mqtt.client import CONNECT_SECONDS
from edge.mqtt.connection import Connection, ConnectOptions
from edge.mqtt.reason_codes import Action, ConnectionEnded, PublishRefused
from edge.mqtt.self_pipe import SelfPipe
from edge.mqtt.version import VersionNegotiation
from edge.outbox.event_signer import ChainHead
from edge.settings import BrokerSettings
from senyum_central.admin.broker_session import BrokerSession
from senyum_central.ingest.message import Message
from senyum_central.ingest.subscriber import Subscriber

NEW_REFUSAL = b"\x20\x03\x00\x84\x00"
CLOSED = b""


# --- the rule ----------------------------------------------------------------------------------


class Dialled:
    """What a broker does with each connection, and by which version each came."""

    def __init__(self, answer: Callable[[bool, int], ErrorCode | None]) -> None:
        self.versions: list[int] = []
        self._answer = answer

    def __call__(self, five: bool) -> Connection:
        self.versions.append(5 if five else 4)
        trouble = self._answer(five, len(self.versions))
        if trouble is not None:
            raise ConnectionEnded("broker:1883", "said no", trouble)
        made = object.__new__(Connection)
        made.five = five
        made.close = lambda: None  # type: ignore[method-assign] # there is nothing to close
        return made


def auto(protocol: str = "auto") -> VersionNegotiation:
    return VersionNegotiation(BrokerSettings.model_validate({"protocol": protocol}))


@pytest.mark.parametrize("trouble", [ErrorCode.CLOSED, ErrorCode.SILENT])
def test_who_says_nothing_to_5_is_asked_once_more_before_it_is_believed(trouble: ErrorCode) -> None:
    old = Dialled(lambda five, _: trouble if five else None)
    version = auto()
    assert not version.connect(old).five
    assert old.versions == [5, 4, 5, 4]
    assert not version.connect(old).five
    assert old.versions[4:] == [4]
    starting = Dialled(lambda _, time: trouble if time == 1 else None)
    version = auto()
    assert version.connect(starting).five
    assert version.connect(starting).five
    assert starting.versions == [5, 4, 5, 5]


def test_who_refuses_5_is_believed_at_once() -> None:
    old = Dialled(lambda five, _: ErrorCode.PROTOCOL if five else None)
    version = auto()
    assert not version.connect(old).five
    assert not version.connect(old).five
    assert old.versions == [5, 4, 4]


def test_what_is_not_about_the_version_is_raised_as_it_is() -> None:
    for trouble in set(ErrorCode) - {ErrorCode.PROTOCOL, ErrorCode.CLOSED, ErrorCode.SILENT}:
        away = Dialled(lambda *_, trouble=trouble: trouble)
        with pytest.raises(ConnectionEnded, match=r"^broker broker:1883: said no$"):
            auto().connect(away)
        assert away.versions == [5]
    wrong = Dialled(lambda five, _: ErrorCode.CLOSED if five else ErrorCode.PASSWORD)
    with pytest.raises(ConnectionEnded) as ended:
        auto().connect(wrong)
    assert ended.value.trouble is ErrorCode.PASSWORD


@pytest.mark.parametrize("trouble", [ErrorCode.CLOSED, ErrorCode.SILENT])
def test_who_refuses_5_and_does_not_answer_3_1_1_for_now_is_tried_again_soon(
    trouble: ErrorCode,
) -> None:
    """As a node of NATS does while its cluster elects a leader."""

    def dial(five: bool) -> Connection:
        if five:
            raise PublishRefused("broker:1883", "no 5", ErrorCode.PROTOCOL, Action.SLOW)
        raise ConnectionEnded("broker:1883", "not now", trouble)

    with pytest.raises(ConnectionEnded, match=r"not now; MQTT 5: no 5$") as ended:
        auto().connect(dial)
    assert not isinstance(ended.value, PublishRefused)
    assert (ended.value.trouble, ended.value.remedy) == (trouble, Action.AGAIN)


def test_a_version_that_is_set_is_the_only_one_tried() -> None:
    for protocol, tried in (("5", 5), ("3.1.1", 4)):
        mute = Dialled(lambda *_: ErrorCode.CLOSED)
        version = auto(protocol)
        for _ in range(2):
            with pytest.raises(ConnectionEnded, match=rf"protocol = {protocol}\)$"):
                version.connect(mute)
        assert mute.versions == [tried] * 2


def test_a_version_is_a_setting() -> None:
    assert BrokerSettings.model_validate({"protocol": 5}).protocol == "5"
    for wrong in ("4", 3.1, "mqtt5", "", None, True, "3.1"):
        with pytest.raises((SettingsError, ValueError), match="protocol"):
            BrokerSettings.model_validate({"protocol": wrong})
    first = BrokerSettings.model_validate(
        {"protocol": "3.1.1", "others": [{"host": "b"}, {"host": "c", "protocol": "auto"}]}
    )
    assert [each.protocol for each in first.in_order] == ["3.1.1", "3.1.1", "auto"]


TROUBLES = st.sampled_from([None, *ErrorCode])


@settings.get_profile("inputs")
@given(past=st.lists(TROUBLES, max_size=12), five=TROUBLES, four=TROUBLES)
def test_whatever_a_broker_did_what_it_speaks_is_found_on_the_second_try(
    past: list[ErrorCode | None], five: ErrorCode | None, four: ErrorCode | None
) -> None:
    """`past` is what it did, with whatever came; then it does the same with each version."""
    version = auto()
    history = iter(past)
    before = Dialled(lambda *_: next(history))
    with contextlib.suppress(StopIteration):
        while True:
            with contextlib.suppress(ConnectionEnded):
                version.connect(before)
    after = Dialled(lambda is_five, _: five if is_five else four)
    made: Connection | None = None
    for _ in range(2):
        with contextlib.suppress(ConnectionEnded):
            made = version.connect(after)
    doubtful = five in (ErrorCode.PROTOCOL, ErrorCode.CLOSED, ErrorCode.SILENT)
    if five is None:
        assert made is not None
    elif doubtful and four is None:
        assert made is not None
        assert not made.five
    assert len(after.versions) <= 8


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
        with BrokerSession(broker.settings, "sender", lambda *_: None) as post:

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
    heard: list[bytes] = []
    with BrokerSession(settings, "admin", lambda _topic, payload, _: heard.append(payload)) as post:
        post.subscribe(["senyum/v1/x"])

        def work() -> None:
            heard.clear()
            post.publish("senyum/v1/x", b"x", retain=False)
            assert post.wait(10.0, lambda: heard == [b"x"])

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
@pytest.mark.parametrize("refusal", [OLD_REFUSAL, NEW_REFUSAL, CLOSED, SILENCE, b"SSH-2.0-x\r\n"])
def test_a_broker_of_3_1_1_alone_is_found_and_remembered(
    broker: PrivateBroker, tmp_path: Path, client: Client, refusal: bytes
) -> None:
    said = refusal in (OLD_REFUSAL, NEW_REFUSAL)
    with Wire(broker.port, refusal) as wire:
        with client(wire.settings, tmp_path, broker) as work:
            assert wire.versions == ([5, 4] if said else [5, 4, 5, 4])
            if client in (unit, receiver):
                wire.cut()
                work()
                work()
        assert set(wire.versions[2 if said else 4 :]) <= {4}


@pytest.mark.broker
@pytest.mark.usefixtures("impatient")
@CLIENTS
@pytest.mark.parametrize("refusal", [CLOSED, SILENCE])
def test_a_broker_that_was_starting_is_spoken_to_by_5(
    broker: PrivateBroker, tmp_path: Path, client: Client, refusal: bytes
) -> None:
    with (
        Wire(broker.port, refusal, times=1) as wire,
        client(wire.settings, tmp_path, broker),
    ):
        assert wire.versions == [5, 4, 5]


@pytest.mark.broker
@pytest.mark.parametrize("client", [unit, receiver])
def test_a_broker_that_restarts_is_spoken_to_by_5_again(
    broker: PrivateBroker, tmp_path: Path, client: Client
) -> None:
    """A proxy before it closes what comes meanwhile."""
    with Wire(broker.port) as wire, client(wire.settings, tmp_path, broker) as work:
        seen = len(wire.versions)
        broker.kill()
        until(lambda: {4, 5} <= set(wire.versions[seen:]), 10.0)
        broker.start()
        work()
        assert wire.versions[-1] == 5


@pytest.mark.broker
@CLIENTS
@pytest.mark.parametrize(("protocol", "version"), [("5", 5), ("3.1.1", 4)])
def test_a_version_that_is_set_is_spoken_alone(
    broker: PrivateBroker, tmp_path: Path, client: Client, protocol: str, version: int
) -> None:
    with Wire(broker.port) as wire:
        only = wire.settings.model_copy(update={"protocol": protocol})
        with client(only, tmp_path, broker):
            assert set(wire.versions) == {version}


class Shut(_Server):
    """Says the same to whatever comes, and closes."""

    def __init__(self, words: bytes = b"") -> None:
        super().__init__()
        self.words = words

    def serve(self, peer: socket.socket) -> None:
        peer.recv(65_536)
        peer.sendall(self.words)


def test_who_answers_neither_is_said_to(caplog: pytest.LogCaptureFixture, tmp_path: Path) -> None:
    """The words say that the broker closed both, and only then what else may be the matter."""
    neither = (
        "ended the connection instead of answering by MQTT 5; nor by MQTT 3.1.1: ended the "
        "connection instead of answering by MQTT 3.1.1; so does a port with TLS"
    )
    with Shut() as shut:
        with pytest.raises(LinkError, match=neither):
            BrokerSession(shut.settings, "admin", lambda *_: None)
        found = probe("broker", shut.settings, UNIT, None)
        assert (found.code, neither in found.text) == (ErrorCode.CLOSED, True)
        with WireUnit(tmp_path, shut.settings):
            until(lambda: neither in caplog.text, 10.0)
        caplog.clear()
        only = shut.settings.model_copy(update={"protocol": "5"})
        with pytest.raises(LinkError, match=r"by MQTT 5; no other version .* \(protocol = 5\)$"):
            BrokerSession(only, "admin", lambda *_: None)
        subscriber = Subscriber(shut.settings, "receiver", Hearing())
        thread = threading.Thread(target=subscriber.run, daemon=True)
        thread.start()
        until(lambda: neither in caplog.text, 10.0)
        subscriber.stop()
        thread.join(10.0)
        assert not thread.is_alive()


def test_who_waits_for_a_silent_broker_can_be_stopped(tmp_path: Path) -> None:
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
def test_whatever_comes_after_the_welcome_ends_nobody(
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
        with BrokerSession(only, "admin", lambda *_: None) as post:
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
def test_whatever_a_peer_answers_is_an_end_in_words(shut: Shut, words: bytes, five: bool) -> None:
    shut.words = words
    waker = SelfPipe()

    def visit() -> None:
        made = Connection(shut.settings, ConnectOptions("one"), waker, five=five)
        with contextlib.closing(made):
            while True:
                made.poll(10.0)

    with pytest.raises(ConnectionEnded) as ended:
        visit()
    waker.close()
    assert "\n" not in str(ended.value)
