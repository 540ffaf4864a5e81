"""What a store's address may be, and what a PostgreSQL server may hold already."""

import os
import subprocess
import threading
from collections.abc import Iterator
from contextlib import closing, suppress
from dataclasses import replace
from pathlib import Path

import pytest
from places import Place
from processes import PROGRAM

from edge.errors import StoreError, StoreUnavailable, StoreUnusable
from senyum_central.store.chain_rules import ChainEntry
from senyum_central.store.database import parse_url
from senyum_central.store.event_store import Store, StoredEvent
from senyum_central.store.gaps import Gap
from senyum_central.store.rejections import Rejection

UNIT = "urn:senyum:kota:depok:lobby-1"
NOW = "2026-03-02T00:31:04.000+00:00"


def record(number: int, name: str = "") -> StoredEvent:
    name = name or f"d{number}"
    entry = ChainEntry(UNIT, f"id-{name}", number, name, None if number == 1 else f"d{number - 1}")
    return StoredEvent(entry, "senyum.unit.audit.v1", NOW, None, "kid", f"jws-{name}")


@pytest.mark.parametrize(
    ("address", "words"),
    [
        ("mysql://host/db", "is not known"),
        ("sqlite:///events.db", "is not known"),
        ("postgresql://user:secret@host/db", "holds a password"),
        ("postgresql://host/db?password=secret", "holds a password"),
        ("postgresql://host", "does not name a database"),
        ("postgresql://host:port/db", "not an address"),
    ],
)
def test_an_address_that_is_none(address: str, words: str) -> None:
    with pytest.raises(StoreUnusable, match=words) as raised:
        parse_url(address)
    assert "secret" not in str(raised.value)
    assert raised.value.exit_status == 2


def test_the_options_of_an_address_reach_the_server() -> None:
    url = parse_url("postgresql://me@db.example.go.id:5433/senyum?sslmode=verify-full")
    assert (url.drivername, url.port, url.query["sslmode"]) == (
        "postgresql+psycopg",
        5433,
        "verify-full",
    )


def told(*options: str, **environment: str) -> str:
    """Run with a mistake; return the one line that says so."""
    ended = subprocess.run(
        [*PROGRAM, "export", "--from=2026-03-02", *options],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={**os.environ, **environment},
    )
    assert ended.returncode == 2, ended.stderr
    (line,) = ended.stderr.splitlines()
    return line


def test_the_password_comes_from_a_file_of_ours_or_of_libpq(
    server_place: Place, tmp_path: Path
) -> None:
    server = server_place.server
    assert server is not None
    with closing(server_place.open()):
        pass
    secret = server.password_file.read_text().strip()
    wrong = tmp_path / "wrong"
    wrong.touch(0o600)
    wrong.write_text("not the one\n")
    store = f"--store={server_place.where}"
    line = told(store, f"--store-password-file={wrong}")
    assert "password authentication failed" in line
    assert "not the one" not in line
    assert "no password" in told(store)
    wrong.chmod(0o644)
    assert "can be read by others" in told(store, f"--store-password-file={wrong}")
    passes = tmp_path / "pgpass"
    passes.touch(0o600)
    passes.write_text(f"127.0.0.1:*:*:*:{secret}\n")
    found = subprocess.run(
        [*PROGRAM, "export", "--gaps", store],
        env={**os.environ, "PGPASSFILE": str(passes)},
        timeout=60,
        check=False,
    )
    assert found.returncode == 0


def test_a_database_that_is_not_there(server_place: Place) -> None:
    place = replace(server_place, where=f"{server_place.where}_none")
    with pytest.raises(StoreUnusable, match="does not exist"):
        place.open()


def test_a_database_of_another_program_is_left_as_it_was(server_place: Place) -> None:
    assert server_place.server is not None
    server_place.server.sql("CREATE TABLE theirs (name text)", server_place.database)
    with pytest.raises(StoreUnusable, match="another program"):
        server_place.open()
    tables = "SELECT tablename FROM pg_tables WHERE schemaname = 'public'"
    assert server_place.rows(tables) == [("theirs",)]


def test_a_newer_schema_is_left_untouched(server_place: Place) -> None:
    with closing(server_place.open()):
        pass
    assert server_place.server is not None
    server_place.server.sql("UPDATE senyum_schema SET version = 99", server_place.database)
    with pytest.raises(StoreUnusable, match="schema 99, this program knows 1; use the senyum"):
        server_place.open()


