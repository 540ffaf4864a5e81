"""Whatever one message raises concerns that message alone: the others are stored and shown."""

from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from typing import Any

import pytest
from central_parts import Resting, Shown, TurnedClock, Unit, keys_of
from places import Place

from edge.contract.envelope import verify
from edge.contract.jose import digest
from edge.contract.topics import TopicKind
from edge.errors import RowRejected, StoreError, StoreUnavailable
from senyum_central.ingest import ingestor as desk_module
from senyum_central.ingest import message as examine
from senyum_central.ingest.gap_tracker import GapMonitor
from senyum_central.ingest.ingestor import Ingestor
from senyum_central.ingest.message import Message
from senyum_central.ingest.notices import Failure, Notice, NoticeKind
from senyum_central.ingest.receiver import Receiver
from senyum_central.ingest.store_retry import StoreRetry
from senyum_central.replies import is_reply
from senyum_central.store.event_store import Store

PATIENTLY = StoreRetry(Resting())
GRACE = 60.0
ERRORS = [
    OverflowError("date value out of range"),
    RecursionError(),
    ValueError("Exceeds the limit (4300 digits) for integer string conversion"),
    TypeError("unhashable type: 'list'"),
    KeyError("utc"),
    UnicodeEncodeError("utf-8", "\ud800", 0, 1, "surrogates not allowed"),
    RowRejected("integer out of range"),
]


@pytest.fixture
def unit() -> Unit:
    return Unit()


@pytest.fixture
def other() -> Unit:
    return Unit("gate-2")


@pytest.fixture
def store(place: Place) -> Iterator[Store]:
    with closing(place.open()) as store:
        yield store


