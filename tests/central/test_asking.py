"""What is missing is asked for by one of the receivers, patiently, and given up aloud."""

import itertools
import json
from collections.abc import Iterator
from contextlib import closing
from datetime import datetime, timedelta

import pytest
from central_parts import START, Shown, TurnedClock, Unit, keys_of, signing_key
from places import Place
from sqlalchemy import select

from edge.contract.authority import Authorities, Role, register, sign_order
from edge.contract.commands import REPLY_TYP
from senyum_central.ingest.gap_requests import MAX_REQUESTS, MAX_SPAN, GapRequester, ReplayAuthority
from senyum_central.ingest.ingestor import Ingestor
from senyum_central.ingest.message import Message, ReceivedAt
from senyum_central.ingest.notices import Notice, NoticeKind
from senyum_central.ingest.receiver import Receiver
from senyum_central.store.schema import GAP

GRACE = 10.0
KEY = signing_key("authority")
AUTHORITIES = Authorities.of([register(KEY, [Role.COMMAND], ["urn:senyum:*:*:*"])])


class Centre:
    """A receiver with an authority key, whose clock the test turns."""

    def __init__(self, place: Place, clock: TurnedClock, unit: Unit) -> None:
        self.store = place.open()
        self.clock = clock
        self.said: list[Notice] = []
        self.asked: list[dict[str, object]] = []
        asker = GapRequester(self.store, ReplayAuthority(KEY))
        desk = Ingestor(self.store, keys_of(unit), GRACE, clock(), asker)
        self.receiver = Receiver(desk, [Shown(self.said)], clock)

    def take(self, *messages: Message) -> None:
        self.receiver.take(messages)

    def idle(self) -> list[dict[str, object]]:
        """Do what is due; returns the commands, verified as a unit does."""
        found = []
        for message in self.receiver.idle():
            unit = Unit().name
            order = AUTHORITIES.verify(
                message.payload,
                "senyum-command+jws",
                Role.COMMAND,
                unit,
                now=START,
                most_bytes=16_384,
            )
            assert message.topic == "senyum/v1/kota/depok/lobby-1/command/replay"
            found.append(dict(order.claims))
        self.asked += found
        return found

    def kinds(self) -> list[NoticeKind]:
        return [notice.kind for notice in self.said]


class Walking(TurnedClock):
    """A clock on which both kinds of time go on."""

    def turn(self, seconds: float) -> ReceivedAt:
        later = self.instant.utc + timedelta(seconds=seconds)
        self.instant = ReceivedAt(later, self.instant.monotonic_ns + int(seconds * 1e9))
        return self.instant


@pytest.fixture
def clock() -> Walking:
    return Walking(ReceivedAt(START, 0))


@pytest.fixture
def unit() -> Unit:
    return Unit()


@pytest.fixture
def centres(place: Place, clock: Walking, unit: Unit) -> Iterator[list[Centre]]:
    """Give two receivers of one store."""
    both = [Centre(place, clock, unit) for _ in range(2)]
    yield both
    for centre in both:
        centre.store.close()


def data(command: dict[str, object]) -> tuple[int, int]:
    found = command["data"]
    assert isinstance(found, dict)
    return found["first"], found["last"]


def live(unit: Unit, clock: Walking, centres: list[Centre], seconds: float) -> None:
    """Let time pass, in which the unit says every four minutes how it is."""
    for _ in range(max(1, int(seconds / 240))):
        clock.turn(min(240, seconds))
        for centre in centres:
            centre.take(unit.health())
            centre.idle()


def test_a_gap_is_asked_for_once_by_one_receiver(
    centres: list[Centre], unit: Unit, clock: Walking
) -> None:
    one, two = centres
    messages = unit.events(10)
    one.take(*messages[:3], messages[9])
    two.take(*messages[6:8], unit.health())
    for seconds in (1, GRACE, 1, 1):
        clock.turn(seconds)
        for centre in centres:
            centre.idle()
    (command,) = one.asked + two.asked
    assert data(command) == (4, 9), "both holes, the two events between once more"
    assert command["aud"] == unit.name.source
    lives = datetime.fromisoformat(str(command["exp"])) - datetime.fromisoformat(
        str(command["iat"])
    )
    assert lives == timedelta(hours=1)
    two.take(*messages[3:9])
    clock.turn(1)
    for centre in centres:
        assert centre.idle() == []
    assert (one.kinds() + two.kinds()).count(NoticeKind.HEALED) == 1
    live(unit, clock, centres, 600)
    assert len(one.asked + two.asked) == 1


