"""Missing numbers cost what their count asks for, however large they are; one alarm an outage."""

import json
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import timedelta
from itertools import pairwise
from types import SimpleNamespace
from typing import Any

import pytest
from central_parts import START, Shown, TurnedClock, Unit, keys_of, signing_key
from hypothesis import given
from hypothesis import strategies as st
from places import Place
from sqlalchemy import event as sqlalchemy_event

from edge.contract.envelope import RejectReason
from edge.contract.limits import MAX_SEQUENCE
from senyum_central.ingest.alarm_hook import AlarmHook
from senyum_central.ingest.gap_requests import GapRequester, ReplayAuthority
from senyum_central.ingest.gap_tracker import GapTracker
from senyum_central.ingest.ingestor import Ingestor
from senyum_central.ingest.message import Message, ReceivedAt
from senyum_central.ingest.notices import Notice, NoticeKind
from senyum_central.ingest.receiver import Receiver
from senyum_central.store.event_store import Store
from senyum_central.store.gaps import ChainStatus, Gap, filled_gaps, subtract
from senyum_central.store.unit_renames import UnitRename, split_by_unit

GRACE = 10.0
numbers = st.integers(1, 60)


def gaps_of(found: set[int]) -> list[Gap]:
    """Return a set as ranges that do not touch."""
    firsts = sorted(n for n in found if n - 1 not in found)
    lasts = sorted(n for n in found if n + 1 not in found)
    return [Gap(first, last) for first, last in zip(firsts, lasts, strict=True)]


def numbers_of(gaps: Iterator[Gap]) -> set[int]:
    return {n for gap in gaps for n in range(gap.first, gap.last + 1)}


ranges = st.builds(lambda first, more: Gap(first, first + more), numbers, st.integers(0, 9))


@given(st.sets(numbers), st.lists(ranges))
def test_a_difference_of_ranges_is_that_of_the_sets(left: set[int], others: list[Gap]) -> None:
    found = list(subtract(gaps_of(left), sorted(others)))
    assert numbers_of(iter(found)) == left - numbers_of(iter(others))
    assert all(a.last < b.first for a, b in pairwise(found))


@given(st.sets(numbers), st.sets(numbers))
def test_what_is_whole_has_no_number_missing(known: set[int], missing: set[int]) -> None:
    gaps = gaps_of(known)
    expected = [gap for gap in gaps if not numbers_of(iter([gap])) & missing]
    assert list(filled_gaps(gaps, gaps_of(missing))) == expected


class PlainGapTracker:
    """The same as GapTracker, number by number."""

    def __init__(self) -> None:
        self.highest = 0
        self.since: dict[int, int] = {}

    def record_arrival(self, n: int, now: int) -> None:
        if n > self.highest:
            self.record_head(n - 1, now)
            self.highest = n
        elif self.since.pop(n, None) is not None:
            for other in self.since:
                if other > n:
                    self.since[other] = now

    def record_head(self, n: int, now: int) -> None:
        for missing in range(self.highest + 1, n + 1):
            self.since[missing] = now
        self.highest = max(self.highest, n)


steps = st.tuples(
    st.sampled_from(["record_arrival", "record_arrival", "record_head", "restart"]), numbers
)


@given(st.lists(steps, max_size=40))
def test_a_ledger_waits_as_if_it_looked_at_each_number(taken: list[tuple[str, int]]) -> None:
    ledger, plain = GapTracker(grace_ns=10), PlainGapTracker()
    now = 0
    for now, (what, n) in enumerate(taken, start=1):
        if what == "restart":
            ledger.restart_grace(now)
            plain.since = dict.fromkeys(plain.since, now)
        else:
            getattr(ledger, what)(n, now)
            getattr(plain, what)(n, now)
    assert numbers_of(iter(ledger.missing)) == set(plain.since)
    for later in range(now, now + 12):
        overdue = {n for n, since in plain.since.items() if later - since >= 10}
        assert numbers_of(iter(ledger.overdue(later))) == overdue
    assert len(ledger._restarts) <= len(ledger.missing) + 1 + len(taken) // 2


