import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from mqtt_servers import ScriptedBroker, TcpProxy
from orders import Voice
from private_servers import PrivateBroker
from wireunit import UNIT, Listener, MessageHandler, WireUnit, until

from edge.errors import ErrorCode
from edge.mqtt.subscriber import CAPACITY

pytestmark = pytest.mark.broker

TOPIC = UNIT.subtopic("command", "ping")


class Ear(MessageHandler):
    """Receives commands and keeps them; it may be slow."""

    def __init__(self, act: Callable[[bytes], None] = lambda _: None) -> None:
        super().__init__([UNIT.subtopic("command", "+")])
        self.messages: list[tuple[str, bytes, bool]] = []
        self.act = act

    def handle(self, topic: str, payload: bytes, retained: bool) -> None:
        self.messages.append((topic, payload, retained))
        self.act(payload)

    @property
    def payloads(self) -> list[bytes]:
        return [payload for _, payload, _ in self.messages]


def subscribed(broker: PrivateBroker) -> bool:
    return f"{UNIT.client_id} 1 {UNIT.subtopic('command', '+')}" in broker.log.read_text()


@pytest.fixture
def talkative(tmp_path: Path) -> PrivateBroker:
    return PrivateBroker(tmp_path / "broker", options=["log_type all"])


def test_it_hears_and_says(talkative: PrivateBroker, tmp_path: Path) -> None:
    ear = Ear()
    with (
        talkative,
        Listener(talkative.settings) as listener,
        Voice(talkative.settings) as voice,
        WireUnit(tmp_path, talkative.settings, handlers=[ear]) as unit,
    ):
        until(lambda: subscribed(talkative), 10.0)
        voice.say(b"one")
        voice.say(b"two", qos=0)
        voice.say(b"none of ours", UNIT.subtopic("other"))
        voice.say(b"three", UNIT.subtopic("command", "identify"))
        until(lambda: len(ear.messages) == 3, 10.0)
        assert ear.messages == [
            (TOPIC, b"one", False),
            (TOPIC, b"two", False),
            (UNIT.subtopic("command", "identify"), b"three", False),
        ]
        unit.link.publish_reply(UNIT.subtopic("reply", "1"), "an answer")
        unit.link.publish_reply(UNIT.subtopic("shown"), b"kept", retain=True)
        until(lambda: (UNIT.subtopic("reply", "1"), b"an answer", False) in listener.messages, 10.0)
        unit.record(3)  # and events go on
        until(lambda: len(listener.events()) == 3, 10.0)


def test_a_retained_message_is_told_from_others(talkative: PrivateBroker, tmp_path: Path) -> None:
    ear = Ear()
    with talkative, Voice(talkative.settings) as voice:
        voice.say(b"before", retain=True)
        with WireUnit(tmp_path, talkative.settings, handlers=[ear]):
            until(lambda: ear.messages, 10.0)
            voice.say(b"now", retain=True)
            until(lambda: len(ear.messages) == 2, 10.0)
    assert [(payload, retained) for _, payload, retained in ear.messages] == [
        (b"before", True),
        (b"now", True),
    ]


def test_what_came_while_the_unit_was_away_is_heard(
    talkative: PrivateBroker, tmp_path: Path
) -> None:
    with talkative, Voice(talkative.settings) as voice:
        with WireUnit(tmp_path, talkative.settings, handlers=[Ear()]):
            until(lambda: subscribed(talkative), 10.0)
        voice.say(b"meanwhile")
        ear = Ear()
        with WireUnit(tmp_path, talkative.settings, handlers=[ear]):
            until(lambda: ear.payloads == [b"meanwhile"], 10.0)


def test_what_was_not_finished_is_delivered_again(talkative: PrivateBroker, tmp_path: Path) -> None:
    """The PUBACK goes out once the message was acknowledged, and not before."""
    stuck = threading.Event()

    def hang(_: bytes) -> None:
        assert stuck.wait(60.0)

    slow = Ear(hang)
    with talkative, Voice(talkative.settings) as voice:
        with WireUnit(tmp_path, talkative.settings, handlers=[slow]):
            until(lambda: subscribed(talkative), 10.0)
            voice.say(b"long")
            until(lambda: slow.payloads == [b"long"], 10.0)
        again = Ear()
        with WireUnit(tmp_path, talkative.settings, handlers=[again]):
            until(lambda: again.payloads == [b"long"], 10.0)
        assert "(d1" in talkative.log.read_text()
        third = Ear()
        with WireUnit(tmp_path, talkative.settings, handlers=[third]):
            voice.say(b"last")
            until(lambda: third.payloads, 10.0)
        assert third.payloads == [b"last"]
    stuck.set()


def test_a_flood_neither_fills_memory_nor_stops_events(
    talkative: PrivateBroker, tmp_path: Path
) -> None:
    gate = threading.Event()

    def hold(_: bytes) -> None:
        assert gate.wait(60.0)

    ear = Ear(hold)
    with (
        talkative,
        Listener(talkative.settings) as listener,
        Voice(talkative.settings) as voice,
        WireUnit(tmp_path, talkative.settings, handlers=[ear]) as unit,
    ):
        until(lambda: subscribed(talkative), 10.0)
        for number in range(500):
            voice.say(b"%d" % number, qos=0)
        unit.record(2)
        until(lambda: len(listener.events()) == 2, 10.0)
        until(lambda: unit.link._subscriber.dropped > 0, 10.0)
        assert len(ear.messages) == 1
        assert len(ear.subscription.queue) <= CAPACITY
        gate.set()
        until(lambda: len(ear.messages) + unit.link._subscriber.dropped == 500, 10.0)


def test_a_reply_outlives_a_lost_connection(talkative: PrivateBroker, tmp_path: Path) -> None:
    with (
        talkative,
        Listener(talkative.settings) as listener,
        TcpProxy(talkative.port) as wire,
        WireUnit(tmp_path, wire.settings, handlers=[Ear()]) as unit,
    ):
        until(lambda: subscribed(talkative), 10.0)
        wire.blocked = True
        unit.link.publish_reply(UNIT.subtopic("reply", "1"), "late")
        until(lambda: unit.link._subscriber.in_flight, 10.0)
        assert not any(body == b"late" for _, body, _ in listener.messages)
        wire.cut()
        wire.blocked = False
        until(lambda: any(body == b"late" for _, body, _ in listener.messages), 20.0)


def test_a_refused_subscription_is_told_and_events_go_on(tmp_path: Path) -> None:
    with ScriptedBroker() as broker:
        broker.grants = 0x87
        with WireUnit(tmp_path, broker.settings, handlers=[Ear()]) as unit:
            unit.record(1)
            until(lambda: broker.numbers == [1], 10.0)
            until(lambda: unit.link.error_code == ErrorCode.NOT_LISTENING, 10.0)
            broker.grants = 1
            until(lambda: unit.link.error_code is None, 10.0)
