"""Who may say and hear what: clients that do as they like, against mosquitto with docs/broker."""

import socket
import ssl
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from secured_broker import CONNECT, HOST, SECONDS, Pki, RawClient, SecuredBroker
from wireunit import until

from edge.settings import BrokerSettings
from senyum_central.admin.ca import expand_acl

pytestmark = [
    pytest.mark.broker,
    # paho leaves the socket of a connection that was refused to the garbage collector.
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]
ME, OTHER = "depok/balaikota/lobby-1", "depok/balaikota/lobby-2"
RECEIVER, REPLAYER, CONTROL = "central-1", "central-replay-1", "control-1"
OWN = ("event", "state", "health", "reply/1")
FOR_IT = ("command/ping", "command/replay", "roster", "roster/c-1")
TAKEN = {0x00, 0x10}  # with, and without anybody to hand it to
NOT_AUTHORIZED = 0x87
EVERYTHING = ("#", "senyum/#", "senyum/v1/+/+/+/#", "$SYS/#", "$share/all/senyum/#")


def without_patterns(text: str) -> str:
    """Return the access list as `senyum admin ca access` makes it, for brokers without patterns."""
    patterns = [line for line in text.splitlines() if line.startswith("pattern ")]
    said = [f"topic {line.removeprefix('pattern ').replace('%u', ME)}" for line in patterns]
    said[-1] = said[-1].replace("/+/all/", "/depok/all/")  # which a pattern cannot say
    assert expand_acl(ME).splitlines() == [f"user {ME}", *said]
    kept = [line for line in text.splitlines() if line not in patterns]
    return "\n".join((*kept, expand_acl(ME), expand_acl(OTHER)))


either = pytest.mark.parametrize(
    "house", [str, without_patterns], indirect=True, ids=["pattern", "spelled-out"]
)


def of(name: str, *leaves: str) -> list[str]:
    return [f"senyum/v1/{name}/{leaf}" for leaf in leaves]


class House:
    """The broker, and a certificate for each who has a name in docs/broker."""

    def __init__(self, folder: Path, access: Callable[[str], str]) -> None:
        self.pki = Pki(folder)
        self.fence = SecuredBroker(folder / "broker", self.pki, access=access)
        self._issued: dict[str, BrokerSettings] = {}

    def settings(self, name: str) -> BrokerSettings:
        if name not in self._issued:
            self._issued[name] = self.fence.settings_of(self.pki.client(name))
        return self._issued[name]

    def visit(self, name: str) -> RawClient:
        return RawClient(self.settings(name))


