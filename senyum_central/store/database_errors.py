"""What an error of the database means: wait, set this message aside, or ask the caller. Pure.

Waiting is the rule. Only what one row of data causes, in a server that works, is that row's fault;
and only at the start is somebody there to correct an address, a password or a right.
"""

import errno
import sqlite3

from sqlalchemy.exc import (
    DataError,
    DBAPIError,
    IntegrityError,
    ProgrammingError,
    SQLAlchemyError,
    StatementError,
)

from edge.errors import RowRejected, StoreError, StoreUnavailable, StoreUnusable

# A value that no column takes, a constraint, a type, a size that the database has a limit for.
_ROW_STATES = ("22", "23", "42804", "54")
_ROW_SQLITE = frozenset(
    {
        sqlite3.SQLITE_CONSTRAINT,
        sqlite3.SQLITE_MISMATCH,
        sqlite3.SQLITE_RANGE,
        sqlite3.SQLITE_TOOBIG,
    }
)
# What a driver raises for a value before the database has seen it.
ROW_ERRORS = (OverflowError, UnicodeError)

# What makes a place unusable until the caller names another or corrects it.
_CALLERS_ERRNO = frozenset(
    {errno.EACCES, errno.EINVAL, errno.EISDIR, errno.ENOENT, errno.ENOTDIR, errno.EPERM}
)
_CALLERS_SQLITE = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_PERM})
# A password, a role, a database, a schema or a right that is wrong.
_CALLERS_STATES = ("28", "3D", "3F", "42501")
# What libpq says of a connection that was refused, or not even tried, has no SQLSTATE.
_CALLERS_LIBPQ = (
    "authentication failed",
    "certificate",
    "does not exist",
    "does not support SSL",
    "invalid ",
    "is not permitted to log in",
    "no password supplied",
    "permission denied for database",
    "pg_hba.conf",
)


def kind(error: Exception) -> type[StoreError]:
    """Return what an error is while the store is in use: RowRejected, or StoreAway."""
    return RowRejected if _is_rows(error) else StoreUnavailable


def kind_at_start(error: BaseException | None) -> type[StoreError]:
    """Return what an error is while the store is opened: StoreUnusable, or StoreAway."""
    cause = error.orig if isinstance(error, DBAPIError) else error
    if isinstance(cause, OSError):
        return StoreUnusable if cause.errno in _CALLERS_ERRNO else StoreUnavailable
    if isinstance(cause, sqlite3.Error):
        return StoreUnusable if _sqlite_code(cause) in _CALLERS_SQLITE else StoreUnavailable
    state = getattr(cause, "sqlstate", None)
    if state is None:
        callers = any(words in str(cause) for words in _CALLERS_LIBPQ)
    else:
        callers = str(state).startswith(_CALLERS_STATES)
    return StoreUnusable if callers else StoreUnavailable


def said(error: Exception) -> str:
    """Return what the database itself said, in one line."""
    cause = error.orig if isinstance(error, StatementError) else error
    return " ".join(str(cause).split()) or type(cause).__name__


def _is_rows(error: Exception) -> bool:
    if not isinstance(error, SQLAlchemyError):
        return isinstance(error, ROW_ERRORS)
    if not isinstance(error, DBAPIError):
        # A value that SQLAlchemy could not hand on; any other is of a connection that is gone.
        return isinstance(error, StatementError) and error.statement is not None
    if error.connection_invalidated:
        return False
    if isinstance(error.orig, sqlite3.Error):
        code = _sqlite_code(error.orig)
        # Without a code it is the driver's: of a value that it cannot bind.
        return code in _ROW_SQLITE if code else not isinstance(error.orig, sqlite3.OperationalError)
    state = getattr(error.orig, "sqlstate", None)
    if state is None:
        return isinstance(error, DataError | IntegrityError | ProgrammingError)
    return str(state).startswith(_ROW_STATES)


def _sqlite_code(error: sqlite3.Error) -> int:
    return int(getattr(error, "sqlite_errorcode", 0)) & 0xFF  # without its detail
