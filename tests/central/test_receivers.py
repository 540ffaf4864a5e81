"""Several receivers of one store, as an operator starts them: one dies, nothing shows it."""

import json
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from central_parts import Unit
from places import Place
from private_servers import PrivateBroker
from processes import Process, publish

from edge.contract.keys import add_registration
from senyum_central.ingest.message import Message

pytestmark = [pytest.mark.broker, pytest.mark.slow]

UNITS = [Unit(f"door-{number}") for number in range(4)]


@pytest.fixture
def keys(tmp_path: Path) -> Path:
    path = tmp_path / "keys.json"
    for unit in UNITS:
        add_registration(path, unit.key.registration(unit.name))
    return path


@contextmanager
def started(
    folder: Path, broker: PrivateBroker, place: Place, names: list[str], *options: str
) -> Iterator[list[Process]]:
    with ExitStack() as stack:
        found = [
            Process(folder, broker.port, *place.options, *options, name=name, store=False)
            for name in names
        ]
        for one in found:
            stack.callback(one.kill)
        for one in found:
            one.ready()
        yield found


def interleaved(count: int) -> list[Message]:
    chains = [unit.events(count) for unit in UNITS]
    return [message for row in zip(*chains, strict=True) for message in row]


def stored(place: Place) -> list[str]:
    return [jws for (jws,) in place.rows("SELECT jws FROM event ORDER BY unit, sequence")]


def tokens(messages: list[Message]) -> list[str]:
    return [message.payload.decode() for message in messages]


def until(reached: Callable[[], bool], seconds: float = 60.0) -> None:
    deadline = time.monotonic() + seconds
    while not reached():
        assert time.monotonic() < deadline, "not in time"
        time.sleep(0.1)


@pytest.mark.parametrize("options", [[], ["--group=central"]])
def test_one_of_two_is_killed_in_the_middle(
    tmp_path: Path, broker: PrivateBroker, keys: Path, place: Place, options: list[str]
) -> None:
    """Both get every event, or they share the events of their group."""
    for unit in UNITS:
        unit.head = type(unit.head)()
    messages = interleaved(60)
    with ExitStack() as stack:
        one, two = (
            stack.enter_context(started(tmp_path, broker, place, [name], *options, "--grace=5"))[0]
            for name in ("one", "two")
        )
        publish(broker, *messages[:100])
        until(lambda: len(stored(place)) > 20)
        one.end(signal.SIGKILL)
        publish(broker, *messages[100:])
        (again,) = stack.enter_context(
            started(tmp_path, broker, place, ["one"], *options, "--grace=5")
        )
        until(lambda: len(stored(place)) >= len(messages))
        publish(broker, *(unit.health() for unit in UNITS))
        time.sleep(8.0)  # longer than the grace: whoever missed something would say so now
        assert (two.end(), again.end()) == (0, 0)
    assert sorted(stored(place)) == sorted(tokens(messages))
    said = one.said + two.said + again.said
    assert not [line for line in said if line["alarm"]]
    assert place.rows("SELECT count(*) FROM refused") == [(0,)]


def test_gaps_forks_and_refusals_are_said_once_among_them(
    tmp_path: Path, broker: PrivateBroker, keys: Path, place: Place
) -> None:
    """Each gets every event, so each finds the same."""
    unit = Unit("door-0")
    first, lost, last = unit.events(3)
    rival = Unit("door-0")
    rival.events(2)
    forked = rival.event()
    forged = unit.message(last.payload[:-8] + b"AAAAAAAA")
    with ExitStack() as stack:
        both = [
            stack.enter_context(started(tmp_path, broker, place, [name], "--grace=1"))[0]
            for name in ("one", "two")
        ]

        def said(kind: str) -> list[str]:
            return [line["text"] for one in both for line in one.said if line["kind"] == kind]

        publish(broker, first, last, forked, forged)
        until(lambda: bool(said("gap") and said("fork") and said("refused")))
        publish(broker, lost)
        until(lambda: bool(said("healed")))
        time.sleep(3.0)
        assert said("gap") == ["event 2 is missing"]
        assert said("healed") == ["event 2 is no longer missing"]
        assert len(said("fork")) == len(said("refused")) == 1
        assert [one.end() for one in both] == [0, 0]
    assert len(stored(place)) == 4, "both sides of the fork"
    assert len(place.rows("SELECT unit FROM fork")) == 1
    assert place.rows("SELECT first, last FROM gap") == [(2, 2)]


def test_new_keys_are_read_while_it_runs(
    tmp_path: Path, broker: PrivateBroker, keys: Path, file_place: Place
) -> None:
    late = Unit("late-1")
    message = late.event()
    with started(tmp_path, broker, file_place, ["one"]) as (one,):
        publish(broker, message)
        one.until(lambda: [line.get("flaw") for line in one.said] == ["unknown-key"])
        before = keys.read_text()
        keys.write_text("{")
        one.until(lambda: "the previous keys stay active" in one.log)
        keys.write_text(before)
        add_registration(keys, late.key.registration(late.name))
        one.until(lambda: one.said[-1]["kind"] == "event")
        assert "read again, 5 keys" in one.log
        assert one.end() == 0
    assert stored(file_place) == tokens([message])
    assert file_place.rows("SELECT count(*) FROM refused") == [(0,)]


def test_an_alarm_runs_the_operators_program(
    tmp_path: Path, broker: PrivateBroker, keys: Path, server_place: Place
) -> None:
    """A unit that was rolled back to a copy of its disk: over PostgreSQL, and told to a program."""
    unit = Unit("door-1")
    unit.event()
    copy = Unit("door-1")
    copy.head = unit.head
    heard = tmp_path / "heard"
    program = tmp_path / "alarm"
    program.write_text(
        f"#!{sys.executable}\nimport sys\nopen({str(heard)!r}, 'a').write(input())\n"
    )
    program.chmod(0o700)
    with started(tmp_path, broker, server_place, ["one"], f"--on-alarm={program}") as (one,):
        publish(broker, unit.event(), copy.event())
        one.until(lambda: heard.exists() and heard.read_text().endswith("}"))
        assert one.end() == 0
    alarm = json.loads(heard.read_text())
    assert (alarm["kind"], alarm["alarm"]) == ("fork", True)
    assert alarm["unit"] == unit.name.source
    assert "another event 2" in alarm["text"]


def test_a_server_that_restarts_costs_nothing(
    tmp_path: Path, broker: PrivateBroker, keys: Path, server_place: Place
) -> None:
    for unit in UNITS:
        unit.head = type(unit.head)()
    messages = interleaved(10)
    assert server_place.server is not None
    with started(tmp_path, broker, server_place, ["one"]) as (one,):
        publish(broker, *messages[:20])
        one.until(lambda: len(stored(server_place)) == 20)
        server_place.server.stop("immediate")
        publish(broker, *messages[20:])
        time.sleep(2.0)
        server_place.server.start()
        until(lambda: len(stored(server_place)) == 40)
        assert one.end() == 0
        assert "the store does not answer" in one.log
    assert sorted(stored(server_place)) == sorted(tokens(messages))
