"""What each error of a database means: wait, set the message aside, or ask the caller."""

import errno
import sqlite3
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace

import psycopg
import pytest
from places import Place
from sqlalchemy.exc import DataError, DBAPIError, IntegrityError, OperationalError

from edge.errors import RowRejected, StoreError, StoreUnavailable, StoreUnusable
from senyum_central.store import database_errors as faults
from senyum_central.store.chain_rules import ChainEntry
from senyum_central.store.event_store import Store, StoredEvent

NOW = "2026-03-02T00:31:04.000+00:00"
RECORD = StoredEvent(
    ChainEntry("urn:senyum:kota:depok:lobby-1", "id-1", 1, "d1", None),
    "senyum.unit.audit.v1",
    NOW,
    None,
    "kid",
    "jws",
)

# One of every condition that PostgreSQL knows, by SQLSTATE.
STATES = sorted({kind.sqlstate for kind in vars(psycopg.errors)["_sqlcodes"].values()})


def of_server(state: str) -> DBAPIError:
    """Return what SQLAlchemy raises for a condition of PostgreSQL."""
    orig = psycopg.errors.lookup(state)(f"condition {state}")
    return DBAPIError("SELECT 1", {}, orig)


@pytest.mark.parametrize("state", STATES)
def test_a_condition_of_postgresql_is_waited_out_unless_a_row_is_its_cause(state: str) -> None:
    expected = (
        RowRejected if state[:2] in {"22", "23", "54"} or state == "42804" else StoreUnavailable
    )
    assert faults.kind(of_server(state)) is expected


@pytest.mark.parametrize("state", STATES)
def test_only_what_the_caller_can_correct_ends_the_start(state: str) -> None:
    callers = state[:2] in {"28", "3D", "3F"} or state == "42501"
    assert faults.kind_at_start(of_server(state)) is (
        StoreUnusable if callers else StoreUnavailable
    )


def of_file(code: int) -> DBAPIError:
    orig = sqlite3.OperationalError("as SQLite says it")
    orig.sqlite_errorcode = code
    return OperationalError("SELECT 1", {}, orig)


@pytest.mark.parametrize(
    ("code", "running", "starting"),
    [
        (sqlite3.SQLITE_BUSY, StoreUnavailable, StoreUnavailable),
        (sqlite3.SQLITE_BUSY_SNAPSHOT, StoreUnavailable, StoreUnavailable),
        (sqlite3.SQLITE_CORRUPT, StoreUnavailable, StoreUnusable),
        (sqlite3.SQLITE_FULL, StoreUnavailable, StoreUnavailable),
        (sqlite3.SQLITE_IOERR, StoreUnavailable, StoreUnavailable),
        (sqlite3.SQLITE_IOERR_FSYNC, StoreUnavailable, StoreUnavailable),
        (sqlite3.SQLITE_LOCKED, StoreUnavailable, StoreUnavailable),
        (sqlite3.SQLITE_NOTADB, StoreUnavailable, StoreUnusable),
        (sqlite3.SQLITE_READONLY, StoreUnavailable, StoreUnavailable),
        (sqlite3.SQLITE_READONLY_DBMOVED, StoreUnavailable, StoreUnavailable),
        (sqlite3.SQLITE_CONSTRAINT_UNIQUE, RowRejected, StoreUnavailable),
        (sqlite3.SQLITE_TOOBIG, RowRejected, StoreUnavailable),
    ],
)
def test_a_condition_of_sqlite(
    code: int, running: type[StoreError], starting: type[StoreError]
) -> None:
    assert faults.kind(of_file(code)) is running
    assert faults.kind_at_start(of_file(code)) is starting


@pytest.mark.parametrize("number", sorted(errno.errorcode))
def test_a_file_that_cannot_be_made_is_the_callers_if_its_path_or_rights_are(number: int) -> None:
    callers = {errno.EACCES, errno.EINVAL, errno.EISDIR, errno.ENOENT, errno.ENOTDIR, errno.EPERM}
    expected = StoreUnusable if number in callers else StoreUnavailable
    assert faults.kind_at_start(OSError(number, "as the system says it")) is expected


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("connection refused", StoreUnavailable),
        ("the database system is starting up", StoreUnavailable),
        ("could not translate host name: Temporary failure in name resolution", StoreUnavailable),
        ("server closed the connection unexpectedly", StoreUnavailable),
        ('password authentication failed for user "senyum"', StoreUnusable),
        ('database "none" does not exist', StoreUnusable),
        ('no pg_hba.conf entry for host "10.0.0.1"', StoreUnusable),
        ("SSL error: certificate verify failed", StoreUnusable),
    ],
)
def test_a_connection_that_was_not_made(words: str, expected: type[StoreError]) -> None:
    error = OperationalError("", {}, psycopg.OperationalError(f"connection failed: {words}"))
    assert faults.kind_at_start(error) is expected
    assert faults.kind(error) is StoreUnavailable, "at run time even a wrong password is waited out"


def test_what_a_driver_refuses_without_a_code_is_of_the_row() -> None:
    assert faults.kind(DataError("", {}, psycopg.DataError("a NUL"))) is RowRejected
    assert faults.kind(IntegrityError("", {}, psycopg.IntegrityError("twice"))) is RowRejected
    assert faults.kind(OverflowError("too large")) is RowRejected
    assert faults.kind(DBAPIError("", {}, sqlite3.ProgrammingError("a list"))) is RowRejected


def _add(store: Store, record: StoredEvent) -> None:
    store.add(record, NOW)


@pytest.mark.parametrize(
    "record",
    [
        replace(RECORD, entry=replace(RECORD.entry, sequence=2**63)),
        replace(RECORD, entry=replace(RECORD.entry, id="lone \ud800")),
        replace(RECORD, time={"an": "object"}),  # type: ignore[arg-type]
        replace(RECORD, kid=None),  # type: ignore[arg-type]
        replace(RECORD, subject="lone \udfff"),
    ],
    ids=["number", "id", "object", "null", "subject"],
)
def test_data_that_no_database_takes_are_the_rows_fault(place: Place, record: StoredEvent) -> None:
    _refuses(place, lambda store: _add(store, record))


def test_text_that_postgresql_does_not_take(server_place: Place) -> None:
    _refuses(server_place, lambda store: _add(store, replace(RECORD, subject="a\0b")))


def _refuses(place: Place, work: Callable[[Store], None]) -> None:
    with closing(place.open()) as store:
        with pytest.raises(RowRejected) as raised, store.batch():
            work(store)
        assert "\n" not in str(raised.value)
        with store.batch():
            _add(store, RECORD)
        assert store.signed_events(RECORD.entry.unit) == ["jws"], "the store goes on"
