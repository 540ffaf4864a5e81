"""A roster over a real broker, to the listener of a unit; and what is refused without one."""

import json
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from delivering import Enroller, Rack
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from mqtt_servers import OLD_REFUSAL, TcpProxy
from orders import Voice
from private_servers import PrivateBroker
from rosters import EMBEDDER, KEY, person, roster
from wireunit import FAST, UNIT, Listener, WireUnit, until

from edge.contract.authority import OrderRejectReason, sign_order
from edge.contract.refusal_counter import RefusalCounter
from edge.contract.roster_manifest import TYP, RosterManifest, chunk_topic, manifest_topic
from edge.contract.topics import UnitName
from edge.roster.codec import Roster
from edge.roster.file import load
from edge.roster.messages import answer
from edge.roster.receiver import AGAIN_S, RosterReceiver
from senyum_central.admin.rosters import RosterRelease

CLAIMS = (*RosterManifest.model_fields, "more")
ALL = UnitName(UNIT.org, "all", "all")
TOPIC = manifest_topic(UNIT)
SMALL = roster(5, *(person(n, 5) for n in range(70)), tombstones={"ab" * 16: 4})  # three chunks


@dataclass
class Bench:
    """A listener without a broker."""

    enroller: Enroller
    rack: Rack
    refusals: RefusalCounter
    delivery: RosterReceiver

    @property
    def wanted(self) -> list[str]:
        return list(self.rack.wanted)

    def last(self) -> str:
        """Return why the last was refused."""
        return str(self.refusals.last)

    def load(self, new: Roster = SMALL) -> RosterRelease:
        return RosterRelease.of(new, [self.enroller.recipient])

    def signed(self, claims: dict[str, Any]) -> bytes:
        return sign_order(self.enroller.commander.key, TYP, claims).encode()

    def manifest(self, load: RosterRelease, **changes: Any) -> bytes:
        return self.signed({**load.manifests[UNIT].model_dump(mode="json"), **changes})

    def hear(self, topic: str, payload: bytes) -> None:
        self.delivery.heard(topic, payload, True)
        self.rack.take_events()

    def chunks(self, load: RosterRelease) -> list[tuple[str, bytes]]:
        entries = zip(load.parcel.entries, load.parcel.chunks, strict=True)
        return [(chunk_topic(ALL, entry.name), chunk) for entry, chunk in entries]

    def deliver(self, new: Roster) -> None:
        load = self.load(new)
        self.hear(TOPIC, self.manifest(load))
        for topic, chunk in self.chunks(load):
            self.hear(topic, chunk)


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return bench_in(tmp_path)


def bench_in(folder: Path) -> Bench:
    unit = folder / "unit"
    unit.mkdir()
    enroller = Enroller(folder / "enroller", unit)
    rack, refusals = Rack(unit), RefusalCounter()
    delivery = rack.listener(unit, enroller.authorities, refusals)
    return Bench(enroller, rack, refusals, delivery)


def test_chunks_in_any_order_and_twice(bench: Bench) -> None:
    load = bench.load()
    bench.hear(TOPIC, bench.manifest(load))
    assert bench.wanted == [topic for topic, _ in bench.chunks(load)]
    for topic, chunk in reversed(bench.chunks(load)):
        assert bench.rack.installed == []
        bench.hear(topic, chunk)
        bench.hear(topic, chunk)
    assert bench.rack.installed == [5]
    assert bench.wanted == []
    assert not (bench.rack.keeper.file.parent / "roster.senyum.incoming").exists()
    bench.hear(TOPIC, bench.manifest(load))  # as after every connection
    assert [(each.ok, each.number) for each in bench.rack.answers] == [(True, 5)]
    assert bench.rack.installed == [5]
    assert bench.refusals.total == 0


def test_nothing_is_confirmed_before_its_receipt(bench: Bench) -> None:
    load = bench.load()
    bench.rack.later.append(load.manifests[UNIT].id)
    bench.deliver(SMALL)
    bench.hear(TOPIC, bench.manifest(load))
    assert bench.rack.answers == []
    bench.hear(TOPIC, bench.manifest(bench.load()))
    assert [each.ok for each in bench.rack.answers] == [True]


def test_what_came_before_a_restart_is_not_fetched_again(tmp_path: Path, bench: Bench) -> None:
    load = bench.load()
    bench.hear(TOPIC, bench.manifest(load))
    bench.hear(*bench.chunks(load)[1])
    again = bench.rack.listener(tmp_path / "unit", bench.enroller.authorities, bench.refusals)
    again.heard(TOPIC, bench.manifest(load), True)
    bench.rack.take_events()
    assert bench.wanted == [bench.chunks(load)[0][0], bench.chunks(load)[2][0]]
    for topic, chunk in bench.chunks(load):
        again.heard(topic, chunk, True)
    assert bench.rack.installed == [5]


