"""A store that is up and cannot answer: locked, restarted, read-only, full, not there yet."""

import logging
import sqlite3
import subprocess
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path

import psycopg
import pytest
from central_parts import START, Resting, Unit
from places import Place
from private_servers import PrivateBroker, PrivatePostgres
from processes import PROGRAM, Process, publish

from edge.contract.keys import add_registration
from edge.errors import StoreUnavailable, StoreUnusable
from edge.system.sd_notify import Notifier
from senyum_central.ingest.service_status import ReceiverStatus
from senyum_central.ingest.store_retry import MOST_S, Stopped, StoreRetry
from senyum_central.store import database
from senyum_central.store.chain_rules import ChainEntry
from senyum_central.store.event_store import Store, StoredEvent
from senyum_central.store.gaps import Gap
from senyum_central.store.schema import APPLICATION_ID

pytestmark = pytest.mark.slow

UNIT = Unit().name.source
NOW = "2026-03-02T00:31:04.000+00:00"
GAPS = {UNIT: [Gap(1, 9)]}

READS: dict[str, Callable[[Store], object]] = {
    "arrivals": lambda store: list(store.arrivals()),
    "moves": lambda store: store.count_renames(),
    "corrected": lambda store: store.corrected_times(UNIT),
    "apart": lambda store: store.numbers_under_other_names(),
    "holes": lambda store: store.missing_ranges(GAPS),
    "laters": lambda store: store.unknown_events(),
    "present": lambda store: list(store.stored_ranges(GAPS)),
    "reported": lambda store: store.open_gaps(),
    "refusals": lambda store: list(store.rejections("topic")),
    "standings": lambda store: store.chain_statuses(),
    "tokens": lambda store: store.signed_events(UNIT),
}


def record(number: int) -> StoredEvent:
    previous = None if number == 1 else f"d{number - 1}"
    entry = ChainEntry(UNIT, f"id-{number}", number, f"d{number}", previous)
    return StoredEvent(entry, "senyum.unit.audit.v1", NOW, None, "kid", f"jws-{number}")


def add(store: Store, number: int) -> None:
    with store.batch():
        store.add(record(number), NOW)


def end_connections(place: Place) -> None:
    """As an administrator does, or a server that restarts."""
    assert place.server is not None
    place.server.sql(
        "SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity"
        f" WHERE datname = '{place.database}'"
    )


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database, "BUSY_S", 0.1)


@pytest.mark.parametrize("read", READS)
def test_a_connection_that_died_while_idle_is_replaced_by_each_read(
    server_place: Place, read: str
) -> None:
    with closing(server_place.open()) as store:
        expected = READS[read](store)
        for _ in range(3):
            end_connections(server_place)
            assert READS[read](store) == expected


def test_a_connection_that_died_while_idle_is_replaced_by_a_write(server_place: Place) -> None:
    with closing(server_place.open()) as store:
        for number in range(1, 4):
            end_connections(server_place)
            add(store, number)
        assert store.signed_events(UNIT) == ["jws-1", "jws-2", "jws-3"]


def test_a_connection_that_dies_within_a_batch_keeps_nothing_of_it(server_place: Place) -> None:
    with closing(server_place.open()) as store:

        def broken() -> None:
            with store.batch():
                store.add(record(1), NOW)
                end_connections(server_place)

        with pytest.raises(StoreUnavailable):
            broken()
        assert store.signed_events(UNIT) == []
        add(store, 1)
        assert store.signed_events(UNIT) == ["jws-1"]


@contextmanager
def locked(place: Place, how: str) -> Iterator[None]:
    """Hold a lock as another program does."""
    if place.server is None:
        with closing(sqlite3.connect(place.where, isolation_level=None)) as db:
            db.execute("BEGIN IMMEDIATE")
            yield
        return
    password = place.server.password_file.read_text().strip()
    with psycopg.connect(str(place.where), password=password) as connection:
        connection.execute(how.encode())
        yield


