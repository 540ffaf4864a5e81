"""Every schema that the outbox ever had, kept beside this file, brought to the present one."""

import re
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest
from wireunit import Signer, attempt, environment

from edge.contract.keys import sequence_log_path
from edge.errors import OutboxUnusable
from edge.outbox.event_signer import ChainHead
from edge.outbox.schema import VERSION, migrate
from edge.outbox.sequence_log import SequenceLog
from edge.outbox.store import Outbox, OutboxReader

SCHEMAS = {
    int(file.stem.removeprefix("v")): file.read_text()
    for file in (Path(__file__).parent / "outbox_schemas").glob("v*.sql")
}
EARLIER = sorted(SCHEMAS.keys() - {VERSION})
EVENTS = 40


def tables(db: sqlite3.Connection) -> set[str]:
    rows = db.execute("SELECT sql FROM sqlite_schema WHERE sql IS NOT NULL")
    return {re.sub(r"\s+", " ", sql) for (sql,) in rows}


def old(file: Path, version: int, signer: Signer) -> dict[int, str]:
    """Make an outbox as that version did, with events in it, 30 of them delivered."""
    events = {}
    with closing(sqlite3.connect(file, isolation_level=None)) as db:
        db.executescript(SCHEMAS[version])
        head = ChainHead()
        db.execute("BEGIN")
        for number in range(1, EVENTS + 1):
            sealed = signer.sealer.event(attempt(), head)
            head = head.followed_by(sealed.token)
            events[number] = sealed.token
            db.execute(
                "INSERT INTO event VALUES (?, ?, ?, ?)",
                (number, sealed.id, 1_800_000_000, sealed.token),
            )
        db.execute("UPDATE counter SET value = 30 WHERE name = 'delivered'")
        db.execute("UPDATE counter SET value = 7 WHERE name = 'session'")
        db.execute("COMMIT")
    return events


@pytest.mark.parametrize("version", EARLIER)
@pytest.mark.parametrize("with_key", [True, False])
def test_from_every_earlier_version_nothing_is_lost(
    tmp_path: Path, version: int, *, with_key: bool
) -> None:
    signer, file = Signer(tmp_path), tmp_path / "outbox.db"
    events = old(file, version, signer)
    box = Outbox(file, signing_key=tmp_path / "signing.key" if with_key else None)
    assert box.session == 8
    assert box.renewal is None
    reader = OutboxReader(file)
    assert {row.sequence: row.token for row in reader.after(0, 1000)} == events
    assert reader.delivered() == 30
    reader.close()
    assert box.append(lambda head: signer.sealer.event(attempt(), head))[0].sequence == EVENTS + 1
    box.close()
    with closing(sqlite3.connect(file)) as db, closing(sqlite3.connect(":memory:")) as fresh:
        assert db.execute("PRAGMA user_version").fetchone() == (VERSION,)
        fresh.executescript(SCHEMAS[VERSION])
        assert tables(db) == tables(fresh)


def test_every_version_is_kept_and_the_last_is_what_is_made_now(tmp_path: Path) -> None:
    assert sorted(SCHEMAS) == list(range(1, VERSION + 1))
    Outbox(tmp_path / "outbox.db").close()
    with (
        closing(sqlite3.connect(tmp_path / "outbox.db")) as db,
        closing(sqlite3.connect(":memory:")) as fresh,
    ):
        fresh.executescript(SCHEMAS[VERSION])
        assert tables(db) == tables(fresh)
        counters = "SELECT name FROM counter ORDER BY name"
        assert db.execute(counters).fetchall() == fresh.execute(counters).fetchall()
        for setting in ("page_size", "application_id", "user_version"):
            made, kept = (d.execute(f"PRAGMA {setting}").fetchone() for d in (db, fresh))
            assert made == kept


@pytest.mark.parametrize("version", EARLIER)
def test_a_kill_at_any_step_of_a_migration_leaves_one_version_whole(
    tmp_path: Path, version: int
) -> None:
    """The kill comes after so many of SQLite's own steps, from the first to behind the last."""
    signer, whole = Signer(tmp_path), tmp_path / "whole.db"
    events = old(whole, version, signer)
    found = set()
    for steps in (1, 5, 10, 20, 40, 60, 80, 100, 120, 150, 200, 300, 10_000):
        file = tmp_path / f"{steps}.db"
        file.write_bytes(whole.read_bytes())
        script = f"""
import os, signal, sqlite3
from edge.outbox.schema import migrate
db = sqlite3.connect({str(file)!r}, isolation_level=None)
left = [{steps}]
def step():
    left[0] -= 1
    if left[0] == 0:
        os.kill(os.getpid(), signal.SIGKILL)
db.set_progress_handler(step, 1)
migrate(db)
os.kill(os.getpid(), signal.SIGKILL)
"""
        done = subprocess.run(
            [sys.executable, "-c", script], env=environment(), capture_output=True, check=False
        )
        assert done.returncode == -signal.SIGKILL, done.stderr
        with closing(sqlite3.connect(file)) as db:
            found.add(db.execute("PRAGMA user_version").fetchone()[0])
            assert db.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        box = Outbox(file)
        reader = OutboxReader(file)
        assert {row.sequence: row.token for row in reader.after(0, 1000)} == events
        assert box.head().sequence == EVENTS
        reader.close()
        box.close()
    assert found == {version, VERSION}


