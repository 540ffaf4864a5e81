"""A unit that was moved: one chain, several names, and no gap between them."""

from collections.abc import Iterator
from contextlib import closing
from datetime import date

import pytest
from central_parts import TurnedClock, Unit, keys_of
from days import exported
from places import Place

from edge.types import AuditCode
from senyum_central.evidence.chain import ChainDefect
from senyum_central.evidence.verifier import VerificationReport, verify_export
from senyum_central.ingest.ingestor import Ingestor
from senyum_central.ingest.message import Message
from senyum_central.ingest.notices import NoticeKind
from senyum_central.store.event_store import Store
from senyum_central.store.gaps import Gap
from senyum_central.store.queries import Period
from senyum_central.store.unit_renames import UnitRename, numbered_under_other_names

GRACE = 60.0


def moved(unit: Unit, name: str) -> tuple[Unit, Message]:
    """Return the same unit under another name, and the first thing that it says there."""
    other = Unit(name, head=unit.head)
    detail = {"from": unit.name.source, "last": unit.head.sequence}
    return other, other.audit(AuditCode.MOVED, **detail)


def there_and_back() -> tuple[list[Message], list[Message], Unit, Unit, Message]:
    """Return a unit's 5 events, 4 under another name, it there and at home, its return."""
    unit = Unit("lobby-1")
    before = unit.events(5)
    gate, away = moved(unit, "gate-2")
    others = [away, *gate.events(3)]
    return before, others, gate, *moved(gate, "lobby-1")


@pytest.fixture
def store(place: Place) -> Iterator[Store]:
    with closing(place.open()) as store:
        yield store


class Receiver:
    def __init__(self, store: Store, *units: Unit) -> None:
        self.store = store
        self.clock = TurnedClock.at_start()
        self.desk = Ingestor(store, keys_of(*units), GRACE, self.clock())

    def take(self, *messages: Message) -> list[NoticeKind]:
        return [notice.kind for notice in self.desk.ingest(messages, self.clock())]

    def after(self, seconds: float) -> list[tuple[NoticeKind, str]]:
        said = self.desk.check_gaps(self.clock.turn(seconds))
        return [(notice.kind, notice.text) for notice in said]


LOBBY, GATE = Unit("lobby-1"), Unit("gate-2")


def test_numbers_of_the_name_before_are_no_gap(store: Store) -> None:
    unit = Unit("lobby-1")
    before = unit.events(4)
    gate, first = moved(unit, "gate-2")
    central = Receiver(store, LOBBY, GATE)
    central.take(*before, first, *gate.events(2))
    assert central.after(2 * GRACE) == []
    standing = store.chain_statuses()[GATE.name.source]
    assert (standing.highest, standing.missing) == (7, ())
    assert store.missing_ranges({GATE.name.source: [Gap(1, 7)]}) == {}
    gate.event()
    central.take(gate.event())
    assert central.after(2 * GRACE) == [(NoticeKind.GAP, "event 8 is missing")]
    again = Receiver(store, LOBBY, GATE)
    assert again.desk._gaps._trackers[GATE.name.source].missing == (Gap(8, 8),)


def test_a_gap_that_was_reported_before_the_move_was_read_heals(store: Store) -> None:
    unit = Unit("lobby-1")
    unit.events(4)
    gate, first = moved(unit, "gate-2")
    central = Receiver(store, LOBBY, GATE)
    central.take(gate.health())
    assert central.after(2 * GRACE) == [(NoticeKind.GAP, "events 1–5 are missing")]  # noqa: RUF001
    central.take(first)
    assert central.after(1.0) == [(NoticeKind.HEALED, "events 1–5 are no longer missing")]  # noqa: RUF001


def test_another_receiver_learns_of_the_move_from_the_store(place: Place) -> None:
    unit = Unit("lobby-1")
    unit.events(4)
    gate, first = moved(unit, "gate-2")
    with closing(place.open()) as one, closing(place.open()) as two:
        here, there = Receiver(one, LOBBY, GATE), Receiver(two, LOBBY, GATE)
        there.take(gate.event())
        here.take(first)
        assert there.after(2 * GRACE) == []
        assert here.after(2 * GRACE) == []


def test_who_comes_back_misses_only_what_was_lost_under_that_name(store: Store) -> None:
    before, others, _, lobby, back = there_and_back()
    central = Receiver(store, LOBBY, GATE)
    central.take(*before[:3], *others, back, lobby.event())
    said = [(NoticeKind.GAP, "events 4–5 are missing")]  # noqa: RUF001 - as it is told
    assert central.after(2 * GRACE) == said
    assert store.numbers_under_other_names()[LOBBY.name.source] == [Gap(6, 9)]