@pytest.fixture
def house(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[House]:
    made = House(tmp_path, getattr(request, "param", str))
    with made.fence:
        yield made


@either
def test_a_unit_says_what_is_its_own(house: House) -> None:
    with house.visit(ME) as unit:
        for topic in of(ME, *OWN):
            assert unit.publish(topic) in TAKEN, topic


@either
def test_a_unit_says_nothing_in_anothers_name(house: House) -> None:
    foreign = [
        *of(OTHER, *OWN, *FOR_IT),
        *of(ME, *FOR_IT, "event/1", "reply", "reply/1/2", "command", "else"),
        *of("depok/balaikota", "event"),
        *of("depok/all/all", "roster/c-2"),
        *of("x/balaikota/lobby-1", "event"),
        "senyum/v2/depok/balaikota/lobby-1/event",
        "event",
        "$SYS/broker/uptime",
        "$share/g/senyum/v1/depok/balaikota/lobby-1/event",
    ]
    with house.visit(RECEIVER) as receiver, house.visit(ME) as unit:
        receiver.subscribe("senyum/#")
        for topic in foreign:
            assert unit.publish(topic) == NOT_AUTHORIZED, topic
        unit.publish(*of(ME, "event"))
        receiver.wait_for(*of(ME, "event"))
        assert receiver.topics() == of(ME, "event")


def test_a_will_in_anothers_name_is_not_told(house: House) -> None:
    with house.visit(RECEIVER) as receiver:
        receiver.subscribe("senyum/#")
        for name in (OTHER, ME):
            topic = f"senyum/v1/{name}/state"
            with RawClient(house.settings(ME), will=topic) as unit:
                unit.vanish()
                if name == ME:
                    receiver.wait_for(topic)
        assert receiver.topics() == of(ME, "state")


@either
@pytest.mark.parametrize("retain", [False, True], ids=["passing", "retained"])
def test_a_unit_hears_only_what_is_for_it(house: House, *, retain: bool) -> None:
    """However wide it subscribes: mosquitto takes any filter and holds back message by message."""
    hidden = of(OTHER, "command/ping", "roster", "roster/c-1")
    meant = [*of(ME, "command/ping", "roster", "roster/c-1"), *of("depok/all/all", "roster/c-2")]
    with house.visit(CONTROL) as control, house.visit(OTHER) as other, house.visit(ME) as unit:
        wide = [*EVERYTHING, *hidden, *of(OTHER, "event", "state")]
        if not retain:
            unit.subscribe(*wide)
        for topic in of(OTHER, "event", "state", "reply/1"):
            assert other.publish(topic, retain=retain) in TAKEN
        for topic in (*hidden, *meant):
            assert control.publish(topic, retain=retain) in TAKEN
        if retain:
            unit.subscribe(*wide)
        for topic in meant:
            unit.wait_for(topic)
        assert unit.topics() == sorted(meant)


def test_a_receiver_sees_all_units_and_says_nothing(house: House) -> None:
    with house.visit(RECEIVER) as receiver, house.visit(ME) as unit:
        receiver.subscribe("$share/g/senyum/v1/+/+/+/event", "senyum/v1/+/+/+/+", "senyum/#")
        for topic in of(ME, *OWN):
            unit.publish(topic)
        for topic in of(ME, *OWN):
            receiver.wait_for(topic)
        for topic in (
            *of(ME, *OWN, *FOR_IT),
            *of(RECEIVER, *OWN),
            *of(REPLAYER, *OWN),
            f"senyum/v1/{RECEIVER}/x/y/event",
            "central",
        ):
            assert receiver.publish(topic) == NOT_AUTHORIZED, topic


def test_a_receiver_does_not_see_commands_and_rosters(house: House) -> None:
    with house.visit(RECEIVER) as receiver, house.visit(CONTROL) as control:
        receiver.subscribe(*EVERYTHING, *of(ME, *FOR_IT))
        for topic in (*of(ME, *FOR_IT), *of("depok/all/all", "roster/c-2")):
            assert control.publish(topic) in TAKEN
        with house.visit(ME) as unit:
            unit.publish(*of(ME, "event"))
        receiver.wait_for(*of(ME, "event"))
        assert receiver.topics() == of(ME, "event")


def test_who_asks_for_replays_sends_no_other_command(house: House) -> None:
    with house.visit(REPLAYER) as replayer, house.visit(ME) as unit:
        unit.subscribe(*of(ME, "command/+"))
        assert replayer.publish(*of(ME, "command/replay")) in TAKEN
        unit.wait_for(*of(ME, "command/replay"))
        for topic in (*of(ME, "command/ping", "command/settings", "roster", *OWN),):
            assert replayer.publish(topic) == NOT_AUTHORIZED, topic


def test_who_sends_commands_sees_answers_and_no_events(house: House) -> None:
    with house.visit(CONTROL) as control, house.visit(ME) as unit:
        control.subscribe(*EVERYTHING)
        for topic in of(ME, *OWN):
            unit.publish(topic)
        control.wait_for(*of(ME, "reply/1"))
        assert control.topics() == sorted(of(ME, "state", "health", "reply/1"))
        for topic in of(ME, *OWN):
            assert control.publish(topic) == NOT_AUTHORIZED, topic


def test_a_client_with_a_certificate_and_no_block_hears_and_says_nothing(house: House) -> None:
    with house.visit("visitor-9") as visitor, house.visit(ME) as unit, house.visit(RECEIVER) as ok:
        visitor.subscribe(*EVERYTHING)
        ok.subscribe("senyum/#")
        unit.publish(*of(ME, "event"))
        ok.wait_for(*of(ME, "event"))
        assert visitor.publish(*of(ME, "event")) == NOT_AUTHORIZED
        assert visitor.seen == []


@pytest.mark.parametrize("name", ["+/+/+", "#", "depok/balaikota/#", "depok/+/lobby-1"])
def test_wildcards_in_a_certificates_name_open_nothing(house: House, name: str) -> None:
    """The authority would not issue one; mosquitto refuses it all the same."""
    settings = house.fence.settings_of(house.pki.unchecked(name))
    with RawClient(settings) as visitor, house.visit(CONTROL) as control, house.visit(ME) as unit:
        visitor.subscribe(*EVERYTHING)
        unit.subscribe(*of(ME, "command/+"))
        control.publish(*of(ME, "command/ping"))
        unit.wait_for(*of(ME, "command/ping"))
        assert visitor.publish(*of(ME, "event")) == NOT_AUTHORIZED
        assert visitor.seen == []


def test_a_client_that_uses_anothers_id_takes_no_session(house: House) -> None:
    with house.visit(ME) as unit:
        unit.subscribe(*of(ME, "command/+"))
        with RawClient(house.settings(OTHER), "senyum.depok.balaikota.lobby-1") as thief:
            thief.subscribe(*of(ME, "command/+"))
            with house.visit(CONTROL) as control:
                control.publish(*of(ME, "command/ping"))
            unit.wait_for(*of(ME, "command/ping"))
            assert thief.seen == []
        assert not unit.gone.is_set()


def test_the_broker_tells_its_limits_and_ends_who_passes_them(house: House) -> None:
    with house.visit(ME) as unit:
        assert unit.limits.MaximumPacketSize == 131_072
        assert unit.publish(f"senyum/v1/{ME}/event", "x" * 65_536) in TAKEN
        unit.send(f"senyum/v1/{ME}/event", "x" * 140_000)
        assert unit.gone.wait(SECONDS)


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_1, ssl.TLSVersion.TLSv1])
def test_old_tls_is_refused(house: House, version: ssl.TLSVersion) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(house.pki.pem)
    with pytest.warns(DeprecationWarning, match="TLSv1"):
        context.minimum_version = context.maximum_version = version
    context.set_ciphers("ALL:@SECLEVEL=0")
    with (
        socket.create_connection((HOST, house.fence.port), SECONDS) as plain,
        pytest.raises(ssl.SSLError, match=r"(?i)protocol.version"),
    ):
        context.wrap_socket(plain, server_hostname=HOST)


def test_without_tls_nobody_is_answered(house: House) -> None:
    with socket.create_connection((HOST, house.fence.port), SECONDS) as plain:
        plain.sendall(CONNECT)
        plain.settimeout(SECONDS)
        try:
            said = plain.recv(64)
        except ConnectionResetError:
            said = b""
    assert not said.startswith(b"\x20")  # a CONNACK
    until(lambda: "wrong version number" in house.fence.log.read_text(), SECONDS)