def test_a_newer_one_takes_the_place_of_one_under_way(bench: Bench) -> None:
    old, new = bench.load(), bench.load(roster(6, person(1)))
    bench.hear(TOPIC, bench.manifest(old))
    bench.hear(*bench.chunks(old)[0])
    bench.hear(TOPIC, bench.manifest(new))
    bench.hear(TOPIC, bench.manifest(old))
    assert bench.refusals.last is OrderRejectReason.STALE
    for topic, chunk in [*bench.chunks(old), *bench.chunks(new)]:
        bench.hear(topic, chunk)
    assert bench.rack.installed == [6]


Spoil = Callable[[Bench, RosterRelease], bytes]


def foreign(bench: Bench, load: RosterRelease) -> bytes:
    return bench.manifest(load, aud="urn:senyum:dinas:balai-kota:pintu-2")


def forged(bench: Bench, load: RosterRelease) -> bytes:
    token = bytearray(bench.manifest(load))
    at = token.index(b".") + 20
    token[at] = ord("A") if token[at] != ord("A") else ord("B")
    return bytes(token)


def of_another(bench: Bench, load: RosterRelease) -> bytes:
    other = Enroller(bench.enroller.file.parent / "other", bench.rack.keeper.file.parent)
    return sign_order(
        other.commander.key, TYP, load.manifests[UNIT].model_dump(mode="json")
    ).encode()


def for_another_key(bench: Bench, load: RosterRelease) -> bytes:
    wrapped = load.manifests[UNIT].recipients[0].key
    return bench.manifest(load, recipients=[{"kid": "A" * 43, "key": wrapped}])


def wrongly_wrapped(bench: Bench, load: RosterRelease) -> bytes:
    kid = bench.enroller.recipient.kid
    other = bench.load().manifests[UNIT].recipients[0].key
    spoilt = other[:-4] + ("AAAA" if not other.endswith("AAAA") else "BBBB")
    return bench.manifest(load, recipients=[{"kid": kid, "key": spoilt}])


@pytest.mark.parametrize(
    ("spoil", "flaw", "answered"),
    [
        (forged, OrderRejectReason.FORGED, False),
        (of_another, OrderRejectReason.UNKNOWN_KEY, False),
        (foreign, OrderRejectReason.FOREIGN, True),
        (lambda b, ld: b.manifest(ld, version=4), OrderRejectReason.STALE, True),
        (lambda b, ld: b.manifest(ld, digest="00" * 32, version=5), OrderRejectReason.STALE, True),
        (lambda b, ld: b.manifest(ld, embedder="ab" * 32), OrderRejectReason.OTHER_NETWORK, True),
        (for_another_key, OrderRejectReason.NO_RECIPIENT, True),
        (wrongly_wrapped, OrderRejectReason.NO_RECIPIENT, True),
        (lambda b, ld: b.manifest(ld, size=1), OrderRejectReason.MALFORMED, True),
        (lambda b, ld: b.manifest(ld, aud="everybody"), OrderRejectReason.MALFORMED, True),
        (lambda b, ld: b.manifest(ld, surplus=1), OrderRejectReason.MALFORMED, True),
        (lambda b, ld: b.manifest(ld).rpartition(b".")[0], OrderRejectReason.MALFORMED, False),
        (lambda b, ld: b"x" * 65_537, OrderRejectReason.TOO_LARGE, False),
        (lambda b, ld: b"\xff\x00", OrderRejectReason.MALFORMED, False),
    ],
)
def test_what_is_refused_changes_nothing(
    bench: Bench, spoil: Spoil, flaw: OrderRejectReason, answered: bool
) -> None:
    bench.deliver(SMALL)
    before = bench.rack.keeper.file.read_bytes()
    load = bench.load(roster(6, person(1)))
    bench.hear(TOPIC, spoil(bench, load))
    for topic, chunk in bench.chunks(load):
        bench.hear(topic, chunk)
    assert bench.refusals.last is flaw
    assert bench.refusals.total == 1
    assert bench.rack.installed == [5]
    assert bench.rack.keeper.file.read_bytes() == before
    assert [(each.ok, each.reason) for each in bench.rack.answers] == [(False, flaw)] * answered
    bench.deliver(roster(7, person(1)))  # and the next is taken
    assert bench.rack.installed == [5, 7]


