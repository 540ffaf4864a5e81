"""Events of no certain time, and the anchors that date them, in every order of arrival."""

import itertools
import sqlite3
from contextlib import closing
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from central_parts import START, TurnedClock, Unit, keys_of
from pydantic import ValidationError

from edge.contract.events import timestamp
from edge.system.clock import ClockState
from edge.types import Attempt, AuditCode, Outcome, Reason
from senyum_central.ingest.ingestor import Ingestor
from senyum_central.ingest.message import Message
from senyum_central.ingest.notices import NoticeKind
from senyum_central.store.event_store import Store

OTHER_BOOT = "11111111-1111-4111-8111-111111111111"


class Waking(Unit):
    """A unit whose clock is wrong until it is set, `wrong` seconds off; monotonic time is true."""

    def __init__(self, name: str = "lobby-1") -> None:
        super().__init__(name)
        self.times: dict[int, datetime] = {}  # number to when it really was

    def at(self, seconds: float, *, wrong: float = 0.0, boot: str | None = None) -> None:
        """Be so many seconds after START, `wrong` by so many."""
        self.now = START + timedelta(seconds=seconds)
        sure = ClockState.UNSYNCHRONIZED if wrong else ClockState.SYNCHRONIZED
        self.clock.reading = replace(
            self.clock.reading,
            utc_ns=int((self.now.timestamp() + wrong) * 1_000_000_000),
            monotonic_ns=int((1000 + seconds) * 1e9),
            state=sure,
            boot_id=boot or self.clock.reading.boot_id,
        )

    def _next(self, event: object) -> Message:
        assert not isinstance(event, Attempt) or event.outcome is Outcome.REFUSED
        event = replace(event, captured_ns=self.clock.reading.monotonic_ns)  # type: ignore[type-var]
        self.times[self.head.sequence + 1] = self.now
        return super()._next(event)  # type: ignore[arg-type]

    def stranger(self) -> Message:
        return self._next(
            Attempt(ref=1, outcome=Outcome.REFUSED, reason=Reason.NOT_KNOWN, captured_ns=0)
        )

    def anchor(self, **changes: object) -> Message:
        reading = self.clock.reading
        detail: dict[str, object] = {
            "boot_id": reading.boot_id,
            "monotonic_ns": str(reading.monotonic_ns),
            "utc": timestamp(reading.utc_ns),
        }
        return self.audit(AuditCode.CLOCK_ANCHOR, **(detail | changes))


def morning(unit: Waking) -> list[Message]:
    """Two events by a clock five years behind, an anchor, one event by a clock that is right."""
    unit.at(0.0, wrong=-1.5e8)
    first = unit.stranger()
    unit.at(90.25, wrong=-1.5e8)
    second = unit.stranger()
    unit.at(100.0)
    return [first, second, unit.anchor(), unit.stranger()]


def take(path: Path, unit: Unit, messages: list[Message], together: int = 1) -> dict[int, str]:
    """Take events in batches; returns the times that anchors gave."""
    clock = TurnedClock.at_start()
    with closing(Store(path)) as store:
        desk = Ingestor(store, keys_of(unit), 1.0, clock())
        for at in range(0, len(messages), together):
            notices = desk.ingest(messages[at : at + together], clock())
            assert {notice.kind for notice in notices} == {NoticeKind.EVENT}, notices
        return store.corrected_times(unit.name.source)


@pytest.mark.parametrize("together", [1, 2, 4])
@pytest.mark.parametrize("order", list(itertools.permutations(range(4))))
def test_an_anchor_dates_the_events_of_its_boot_in_whatever_order_they_come(
    tmp_path: Path, order: tuple[int, ...], together: int
) -> None:
    unit = Waking()
    messages = morning(unit)
    found = take(tmp_path / "store.db", unit, [messages[at] for at in order], together)
    assert found == {
        number: unit.times[number].strftime("%Y-%m-%dT%H:%M:%S.%fZ") for number in (1, 2)
    }
    with closing(sqlite3.connect(tmp_path / "store.db")) as db:
        times = dict(db.execute("SELECT sequence, time FROM event").fetchall())
        tokens = {jws.encode() for (jws,) in db.execute("SELECT jws FROM event")}
    assert times[1].startswith("2021")  # what was signed stays as it was
    assert tokens == {message.payload for message in messages}


def test_the_nearest_anchor_counts(tmp_path: Path) -> None:
    unit = Waking()
    messages = morning(unit)
    unit.at(5000.0, wrong=-1.5e8)  # later the time service was away again, after a restart
    late = unit.stranger()
    unit.at(5010.0)
    # The monotonic clock has drifted against UTC since the first anchor, by a second.
    drifted = unit.anchor(utc=timestamp(unit.clock.reading.utc_ns + 1_000_000_000))
    found = take(tmp_path / "store.db", unit, [*messages, late, drifted])
    assert found[2] == unit.times[2].strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    moved = unit.times[5] + timedelta(seconds=1)
    assert found[5] == moved.strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def test_an_anchor_of_another_boot_dates_nothing(tmp_path: Path) -> None:
    unit = Waking()
    unit.at(0.0, wrong=-1.5e8)
    event = unit.stranger()
    unit.at(10.0)
    assert take(tmp_path / "store.db", unit, [event, unit.anchor(boot_id=OTHER_BOOT)]) == {}


@pytest.mark.parametrize("changes", [{"monotonic_ns": "soon"}, {"utc": "9999-12-31T23:59:59Z"}])
def test_an_anchor_that_is_no_moment_is_signed_by_nobody(changes: dict[str, object]) -> None:
    unit = Waking()
    unit.at(10.0)
    with pytest.raises(ValidationError):
        unit.anchor(**changes)


def test_a_moment_outside_the_limits_is_left_undated(tmp_path: Path) -> None:
    unit = Waking()
    unit.at(0.0, wrong=-1.5e8)
    event = unit.stranger()
    unit.at(10.0)
    anchor = unit.anchor(monotonic_ns=str(2**63 - 1))  # 292 years before it is the event
    assert take(tmp_path / "store.db", unit, [event, anchor]) == {}


@pytest.mark.parametrize("year", ["0001", "9999"])
def test_an_impossible_anchor_that_an_earlier_version_stored_dates_nothing(
    tmp_path: Path, year: str
) -> None:
    unit = Waking()
    unit.at(0.0, wrong=-1.5e8)
    event = unit.stranger()
    path, boot = tmp_path / "store.db", unit.clock.reading.boot_id
    take(path, unit, [])
    with closing(sqlite3.connect(path)) as db:
        row = (unit.name.source, boot, 1, f"{year}-01-01T00:00:00+00:00", 1)
        db.execute("INSERT INTO anchor VALUES (?, ?, ?, ?, ?)", row)
        db.commit()
    assert take(path, unit, [event]) == {}


def test_another_boot_is_not_dated(tmp_path: Path) -> None:
    unit = Waking()
    unit.at(0.0, wrong=-1.5e8, boot=OTHER_BOOT)
    before = unit.stranger()
    unit.at(50.0, wrong=-1.5e8, boot="0b7ac3f1-9f0c-4b2e-a1f5-3a7c1c8d2e4f")
    event = unit.stranger()
    unit.at(60.0)
    found = take(tmp_path / "store.db", unit, [before, event, unit.anchor()])
    assert list(found) == [2]
