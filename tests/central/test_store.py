import sqlite3
import stat
from collections.abc import Iterator, Sequence
from contextlib import closing
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Executable

from edge.errors import StoreError, StoreUnusable
from senyum_central.store.chain_rules import ChainEntry, Neighbours
from senyum_central.store.database import Database
from senyum_central.store.event_store import NamedHead, Store, StoredEvent
from senyum_central.store.gaps import ChainStatus, Gap
from senyum_central.store.missing_events import SAME_OUTAGE, GapChange
from senyum_central.store.rejections import Rejection
from senyum_central.store.schema import APPLICATION_ID, UNRELEASED_APPLICATION_ID

UNIT = "urn:senyum:kota:depok:lobby-1"
NOW = "2026-03-02T00:31:04.000+00:00"
AT = datetime.fromisoformat(NOW)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "events.db"


@pytest.fixture
def store(path: Path) -> Iterator[Store]:
    with closing(Store(path)) as store:
        yield store


def record(number: int, name: str = "") -> StoredEvent:
    name = name or f"d{number}"
    previous = None if number == 1 else f"d{number - 1}"
    entry = ChainEntry(UNIT, f"id-{name}", number, name, previous)
    return StoredEvent(entry, "senyum.unit.audit.v1", NOW, None, "kid", f"jws-{name}")


def named_head(number: int) -> NamedHead:
    return NamedHead(UNIT, number, f"d{number}", "topic", f"jws-head-{number}")


def add(store: Store, *numbers: int) -> None:
    with store.batch():
        for number in numbers:
            store.add(record(number), NOW)


def pragma(store: Store, words: str) -> Any:
    with store.database.reading():
        return store.database.connection.exec_driver_sql(f"PRAGMA {words}").scalar()


def test_what_a_batch_committed_is_there_after_reopening(store: Store, path: Path) -> None:
    add(store, 2, 1)
    store.close()
    with closing(Store(path)) as again:
        assert again.signed_events(UNIT) == ["jws-d1", "jws-d2"]


def test_a_batch_that_fails_leaves_nothing(store: Store) -> None:
    with pytest.raises(StoreError, match="UNIQUE"):
        add(store, 1, 1)
    assert store.signed_events(UNIT) == []
    add(store, 1)
    assert store.signed_events(UNIT) == ["jws-d1"]


def test_neighbours(store: Store) -> None:
    add(store, 11, 13)
    with store.batch():
        store.add(record(12, "rival"), NOW)
        store.record_head(named_head(12), NOW)
        found = store.neighbours(record(12).entry)
    assert found == Neighbours(
        same_id=None,
        before=frozenset({"d11"}),
        same=frozenset({"rival"}),
        after=frozenset({"d12"}),
        head="d12",
    )


def test_a_named_head_only_moves_on(store: Store) -> None:
    with store.batch():
        store.record_head(named_head(5), NOW)
        store.record_head(named_head(4), NOW)
    with store.batch():
        assert (store.head(UNIT, 5), store.head(UNIT, 4)) == ("d5", None)


def report(store: Store, *gaps: Gap, healed: Sequence[Gap] = ()) -> list[GapChange]:
    with store.batch():
        return store.record_gaps({UNIT: gaps}, {UNIT: healed} if healed else {}, AT)


def change(gap: Gap, *, healed: bool, ongoing: bool) -> GapChange:
    return GapChange(UNIT, (gap,), NOW, healed, ongoing)


def test_standing_after_a_restart(store: Store) -> None:
    add(store, 2, 3, 6)
    with store.batch():
        store.record_head(named_head(8), NOW)
    assert [each.gaps for each in report(store, Gap(4, 5))] == [(Gap(4, 5),)]
    assert report(store, Gap(4, 5)) == []
    assert store.chain_statuses() == {
        UNIT: ChainStatus(8, (Gap(1, 1), Gap(4, 5), Gap(7, 8)), (Gap(4, 5),))
    }
    assert list(store.stored_ranges({UNIT: [Gap(1, 5)]})) == [(UNIT, Gap(2, 3))]


