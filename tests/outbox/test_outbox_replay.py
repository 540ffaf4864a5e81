"""What is asked for again: which events, how fast, and never before live ones."""

import math
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import pytest
from wireunit import Signer, SteppedClock, attempt

from edge.errors import ReplayRefused
from edge.outbox.replay import LOOK, Asked, Replay, ReplayFinished, ReplayRequest, kept
from edge.outbox.store import Outbox, OutboxReader
from edge.system.event_queue import EventQueue

BEGIN = datetime(2027, 1, 15, 8, tzinfo=UTC)
EVENTS = 300
DELIVERED = 280


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Events 1 to 300, one a minute from BEGIN; 20 wait for the broker."""
    folder = tmp_path_factory.mktemp("archive")
    clock = SteppedClock(BEGIN.timestamp())
    signer = Signer(folder, clock)
    box = Outbox(folder / "outbox.db")
    for _ in range(EVENTS):
        box.append(partial(signer.sealer.event, attempt(captured_ns=clock.monotonic_ns)))
        clock.utc += 60.0
        clock.monotonic_ns += 60 * 10**9
    reader = OutboxReader(folder / "outbox.db")
    reader.set_delivered(DELIVERED)
    reader.close()
    box._db.execute("DELETE FROM event WHERE sequence < 11")  # past retention
    box.close()
    return folder / "outbox.db"


@pytest.fixture
def reader(file: Path) -> Iterator[OutboxReader]:
    reader = OutboxReader(file)
    yield reader
    reader.close()


def replay_of(reader: OutboxReader, rate: float) -> Replay:
    return Replay(reader, rate, EventQueue())


def period(begin: float, end: float) -> ReplayRequest:
    """Request what was signed between these minutes after BEGIN."""
    moments = [(BEGIN + timedelta(minutes=minutes)).isoformat() for minutes in (begin, end)]
    return ReplayRequest(1, 11, DELIVERED, *moments)


def drain(replay: Replay, now: float = 0.0, room: int = 1000) -> list[int]:
    """Draw every quarter of a second until nothing is left."""
    found: list[int] = []
    while replay.due_at(now) < math.inf:
        now += 0.25
        found += [row.sequence for row in replay.next(now, room, live_waits=False)]
        assert now < 10_000
    return found


@pytest.mark.parametrize(
    ("first", "last", "found"),
    [(20, 29, (20, 29)), (1, 15, (11, 15)), (275, 10**18, (275, 280)), (50, 50, (50, 50))],
)
def test_numbers_that_are_kept_and_delivered_come_once_in_order(
    reader: OutboxReader, first: int, last: int, found: tuple[int, int]
) -> None:
    assert kept(reader, first, last, DELIVERED) == Asked(*found)
    replay = replay_of(reader, 100.0)
    replay.request(ReplayRequest(1, *found))
    assert drain(replay) == list(range(found[0], found[1] + 1))
    assert replay.due_at(0.0) == math.inf


@pytest.mark.parametrize(("first", "last"), [(1, 10), (281, 300), (9, 3), (400, 500)])
def test_what_is_not_kept_or_comes_by_itself_is_refused(
    reader: OutboxReader, first: int, last: int
) -> None:
    with pytest.raises(ReplayRefused, match=f"none of the events {first} to {last} is kept"):
        kept(reader, first, last, DELIVERED)


def test_an_empty_archive_has_nothing(tmp_path: Path) -> None:
    Outbox(tmp_path / "outbox.db").close()
    reader = OutboxReader(tmp_path / "outbox.db")
    with pytest.raises(ReplayRefused, match="the archive has 0 to 0"):
        kept(reader, 1, 5, 0)
    reader.close()


@pytest.mark.parametrize(
    ("begin", "end", "expected"),
    [
        (99, 102, range(100, 104)),
        (99.5, 100.5, range(101, 102)),
        (0, 20, range(11, 22)),
        (270, 10_000, range(271, 281)),
        (200, 200, range(201, 202)),
        (-50, -40, range(0)),
    ],
)
def test_a_period_by_the_time_that_was_signed(
    reader: OutboxReader, begin: float, end: float, expected: range
) -> None:
    replay = replay_of(reader, 100.0)
    replay.request(period(begin, end))
    assert drain(replay) == list(expected)


def test_a_period_is_looked_for_in_small_portions(reader: OutboxReader) -> None:
    replay = replay_of(reader, 1000.0)
    replay.request(period(200, 300))
    replay.next(0.0, 10, live_waits=False)
    looks = 0
    while not replay.next(float(looks + 1), 10, live_waits=False):
        looks += 1
    assert looks == (200 - 11) // LOOK


def test_live_events_go_first_and_the_rest_keeps_its_pace(reader: OutboxReader) -> None:
    replay = replay_of(reader, 10.0)
    replay.request(ReplayRequest(1, 11, 280))
    assert replay.next(0.0, 100, live_waits=False) == []  # the first is due after a tenth
    assert replay.due_at(0.0) == pytest.approx(0.1)
    assert [row.sequence for row in replay.next(0.11, 100, live_waits=False)] == [11]
    assert replay.next(0.5, 100, live_waits=True) == []
    assert len(replay.next(0.5, 2, live_waits=False)) == 2  # no more than there is room for
    assert replay.next(0.5, 0, live_waits=False) == []
    # A long silence is not made up for: a second's worth at most.
    assert len(replay.next(1000.0, 100, live_waits=False)) == 10
    seconds = 1000.0
    sent = 0
    while sent < 100:
        seconds += 0.05
        sent += len(replay.next(seconds, 100, live_waits=False))
    assert seconds - 1000.0 == pytest.approx(10.0, abs=0.2)


def test_what_is_due_comes_due_however_often_it_is_asked(reader: OutboxReader) -> None:
    replay = replay_of(reader, 10.0)
    replay.request(ReplayRequest(1, 20, 22))
    sent, now = [], 0.0
    while now < 1.0:
        if replay.due_at(now) <= now:
            sent += [row.sequence for row in replay.next(now, 20, live_waits=False)]
        now += 0.01  # far less than the time between two events
    assert sent == [20, 21, 22]
    assert replay.due_at(now) == math.inf


def test_a_slow_rate_still_moves(reader: OutboxReader) -> None:
    replay = replay_of(reader, 0.1)
    replay.request(ReplayRequest(1, 20, 22))
    assert replay.next(0.0, 9, live_waits=False) == []
    assert [row.sequence for row in replay.next(10.1, 9, live_waits=False)] == [20]
    assert replay.next(11.0, 9, live_waits=False) == []


def test_what_was_not_taken_is_handed_out_again(reader: OutboxReader) -> None:
    events: EventQueue[ReplayFinished] = EventQueue()
    replay = Replay(reader, 100.0, events)
    replay.request(ReplayRequest(1, 20, 24))
    replay.request(ReplayRequest(2, 50, 51))
    assert drain(replay) == [20, 21, 22, 23, 24, 50, 51]
    for sequence in (20, 21, 23):
        assert replay.taken(sequence)
    assert not replay.taken(20)
    assert not replay.taken(99)
    replay.again()
    assert drain(replay, 100.0) == [22, 23, 24, 50, 51]  # once too often is no harm
    assert events.get(0.0) == []
    for sequence in (22, 23, 24, 50, 51):
        assert replay.taken(sequence)
    replay.again()
    assert replay.due_at(200.0) == math.inf
    assert events.get(0.0) == [ReplayFinished(1), ReplayFinished(2)]


def test_requests_are_served_in_turn(reader: OutboxReader) -> None:
    replay = replay_of(reader, 1000.0)
    for number in range(8):
        replay.request(ReplayRequest(number, 100 - number, 100 - number))
    assert drain(replay) == list(range(100, 92, -1))


def test_what_retention_removes_meanwhile_is_passed_over(file: Path, tmp_path: Path) -> None:
    copy = tmp_path / "outbox.db"
    copy.write_bytes(file.read_bytes())
    box, reader = Outbox(copy), OutboxReader(copy)
    replay = replay_of(reader, 100.0)
    replay.request(ReplayRequest(1, 11, 60))
    box._db.execute("DELETE FROM event WHERE sequence < 58")
    assert drain(replay) == [58, 59, 60]
    replay.request(ReplayRequest(1, 58, 60))
    box._db.execute("DELETE FROM event WHERE sequence < 70")
    assert drain(replay) == []
    reader.close()
    box.close()