def test_an_altered_chunk_counts_for_nothing_and_is_asked_for_again(bench: Bench) -> None:
    load = bench.load()
    bench.hear(TOPIC, bench.manifest(load))
    for topic, chunk in bench.chunks(load):
        bench.hear(topic, chunk[:-1] + bytes([chunk[-1] ^ 1]))
        bench.hear(topic, chunk[:-1])
        bench.hear(topic, chunk + b"\0")
        bench.hear(topic, b"")
    assert bench.rack.installed == []
    assert len(bench.wanted) == 3
    for topic, chunk in bench.chunks(load):
        bench.hear(topic, chunk)
    assert bench.rack.installed == [5]


def test_a_roster_that_lies_about_itself_is_refused_whole(bench: Bench) -> None:
    """The authority signed it so: chunks and digests fit, and the content is none."""
    other = bench.load(roster(9, person(1)))
    lies = [
        bench.manifest(other, version=10),  # the content says 9: a digest of another version
        bench.manifest(other, digest="ab" * 32),
    ]
    bench.deliver(SMALL)
    for lie in lies:
        bench.hear(TOPIC, lie)
        for topic, chunk in bench.chunks(other):
            bench.hear(topic, chunk)
    assert bench.rack.installed == [5]
    assert bench.refusals.last is OrderRejectReason.BAD_DATA


def test_somebody_who_was_erased_is_not_brought_back(bench: Bench) -> None:
    ani, budi = person(1), person(2)
    bench.deliver(roster(2, ani, budi))
    bench.deliver(roster(3, budi, tombstones={ani.id: 3}))
    bench.deliver(roster(4, ani, budi))
    assert bench.last() == OrderRejectReason.ERASED_PERSON
    assert bench.rack.installed == [2, 3]
    bench.deliver(roster(2, ani, budi))
    assert bench.last() == OrderRejectReason.STALE


def test_a_disk_without_room_keeps_its_room(bench: Bench) -> None:
    bench.delivery._reserve_bytes = 2**62
    bench.deliver(SMALL)
    assert bench.last() == OrderRejectReason.FAILED
    assert bench.wanted == []
    assert not (bench.rack.keeper.file.parent / "roster.senyum.incoming").exists()
    bench.delivery._reserve_bytes = 0
    bench.deliver(SMALL)
    assert bench.rack.installed == [5]