@pytest.mark.parametrize(
    "how",
    [
        "LOCK TABLE event IN ACCESS EXCLUSIVE MODE",
        "LOCK TABLE gap IN SHARE MODE",
        f"SELECT pg_advisory_xact_lock({APPLICATION_ID})",
    ],
)
def test_a_lock_is_waited_for_however_long_it_is_held(place: Place, how: str) -> None:
    with closing(place.open()) as store:
        rests: list[float] = []

        def rest(seconds: float) -> bool:
            rests.append(seconds)
            if len(rests) == 3:
                lock.close()
            return True

        lock = closing_lock(place, how)
        StoreRetry(Resting(rest))(lambda: write_both(store))
        assert len(rests) >= 3
        assert store.signed_events(UNIT) == ["jws-1"]


class closing_lock:  # noqa: N801 - as contextlib's
    """A lock that is held from now until `close`."""

    def __init__(self, place: Place, how: str) -> None:
        self._context = locked(place, how)
        self._context.__enter__()

    def close(self) -> None:
        self._context.__exit__(None, None, None)


def write_both(store: Store) -> None:
    with store.batch():
        if not list(store.stored_ranges({UNIT: [Gap(1, 1)]})):
            store.add(record(1), NOW)
        store.record_gaps({UNIT: [Gap(2, 3)]}, {}, START)


def test_a_server_that_turned_read_only_is_waited_for(server_place: Place) -> None:
    server = server_place.server
    assert server is not None
    alter = f'ALTER DATABASE "{server_place.database}"'
    with closing(server_place.open()) as store:
        server.sql(f"{alter} SET default_transaction_read_only = on")
        end_connections(server_place)

        def rest(_seconds: float) -> bool:
            server.sql(f"{alter} RESET default_transaction_read_only")
            return True

        with pytest.raises(StoreUnavailable, match="read-only"):
            add(store, 1)
        StoreRetry(Resting(rest))(lambda: add(store, 1))
        assert store.signed_events(UNIT) == ["jws-1"]


def test_a_password_that_changed_is_waited_for_while_it_runs(server_place: Place) -> None:
    server = server_place.server
    assert server is not None
    secret = server.password_file.read_text().strip()
    with closing(server_place.open()) as store:
        server.sql("CREATE ROLE owner SUPERUSER LOGIN PASSWORD 'other'")
        try:
            server.sql("ALTER ROLE senyum PASSWORD 'changed'")
            address = server.address().replace("senyum@", "owner@")
            with psycopg.connect(address, password="other", autocommit=True) as owner:
                owner.execute(
                    b"SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity"
                    b" WHERE usename = 'senyum'"
                )
                try:
                    with pytest.raises(StoreUnavailable, match="password authentication failed"):
                        add(store, 1)
                    with pytest.raises(StoreUnusable, match="password authentication failed"):
                        server_place.open()
                finally:  # the other tests use it too
                    owner.execute(f"ALTER ROLE senyum PASSWORD '{secret}'".encode())
            add(store, 1)
        finally:
            server.sql("DROP ROLE owner")
        assert store.signed_events(UNIT) == ["jws-1"]


# --- how it waits ------------------------------------------------------------------------------


class Away:
    """Fails the given number of times, then works."""

    def __init__(self, times: int) -> None:
        self.left = times

    def __call__(self) -> str:
        if self.left:
            self.left -= 1
            raise StoreUnavailable(f"reason {self.left}")
        return "done"


def test_an_outage_is_said_once_and_so_is_its_end(caplog: pytest.LogCaptureFixture) -> None:
    rests: list[float] = []
    shown: list[str | None] = []

    def rest(seconds: float) -> bool:
        rests.append(seconds)
        return True

    class Status(ReceiverStatus):
        def __init__(self) -> None:
            super().__init__(Notifier({}))

        def store_is(self, why: str | None) -> None:
            shown.append(why)

    patiently = StoreRetry(Resting(rest, Status()))
    with caplog.at_level(logging.WARNING):
        assert patiently(Away(30)) == "done"
        assert patiently(Away(0)) == "done"
    first, last = [line.getMessage() for line in caplog.records]
    assert "reason 29" in first
    assert "answers again after" in last
    assert len(rests) == 30
    assert max(rests) <= MOST_S
    assert max(rests[:2]) <= 1.0
    assert shown == [*(f"reason {n}" for n in range(29, -1, -1)), None]