def test_a_store_of_an_unreleased_version_is_rejected_untouched(server_place: Place) -> None:
    assert server_place.server is not None
    for statement in (
        "CREATE TABLE senyum_store (version integer NOT NULL)",
        "INSERT INTO senyum_store VALUES (5)",
    ):
        server_place.server.sql(statement, server_place.database)
    words = (
        f"{server_place.database}: the store has schema 5 of an unreleased .*; start a new store"
    )
    with pytest.raises(StoreUnusable, match=words):
        server_place.open()
    tables = "SELECT tablename FROM pg_tables WHERE schemaname = 'public'"
    assert server_place.rows(tables) == [("senyum_store",)]


def test_a_server_that_is_down_may_come_back(server_place: Place) -> None:
    place = replace(server_place, where="postgresql://senyum@127.0.0.1:1/events")
    with pytest.raises(StoreError) as raised:
        place.open()
    assert isinstance(raised.value, StoreUnavailable)
    assert raised.value.exit_status == 1
    assert "\n" not in str(raised.value)


def test_commits_are_waited_for_whatever_the_server_says(server_place: Place) -> None:
    assert server_place.server is not None
    server_place.server.sql(
        f'ALTER DATABASE "{server_place.database}" SET synchronous_commit = off'
    )
    with closing(server_place.open()) as store, store.database.reading():
        shown = store.database.connection.exec_driver_sql("SHOW synchronous_commit").scalar()
    assert shown == "on"


def test_several_may_open_an_empty_place_at_once(place: Place) -> None:
    found: list[Store | StoreError] = []

    def opened() -> None:
        try:
            with closing(place.open()) as store:
                found.append(store)
        except StoreError as error:
            found.append(error)

    threads = [threading.Thread(target=opened) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60.0)
    assert [each for each in found if isinstance(each, StoreError)] == []
    assert len(found) == 4


# --- the same in both --------------------------------------------------------------------------


@pytest.fixture
def store(place: Place) -> Iterator[Store]:
    with closing(place.open()) as store:
        yield store


def test_neighbours_count_what_this_batch_added(store: Store) -> None:
    with store.batch():
        for number in (1, 2, 30):
            store.add(record(number), NOW)
    with store.batch([record(n).entry for n in (3, 4, 29, 31)]):
        assert store.neighbours(record(3).entry).before == {"d2"}
        store.add(record(3), NOW)
        assert store.neighbours(record(4).entry).before == {"d3"}
        assert store.neighbours(record(29).entry).after == {"d29"}
        assert store.neighbours(record(3, "rival").entry).same == {"d3"}
        assert store.neighbours(record(3).entry).same_id == "d3"
    assert list(store.stored_ranges({UNIT: [Gap(1, 40)]})) == [
        (UNIT, Gap(1, 3)),
        (UNIT, Gap(30, 30)),
    ]


def test_an_id_is_stored_once_whatever_the_program_believes(store: Store) -> None:
    with store.batch():
        store.add(record(1), NOW)
    with pytest.raises(StoreError, match=r"(?i)unique") as raised, store.batch():
        store.add(replace(record(1), jws="another"), NOW)
    assert "another" not in str(raised.value)
    assert store.signed_events(UNIT) == ["jws-d1"]


def test_the_newest_refusals_are_kept_though_numbers_are_lost(place: Place) -> None:
    """A server takes a number for each try, also for those that were rolled back."""
    with closing(place.open(refused_kept=10)) as store:
        for number in range(25):
            refusal = Rejection.from_message(
                "a/b", "malformed", "why", f"m{number}".encode(), keep=9
            )
            with suppress(KeyError), store.batch():
                store.add_rejection(refusal, NOW)
                raise KeyError
            with store.batch():
                assert store.add_rejection(refusal, NOW)
                assert not store.add_rejection(refusal, NOW)
        kept = [found.payload for found in store.rejections("malformed")]
    assert kept == [f"m{number}".encode() for number in range(15, 25)]
    assert place.rows("SELECT flaw, times FROM refused_before") == [("malformed", 30)]


def test_what_no_database_takes_is_replaced(store: Store) -> None:
    refusal = Rejection.from_message("a\0b", "topic", "why\ud800", b"\0", keep=9)
    with store.batch():
        store.add_rejection(refusal, NOW)
    (kept,) = store.rejections("topic")
    assert (kept.topic, kept.why, kept.payload) == ("a�b", "why?", b"\0")
