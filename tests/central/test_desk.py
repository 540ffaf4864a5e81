import base64
import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from datetime import date
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from central_parts import TurnedClock, Unit, keys_of, signing_key
from days import exported, resigned
from hypothesis import given, settings
from hypothesis import strategies as st
from places import Place

from edge.contract.envelope import MAX_BYTES, RejectReason, sign, verify
from edge.contract.events import AttendanceEvent, OnlineStatus
from edge.contract.jose import digest, json_object, parse
from edge.contract.keys import KeySet
from edge.contract.topics import TopicKind
from edge.errors import StoreUnavailable
from edge.outbox.event_signer import ChainHead
from edge.system.clock import ClockState
from edge.types import AuditCode
from senyum_central.ingest.ingestor import Ingestor
from senyum_central.ingest.message import Message
from senyum_central.ingest.notices import Notice, NoticeKind
from senyum_central.store.chain_rules import Classification
from senyum_central.store.event_store import Store
from senyum_central.store.gaps import Gap
from senyum_central.store.queries import Period

GRACE = 60.0
DAY = Period(date(2026, 3, 2), date(2026, 3, 2))
SHARED_ID = "019503b0-1f2e-7000-8000-000000000001"


@pytest.fixture
def store(place: Place) -> Iterator[Store]:
    with closing(place.open()) as store:
        yield store


class Central:
    """A desk over a store, and everything that it said."""

    def __init__(self, store: Store, keys: KeySet) -> None:
        self.store = store
        self.clock = TurnedClock.at_start()
        self.desk = Ingestor(store, keys, GRACE, self.clock())

    def take(self, *messages: Message) -> list[Notice]:
        return self.desk.ingest(messages, self.clock())

    def after(self, seconds: float) -> list[Notice]:
        return self.desk.check_gaps(self.clock.turn(seconds))

    def restarted(self, keys: KeySet) -> "Central":
        return Central(self.store, keys)


@pytest.fixture
def unit() -> Unit:
    return Unit()


@pytest.fixture
def central(store: Store, unit: Unit) -> Central:
    return Central(store, keys_of(unit, Unit("gate-2")))


def tokens(messages: list[Message]) -> list[str]:
    return [message.payload.decode() for message in messages]


def kinds(notices: list[Notice]) -> list[NoticeKind]:
    return [notice.kind for notice in notices]


def event_with_shared_id(unit: Unit) -> Message:
    before = unit.head
    content = json_object(parse(unit.event().payload).payload)
    token = resigned(unit, {**content, "id": SHARED_ID})
    unit.head = before.followed_by(token)
    return unit.message(token)


@pytest.mark.parametrize("together", [True, False])
def test_two_units_may_use_the_same_event_id(
    central: Central, unit: Unit, tmp_path: Path, together: bool
) -> None:
    gate = Unit("gate-2")
    first, second = event_with_shared_id(unit), event_with_shared_id(gate)
    batches = [[first, second]] if together else [[first], [second]]
    notices = [notice for batch in batches for notice in central.take(*batch)]
    assert kinds(notices) == [NoticeKind.EVENT, NoticeKind.EVENT]
    assert kinds(central.take(first, second)) == [NoticeKind.DUPLICATE, NoticeKind.DUPLICATE]
    for each, message in ((unit, first), (gate, second)):
        assert central.store.signed_events(each.name.source) == tokens([message])
    content = exported(central.store, DAY, keys_of(unit, gate))
    for message in (first, second):
        assert message.payload in content


def test_two_units_with_one_event_id_are_dated_by_their_own_anchors(
    central: Central, unit: Unit
) -> None:
    for each in (unit, Unit("gate-2")):
        each.clock.reading = replace(each.clock.reading, state=ClockState.UNSYNCHRONIZED)
        before = event_with_shared_id(each)
        each.clock.reading = replace(each.clock.reading, state=ClockState.SYNCHRONIZED)
        anchor = each.audit(
            AuditCode.CLOCK_ANCHOR,
            boot_id=each.clock.reading.boot_id,
            monotonic_ns="1000000000",
            utc="2026-03-02T00:31:04.000000Z",
        )
        central.take(before, anchor)
        assert list(central.store.corrected_times(each.name.source)) == [1]


def test_genuine_events_are_stored_as_they_were_signed(central: Central, unit: Unit) -> None:
    messages = [unit.audit(), unit.event(), unit.event(known=False)]
    assert kinds(central.take(*messages)) == [NoticeKind.EVENT] * 3
    assert central.store.signed_events(unit.name.source) == tokens(messages)
    assert central.after(2 * GRACE) == []