def test_a_stop_ends_the_waiting() -> None:
    with pytest.raises(Stopped):
        StoreRetry(Resting(lambda _seconds: False))(Away(1))


# --- commands that only read -------------------------------------------------------------------


def export(place: Place, *options: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*PROGRAM, "export", *place.options, *options],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_what_only_reads_needs_no_lock_and_changes_nothing(place: Place) -> None:
    with closing(place.open()) as store:
        add(store, 1)
        with store.batch():
            store.record_gaps({UNIT: [Gap(2, 3)]}, {}, START)
    lock = f"SELECT pg_advisory_xact_lock({APPLICATION_ID})"
    with locked(place, lock):
        ended = export(place, "--gaps")
    assert (ended.returncode, ended.stdout.count("\n")) == (0, 1), ended.stderr
    if not place.server:
        before = Path(place.where).read_bytes()
        assert export(place, "--gaps").returncode == 0
        assert Path(place.where).read_bytes() == before


def test_what_only_reads_says_that_it_cannot_read(server_place: Place, file_place: Place) -> None:
    for place in (server_place, file_place):
        with closing(place.open()) as store:
            add(store, 1)
    with locked(server_place, "LOCK TABLE gap IN ACCESS EXCLUSIVE MODE"):
        ended = export(server_place, "--gaps")
    assert ended.returncode == 1
    assert "the store cannot be read: " in ended.stderr
    away = export(replace(server_place, where="postgresql://senyum@127.0.0.1:1/events"), "--gaps")
    assert away.returncode == 1
    assert "the store cannot be read: " in away.stderr
    with Path(file_place.where).open("r+b") as file:
        file.seek(4096)
        file.write(b"\xff" * (Path(file_place.where).stat().st_size - 4096))
    damaged = export(file_place, "--gaps")
    assert damaged.returncode != 0
    assert "the store cannot be read: " in damaged.stderr
    assert "written" not in damaged.stderr + ended.stderr + away.stderr


# --- the program -------------------------------------------------------------------------------


def _has(place: Place, count: int) -> bool:
    return len(place.rows("SELECT id FROM event")) == count


@pytest.mark.broker
def test_it_starts_before_its_server_and_outlives_restarts(
    tmp_path: Path, broker: PrivateBroker
) -> None:
    unit = Unit()
    add_registration(tmp_path / "keys.json", unit.key.registration(unit.name))
    messages = unit.events(6)
    with PrivatePostgres() as server:
        place = Place(server.create("events"), server, "events")
        server.stop()
        one = Process(tmp_path, broker.port, *place.options, store=False)
        try:
            one.until(lambda: "the store does not answer" in one.log)
            server.start()
            one.ready()
            for turn in range(3):
                server.stop("immediate" if turn else "fast")
                publish(broker, *messages[2 * turn : 2 * turn + 2])
                server.start()
                count = 2 * turn + 2
                one.until(partial(_has, place, count), 60.0)
            server.stop()
            one.until(lambda: one.log.count("does not answer") > one.log.count("answers again"))
            assert one.end() == 0, "while it waits"
            assert "Traceback" not in one.log
        finally:
            one.kill()


@pytest.mark.broker
def test_a_start_that_waits_is_ended_by_sigterm(tmp_path: Path, broker: PrivateBroker) -> None:
    unit = Unit()
    add_registration(tmp_path / "keys.json", unit.key.registration(unit.name))
    address = "--store=postgresql://senyum@127.0.0.1:1/events"
    one = Process(tmp_path, broker.port, address, store=False)
    try:
        one.until(lambda: "the store does not answer" in one.log)
        assert one.end() == 0
        assert "Traceback" not in one.log
    finally:
        one.kill()
