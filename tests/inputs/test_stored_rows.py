"""Whatever the rows of a store contain, `export` names it, goes on and ends with 1."""

import contextlib
import csv
import io
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory, mkdtemp

import pytest
from days import ANI, BUDI, Door, key_file, take
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.cli import main
from edge.system.clock import ClockState
from edge.types import AuditCode
from senyum_central.store.event_store import Store

inputs = settings.get_profile("inputs")
DAY = "2026-03-02"
ROWS = 7
SOURCE = "urn:senyum:kota:depok:lobby-1"
# A table as an older or another program may have made it: any value in any column.
LOOSE = """
CREATE TABLE loose AS SELECT * FROM {table};
DROP TABLE {table};
ALTER TABLE loose RENAME TO {table};
"""
TABLES = ("event", "later", "head", "gap", "fork", "undated", "anchor", "move")
COLUMNS = {
    "event": (
        *("id", "unit", "sequence", "digest", "previous", "type", "time", "subject", "kid"),
        *("jws", "received_at"),
    ),
    "head": ("unit", "sequence", "digest", "topic", "jws", "received_at"),
    "undated": ("id", "unit", "sequence", "boot_id", "monotonic_ns", "corrected"),
    "anchor": ("unit", "boot_id", "monotonic_ns", "utc", "sequence"),
    "gap": ("unit", "first", "last", "reported_at", "asked", "answer", "given_up_at"),
    "move": ("unit", "sequence", "origin"),
    "fork": ("unit", "sequence", "digest", "why", "found_at"),
}


@cache
def folder() -> Path:
    """Make a store of a day, with a gap, a correction and a move in it, and its keys."""
    found = Path(mkdtemp())
    key_file(found, Door(), Door("gate-2"))
    gate, door = Door("gate-2"), Door()
    messages = [gate.at("2026-03-01T02:00:00").passes(BUDI)]
    door.head = gate.head
    door.at("2026-03-01T03:00:00")
    messages += [door.audit(AuditCode.MOVED, **{"from": gate.name.source, "last": 1})]
    door.at("2026-03-01T23:50:00", ClockState.UNSYNCHRONIZED, monotonic_s=1000)
    messages += [door.passes(ANI), door.at("2026-03-02T01:00:00", monotonic_s=1600).anchor()]
    messages += [door.at(f"2026-03-02T0{at}:30:00").passes(ANI) for at in (3, 4)]
    messages += [door.at("2026-03-04T23:00:00").passes(BUDI), door.health()]
    with closing(Store(found / "events.db")) as store:
        take(store, *messages, units=(gate, door), at="2026-03-04T23:00:00")
    with closing(sqlite3.connect(found / "events.db")) as db:
        for table in TABLES:
            db.executescript(LOOSE.format(table=table))
        names = "unit, first, last, reported_at, asked, answer"
        db.execute(f"INSERT INTO gap ({names}) VALUES (?, 90, 91, 'x', 0, 'y')", [SOURCE])
        db.commit()
    return found


@pytest.fixture(scope="module", autouse=True)
def _clean() -> Iterator[None]:
    yield
    if whole.cache_info().currsize:
        shutil.rmtree(whole())
        whole.cache_clear()
    if folder.cache_info().currsize:
        shutil.rmtree(folder())
        folder.cache_clear()


def run(path: Path, *options: str) -> tuple[int, str, str]:
    out, err = io.TextIOWrapper(io.BytesIO(), encoding="utf-8"), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        status = main(["export", f"--store={path}", f"--keys={folder() / 'keys.json'}", *options])
    out.flush()
    assert "Traceback" not in err.getvalue()
    out.buffer.seek(0)
    return status, out.buffer.read().decode(), err.getvalue()


VALUES = st.one_of(
    st.none(),
    st.integers(-(2**63), 2**63 - 1),
    st.floats(allow_nan=False),
    st.text(st.characters(exclude_categories=["Cs"]), max_size=40),
    st.binary(max_size=30),
    st.sampled_from(
        [
            *(ANI, BUDI, SOURCE, "urn:senyum:kota:depok:gate-2", "a.b.c", "e30.e30.e30"),
            *("9999-12-31T23:59:59.999999Z", "0001-01-01T00:00:00+14:00", "\x1b[2J", "\u202e"),
            *("2026-03-02T00:00:00", 2**63 - 1, -(2**63), 0, "", "\x00"),
        ]
    ),
)
CHANGES = st.lists(
    st.sampled_from([(table, name) for table, names in COLUMNS.items() for name in names]).flatmap(
        lambda column: st.tuples(st.just(column), st.integers(1, ROWS), VALUES, st.booleans())
    ),
    min_size=1,
    max_size=5,
)