def test_an_event_that_comes_again_is_stored_once(central: Central, unit: Unit) -> None:
    message = unit.event()
    assert kinds(central.take(message, message)) == [NoticeKind.EVENT, NoticeKind.DUPLICATE]
    assert kinds(central.take(message)) == [NoticeKind.DUPLICATE]


def test_an_event_that_another_receiver_stored_is_a_duplicate_only_the_second_time(
    central: Central, unit: Unit
) -> None:
    other = central.restarted(keys_of(unit))
    message = unit.event()
    assert kinds(central.take(message)) == [NoticeKind.EVENT]
    assert other.take(message) == []
    assert kinds(other.take(message)) == [NoticeKind.DUPLICATE]
    assert central.store.signed_events(unit.name.source) == tokens([message])
    assert central.store.signed_events(unit.name.source) == tokens([message])


# --- what is refused ---------------------------------------------------------------------------


def part(content: dict[str, str]) -> str:
    return base64.urlsafe_b64encode(json.dumps(content).encode()).rstrip(b"=").decode()


def alg_none(message: Message) -> bytes:
    _, payload, _ = message.payload.decode().split(".")
    header = {"alg": "none", "kid": Unit().key.kid, "typ": "senyum-event+jws"}
    return f"{part({**header, 'cty': 'cloudevents+json'})}.{payload}.".encode()


def forged(message: Message) -> bytes:
    """The genuine header and signature around another payload."""
    header, payload, signature = message.payload.decode().split(".")
    content = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
    content["subject"] = "0" * 32
    return f"{header}.{part(content)}.{signature}".encode()


def foreign(message: Message) -> bytes:
    """What another unit's valid key signed in this unit's name."""
    return Unit(key="gate-2").event().payload


def unknown(message: Message) -> bytes:
    return Unit(key="stranger").event().payload


@pytest.mark.parametrize(
    ("spoil", "flaw", "loud"),
    [
        (lambda _: b"\x00\xff\x1b[31m", RejectReason.MALFORMED, False),
        (lambda _: b"{}", RejectReason.MALFORMED, False),
        (lambda m: m.payload + b"A" * MAX_BYTES, RejectReason.OVERSIZED, False),
        (forged, RejectReason.BAD_SIGNATURE, True),
        (alg_none, RejectReason.ALGORITHM, True),
        (foreign, RejectReason.FOREIGN_KEY, True),
        (unknown, RejectReason.UNKNOWN_KEY, True),
    ],
)
def test_a_bad_message_is_refused_kept_and_named(
    central: Central, unit: Unit, spoil: object, flaw: RejectReason, loud: bool
) -> None:
    first, second = unit.events(2)
    assert callable(spoil)
    bad = unit.message(spoil(second))
    assert kinds(central.take(first)) == [NoticeKind.EVENT]
    (notice,) = central.take(bad)
    assert (notice.kind, notice.flaw, notice.is_warning) == (NoticeKind.REFUSED, flaw, loud)
    assert notice.text
    (kept,) = list(central.store.rejections(flaw))
    assert kept.topic == bad.topic
    assert kept.size == len(bad.payload)
    assert bad.payload.startswith(kept.payload)
    assert len(kept.payload) <= MAX_BYTES
    assert kinds(central.take(second)) == [NoticeKind.EVENT], "the genuine one still counts"
    assert central.store.signed_events(unit.name.source) == tokens([first, second])


def test_an_event_on_another_units_topic(central: Central, unit: Unit) -> None:
    (notice,) = central.take(
        Message(Unit("gate-2").name.topic(TopicKind.EVENT), unit.event().payload)
    )
    assert notice.kind is NoticeKind.REFUSED
    assert notice.is_warning
    assert central.store.signed_events(unit.name.source) == []


def test_a_topic_that_names_no_unit(central: Central, unit: Unit) -> None:
    (notice,) = central.take(Message("senyum/v1/KOTA/depok/lobby-1/event", unit.event().payload))
    assert (notice.flaw, notice.unit) == (RejectReason.TOPIC, None)


def test_the_largest_number_is_stored(central: Central) -> None:
    unit = Unit(head=ChainHead(2**63 - 2, "A" * 43))
    assert kinds(central.take(unit.event())) == [NoticeKind.EVENT]
    assert central.store.chain_statuses()[unit.name.source].missing == (Gap(1, 2**63 - 2),)


def test_an_emptied_retained_topic_says_nothing(central: Central, unit: Unit) -> None:
    assert central.take(unit.message(b"", TopicKind.STATE)) == []


