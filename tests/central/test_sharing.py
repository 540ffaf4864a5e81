"""Receivers that share only the store, receivers of a group, and receivers that never come back."""

import json
import logging
import os
import re
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path

import pytest
from central_parts import Unit
from mqtt_servers import OLD_REFUSAL, TcpProxy
from paho.mqtt.client import MQTTMessage
from places import Place
from private_servers import PrivateBroker, free_port
from processes import PROGRAM, Process, publish

from edge.contract.jose import from_b64url
from edge.contract.keys import SigningKey, add_registration
from edge.contract.topics import COMMAND
from edge.errors import UsageError
from edge.mqtt.connection import connect_client, new_client
from edge.settings import BrokerSettings
from senyum_central.ingest import instance_lock as only
from senyum_central.ingest.instance_lock import claim
from senyum_central.ingest.message import Message
from senyum_central.ingest.subscriptions import SHARED_EXPIRY_S

pytestmark = [pytest.mark.broker, pytest.mark.slow]

log = logging.getLogger(__name__)

GROUP = "--group=payroll"
COUNT = 39


@pytest.fixture
def unit(tmp_path: Path) -> Unit:
    found = Unit()
    add_registration(tmp_path / "keys.json", found.key.registration(found.name))
    return found


@pytest.fixture
def start(tmp_path: Path, broker: PrivateBroker, place: Place) -> Iterator["Start"]:
    with ExitStack() as stack:
        yield Start(tmp_path, broker, place, stack)


