from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from central_parts import Shown, TurnedClock, Unit, keys_of, signing_key

from edge.contract.keys import add_registration
from senyum_central.ingest.gap_requests import GapRequester, ReplayAuthority
from senyum_central.ingest.ingestor import Ingestor
from senyum_central.ingest.key_set_file import KeySetFile
from senyum_central.ingest.notices import Notice
from senyum_central.ingest.receiver import Receiver
from senyum_central.store.event_store import Store

GRACE = 10.0


class Room:
    """A receiver whose clock the test turns, and what it said."""

    def __init__(self, store: Store, unit: Unit) -> None:
        self.clock = TurnedClock.at_start()
        self.said: list[Notice] = []
        desk = Ingestor(store, keys_of(unit), GRACE, self.clock())
        self.receiver = Receiver(desk, [Shown(self.said)], self.clock)

    def wait(self, seconds: float) -> list[str]:
        """Let time pass in steps as the subscriber does; return what was said meanwhile."""
        before = len(self.said)
        for _ in range(round(seconds * 4)):
            self.clock.turn(0.25)
            self.receiver.idle()
        return [notice.text for notice in self.said[before:]]


@pytest.fixture
def unit() -> Unit:
    return Unit()


@pytest.fixture
def room(tmp_path: Path, unit: Unit) -> Iterator[Room]:
    with closing(Store(tmp_path / "events.db")) as store:
        yield Room(store, unit)


def test_a_gap_is_said_within_a_second_of_its_grace(room: Room, unit: Unit) -> None:
    first, _, third = unit.events(3)
    room.receiver.start()
    room.receiver.take([first, third])
    assert len(room.said) == 2
    assert room.wait(GRACE - 0.25) == []
    assert room.wait(1.25) == ["event 2 is missing"]
    assert room.wait(5 * GRACE) == []


def test_time_without_a_connection_counts_towards_no_gap(room: Room, unit: Unit) -> None:
    first, second, third = unit.events(3)
    room.receiver.take([first, third])
    room.clock.turn(100 * GRACE)
    room.receiver.connected()
    assert room.wait(GRACE - 1) == []
    room.receiver.take([second])
    assert room.wait(5 * GRACE) == []


def fails(*_arguments: object) -> None:
    raise IndexError


@pytest.mark.parametrize("chore", ["set_keys", "check_gaps", "request_missing"])
def test_a_chore_that_fails_stops_nothing_and_is_logged_once(
    tmp_path: Path,
    unit: Unit,
    chore: str,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    clock = TurnedClock.at_start()
    said: list[Notice] = []
    with closing(Store(tmp_path / "events.db")) as store:
        requester = GapRequester(store, ReplayAuthority(signing_key("authority")))
        desk = Ingestor(store, keys_of(unit), GRACE, clock(), requester)
        owner: object = requester if chore == "request_missing" else desk
        real = getattr(owner, chore)
        monkeypatch.setattr(owner, chore, fails)
        keys = tmp_path / "keys.json"
        add_registration(keys, unit.key.registration(unit.name))
        receiver = Receiver(desk, [Shown(said)], clock, key_file=KeySetFile(keys))
        for message in unit.events(5):
            clock.turn(1.0)
            keys.touch()  # the key set counts as changed
            assert receiver.idle() == []
            receiver.take([message])
        assert len(store.signed_events(unit.name.source)) == 5
        errors = [entry for entry in caplog.records if entry.levelname == "ERROR"]
        assert [entry.getMessage().endswith("(IndexError); trying again") for entry in errors] == [
            True
        ]
        monkeypatch.setattr(owner, chore, real)
        clock.turn(1.0)
        keys.touch()
        receiver.idle()
        monkeypatch.setattr(owner, chore, fails)
        clock.turn(1.0)
        keys.touch()
        receiver.idle()
        assert len([entry for entry in caplog.records if entry.levelname == "ERROR"]) == 2


def test_a_reader_that_left_ends_it(tmp_path: Path, unit: Unit) -> None:
    """As `senyum receive | head`: nobody sees an alarm any more."""

    class Closed(Shown):
        def show(self, notice: Notice) -> None:
            raise BrokenPipeError

    with closing(Store(tmp_path / "events.db")) as store:
        desk = Ingestor(store, keys_of(unit), GRACE, TurnedClock.at_start()())
        receiver = Receiver(desk, [Closed([])], TurnedClock.at_start())
        with pytest.raises(BrokenPipeError):
            receiver.take(unit.events(1))
        assert len(store.signed_events(unit.name.source)) == 1