@pytest.mark.parametrize("told", [False, True])
@pytest.mark.parametrize("restarted", [False, True])
def test_a_departure_that_comes_after_the_return_shows_what_was_lost_before_it(
    store: Store, *, told: bool, restarted: bool
) -> None:
    unit = Unit("lobby-1")
    before, health = unit.events(5), unit.health()
    gate, away = moved(unit, "gate-2")
    _, back = moved(gate, "lobby-1")
    lost = (NoticeKind.GAP, "events 4–5 are missing")  # noqa: RUF001 - as it is told
    central = Receiver(store, LOBBY, GATE)
    central.take(*before[:3])
    if told:
        central.take(health)
        assert central.after(2 * GRACE) == [lost]
    central.take(back)
    healed = [(NoticeKind.HEALED, "events 4–5 are no longer missing")] if told else []  # noqa: RUF001
    assert central.after(2 * GRACE) == healed
    if restarted:
        central = Receiver(store, LOBBY, GATE)
    central.take(away)
    assert central.after(2 * GRACE) == [lost]
    assert store.chain_statuses()[LOBBY.name.source].reported == (Gap(4, 5),)
    assert Receiver(store, LOBBY, GATE).after(2 * GRACE) == []  # it is said once


def test_another_receiver_learns_where_the_unit_went_away(place: Place) -> None:
    unit = Unit("lobby-1")
    before = unit.events(5)
    gate, away = moved(unit, "gate-2")
    _, back = moved(gate, "lobby-1")
    with closing(place.open()) as one, closing(place.open()) as two:
        here, there = Receiver(one, LOBBY, GATE), Receiver(two, LOBBY, GATE)
        there.take(*before[:3], back)
        here.take(away)
        assert there.after(1.0) == []
        assert there.after(2 * GRACE) == [(NoticeKind.GAP, "events 4–5 are missing")]  # noqa: RUF001


def test_a_move_that_contradicts_itself_is_none(store: Store) -> None:
    unit = Unit("gate-2")
    unit.events(2)
    central = Receiver(store, LOBBY, GATE)
    source = LOBBY.name.source
    for detail in (
        {"from": source, "last": 1},
        {"from": "urn:senyum:x", "last": 3},
        {"from": GATE.name.source, "last": 4},
        {},
    ):
        central.take(unit.audit(AuditCode.MOVED, **detail))
    central.take(unit.audit(AuditCode.STARTED, **{"from": source, "last": 6}))
    assert store.numbers_under_other_names() == {}
    assert central.after(2 * GRACE) == [(NoticeKind.GAP, "events 1–2 are missing")]  # noqa: RUF001


def test_a_move_that_does_not_follow_what_is_stored_is_a_fork(store: Store) -> None:
    central = Receiver(store, LOBBY, GATE)
    central.take(*Unit("lobby-1").events(3))
    other = Unit("lobby-1")
    other.events(3)
    _, first = moved(other, "gate-2")
    assert central.take(first) == [NoticeKind.FORK, NoticeKind.EVENT]


def test_names_are_traced_back_to_where_the_unit_went_away() -> None:
    moves = [
        UnitRename("b", 11, "a"),
        UnitRename("c", 21, "b"),
        UnitRename("a", 31, "c"),
        UnitRename("b", 41, "a"),
    ]
    assert numbered_under_other_names(moves, "a") == [Gap(11, 30)]
    assert numbered_under_other_names(moves, "b") == [Gap(1, 10), Gap(21, 40)]
    assert numbered_under_other_names(moves[2:], "a") == [Gap(1, 30)]  # as far as is known


def verdict(store: Store) -> VerificationReport:
    """Judge what is exported of the day on which everything here happens."""
    keys = keys_of(LOBBY, GATE)
    content = exported(store, Period(date(2026, 3, 2), date(2026, 3, 2)), keys)
    return verify_export(content.splitlines(keepends=True), keys)


def test_an_export_of_a_moved_unit_proves_itself(store: Store) -> None:
    before, others, gate, lobby, back = there_and_back()
    central = Receiver(store, LOBBY, GATE)
    central.take(*before[:3], *others, back, lobby.event(), lobby.health(), gate.health())
    found = verdict(store)
    assert [(one.fault, one.text) for one in found.findings] == [
        (ChainDefect.MISSING, f"{LOBBY.name.source}: events 4–5 are missing")  # noqa: RUF001
    ]
    assert f"{LOBBY.name.source}: had another name at events 6–9" in found.notes  # noqa: RUF001
    assert f"{GATE.name.source}: had another name at events 1–5" in found.notes  # noqa: RUF001
    central.take(*before[3:])
    assert verdict(store).good