class Spoiler:
    """Makes one stage raise for one message."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self._patch = patch

    def raises(self, owner: Any, name: str, error: Exception, hit: Callable[[Any], bool]) -> None:
        real = getattr(owner, name)

        def stage(*arguments: Any, **named: Any) -> Any:
            if any(hit(argument) for argument in arguments):
                raise error
            return real(*arguments, **named)

        self._patch.setattr(owner, name, stage)


@pytest.fixture
def spoiler(monkeypatch: pytest.MonkeyPatch) -> Spoiler:
    return Spoiler(monkeypatch)


def identity(message: Message) -> tuple[object, ...]:
    """Return by what the stages know a message."""
    token = message.payload.decode()
    event = verify(message.payload, keys_of(Unit(), Unit("gate-2")), message.topic).event
    return message.payload, digest(token), event.id


def is_of(message: Message) -> Callable[[Any], bool]:
    known = identity(message)

    def hit(argument: Any) -> bool:
        entry = getattr(argument, "entry", argument)
        marks = (argument, getattr(entry, "digest", None), getattr(entry, "id", None))
        return any(mark in known for mark in marks if isinstance(mark, str | bytes))

    return hit


def refused(place: Place) -> list[tuple[Any, ...]]:
    return place.rows("SELECT flaw, times, payload FROM refused ORDER BY number")


STAGES = [
    (examine, "verify"),
    (desk_module, "classify"),
    (Store, "add"),
    (Store, "record_clock"),
    (Store, "record_rename"),
]


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
@pytest.mark.parametrize(("owner", "name"), STAGES, ids=lambda part: str(part)[-10:])
def test_one_message_that_raises_is_refused_and_the_others_are_stored(
    file_place: Place, unit: Unit, other: Unit, spoiler: Spoiler, owner: Any, name: str,
    error: Exception,
) -> None:  # fmt: skip
    first, bad, last = unit.events(3)
    batch = [first, bad, *other.events(2), last, unit.health()]
    clock = TurnedClock.at_start()
    with closing(file_place.open()) as store:
        desk = Ingestor(store, keys_of(unit, other), GRACE, clock())
        with pytest.MonkeyPatch.context() as patch:
            Spoiler(patch).raises(owner, name, error, is_of(bad))
            notices = desk.ingest(batch, clock())
            assert desk.ingest([bad], clock()) == [], "it is reported once"
        wrong = [notice for notice in notices if notice.kind is NoticeKind.REFUSED]
        assert [(notice.flaw, notice.is_warning) for notice in wrong] == [(Failure.INTERNAL, True)]
        assert type(error).__name__ in wrong[0].text
        assert [notice.kind for notice in notices].count(NoticeKind.EVENT) == 4
        assert store.signed_events(unit.name.source) == [m.payload.decode() for m in (first, last)]
        assert len(store.signed_events(other.name.source)) == 2
        assert refused(file_place) == [("internal", 2, bad.payload)]
        # A program that can process it takes it at its next start.
        again = Ingestor(store, keys_of(unit, other), GRACE, clock())
        assert [notice.kind for notice in again.retry_unknown(clock())] == [NoticeKind.EVENT]
        assert len(store.signed_events(unit.name.source)) == 3
    assert refused(file_place) == []


IMPOSSIBLE: dict[str, dict[str, Any]] = {
    "integer": {"sequence": 2**63},
    "surrogate": {"id": "\ud800"},
    "zero": {"id": "\0"},
    "nothing": {"id": None},
}


@pytest.mark.parametrize("impossible", IMPOSSIBLE)
def test_a_row_that_the_database_rejects_takes_no_other_with_it(
    place: Place, store: Store, unit: Unit, other: Unit, impossible: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    good, bad = unit.events(2)
    if impossible == "zero" and place.server is None:
        pytest.skip("SQLite stores it")
    real, hit = Store.add, is_of(bad)

    def add(self: Store, record: Any, now: str) -> None:
        if hit(record):
            record = replace(record, entry=replace(record.entry, **IMPOSSIBLE[impossible]))
        real(self, record, now)

    monkeypatch.setattr(Store, "add", add)
    clock = TurnedClock.at_start()
    desk = Ingestor(store, keys_of(unit, other), GRACE, clock())
    notices = desk.ingest([good, bad, *other.events(3)], clock())
    assert [n.flaw for n in notices if n.kind is NoticeKind.REFUSED] == [Failure.INTERNAL]
    assert store.signed_events(unit.name.source) == [good.payload.decode()]
    assert len(store.signed_events(other.name.source)) == 3
    assert [flaw for flaw, *_ in refused(place)] == ["internal"]


def test_every_message_may_raise(file_place: Place, unit: Unit, spoiler: Spoiler) -> None:
    messages = unit.events(30)
    spoiler.raises(Store, "add", OverflowError(), lambda _: True)
    clock = TurnedClock.at_start()
    with closing(file_place.open()) as store:
        desk = Ingestor(store, keys_of(unit), GRACE, clock())
        assert len(desk.ingest(messages, clock())) == 30
    assert len(refused(file_place)) == 30


def test_health_that_raises_is_reported_once_and_counted_each_time(
    file_place: Place, unit: Unit, spoiler: Spoiler
) -> None:
    spoiler.raises(Store, "record_head", OverflowError(), lambda _: True)
    clock = TurnedClock.at_start()
    unit.event()
    with closing(file_place.open()) as store:
        desk = Ingestor(store, keys_of(unit), GRACE, clock())
        notices = [notice for _ in range(5) for notice in desk.ingest([unit.health()], clock())]
    assert [notice.flaw for notice in notices] == [Failure.INTERNAL]
    kept = sum(times for _, times, _ in refused(file_place))
    ((flaw, more),) = file_place.rows("SELECT flaw, times FROM refused_before")
    assert (flaw, kept + more) == ("internal", 5)


def test_a_poisoned_message_in_the_store_stops_no_start(
    file_place: Place, unit: Unit, other: Unit, spoiler: Spoiler
) -> None:
    bad, good = unit.event(), other.event()
    clock = TurnedClock.at_start()
    with closing(file_place.open()) as store:
        Ingestor(store, keys_of(), GRACE, clock()).ingest([bad, good], clock())
        assert {flaw for flaw, *_ in refused(file_place)} == {"unknown-key"}
        spoiler.raises(Store, "record_clock", OverflowError(), is_of(bad))
        desk = Ingestor(store, keys_of(unit, other), GRACE, clock())
        assert [notice.unit for notice in desk.retry_unknown(clock())] == [other.name]
        assert desk.retry_unknown(clock()) == []
    assert [payload for *_, payload in refused(file_place)] == [bad.payload]


@pytest.mark.parametrize("apart", [False, True])
def test_a_store_that_is_away_meanwhile_loses_and_hides_nothing(
    file_place: Place, unit: Unit, other: Unit, monkeypatch: pytest.MonkeyPatch, apart: bool
) -> None:
    """What was to be said of a transaction that failed is said of the one that does not."""
    messages = [
        unit.state(), *unit.events(2), other.message(b"{}", TopicKind.HEALTH), *other.events(2)
    ]  # fmt: skip
    real = Store.add
    fails: Iterator[Exception | None] = iter(
        [*([OverflowError()] if apart else []), None, None, StoreUnavailable("the server is away")]
    )

    def add(self: Store, *arguments: Any) -> None:
        error = next(fails, None)
        if error is not None:
            raise error
        real(self, *arguments)

    monkeypatch.setattr(Store, "add", add)
    said: list[Notice] = []
    with closing(file_place.open()) as store:
        desk = Ingestor(store, keys_of(unit, other), GRACE, TurnedClock.at_start()())
        receiver = Receiver(desk, [Shown(said)], TurnedClock.at_start(), patiently=PATIENTLY)
        receiver.take(messages)
        assert len(store.signed_events(unit.name.source)) == 2
    kinds = [notice.kind for notice in said]
    assert kinds == [
        *(NoticeKind.STATE, NoticeKind.EVENT, NoticeKind.EVENT),
        *(NoticeKind.REFUSED, NoticeKind.EVENT, NoticeKind.EVENT),
    ]


def test_a_store_that_fails_refuses_nothing(
    file_place: Place, unit: Unit, spoiler: Spoiler
) -> None:
    """A damaged file is no fault of a message: nothing is acknowledged."""
    spoiler.raises(Store, "add", StoreError("disk image is malformed"), lambda _: True)
    clock = TurnedClock.at_start()
    with closing(file_place.open()) as store:
        desk = Ingestor(store, keys_of(unit), GRACE, clock())
        with pytest.raises(StoreError):
            desk.ingest(unit.events(3), clock())
    assert refused(file_place) == []


def test_what_cannot_be_shown_is_stored_and_the_next_is_shown(
    file_place: Place, unit: Unit
) -> None:
    shown: list[Notice] = []

    class FullDisk(Shown):
        def show(self, notice: Notice) -> None:
            super().show(notice)
            if len(self.notices) == 1:
                self.flush()

        def flush(self) -> None:
            raise OSError(28, "No space left on device")

    clock = TurnedClock.at_start()
    with closing(file_place.open()) as store:
        desk = Ingestor(store, keys_of(unit), GRACE, clock())
        receiver = Receiver(desk, [FullDisk(shown)], clock)
        receiver.take(unit.events(3))
        assert len(store.signed_events(unit.name.source)) == 3
    assert len(shown) == 3


def test_a_site_may_be_called_reply() -> None:
    """Which topic is a reply's is told by its level, not by the word."""
    assert is_reply("senyum/v1/kota/depok/lobby-1/reply/01890a5d-ac96-774b-bcce-b302099a8057")
    for topic in ("senyum/v1/kota/reply/lobby-1/event", "senyum/v1/reply/x/lobby-1/state", "reply"):
        assert not is_reply(topic)