def test_what_fails_half_way_is_taken_back(tmp_path: Path) -> None:
    old(tmp_path / "outbox.db", 1, Signer(tmp_path))
    with closing(sqlite3.connect(tmp_path / "outbox.db", isolation_level=None)) as db:
        db.execute("CREATE TABLE note (in_the_way INTEGER)")
        with pytest.raises(sqlite3.OperationalError, match="already exists"):
            migrate(db)
        assert db.execute("PRAGMA user_version").fetchone() == (1,)
        assert db.execute("SELECT count(*) FROM counter").fetchone() == (2,)


@pytest.mark.parametrize("open_elsewhere", [True, False])
def test_a_newer_outbox_is_refused_and_untouched(tmp_path: Path, *, open_elsewhere: bool) -> None:
    """Also where part of it is still in the WAL, as after a kill."""
    signer, folder = Signer(tmp_path), tmp_path / "state"
    folder.mkdir()
    file = folder / "outbox.db"
    old(file, VERSION, signer)
    with closing(sqlite3.connect(file, isolation_level=None)) as db:
        db.execute("PRAGMA wal_autocheckpoint = 0")
        db.execute(f"PRAGMA user_version = {VERSION + 1}")
        db.execute("CREATE TABLE more (of INTEGER)")
        if open_elsewhere:
            copy = tmp_path / "copy"
            copy.mkdir()
            for part in (file, folder / "outbox.db-wal"):
                (copy / part.name).write_bytes(part.read_bytes())
            file = copy / "outbox.db"
    before = contents(file.parent)
    with pytest.raises(OutboxUnusable, match=r"outbox\.db: was written by a newer Senyum"):
        Outbox(file)
    assert contents(file.parent) == before


@pytest.mark.parametrize("serves", ["1", str(VERSION)])
def test_a_newer_outbox_that_serves_this_version_goes_on(tmp_path: Path, serves: str) -> None:
    """An update may be taken back after it has migrated."""
    signer, file = Signer(tmp_path), tmp_path / "outbox.db"
    events = old(file, VERSION, signer)
    Outbox(file, signing_key=tmp_path / "signing.key").close()
    numbers = SequenceLog(sequence_log_path(tmp_path / "signing.key"))
    numbers.migrating(VERSION + 1)
    numbers.close(orderly=True)
    with closing(sqlite3.connect(file, isolation_level=None)) as db:
        db.execute(f"PRAGMA user_version = {VERSION + 1}")
        db.execute("CREATE TABLE more (of INTEGER)")
        db.execute("INSERT INTO note VALUES ('serves', ?)", (serves,))
    box = Outbox(file, signing_key=tmp_path / "signing.key")
    assert box.append(lambda head: signer.sealer.event(attempt(), head))[0].sequence == EVENTS + 1
    box.close()
    again = Outbox(file, signing_key=tmp_path / "signing.key")
    assert again.head().sequence == EVENTS + 1
    assert again.renewal is None
    again.close()
    with closing(sqlite3.connect(file)) as db:
        assert db.execute("PRAGMA user_version").fetchone() == (VERSION + 1,)
        assert db.execute("SELECT count(*) FROM event").fetchone() == (len(events) + 1,)


@pytest.mark.parametrize("serves", [str(VERSION + 1), "x", ""])
def test_a_newer_outbox_that_does_not_serve_this_version_is_refused(
    tmp_path: Path, serves: str
) -> None:
    old(tmp_path / "outbox.db", VERSION, Signer(tmp_path))
    with closing(sqlite3.connect(tmp_path / "outbox.db", isolation_level=None)) as db:
        db.execute(f"PRAGMA user_version = {VERSION + 1}")
        db.execute("INSERT INTO note VALUES ('serves', ?)", (serves,))
    with pytest.raises(OutboxUnusable, match="was written by a newer Senyum"):
        Outbox(tmp_path / "outbox.db")


def contents(folder: Path) -> dict[str, bytes]:
    """Every file that holds something of its own: neither the lock nor SQLite's shared memory."""
    return {
        path.name: path.read_bytes()
        for path in folder.iterdir()
        if path.suffix != ".lock" and not path.name.endswith("-shm") and path.stat().st_size
    }