def test_a_wrong_key_on_health_is_said_once_a_run(central: Central) -> None:
    stranger = Unit(key="stranger")
    assert kinds(central.take(stranger.health())) == [NoticeKind.REFUSED]
    assert central.take(stranger.health()) == []


def test_what_came_before_its_key_was_registered_counts_after_a_restart(
    central: Central, unit: Unit
) -> None:
    late = Unit("hall-3")
    messages = late.events(2)
    assert {n.flaw for n in central.take(*messages)} == {RejectReason.UNKNOWN_KEY}
    again = central.restarted(keys_of(unit, late))
    assert kinds(again.desk.retry_unknown(again.clock())) == [NoticeKind.EVENT] * 2
    assert again.store.signed_events(late.name.source) == tokens(messages)
    assert list(again.store.rejections(RejectReason.UNKNOWN_KEY)) == []
    assert again.desk.retry_unknown(again.clock()) == []


# --- chains ------------------------------------------------------------------------------------


def test_a_gap_is_named_by_number_once_and_heals(central: Central, unit: Unit) -> None:
    messages = unit.events(15)
    central.take(*messages[:11], messages[14])
    assert central.after(GRACE - 1) == []
    (gap,) = central.after(1)
    assert (gap.kind, gap.is_warning) == (NoticeKind.GAP, True)
    assert gap.text == "events 12–14 are missing"  # noqa: RUF001 - a range
    assert central.after(10 * GRACE) == []
    again = central.restarted(keys_of(unit))
    assert again.after(10 * GRACE) == [], "once, restarted or not"
    again.take(*messages[11:14])
    (healed,) = again.after(1)
    assert (healed.kind, healed.is_warning) == (NoticeKind.HEALED, False)
    assert again.after(10 * GRACE) == []


def test_a_broker_that_acknowledged_and_forgot(central: Central, unit: Unit) -> None:
    """The state says 10; events 8 to 10 left the unit's outbox and never come."""
    messages = unit.events(10)
    central.take(unit.state(), *messages[:7])
    (gap,) = central.after(GRACE)
    assert gap.text == "events 8–10 are missing"  # noqa: RUF001 - a range


def test_a_tail_is_still_known_to_be_missing_after_a_restart(central: Central, unit: Unit) -> None:
    messages = unit.events(3)
    central.take(messages[0], unit.health())
    again = central.restarted(keys_of(unit))
    assert [n.text for n in again.after(GRACE)] == [
        "events 2–3 are missing"  # noqa: RUF001 - a range
    ]


def test_two_events_of_one_number_are_both_kept_and_shouted(central: Central, unit: Unit) -> None:
    central.take(unit.event())
    rival = unit.fork()
    mine, theirs = unit.event(), rival.event()
    notices = central.take(mine, theirs)
    assert kinds(notices) == [NoticeKind.EVENT, NoticeKind.EVENT, NoticeKind.FORK]
    assert "another event 2" in notices[-1].text
    assert set(central.store.signed_events(unit.name.source)[1:]) == set(tokens([mine, theirs]))


def test_an_id_used_again_is_kept_as_evidence_only(central: Central, unit: Unit) -> None:
    message = unit.event()
    found = verify(message.payload, keys_of(unit), message.topic).event
    assert isinstance(found, AttendanceEvent)
    other = found.model_copy(update={"subject": "0" * 32})
    notices = central.take(message, unit.message(sign(other, unit.key)))
    assert kinds(notices) == [NoticeKind.EVENT, NoticeKind.FORK]
    assert central.store.signed_events(unit.name.source) == tokens([message])
    (kept,) = list(central.store.rejections(Classification.FORK))
    assert kept.payload.decode() == sign(other, unit.key)


def test_a_chain_that_does_not_meet_is_a_fork(central: Central, unit: Unit) -> None:
    first = unit.event()
    rival = Unit()
    rival.event()
    assert kinds(central.take(first, rival.event())) == [
        NoticeKind.EVENT,
        NoticeKind.EVENT,
        NoticeKind.FORK,
    ]


def test_a_head_that_is_not_the_stored_event_is_shouted_once(central: Central, unit: Unit) -> None:
    rival = Unit()
    rival.event()
    notices = central.take(unit.event(), rival.health(), rival.health())
    assert kinds(notices) == [NoticeKind.EVENT, NoticeKind.FORK]


def test_an_event_that_is_not_the_head_named_before(central: Central, unit: Unit) -> None:
    rival = Unit()
    rival.event()
    notices = central.take(rival.health(), unit.event())
    assert kinds(notices) == [NoticeKind.EVENT, NoticeKind.FORK]