class Start:
    """Starts receivers of one store, and ends those that are left."""

    def __init__(self, folder: Path, broker: PrivateBroker, place: Place, stack: ExitStack) -> None:
        self._folder, self._broker, self.place, self._stack = folder, broker, place, stack

    def __call__(self, name: str, *options: str, ready: bool = True) -> Process:
        port = self._broker.port
        one = Process(self._folder, port, *self.place.options, *options, name=name, store=False)
        self._stack.callback(one.kill)
        if ready:
            one.ready()
        return one

    def retire(self, name: str, *options: str, port: int | None = None) -> tuple[int, str]:
        ended = subprocess.run(
            [
                *PROGRAM,
                "receive",
                f"--broker=127.0.0.1:{port or self._broker.port}",
                f"--keys={self._folder / 'keys.json'}",
                *self.place.options,
                f"--retire={name}",
                *options,
            ],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        return ended.returncode, ended.stderr

    def tokens(self) -> list[str]:
        return [jws for (jws,) in self.place.rows("SELECT jws FROM event ORDER BY sequence")]

    def until_stored(self, messages: list[Message], seconds: float = 60.0) -> float:
        """Wait until all are stored; return how long it took, in seconds."""
        wanted, begun = tokens(messages), time.monotonic()
        while self.tokens() != wanted:
            assert time.monotonic() < begun + seconds, "not in time"
            time.sleep(0.1)
        return time.monotonic() - begun


def tokens(messages: list[Message]) -> list[str]:
    return [message.payload.decode() for message in messages]


@contextmanager
def session(
    broker: PrivateBroker, name: str, *filters: str, expiry: int = 600
) -> Iterator[tuple[list[bytes], bool]]:
    """Connect as this client; give what it receives, and whether the broker kept its session."""
    received: list[bytes] = []
    known: list[bool] = []
    subscribed = threading.Event()
    client = new_client(broker.settings, name)
    client.on_message = lambda _client, _data, message: received.append(bytes(message.payload))
    client.on_connect = lambda _client, _data, flags, _code, _more: known.append(
        flags.session_present
    )
    client.on_subscribe = lambda *_: subscribed.set()
    connect_client(client, broker.settings, SessionExpiryInterval=expiry)
    client.loop_start()
    if filters:
        client.subscribe([(each, 1) for each in filters])
        assert subscribed.wait(10.0)
    while not known:
        time.sleep(0.01)
    try:
        yield received, known[0]
    finally:
        client.disconnect()
        client.loop_stop()


def has_session(broker: PrivateBroker, name: str) -> bool:
    with session(broker, name, expiry=0) as (_, known):
        return known


# --- each with a subscription of its own ------------------------------------------------------


def test_one_of_two_is_killed_and_nothing_waits_for_it(
    unit: Unit, broker: PrivateBroker, start: Start
) -> None:
    one, two = start("one"), start("two")
    messages = unit.events(COUNT)
    publish(broker, *messages[:9])
    start.until_stored(messages[:9])
    one.end(signal.SIGKILL)
    publish(broker, *messages[9:])
    log.info("all stored %.1f s after the last", start.until_stored(messages))
    assert two.end() == 0
    assert not [line for line in one.said + two.said if line["alarm"]]


def test_what_comes_while_both_are_away_waits_for_both(
    unit: Unit, broker: PrivateBroker, start: Start
) -> None:
    for one in (start("one"), start("two")):
        one.end(signal.SIGKILL)
    messages = unit.events(COUNT)
    publish(broker, *messages)
    two = start("two")
    start.until_stored(messages)
    one = start("one")
    last = unit.event()
    publish(broker, last)
    start.until_stored([*messages, last])
    assert (one.end(), two.end()) == (0, 0)
    assert {line["kind"] for line in one.said} <= {"event"}  # the other receiver reported the rest


def test_the_second_of_one_client_id_on_a_machine_is_refused(
    unit: Unit, broker: PrivateBroker, start: Start
) -> None:
    first = start(_default_name())
    second = start(_default_name(), ready=False)
    assert second.process.wait(20.0) == 2
    assert f"client {_default_name()}: another receiver on this machine" in second.log
    assert "--client-id" in second.log
    status, said = start.retire(_default_name())
    assert (status, "stop it" in said) == (2, True)
    messages = unit.events(3)
    publish(broker, *messages)
    start.until_stored(messages)
    assert first.end() == 0


def test_a_strangers_process_does_not_keep_a_receiver_from_starting(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The owner of the process that has the name decides, not the name."""
    broker = BrokerSettings(host="127.0.0.1", port=free_port())
    with closing(claim(broker, "one")):
        monkeypatch.setattr(os, "getuid", lambda: 12345)
        monkeypatch.setattr(only, "_owner", lambda _: 54321)
        with closing(claim(broker, "one")) as second:
            assert second.getsockname() == ""


def test_client_ids_that_differ_at_their_end_are_two_claims() -> None:
    broker = BrokerSettings(host="b" * 60 + ".example", port=free_port())
    with closing(claim(broker, "senyum-receive." + "é" * 60 + "1")):
        with closing(claim(broker, "senyum-receive." + "é" * 60 + "2")) as second:
            assert second.getsockname() != ""
        with pytest.raises(UsageError, match="another receiver"):
            claim(broker, "senyum-receive." + "é" * 60 + "1")


def _default_name() -> str:
    """Read from the help what a receiver without --client-id is called."""
    shown = subprocess.run([*PROGRAM, "receive", "--help"], capture_output=True, check=True)
    words = " ".join(shown.stdout.decode().split())
    match = re.search(r"\(default: (senyum-receive\.[^)]*)\)", words.replace("- ", "-"))
    assert match
    return match[1].replace(" ", "")


def test_a_receiver_of_an_earlier_version_leaves_its_group(
    unit: Unit, broker: PrivateBroker, start: Start
) -> None:
    """All of them were in the group `central`, with the same client IDs as today."""
    old = "$share/central/senyum/v1/+/+/+/event"
    with session(broker, _default_name(), old, "senyum/v1/+/+/+/state"):
        pass
    messages = unit.events(COUNT)
    publish(broker, *messages[:9])
    one = start(_default_name())
    start.until_stored(messages[:9])
    with session(broker, "old-member", old) as (received, _):
        publish(broker, *messages[9:])
        start.until_stored(messages)
        one.until(lambda: len(received) == COUNT - 9)  # no share of it goes to the new receiver
    assert one.end() == 0


# --- groups -----------------------------------------------------------------------------------


def test_a_dead_member_is_retired(unit: Unit, broker: PrivateBroker, start: Start) -> None:
    one, two = start("one", GROUP), start("two", GROUP)
    one.end(signal.SIGKILL)
    messages = unit.events(COUNT)
    publish(broker, *messages)
    two.until(lambda: len(start.tokens()) >= COUNT // 2)
    assert len(start.tokens()) < COUNT, "the broker gives a dead member its share"
    status, said = start.retire("one", GROUP)
    assert status == 0, said
    assert start.tokens() == tokens(messages)
    assert re.search(r"client one is retired: (19|20) messages taken over", said)
    assert not has_session(broker, "one")
    more = unit.events(COUNT)
    publish(broker, *more)
    start.until_stored(messages + more)
    assert two.end() == 0


def test_who_shares_nothing_is_retired_too(unit: Unit, broker: PrivateBroker, start: Start) -> None:
    start("one").end(signal.SIGKILL)
    messages = unit.events(COUNT)
    publish(broker, *messages)
    status, said = start.retire("one")
    assert status == 0, said
    assert start.tokens() == tokens(messages)
    assert not has_session(broker, "one")


def test_a_client_that_has_no_session_is_not_retired(
    unit: Unit,
    broker: PrivateBroker,
    start: Start,
) -> None:
    status, said = start.retire("nobody")
    assert status == 1
    assert "keeps no session of client nobody" in said.splitlines()[-1]
    assert not has_session(broker, "nobody")


def test_a_session_of_mqtt_3_1_1_is_retired(
    unit: Unit, broker: PrivateBroker, start: Start
) -> None:
    """It has no expiry: without this the broker would keep it, and all that waits, for ever."""
    with TcpProxy(broker.port, refusal=OLD_REFUSAL) as wire:
        one = start("one", f"--broker=127.0.0.1:{wire.port}")
        one.end(signal.SIGKILL)
        messages = unit.events(COUNT)
        publish(broker, *messages)
        status, said = start.retire("one", port=wire.port)
    assert status == 0, said
    assert start.tokens() == tokens(messages)
    assert not has_session(broker, "one")


def test_without_a_command_key_a_group_is_warned_of(
    unit: Unit,
    broker: PrivateBroker,
    start: Start,
) -> None:
    one = start("one", GROUP)
    assert "--group without --authority-key" in one.log
    assert one.end() == 0


class Device:
    """Sends events again that it is asked for, as a device's outbox does."""

    def __init__(self, unit: Unit, broker: PrivateBroker) -> None:
        self._sent: dict[int, Message] = {}
        self._client = new_client(broker.settings, unit.name.client_id)
        self._client.on_message = self._asked
        connect_client(self._client, broker.settings)
        self._client.loop_start()
        self._client.subscribe(unit.name.subtopic(COMMAND, "replay"), qos=1)

    def send(self, messages: list[Message]) -> None:
        for message in messages:
            self._sent[len(self._sent) + 1] = message
            self._client.publish(message.topic, message.payload, qos=1).wait_for_publish(10.0)

    def _asked(self, _client: object, _data: object, command: MQTTMessage) -> None:
        wanted = json.loads(from_b64url(command.payload.split(b".")[1].decode()))["data"]
        for number in range(wanted["first"], wanted["last"] + 1):
            message = self._sent[number]
            self._client.publish(message.topic, message.payload, qos=1)

    def close(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()


@pytest.mark.slow
@pytest.mark.parametrize("place", ["sqlite"], indirect=True)
def test_what_the_broker_dropped_for_a_dead_member_is_asked_for(
    tmp_path: Path, unit: Unit, broker: PrivateBroker, start: Start
) -> None:
    """The survivor sees the gap and the device sends it again, until the share is its own."""
    key = tmp_path / "authority.key"
    SigningKey.load_or_create(key)
    options = (GROUP, f"--authority-key={key}")
    one, two = start("one", *options), start("two", *options)
    with closing(Device(unit, broker)) as device:
        one.end(signal.SIGKILL)
        killed = time.monotonic()
        sent: dict[str, float] = {}
        stored: dict[str, float] = {}
        while time.monotonic() < killed + SHARED_EXPIRY_S + 10.0 or len(stored) < len(sent):
            assert time.monotonic() < killed + 600.0, "not in time"
            if time.monotonic() < killed + SHARED_EXPIRY_S + 10.0:
                device.send(new := unit.events(2))
                sent |= dict.fromkeys(tokens(new), time.monotonic())
            time.sleep(1.0)
            stored |= {token: time.monotonic() for token in start.tokens() if token not in stored}
    delays = sorted(stored[token] - sent[token] for token in sent)
    late = [delay for delay in delays if delay > 3.0]
    until = max(at for token, at in sent.items() if stored[token] - at > 3.0) - killed
    log.info(
        "%d of %d events withheld, those until %.0f s after the kill; stored %.0f s late at most",
        len(late),
        len(delays),
        until,
        delays[-1],
    )
    assert late
    assert "asked" in {line["kind"] for line in two.said}
    assert two.end() == 0
