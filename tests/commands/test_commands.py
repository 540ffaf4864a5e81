"""Each command, from `senyum admin send` through a real broker to a real daemon and back."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from daemons import Daemon, enrol
from orders import Commander, Voice
from private_servers import PrivateBroker
from wireunit import UNIT, Listener, until

from edge.cli import main
from edge.contract.envelope import verify
from edge.contract.events import AuditEvent, HealthEvent, OnlineStatus, StateEvent
from edge.contract.keys import KeySet
from edge.contract.topics import COMMAND, TopicKind
from edge.mqtt.subscriber import CAPACITY

pytestmark = [pytest.mark.broker, pytest.mark.slow]


@pytest.fixture
def daemon(tmp_path: Path, broker: PrivateBroker) -> Iterator[Daemon]:
    """Give a running unit that obeys the key at `authority.key`."""
    made = Daemon(tmp_path, broker.port)
    words = [
        "admin",
        "keys",
        "--authority",
        tmp_path / "authority.key",
        "--units",
        "urn:senyum:dinas:*:*",
    ]
    assert main([*map(str, words), "--add-to", str(tmp_path / "authorities.json")]) == 0
    with made:
        yield made


class Admin:
    """`senyum admin send` to the daemon."""

    def __init__(self, folder: Path, port: int, capsys: pytest.CaptureFixture[str]) -> None:
        self._where = ["--broker", f"127.0.0.1:{port}", "--keys", str(folder / "keys.json")]
        self._capsys = capsys
        self._key = str(folder / "authority.key")

    def send(self, command: str, *words: str, status: int = 0) -> dict[str, Any]:
        """Send and return the answer."""
        told = self.say(command, *words, "--json", status=status)
        answer: dict[str, Any] = json.loads(told)
        return answer

    def say(self, command: str, *words: str, status: int = 0) -> str:
        self._capsys.readouterr()
        unit = ["--unit", f"{UNIT.org}/{UNIT.site}/{UNIT.name}", "--authority", self._key]
        found = main(["admin", "send", command, *self._where, *unit, "--timeout", "60", *words])
        told = self._capsys.readouterr()
        assert found == status, told.out + told.err
        return told.out if status == 0 or told.out else told.err


@pytest.fixture
def admin(daemon: Daemon, broker: PrivateBroker, capsys: pytest.CaptureFixture[str]) -> Admin:
    return Admin(daemon.folder, broker.port, capsys)


@pytest.fixture
def heard(broker: PrivateBroker) -> Iterator[Listener]:
    with Listener(broker.settings) as listener:
        yield listener


def audits(daemon: Daemon, heard: Listener, code: str) -> list[dict[str, Any]]:
    keys = KeySet.load(daemon.folder / "keys.json")
    found = []
    for token in heard.events():
        event = verify(token, keys, UNIT.topic(TopicKind.EVENT)).event
        if isinstance(event, AuditEvent) and event.data.code == code:
            found.append(dict(event.data.detail))
    return found


def last(daemon: Daemon, heard: Listener, leaf: TopicKind) -> Any:
    keys = KeySet.load(daemon.folder / "keys.json")
    bodies = [body for topic, body, _ in heard.messages if topic == UNIT.topic(leaf)]
    signed = [body for body in bodies if not body.startswith(b"{")]
    return verify(signed[-1], keys, UNIT.topic(leaf)).event if signed else None


def soon(condition: Callable[[], object]) -> None:
    until(condition, 60.0)


def test_ping_and_identify(daemon: Daemon, admin: Admin, heard: Listener) -> None:
    answer = admin.send("ping")
    assert (answer["ok"], answer["data"]["session"], answer["data"]["sequence"]) == (True, 1, 1)
    assert answer["data"]["software"] in answer["text"]
    assert "pintu-1: ping: runs senyum" in admin.say("ping")
    assert admin.send("identify")["ok"]
    soon(lambda: audits(daemon, heard, "command-done"))
    assert audits(daemon, heard, "command-done")[0]["command"] == "identify"


def test_settings_are_bounded_kept_over_a_restart_and_taken_back(
    daemon: Daemon, admin: Admin, heard: Listener
) -> None:
    words = ["--set", "gpio.volume=0.25", "--set", "broker.health_period=5"]
    answer = admin.send("settings", *words)
    assert answer["data"]["set"] == ["broker.health_period", "gpio.volume"]
    assert answer["data"]["settings"]["gpio.volume"] == 0.25
    soon(lambda: "applied new settings or roster" in daemon.said())
    refused = admin.send("settings", "--set", "gpio.volume=1.5", status=1)
    assert refused["reason"] == "bad-data"
    assert refused["text"].startswith("gpio.volume is 1.5: ")
    daemon.end()
    daemon.start()
    assert admin.send("settings")["data"]["settings"]["gpio.volume"] == 0.25
    answer = admin.send("settings", "--reset", "gpio.volume")
    assert answer["data"]["settings"]["gpio.volume"] == 0.6
    assert answer["data"]["set"] == ["broker.health_period"]
    told = audits(daemon, heard, "command-done")
    assert {"command": "settings", "gpio-volume": 0.25, "broker-health_period": 5.0}.items() <= (
        told[0].items()
    )
    assert admin.say("settings", "--set", "broker.host=1", status=2)


def test_replay_sends_again_what_was_acknowledged(
    daemon: Daemon, admin: Admin, heard: Listener
) -> None:
    admin.send("identify")
    soon(lambda: len(heard.events()) >= 2)
    before = heard.events()
    answer = admin.send("replay", "--first", "1", "--last", "1", status=0)
    assert answer["data"] == {"first": 1, "last": 1}
    soon(lambda: heard.events().count(before[0]) == 2)
    answer = admin.send("replay", "--first", "90", "--last", "99", status=1)
    assert (answer["reason"], answer["text"][:22]) == ("failed", "none of the events 90 ")
    words = ["--begin", "2020-01-01T00:00Z", "--end", "2120-01-01T00:00Z"]
    assert admin.send("replay", *words)["ok"]
    soon(lambda: heard.events().count(before[0]) == 3)


def test_reload_takes_what_it_can_and_restarts_for_the_rest(
    daemon: Daemon, admin: Admin, heard: Listener
) -> None:
    assert admin.send("reload")["data"] == {"changed": [], "restart": False}
    enrol(daemon.folder, 2)
    daemon.change("[gpio]", "[attendance]\nsmile_timeout = 6.5\n[gpio]")
    changed = ["attendance.smile_timeout", "roster"]
    assert admin.send("reload")["data"] == {"changed": changed, "restart": False}
    soon(lambda: "applied new settings or roster" in daemon.said())
    daemon.change("smile_timeout = 6.5", "smile_timeout = 0")
    refused = admin.send("reload", status=1)
    assert refused["reason"] == "failed"
    assert "attendance.smile_timeout" in refused["text"]
    daemon.change("smile_timeout = 0", "smile_timeout = 6.5")
    daemon.change('factory = "mock"', 'factory = "mock"\ngreen = 5')
    assert admin.send("reload")["data"] == {"changed": ["gpio.green"], "restart": True}
    assert daemon.wait(30.0) == 0
    state = last(daemon, heard, TopicKind.STATE)
    assert isinstance(state, StateEvent)
    assert state.data.status is OnlineStatus.OFFLINE
    daemon.start()
    assert admin.send("reload")["data"] == {"changed": [], "restart": False}
    told = [each["changed"] for each in audits(daemon, heard, "command-done")]
    assert "attendance.smile_timeout, roster" in told


def test_a_flood_of_forged_commands_is_counted_and_changes_nothing(
    daemon: Daemon, admin: Admin, heard: Listener, broker: PrivateBroker, tmp_path: Path
) -> None:
    admin.send("settings", "--set", "broker.health_period=5")
    stranger = Commander(tmp_path / "stranger")
    waves, each = 10, CAPACITY // 2
    forged = waves * each
    with Voice(broker.settings) as voice:
        for _ in range(waves):
            for _ in range(each):
                voice.say(stranger.command("identify").encode(), UNIT.subtopic(COMMAND, "identify"))
            assert admin.send("ping")["ok"]  # so that the inbox, which is finite, is empty again

    def health() -> HealthEvent | None:
        event = last(daemon, heard, TopicKind.HEALTH)
        return event if isinstance(event, HealthEvent) else None

    soon(lambda: (found := health()) is not None and found.data.refused_commands == forged)
    found = health()
    assert found is not None
    assert found.data.last_refusal == "unknown-key"
    soon(lambda: audits(daemon, heard, "commands-refused"))
    daemon.end()
    soon(lambda: sum(told["count"] for told in audits(daemon, heard, "commands-refused")) == forged)
    assert len(audits(daemon, heard, "commands-refused")) <= 2
    assert daemon.said().count("order refused") <= 2
    assert sum("/reply/" in topic for topic, _, _ in heard.messages) == 1 + waves


def test_while_the_clock_is_unknown_only_ping_and_identify_run(
    daemon: Daemon, admin: Admin
) -> None:
    daemon.end()
    daemon.clock(synchronized=False)
    daemon.start()
    assert admin.send("ping")["ok"]
    assert admin.send("identify")["ok"]
    assert admin.send("reload", status=1)["reason"] == "clock-unknown"


def test_no_answer_says_what_to_look_at(daemon: Daemon, admin: Admin, tmp_path: Path) -> None:
    (tmp_path / "authorities.json").unlink()
    told = admin.say("ping", "--timeout", "3", status=1)
    assert "no answer in 3 s; its last word is that it is online" in told
    assert "its authorities.json has this key" in told or "its file of authorities" in told
    daemon.end()
    told = admin.say("ping", "--timeout", "1", status=1)
    assert "its last word is that it is offline" in told