@given(st.sets(numbers), st.sets(numbers), st.sets(numbers))
def test_a_ledger_resumed_or_corrected_holds_what_is_missing(
    missing: set[int], reported: set[int], apart: set[int]
) -> None:
    standing = ChainStatus(60, tuple(gaps_of(missing)), tuple(gaps_of(reported)))
    ledger = GapTracker.resume(standing, 0, 0)
    assert numbers_of(iter(ledger.missing)) == missing
    assert numbers_of(iter(ledger.overdue(0))) == missing - reported
    assert ledger.no_longer_under_other_names(gaps_of(apart)) == []
    ledger.set_under_other_names(gaps_of(apart))
    assert numbers_of(iter(ledger.missing)) == missing - apart
    back = ledger.no_longer_under_other_names([])
    ledger.set_under_other_names([])
    assert numbers_of(iter(back)) == apart
    ledger.add_missing(back, 0)
    assert numbers_of(iter(ledger.missing)) == missing | apart


def test_a_name_that_was_had_twice_is_traced_back_to_where_it_went_away() -> None:
    moves = [
        UnitRename("b", 5, "a"),
        UnitRename("a", 8, "b"),
        UnitRename("b", 11, "a"),
        UnitRename("c", 4, "x"),
    ]
    assert split_by_unit(moves) == {
        "a": [Gap(5, 7)],
        "b": [Gap(1, 4), Gap(8, 10)],
        "c": [Gap(1, 3)],
    }
    many = [UnitRename("u", n, "x") for n in range(2, 5000)]
    assert split_by_unit(many) == {"u": [Gap(1, 4998)]}


# --- what it costs -----------------------------------------------------------------------------


@contextmanager
def counted(store: Store) -> Iterator[dict[str, int]]:
    """Count the statements, and the rows that they read or write."""
    count = {"statements": 0, "rows": 0}

    def executed(
        _connection: Any, cursor: Any, _text: Any, values: Any, _context: Any, many: bool
    ) -> None:
        count["statements"] += 1
        if many:
            count["rows"] += len(values)

    real = store.database.rows

    def rows(*arguments: Any, **values: Any) -> list[Any]:
        found = real(*arguments, **values)
        count["rows"] += len(found)
        return found

    engine = store.database._engine
    sqlalchemy_event.listen(engine, "after_cursor_execute", executed)
    store.database.rows = rows  # type: ignore[method-assign]
    try:
        yield count
    finally:
        sqlalchemy_event.remove(engine, "after_cursor_execute", executed)
        del store.database.rows


class Walking(TurnedClock):
    """A clock on which both kinds of time go on."""

    def turn(self, seconds: float) -> ReceivedAt:
        later = self.instant.utc + timedelta(seconds=seconds)
        self.instant = ReceivedAt(later, self.instant.monotonic_ns + int(seconds * 1e9))
        return self.instant


def whole_life(place: Place, gaps: int) -> dict[str, int]:
    """Lose every other event, report it, ask for it, get it: return what the store had to do."""
    unit = Unit()
    messages = unit.events(2 * gaps + 1)
    clock = Walking.at_start()
    said: list[Notice] = []
    with closing(place.open()) as store, closing(place.open()) as second:
        asker = GapRequester(store, ReplayAuthority(signing_key("authority")))
        receiver = Receiver(
            Ingestor(store, keys_of(unit), GRACE, clock(), asker), [Shown(said)], clock
        )
        other = Ingestor(second, keys_of(unit), GRACE, clock())
        with counted(store) as count:
            receiver.take(messages[::2])
            clock.turn(GRACE)
            receiver.idle()
            for start in range(1, len(messages), 200):
                other.ingest(messages[start : start + 200 : 2], clock())  # by another receiver
                clock.turn(1.0)
                receiver.idle()
            clock.turn(1.0)
            receiver.idle()
        assert store.open_gaps() == {}
    assert [notice.text for notice in said if notice.kind is NoticeKind.GAP] == [
        f"{gaps} events between 2 and {2 * gaps} are missing, in {gaps} gaps"
    ]
    assert [notice.over for notice in said if notice.kind is NoticeKind.HEALED][-1:] == [True]
    return count


def test_twice_as_many_gaps_cost_at_most_twice_as_much(
    place: Place, request: pytest.FixtureRequest, tmp_path: Any
) -> None:
    server = place.server
    another = (
        Place(server.create(f"{place.database}_more"), server, f"{place.database}_more")
        if server
        else Place(tmp_path / "more.db")
    )
    few, many = whole_life(place, 250), whole_life(another, 500)
    assert many["statements"] <= 2 * few["statements"]
    assert many["rows"] <= 2 * few["rows"]


def test_a_report_of_many_gaps_is_a_few_statements(place: Place) -> None:
    unit = Unit()
    messages = unit.events(401)
    clock = Walking.at_start()
    with closing(place.open()) as store:
        desk = Ingestor(store, keys_of(unit), GRACE, clock())
        desk.ingest(messages[::2], clock())
        with counted(store) as count:
            (notice,) = desk.check_gaps(clock.turn(GRACE))
        assert count["statements"] <= 20
        assert len(notice.gaps) == 200