def test_units_come_and_go_quietly(central: Central, unit: Unit) -> None:
    will = unit.message(b'{"status":"offline","session":1}', TopicKind.STATE)
    notices = central.take(unit.state(), unit.state(), will, unit.state(OnlineStatus.ONLINE, 2))
    assert [n.text for n in notices] == [
        "online, session 1",
        "offline, session 1",
        "online, session 2",
    ]
    assert not any(n.is_warning for n in notices)


def test_a_last_will_that_is_none(central: Central, unit: Unit) -> None:
    (notice,) = central.take(unit.message(b'{"status":"on fire"}', TopicKind.STATE))
    assert notice.flaw is RejectReason.MALFORMED


def test_two_receivers_of_one_store_see_no_false_gap(
    central: Central, unit: Unit, place: Place
) -> None:
    messages = unit.events(6)
    with closing(place.open()) as shared:
        other = Central(shared, keys_of(unit))
        central.take(*messages[0::2])
        other.take(*messages[1::2])
        assert central.after(GRACE) == []
        assert other.after(GRACE) == []
        assert other.store.signed_events(unit.name.source) == tokens(messages)


def test_a_gap_is_reported_by_one_of_two_receivers(
    central: Central, unit: Unit, place: Place
) -> None:
    messages = unit.events(4)
    with closing(place.open()) as shared:
        other = Central(shared, keys_of(unit))
        central.take(messages[0], messages[2])
        other.take(messages[3])
        said = [*central.after(GRACE), *other.after(GRACE)]
        assert [n.text for n in said] == ["event 2 is missing"]
        other.take(messages[1])
        healed = [*central.after(1), *other.after(1)]
        assert kinds(healed) == [NoticeKind.HEALED]


def test_a_store_that_fails_keeps_nothing_of_the_batch(
    central: Central, unit: Unit, place: Place
) -> None:
    messages = unit.events(3)
    central.take(messages[0])
    # Every write of this connection fails, as on a dead disk.
    broken = "SET default_transaction_read_only = on" if place.server else "PRAGMA query_only = 1"
    with central.store.database.reading():
        central.store.database.connection.exec_driver_sql(broken)
    with pytest.raises(StoreUnavailable, match=r"events"):
        central.take(*messages[1:])
    assert central.store.signed_events(unit.name.source) == tokens(messages[:1])


# --- any order ---------------------------------------------------------------------------------

LENGTH = 9
_whole = Unit("order-1")
CHAIN = _whole.events(LENGTH)
HEADS = [_whole.health(), _whole.state()]
_rival = Unit("order-1")
RIVALS = _rival.events(3)


def run_batches(
    folder: str, messages: list[Message], cuts: list[int]
) -> tuple[list[Notice], list[tuple[int, str]]]:
    with closing(Store(Path(folder) / "events.db")) as store:
        central = Central(store, keys_of(_whole))
        notices: list[Notice] = []
        edges = [0, *sorted(cuts), len(messages)]
        for first, last in pairwise(edges):
            notices += central.take(*messages[first:last])
        notices += central.after(GRACE)
    with closing(sqlite3.connect(Path(folder) / "events.db")) as db:
        rows = db.execute("SELECT sequence, jws FROM event ORDER BY sequence, jws").fetchall()
    return notices, rows


@settings(max_examples=40, deadline=None)
@given(st.permutations(CHAIN + HEADS + CHAIN[:3]), st.lists(st.integers(0, LENGTH + 5), max_size=4))
def test_any_order_of_a_chain_gives_the_same_store_and_no_alarm(
    messages: list[Message], cuts: list[int]
) -> None:
    with TemporaryDirectory() as folder:
        notices, rows = run_batches(folder, messages, cuts)
    assert rows == [(n, token) for n, token in enumerate(tokens(CHAIN), 1)]
    assert not [notice for notice in notices if notice.is_warning]


@settings(max_examples=25, deadline=None)
@given(st.permutations(CHAIN + RIVALS), st.lists(st.integers(0, LENGTH + 3), max_size=3))
def test_any_order_of_a_forked_chain_keeps_both_and_shouts(
    messages: list[Message], cuts: list[int]
) -> None:
    with TemporaryDirectory() as folder:
        notices, rows = run_batches(folder, messages, cuts)
    assert {token for _, token in rows} == set(tokens(CHAIN + RIVALS))
    assert NoticeKind.FORK in kinds(notices)


def test_es256_units_are_taken_too(store: Store) -> None:
    unit = Unit("es256")
    unit.sealer._key = unit.key = signing_key("es256-key", "ES256")
    central = Central(store, keys_of(unit))
    message = unit.event()
    assert kinds(central.take(message)) == [NoticeKind.EVENT]
    assert digest(message.payload.decode()) == unit.head.digest