def test_what_the_disk_does_not_take_is_tried_again_and_answered_once(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    load = bench.load()
    bench.hear(TOPIC, bench.manifest(load))
    with monkeypatch.context() as full:
        full.setattr(Rack, "install", no_room)
        for topic, chunk in bench.chunks(load):
            bench.hear(topic, chunk)
        for _ in range(3):  # and each time that it is tried again
            assert later(bench) < math.inf
    bench.delivery._reserve_bytes = 2**62
    later(bench)
    bench.delivery._reserve_bytes = 0
    assert [each.reason for each in bench.rack.answers] == [OrderRejectReason.FAILED]
    assert bench.rack.installed == []
    assert later(bench) == math.inf
    assert bench.rack.installed == [5]
    assert bench.refusals.total == 0


def later(bench: Bench) -> float:
    """Let so much time pass that the roster is tried again; return when it will be next."""
    assert bench.delivery.poll(time.monotonic()) > time.monotonic() + AGAIN_S - 10.0
    due = bench.delivery.poll(time.monotonic() + AGAIN_S + 1.0)
    bench.rack.take_events()
    return due


def no_room(*_: object) -> None:
    raise OSError(28, "No space left on device")


@pytest.fixture(scope="module")
def fuzzed(tmp_path_factory: pytest.TempPathFactory) -> Bench:
    made = bench_in(tmp_path_factory.mktemp("fuzz"))
    made.deliver(SMALL)
    return made


@settings(
    max_examples=300,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(st.data())
def test_no_message_that_nobody_signed_does_anything(fuzzed: Bench, data: st.DataObject) -> None:
    load = fuzzed.load(roster(6, person(1)))
    token = bytearray(fuzzed.manifest(load))
    match data.draw(st.sampled_from(["bytes", "flip", "cut", "insert", "json"])):
        case "bytes":
            token = bytearray(data.draw(st.binary(max_size=300)))
        case "flip":
            token[data.draw(st.integers(0, len(token) - 1))] ^= data.draw(st.integers(1, 255))
        case "cut":
            del token[data.draw(st.integers(1, len(token) - 1)) :]
        case "insert":
            place = data.draw(st.integers(0, len(token)))
            token[place:place] = data.draw(st.binary(min_size=1, max_size=6))
        case "json":
            token = bytearray(json.dumps(load.manifests[UNIT].model_dump()).encode())
    fuzzed.hear(TOPIC, bytes(token))
    fuzzed.hear(chunk_topic(ALL, "x"), bytes(token))
    assert fuzzed.rack.installed == [5]


@settings(
    max_examples=200,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(
    st.dictionaries(
        st.sampled_from(list(CLAIMS)),
        st.none()
        | st.booleans()
        | st.integers()
        | st.text(max_size=20)
        | st.lists(st.integers(), max_size=2),
        min_size=1,
    )
)
def test_no_manifest_that_is_signed_wrongly_ends_the_listener(
    fuzzed: Bench, changes: dict[str, Any]
) -> None:
    load = fuzzed.load(roster(6, person(1)))
    fuzzed.hear(TOPIC, fuzzed.manifest(load, **changes))
    assert fuzzed.rack.installed == [5]


# --- over a broker -----------------------------------------------------------------------------


@pytest.fixture
def narrow(tmp_path: Path) -> Iterator[PrivateBroker]:
    """Give a broker that takes no packet above 128 KiB."""
    options = ["message_size_limit 131072", "max_packet_size 131072"]
    with PrivateBroker(tmp_path / "broker", options=options) as broker:
        yield broker


def wire_unit(
    folder: Path, rack: Rack, delivery: RosterReceiver, broker: PrivateBroker
) -> WireUnit:
    return WireUnit(folder, broker.settings, handlers=[rack.handler(delivery)], pace=FAST)


@pytest.mark.broker
def test_over_an_outage_and_a_chunk_that_is_missing(tmp_path: Path, narrow: PrivateBroker) -> None:
    made = bench_in(tmp_path)
    folder = made.rack.keeper.file.parent
    delivery = made.rack.listener(folder, made.enroller.authorities, made.refusals)
    load = made.load()
    (lost, its_chunk), *others = made.chunks(load)
    with Voice(narrow.settings) as voice:
        for topic, chunk in others:
            voice.say(chunk, topic, retain=True)
        voice.say(made.manifest(load), TOPIC, retain=True)
    incoming = folder / "roster.senyum.incoming"
    with wire_unit(folder, made.rack, delivery, narrow):
        until(lambda: incoming.exists() and len(list(incoming.iterdir())) == 2, 20.0)
        narrow.stop()
        narrow.start()
        assert made.rack.installed == []
        with Voice(narrow.settings) as voice:
            voice.say(b"rubbish", lost, retain=True)
            voice.say(its_chunk, lost, retain=True)
        until(lambda: made.rack.installed == [5], 30.0)
    assert load_version(made) == 5


def load_version(made: Bench) -> int:
    return load(made.rack.keeper.file, KEY, EMBEDDER).version


@pytest.mark.broker
def test_by_mqtt_3(tmp_path: Path, narrow: PrivateBroker) -> None:
    made = bench_in(tmp_path)
    folder = made.rack.keeper.file.parent
    delivery = made.rack.listener(folder, made.enroller.authorities, made.refusals)
    with TcpProxy(narrow.port, OLD_REFUSAL) as wire:
        handlers = [made.rack.handler(delivery)]
        with WireUnit(folder, wire.settings, handlers=handlers, pace=FAST):
            made.enroller.send(wire.settings, SMALL, 0.0)
            until(lambda: made.rack.installed == [5], 30.0)
            made.enroller.send(wire.settings, roster(6, person(1)), 0.0)
            until(lambda: made.rack.installed == [5, 6], 30.0)
    assert 4 in wire.versions


@pytest.mark.broker
@pytest.mark.slow
def test_seven_thousand_people_with_five_photos_over_a_narrow_broker(
    tmp_path: Path, narrow: PrivateBroker
) -> None:
    made = bench_in(tmp_path)
    folder = made.rack.keeper.file.parent
    delivery = made.rack.listener(folder, made.enroller.authorities, made.refusals)
    everybody = roster(1, *(person(n, 5) for n in range(7000)))
    with wire_unit(folder, made.rack, delivery, narrow), Listener(narrow.settings, "x/#"):
        made.enroller.send(narrow.settings, everybody, 0.0)
        first = made.enroller.pushed
        until(lambda: made.rack.installed == [1], 90.0)
        made.enroller.send(narrow.settings, roster(2, *everybody.people[1:]), 0.0)
        assert made.enroller.pushed.removed == first.chunks > 200
        until(lambda: made.rack.installed == [1, 2], 90.0)
    assert load_version(made) == 2
    assert made.refusals.total == 0


def test_a_refusal_is_answered_whatever_text_it_has() -> None:
    said = answer(
        "0192f000-0000-7000-8000-000000000000",
        3,
        OrderRejectReason.FAILED,
        "roster\n\x1b[2J" + "x" * 300,
    )
    assert said is not None
    assert said.text.startswith("roster\ufffd\ufffd[2J")