def signed_columns(db: sqlite3.Connection) -> list[tuple[object, ...]]:
    """Return all that is signed of the events of the day."""
    names = ", ".join(name for name in COLUMNS["event"] if name != "received_at")
    return db.execute(f"SELECT {names} FROM event WHERE rowid BETWEEN 3 AND 6").fetchall()


def changed(path: Path, changes: list[tuple[tuple[str, str], int, object, bool]]) -> bool:
    """Change columns of a copy; returns whether something signed of the day is another."""
    shutil.copy(folder() / "events.db", path)
    with closing(sqlite3.connect(path)) as db:
        db.text_factory = bytes
        before = signed_columns(db)
        for (table, name), row, value, as_text in changes:
            new = "CAST(? AS TEXT)" if as_text and isinstance(value, bytes) else "?"
            statement = f"UPDATE {table} SET {name} = {new} WHERE rowid = ?"
            db.execute(statement, [value, row])
        db.commit()
        return signed_columns(db) != before


@pytest.mark.slow
@inputs
@given(CHANGES)
def test_no_value_in_any_column_stops_an_export_or_passes(
    changes: list[tuple[tuple[str, str], int, object, bool]],
) -> None:
    with TemporaryDirectory() as place:
        path = Path(place) / "events.db"
        differs = changed(path, changes)
        status, out, err = run(path, f"--from={DAY}")
        assert status == 1 or not differs, err
        assert "\x1b" not in out + err
        lines = list(csv.DictReader(io.StringIO(out)))
        assert all(None not in line.values() for line in lines)
        raw, content, err = run(path, f"--from={DAY}", "--raw")
        assert raw == 1 or status == 0, err
        gaps, *_ = run(path, "--gaps")
        assert gaps in (0, 1)
        evidence = Path(place) / "day.jsonl"
        evidence.write_text(content, encoding="utf-8")
        with contextlib.redirect_stdout(io.StringIO()) as said:
            assert main(["verify", f"--keys={folder() / 'keys.json'}", str(evidence)]) in (0, 1)
        assert "Traceback" not in said.getvalue()


def test_the_store_that_is_changed_is_good() -> None:
    status, out, err = run(folder() / "events.db", f"--from={DAY}")
    assert status == 0, err
    (line,) = csv.DictReader(io.StringIO(out))
    assert (line["first_in"], line["last_out"]) == ("07:50:00", "11:30:00")
    assert line["notes"] == "time-corrected"


@cache
def whole() -> Path:
    """Make a store of three days of one door, two events a day, and return its folder."""
    door, found = Door(), folder().with_name(f"{folder().name}-whole")
    found.mkdir()
    messages = [
        door.at(f"2026-03-0{day}T0{hour}:00:00").passes(person)
        for day in (1, 2, 3)
        for hour, person in ((1, ANI), (9, BUDI))
    ]
    messages.append(door.at("2026-03-04T23:00:00").health())
    with closing(Store(found / "events.db")) as store:
        take(store, *messages, units=(door,), at="2026-03-04T23:00:00")
    return found


@pytest.mark.slow
@inputs
@given(
    gone=st.sets(st.integers(1, 6), min_size=1),
    double=st.booleans(),
    day=st.integers(1, 3),
    span=st.integers(0, 2),
)
def test_events_that_are_gone_are_missed_by_the_export_and_by_its_evidence(
    gone: set[int], double: bool, day: int, span: int
) -> None:
    kept = {1, 2, 3, 4, 5, 6} - gone
    last = min(day + span, 3)
    with TemporaryDirectory() as place:
        path = Path(place) / "events.db"
        shutil.copy(whole() / "events.db", path)
        with closing(sqlite3.connect(path)) as db:
            if double and kept:  # their rows hold another event instead
                other = "(SELECT jws FROM event WHERE sequence = ?)"
                statement = f"UPDATE event SET jws = {other} WHERE sequence = ?"
                db.executemany(statement, [(min(kept), number) for number in gone])
            else:
                db.executemany("DELETE FROM event WHERE sequence = ?", [(n,) for n in gone])
            db.commit()
        days = (f"--from=2026-03-0{day}", f"--to=2026-03-0{last}")
        touched = any(day <= (number + 1) // 2 <= last for number in gone)
        status, out, _ = run(path, *days)
        assert status == 1 or not touched
        assert "events missing" in out or not touched
        raw, content, _ = run(path, *days, "--raw")
        evidence = Path(place) / "days.jsonl"
        evidence.write_text(content, encoding="utf-8")
        with contextlib.redirect_stdout(io.StringIO()) as said:
            judged = main(["verify", f"--keys={folder() / 'keys.json'}", str(evidence)])
        assert (raw, judged) == (1, 1) or not touched, said.getvalue()