def test_what_is_durable_is_acknowledged_whatever_counting_it_raises(
    file_place: Place, unit: Unit, spoiler: Spoiler
) -> None:
    clock = TurnedClock.at_start()
    with closing(file_place.open()) as store:
        desk = Ingestor(store, keys_of(unit), GRACE, clock())
        spoiler.raises(GapMonitor, "record_batch", OverflowError(), lambda _: True)
        notices = desk.ingest(unit.events(3), clock())
    assert [notice.kind for notice in notices] == [NoticeKind.EVENT] * 3


def test_a_store_that_goes_away_while_it_is_looked_through_hides_nothing(
    file_place: Place, unit: Unit, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was accepted before it went away is said when it is back."""
    said: list[Notice] = []
    clock = TurnedClock.at_start()
    with closing(file_place.open()) as store:
        Ingestor(store, keys_of(), GRACE, clock()).ingest(unit.events(3), clock())
        real = Store.drop_rejection
        fails = iter([None, StoreUnavailable("the disk is full"), None, None])

        def drop_rejection(self: Store, *arguments: Any) -> None:
            error = next(fails)
            if error is not None:
                raise error
            real(self, *arguments)

        monkeypatch.setattr(Store, "drop_rejection", drop_rejection)
        desk = Ingestor(store, keys_of(unit), GRACE, clock())
        Receiver(desk, [Shown(said)], clock, patiently=PATIENTLY).start()
        assert len(store.signed_events(unit.name.source)) == 3
    assert [notice.kind for notice in said] == [NoticeKind.EVENT] * 3
    assert refused(file_place) == []