def test_a_gap_is_reported_and_healed_once_however_it_is_cut(store: Store) -> None:
    """Receivers of one store see the same numbers missing, in other pieces."""
    add(store, 1, 4, 9)
    assert report(store, Gap(2, 3)) == [change(Gap(2, 3), healed=False, ongoing=False)]
    assert report(store, Gap(3, 8)) == [change(Gap(5, 8), healed=False, ongoing=True)]
    assert report(store, Gap(2, 8)) == []
    add(store, 2, 3, 5)
    healed = [Gap(2, 3)]
    assert report(store, healed=healed) == [change(Gap(2, 3), healed=True, ongoing=True)]
    assert report(store, healed=healed) == []
    add(store, 6, 7, 8)
    last = change(Gap(5, 8), healed=True, ongoing=False)
    assert report(store, healed=[Gap(5, 8)]) == [last], "the last of the outage"
    later = AT + SAME_OUTAGE
    with store.batch():
        (another,) = store.record_gaps({UNIT: [Gap(10, 11)]}, {}, later)
    assert not another.ongoing


def test_what_is_missing_for_ever_silences_no_later_outage(store: Store) -> None:
    add(store, 1, 3)
    assert not report(store, Gap(2, 2))[0].ongoing
    with store.batch():
        (soon,) = store.record_gaps({UNIT: [Gap(4, 4)]}, {}, AT + SAME_OUTAGE / 2)
        (later,) = store.record_gaps({UNIT: [Gap(5, 6)]}, {}, AT + 2 * SAME_OUTAGE)
    assert (soon.ongoing, soon.outage) == (True, NOW)
    assert (later.ongoing, later.outage) == (
        False,
        (AT + 2 * SAME_OUTAGE).isoformat("T", "milliseconds"),
    )


def test_a_unit_known_only_by_its_state_has_a_standing(store: Store) -> None:
    with store.batch():
        store.record_head(named_head(3), NOW)
    assert store.chain_statuses() == {UNIT: ChainStatus(3, (Gap(1, 3),), ())}


def test_a_refused_message_is_kept_once_and_counted(store: Store, path: Path) -> None:
    refusal = Rejection.from_message("a/b", "malformed", "why", b"x" * 100, keep=10)
    with store.batch():
        store.add_rejection(refusal, NOW)
        store.add_rejection(refusal, NOW)
    (kept,) = list(store.rejections("malformed"))
    assert (kept.payload, kept.size) == (b"x" * 10, 100)
    with closing(sqlite3.connect(path)) as db:
        assert db.execute("SELECT times FROM refused").fetchall() == [(2,)]
    with store.batch():
        store.drop_rejection(kept)
    assert list(store.rejections("malformed")) == []


def refusal(number: int, flaw: str = "malformed") -> Rejection:
    return Rejection.from_message("a/b", flaw, "why", f"message {number}".encode(), keep=100)


def test_a_flood_of_refusals_costs_each_message_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """How many are kept is looked at now and then: it takes time, which others have to wait."""
    looks: list[object] = []
    real = Database.one

    def one(self: Database, statement: Executable, **values: object) -> object:
        looks.append(statement)
        return real(self, statement, **values)

    with closing(Store(tmp_path / "events.db", refused_kept=1000)) as store:
        monkeypatch.setattr(Database, "one", one)
        for part in range(3):
            looks.clear()
            with store.batch():
                for number in range(1000):
                    content = f"{part}.{number}".encode()
                    store.add_rejection(
                        Rejection.from_message("t", "payload", "why", content, 100), "now"
                    )
            assert len(looks) <= 2 * 1000 / 10 + 5
        assert 1000 <= len(list(store.rejections("payload"))) < 1010