def test_the_largest_numbers_cost_what_small_ones_do(place: Place) -> None:
    unit = Unit()
    first = unit.event()
    unit.head = type(unit.head)(MAX_SEQUENCE - 2, "A" * 43)
    late = unit.event()
    clock = Walking.at_start()
    with closing(place.open()) as store:
        desk = Ingestor(store, keys_of(unit), GRACE, clock())
        desk.ingest([first, late], clock())
        (notice,) = desk.check_gaps(clock.turn(GRACE))
        assert notice.gaps == (Gap(2, MAX_SEQUENCE - 2),)
        assert store.missing_ranges({unit.name.source: [Gap(1, MAX_SEQUENCE)]}) == {
            unit.name.source: [
                Gap(2, MAX_SEQUENCE - 2), Gap(MAX_SEQUENCE, MAX_SEQUENCE)
            ]
        }  # fmt: skip
        assert Ingestor(store, keys_of(unit), GRACE, clock()).check_gaps(clock.turn(GRACE)) == []


# --- alarms ------------------------------------------------------------------------------------


class Program:
    """Takes the place of the operator's program: runs when it may, and keeps what it was given."""

    def __init__(self) -> None:
        self.heard: list[dict[str, Any]] = []
        self.may_run = threading.Event()
        self.runs = threading.Condition()

    def run(self, _command: Any, *, input: bytes, **_options: Any) -> SimpleNamespace:  # noqa: A002
        self.may_run.wait(60.0)
        with self.runs:
            self.heard.append(json.loads(input))
            self.runs.notify_all()
        return SimpleNamespace(returncode=0)

    def until(self, count: int) -> list[dict[str, Any]]:
        with self.runs:
            assert self.runs.wait_for(lambda: len(self.heard) >= count, 60.0)
            return list(self.heard)


@pytest.fixture
def program(monkeypatch: pytest.MonkeyPatch) -> Program:
    found = Program()
    # Only of that module: the server of a test is started by the real one.
    stand_in = SimpleNamespace(run=found.run, TimeoutExpired=TimeoutError)
    monkeypatch.setattr("senyum_central.ingest.alarm_hook.subprocess", stand_in)
    return found


def notice(kind: NoticeKind, unit: Unit, **more: Any) -> Notice:
    return Notice(kind, START, unit.name, "text", **more)


def test_a_flood_from_one_device_delays_no_alarm_of_another(program: Program) -> None:
    loud, quiet = Unit("loud-1"), Unit("quiet-2")
    made_up = [Unit(f"made-up-{number}") for number in range(7)]
    with closing(AlarmHook("program")) as alarm:
        for number in range(5000):
            alarm.show(notice(NoticeKind.FORK, loud))
            alarm.show(notice(NoticeKind.REFUSED, made_up[number % 7], flaw=RejectReason.TOPIC))
        alarm.show(notice(NoticeKind.GAP, quiet, gaps=(Gap(2, 3),), outage="o"))
        assert len(alarm._waiting) <= 3
        program.may_run.set()
        heard = program.until(4)
    units = [each["unit"] for each in heard]
    assert quiet.name.source in units
    assert sum(1 + each.get("more", 0) for each in heard) == 10_001
    gap = next(each for each in heard if each["kind"] == "gap")
    assert (gap["first"], gap["last"], gap["count"], gap["over"]) == (2, 3, 2, False)


def test_an_outage_is_one_alarm_and_one_end(program: Program, place: Place) -> None:
    unit = Unit()
    messages = unit.events(41)
    program.may_run.set()
    clock = Walking.at_start()
    with closing(place.open()) as store, closing(AlarmHook("program")) as alarm:
        receiver = Receiver(Ingestor(store, keys_of(unit), GRACE, clock()), [alarm], clock)

        def later(*messages: Message) -> None:
            receiver.take(messages)
            for seconds in (GRACE, 1.0):
                clock.turn(seconds)
                receiver.idle()

        for number in range(0, 20, 2):  # each second number is lost, one after another
            later(messages[number])
        for number in range(1, 19, 2):
            later(messages[number])
        heard = program.until(2)
        assert [(each["kind"], each["alarm"], each["over"]) for each in heard] == [
            ("gap", True, False),
            ("healed", False, True),
        ]
        assert heard[0]["outage"] == heard[1]["outage"]
        later(messages[40])
        assert program.until(3)[2]["count"] == 21, "another outage"
