"""Classify database errors: wait, reject one message, or report a usage error. Pure.

The default is to wait. An error counts as that of a row only if the data of the row caused it, and
as a usage error (address, password, permission) only at the start.
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

# Invalid values, violated constraints, types, and size limits.
_ROW_STATES = ("22", "23", "42804", "54")
_ROW_SQLITE = frozenset(
    {
        sqlite3.SQLITE_CONSTRAINT,
        sqlite3.SQLITE_MISMATCH,
        sqlite3.SQLITE_RANGE,
        sqlite3.SQLITE_TOOBIG,
    }
)
# Errors of the driver for a value that it cannot send.
ROW_ERRORS = (OverflowError, UnicodeError)

# Errors that persist until the caller corrects the location.
_CALLERS_ERRNO = frozenset(
    {errno.EACCES, errno.EINVAL, errno.EISDIR, errno.ENOENT, errno.ENOTDIR, errno.EPERM}
)
_CALLERS_SQLITE = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_PERM})
# Wrong password, role, database, schema or permission.
_CALLERS_STATES = ("28", "3D", "3F", "42501")
# libpq messages for refused connections, which have no SQLSTATE.
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
    """Return the class of an error while the store is in use: RowRejected or StoreUnavailable."""
    return RowRejected if _is_rows(error) else StoreUnavailable


def kind_at_start(error: BaseException | None) -> type[StoreError]:
    """Return the class of an error at the start: StoreUnusable or StoreUnavailable."""
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


def error_text(error: Exception) -> str:
    """Return the message of the database itself in one line."""
    cause = error.orig if isinstance(error, StatementError) else error
    return " ".join(str(cause).split()) or type(cause).__name__


def _is_rows(error: Exception) -> bool:
    if not isinstance(error, SQLAlchemyError):
        return isinstance(error, ROW_ERRORS)
    if not isinstance(error, DBAPIError):
        # A value that SQLAlchemy could not pass on; otherwise the connection is lost.
        return isinstance(error, StatementError) and error.statement is not None
    if error.connection_invalidated:
        return False
    if isinstance(error.orig, sqlite3.Error):
        code = _sqlite_code(error.orig)
        # Without a code the driver could not bind a value.
        return code in _ROW_SQLITE if code else not isinstance(error.orig, sqlite3.OperationalError)
    state = getattr(error.orig, "sqlstate", None)
    if state is None:
        return isinstance(error, DataError | IntegrityError | ProgrammingError)
    return str(state).startswith(_ROW_STATES)


def _sqlite_code(error: sqlite3.Error) -> int:
    return int(getattr(error, "sqlite_errorcode", 0)) & 0xFF  # without its detail