def test_a_flood_of_refusals_keeps_the_newest_and_counts_the_rest(path: Path) -> None:
    with closing(Store(path, refused_kept=10)) as store:
        with store.batch():
            store.add_rejection(refusal(0, "type"), NOW)
            store.add_rejection(refusal(0, "type"), NOW)
        for number in range(1, 26):
            with store.batch():
                store.add_rejection(refusal(number), NOW)
        kept = [found.payload for found in store.rejections("malformed", "type")]
    assert kept == [f"message {number}".encode() for number in range(16, 26)]
    with closing(sqlite3.connect(path)) as db:
        counted = dict(db.execute("SELECT flaw, times FROM refused_before").fetchall())
    assert counted == {"malformed": 15, "type": 2}


def test_refusals_may_be_forgiven_while_they_are_read(store: Store) -> None:
    with store.batch():
        for number in range(5):
            store.add_rejection(refusal(number), NOW)
    seen = []
    for found in store.rejections("malformed"):
        seen.append(found)
        with store.batch():
            store.drop_rejection(found)
    assert seen == [refusal(number) for number in range(5)]
    assert list(store.rejections("malformed")) == []


def test_long_words_of_a_stranger_are_cut() -> None:
    cut = Rejection.from_message("t" * 60_000, "topic", "w" * 60_000, b"p" * 60_000, keep=10)
    assert (len(cut.topic), len(cut.why), len(cut.payload)) == (256, 500, 10)


def test_another_process_is_noticed(store: Store, path: Path) -> None:
    add(store, 1)
    assert list(store.arrivals()) == []
    with closing(Store(path)) as other:
        add(other, 2)
    assert [number for _, number in store.arrivals()] == [2]
    assert list(store.arrivals()) == []


def test_only_its_owner_reads_it(store: Store, path: Path) -> None:
    add(store, 1)
    for file in path.parent.iterdir():
        assert stat.S_IMODE(file.stat().st_mode) == 0o600, file


def test_power_cuts_are_planned_for(store: Store, path: Path) -> None:
    assert pragma(store, "synchronous") == 2  # FULL
    assert pragma(store, "journal_mode") == "wal"


@pytest.mark.parametrize(
    ("application_id", "version", "words"),
    [
        (APPLICATION_ID, 99, r"events\.db: the store has schema 99, this program knows 1; use "),
        (
            UNRELEASED_APPLICATION_ID,
            5,
            r"events\.db: the store has schema 5 of an unreleased version .* start a new store",
        ),
    ],
)
def test_another_schema_is_left_untouched(
    path: Path, application_id: int, version: int, words: str
) -> None:
    with closing(sqlite3.connect(path)) as db:
        db.execute(f"PRAGMA user_version = {version}")
        db.execute(f"PRAGMA application_id = {application_id}")
        db.execute("CREATE TABLE something (of INTEGER)")
    before = path.read_bytes()
    for read_only in (False, True):
        with pytest.raises(StoreUnusable, match=words):
            Store(path, read_only=read_only)
    assert path.read_bytes() == before


def test_another_programs_database_is_left_as_it_was(path: Path) -> None:
    with closing(sqlite3.connect(path)) as db:
        db.execute("CREATE TABLE theirs (name TEXT)")
    before = path.read_bytes()
    with pytest.raises(StoreUnusable, match="another program"):
        Store(path)
    assert path.read_bytes() == before


def test_a_file_that_is_no_database(path: Path) -> None:
    path.write_bytes(b"not a database, and long enough to be sure of it" * 30)
    with pytest.raises(StoreUnusable, match=r"events\.db"):
        Store(path)


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(StoreUnusable, match="No such file"):
        Store(tmp_path / "no" / "events.db")


def test_a_full_disk_is_a_store_error_and_keeps_what_was(store: Store) -> None:
    """SQLite's own page limit fails exactly as a full disk does (SQLITE_FULL)."""
    add(store, 1)
    pragma(store, f"max_page_count = {pragma(store, 'page_count')}")
    with pytest.raises(StoreError, match="full") as raised:
        add(store, *range(2, 500))
    assert raised.value.exit_status == 1
    assert store.signed_events(UNIT) == ["jws-d1"]