def test_what_does_not_come_is_asked_for_less_and_less_and_given_up(
    centres: list[Centre], unit: Unit, clock: Walking
) -> None:
    one, two = centres
    messages = unit.events(3)
    one.take(messages[0], messages[2])
    two.take(unit.health())
    live(unit, clock, centres, 5 * 3600)
    asked = one.asked + two.asked
    assert len(asked) == MAX_REQUESTS
    moments = sorted(datetime.fromisoformat(str(command["iat"])) for command in asked)
    waits = [(b - a).total_seconds() for a, b in itertools.pairwise(moments)]
    assert waits == sorted(waits)
    assert waits[0] <= 240
    assert 3600 <= waits[-1] <= 3600 + 240
    numbers = [int(str(command["number"])) for command in asked]
    by_time = sorted(asked, key=lambda command: str(command["iat"]))
    assert [command["number"] for command in by_time] == sorted(set(numbers))
    (end,) = [notice for notice in one.said + two.said if notice.kind is NoticeKind.GIVEN_UP]
    assert end.is_warning
    assert end.text == "event 2 is missing and given up, after 8 requests without success"
    two.take(messages[1])
    clock.turn(1)
    two.idle()
    assert NoticeKind.HEALED in two.kinds(), "given up is not forgotten"


def test_each_number_that_comes_starts_the_count_anew(
    centres: list[Centre], unit: Unit, clock: Walking
) -> None:
    one, two = centres
    messages = unit.events(12)
    one.take(messages[0], messages[11])
    for message in messages[1:11]:
        live(unit, clock, centres, 4 * 60)
        two.take(message)
    live(unit, clock, centres, 60)
    kinds = one.kinds() + two.kinds()
    assert NoticeKind.GIVEN_UP not in kinds
    assert kinds.count(NoticeKind.HEALED) == 1
    assert len(one.asked + two.asked) > MAX_REQUESTS


def test_a_unit_that_is_not_there_is_not_asked(place: Place, unit: Unit, clock: Walking) -> None:
    messages = unit.events(3)
    with closing(place.open()) as store:
        Ingestor(store, keys_of(unit), GRACE, clock()).ingest([messages[0], messages[2]], clock())
    later = Centre(place, clock, unit)  # started again: the unit was not heard since
    for _ in range(10):
        clock.turn(60)
        assert later.idle() == []
    assert NoticeKind.GAP in later.kinds()
    later.take(unit.health())
    clock.turn(1)
    assert [data(command) for command in later.idle()] == [(2, 2)]
    later.store.close()


def test_a_long_gap_is_asked_for_in_parts(centres: list[Centre], clock: Walking) -> None:
    unit = Unit()
    first = unit.event()
    unit.head = type(unit.head)(3 * MAX_SPAN, "A" * 43)
    centres[0].take(first, unit.health())
    clock.turn(GRACE)
    (command,) = centres[0].idle()
    assert data(command) == (2, 1 + MAX_SPAN)


def reply(unit: Unit, command: dict[str, object], **changes: object) -> Message:
    claims = {
        "id": "01890a5d-ac96-774b-bcce-b302099a8057",
        "to": command["id"],
        "source": unit.name.source,
        "time": "2026-03-02T00:31:04.000000Z",
        "name": command["name"],
        "number": command["number"],
        "data": {},
        "ok": False,
        "reason": "failed",
        "text": "none of the events 2 to 2 is kept",
        **changes,
    }
    token = sign_order(unit.key, REPLY_TYP, claims)
    topic = f"senyum/v1/kota/depok/lobby-1/reply/{command['id']}"
    return Message(topic, token.encode())


def test_a_unit_that_has_it_no_longer_is_asked_once_more_and_quoted(
    centres: list[Centre], unit: Unit, clock: Walking
) -> None:
    one, two = centres
    messages = unit.events(3)
    one.take(messages[0], messages[2])
    for _ in range(3):
        live(unit, clock, centres, 30)
        for command in one.asked + two.asked:
            for centre in centres:
                centre.take(reply(unit, command))
        live(unit, clock, centres, 300)
    assert len(one.asked + two.asked) == 2
    said = one.said + two.said
    (end,) = [notice for notice in said if notice.kind is NoticeKind.GIVEN_UP]
    assert "none of the events 2 to 2 is kept (failed)" in end.text


@pytest.mark.parametrize("wrong", ["key", "unit", "typ", "text"])
def test_an_answer_that_is_not_the_units_is_refused(
    centres: list[Centre], unit: Unit, clock: Walking, wrong: str
) -> None:
    one, _ = centres
    messages = unit.events(3)
    one.take(messages[0], messages[2])
    clock.turn(GRACE)
    (command,) = one.idle()
    message = reply(unit, command)
    if wrong == "key":
        message = reply(Unit(key="gate-2"), command)
    elif wrong == "unit":
        message = reply(unit, command, source="urn:senyum:kota:depok:gate-2")
    elif wrong == "typ":
        token = sign_order(unit.key, "senyum-event+jws", {"to": command["id"]})
        message = Message(message.topic, token.encode())
    else:
        message = Message(message.topic, json.dumps({"to": command["id"]}).encode())
    one.take(message)
    assert one.said[-1].kind is NoticeKind.REFUSED
    with one.store.database.reading():
        assert one.store.database.rows(select(GAP.c.answer)) == [(None,)]
