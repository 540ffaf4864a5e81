"""What a later contract brings is kept in its place, and taken when a program knows it."""

from contextlib import closing

import pytest
from central_parts import TurnedClock, Unit, keys_of
from days import later_of
from places import Place

from edge.contract.envelope import RejectReason
from edge.contract.jose import digest
from senyum_central.ingest.ingestor import Ingestor
from senyum_central.ingest.message import Message
from senyum_central.ingest.notices import NoticeKind
from senyum_central.store.unknown_events import UnknownEvent, parse_unknown_event

GRACE = 10.0


def test_it_is_kept_whole_in_its_place_and_is_no_gap(place: Place) -> None:
    unit = Unit()
    clock = TurnedClock.at_start()
    messages = [unit.event(), later_of(unit), unit.event(), unit.health()]
    with closing(place.open()) as store, closing(place.open()) as other:
        desk = Ingestor(store, keys_of(unit), GRACE, clock())
        second = Ingestor(other, keys_of(unit), GRACE, clock())
        said = desk.ingest(messages, clock())
        assert [notice.kind for notice in said] == [
            NoticeKind.EVENT,
            NoticeKind.REFUSED,
            NoticeKind.EVENT,
        ]
        assert said[1].flaw is RejectReason.PAYLOAD
        assert "kept for a later version" in said[1].text
        assert second.ingest(messages, clock()) == []  # the first has reported them
        clock.turn(10 * GRACE)
        assert desk.check_gaps(clock()) + second.check_gaps(clock()) == []
        (kept,) = store.unknown_events()
        assert kept.jws.encode() == messages[1].payload
        assert store.chain_statuses()[unit.name.source].missing == ()
        assert Ingestor(store, keys_of(unit), GRACE, clock()).check_gaps(clock()) == []
    assert len(place.rows("SELECT id FROM event")) == 2


def test_a_program_that_knows_it_takes_it_at_its_start(place: Place) -> None:
    """Kept as later by an older program; this one knows the type."""
    unit = Unit()
    clock = TurnedClock.at_start()
    message = unit.event()
    token = message.payload.decode()
    with closing(place.open()) as store:
        with store.batch():
            later = UnknownEvent(unit.name.source, 1, digest(token), "x", message.topic, token)
            assert store.add_unknown_event(later, str(clock()))
        desk = Ingestor(store, keys_of(unit), GRACE, clock())
        assert [notice.kind for notice in desk.retry_unknown(clock())] == [NoticeKind.EVENT]
        assert store.unknown_events() == []
        assert store.signed_events(unit.name.source) == [token]


@pytest.mark.parametrize(
    "changes",
    [
        {"type": "senyum.attendance.recorded.v1"},
        {"type": 5},
        {"type": "=1+1"},
        {"sequence": "1"},
        {"sequence": 1},
        {"sequence": "0" * 20},
        {"sequence": "9" * 20},
        {"source": "urn:senyum:kota:depok:gate-2"},
        {"source": None},
    ],
)
def test_what_has_no_place_in_the_chain_is_refused_as_ever(
    place: Place, changes: dict[str, object]
) -> None:
    unit = Unit()
    message = later_of(unit, **changes)
    assert parse_unknown_event(message.topic, message.payload.decode()) is None
    with closing(place.open()) as store:
        desk = Ingestor(store, keys_of(unit), GRACE, TurnedClock.at_start()())
        (notice,) = desk.ingest([message], TurnedClock.at_start()())
        assert notice.kind is NoticeKind.REFUSED
        assert store.unknown_events() == []
        assert len(list(store.rejections(str(notice.flaw)))) == 1


def test_an_unsigned_one_is_refused(place: Place) -> None:
    unit = Unit()
    message = later_of(unit)
    spoiled = Message(message.topic, message.payload[:-4] + b"AAAA")
    with closing(place.open()) as store:
        desk = Ingestor(store, keys_of(unit), GRACE, TurnedClock.at_start()())
        (notice,) = desk.ingest([spoiled], TurnedClock.at_start()())
        assert notice.flaw is RejectReason.BAD_SIGNATURE
        assert store.unknown_events() == []
