"""Outboxes of another schema: refused and left untouched, unless they serve this version."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from wireunit import Signer, attempt

from edge.contract.keys import sequence_log_path
from edge.errors import OutboxUnusable
from edge.outbox.schema import PRE_RELEASE_ID, VERSION
from edge.outbox.sequence_log import SequenceLog
from edge.outbox.store import Outbox

EVENTS = 40


def make_outbox(file: Path, signer: Signer, signing_key: Path | None = None) -> None:
    """Write an outbox of this version with EVENTS events."""
    box = Outbox(file, signing_key=signing_key)
    for _ in range(EVENTS):
        box.append(lambda head: signer.sealer.event(attempt(), head))
    box.close()


@pytest.mark.parametrize("version", [1, 2])
def test_an_outbox_from_before_the_first_release_is_refused_and_untouched(
    tmp_path: Path, version: int
) -> None:
    file = tmp_path / "state" / "outbox.db"
    make_outbox(file, Signer(tmp_path))
    with closing(sqlite3.connect(file, isolation_level=None)) as db:
        db.execute(f"PRAGMA application_id = {PRE_RELEASE_ID}")
        db.execute(f"PRAGMA user_version = {version}")
    before = contents(file.parent)
    text = rf"outbox\.db: was written by a Senyum from before .*schema {version}\).*; let"
    with pytest.raises(OutboxUnusable, match=text):
        Outbox(file)
    assert contents(file.parent) == before


@pytest.mark.parametrize("open_elsewhere", [True, False])
def test_a_newer_outbox_is_refused_and_untouched(tmp_path: Path, *, open_elsewhere: bool) -> None:
    """Also where part of it is still in the WAL, as after a kill."""
    signer, folder = Signer(tmp_path), tmp_path / "state"
    file = folder / "outbox.db"
    make_outbox(file, signer)
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
    """An update may be rolled back after it has changed the schema."""
    signer, file = Signer(tmp_path), tmp_path / "outbox.db"
    make_outbox(file, signer, tmp_path / "signing.key")
    numbers = SequenceLog(sequence_log_path(tmp_path / "signing.key"))
    mark = numbers.mark
    assert mark is not None
    numbers.initialize_from(VERSION + 1, mark.epoch, mark.session, mark.sequence, mark.digest)
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
        assert db.execute("SELECT count(*) FROM event").fetchone() == (EVENTS + 1,)


@pytest.mark.parametrize("serves", [str(VERSION + 1), "x", ""])
def test_a_newer_outbox_that_does_not_serve_this_version_is_refused(
    tmp_path: Path, serves: str
) -> None:
    make_outbox(tmp_path / "outbox.db", Signer(tmp_path))
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
