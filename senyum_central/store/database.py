"""The connection to the central store: an SQLite file or a PostgreSQL database.

Committed transactions survive a power cut: SQLite uses WAL mode with synchronous FULL, PostgreSQL
synchronous commits. Writers take turns: a writing transaction starts by taking the lock, so that
the data it reads cannot change until it commits.
"""

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from typing import Any

from sqlalchemy import (
    Connection,
    Executable,
    Table,
    create_engine,
    event,
    literal,
    make_url,
    text,
)
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import URL, CursorResult
from sqlalchemy.exc import ArgumentError, SQLAlchemyError
from sqlalchemy.pool import QueuePool

from edge.errors import StoreError, StoreUnavailable, StoreUnusable
from edge.system.key_files import read_secret_line
from edge.system.supplied_files import check_replaceable
from senyum_central.store import database_errors as faults
from senyum_central.store import schema
from senyum_central.store.schema import (
    APPLICATION_ID,
    SCHEMA_VERSION,
    UNRELEASED_APPLICATION_ID,
    UNRELEASED_VERSION_TABLE,
    VERSION,
)

FETCH = 500  # rows fetched at a time
BUSY_S = 3.0  # how long to wait for a lock at a time; also bounds the delay of SIGTERM
# The lock of a receiver whose machine died must not block the others for hours.
_SESSION = (
    "SET idle_in_transaction_session_timeout = '60s'",
    "SET tcp_keepalives_idle = 30",
    "SET tcp_keepalives_interval = 10",
    "SET tcp_keepalives_count = 3",
    "SET client_min_messages = warning",
)
# A lost connection to the server is detected within a minute.
_LIBPQ: dict[str, float] = {
    "connect_timeout": 5,
    "keepalives_idle": 30,
    "keepalives_interval": 10,
    "keepalives_count": 3,
    "tcp_user_timeout": 60_000,  # ms
}


def is_url(where: Path | str) -> bool:
    """Return whether this is a server address rather than a file."""
    return isinstance(where, str) and "://" in where


def parse_url(address: str) -> URL:
    """Read `postgresql://[USER@]HOST[:PORT]/DATABASE[?OPTION=…]`; StoreUnusable if invalid.

    A password in it is rejected, because every user could read it in the process list.
    """
    try:
        url = make_url(address)
    except (ArgumentError, ValueError):
        raise StoreUnusable("--store: not an address such as postgresql://HOST/DATABASE") from None
    if url.drivername not in {"postgresql", "postgres"}:
        raise StoreUnusable(
            f"--store: {url.drivername}:// is not known; name a file or postgresql://HOST/DATABASE"
        )
    if url.password is not None or "password" in url.query:
        raise StoreUnusable(
            "--store: holds a password; put it into a file of mode 0600 and name that with "
            "--store-password-file, or with PGPASSFILE"
        )
    if not url.database:
        raise StoreUnusable("--store: does not name a database, as in postgresql://HOST/DATABASE")
    return url.set(drivername="postgresql+psycopg")


class Database:
    """The connection. Single-threaded; every method raises StoreUnavailable or RowRejected.

    It is opened when needed, and replaced after a failure. Only the constructor raises
    StoreUnusable, a StoreError that the caller can correct. With `read_only` nothing is created,
    changed or locked.
    """

    def __init__(
        self, where: Path | str, password: Path | None = None, *, read_only: bool = False
    ) -> None:
        self._read_only = read_only
        self.server = is_url(where)
        if self.server:
            url = parse_url(str(where))
            self.label = url.set(drivername="postgresql").render_as_string()
            if password is not None:
                secret = read_secret_line(password, "the password of the store")
                url = url.set(password=secret)
            arguments = {name: n for name, n in _LIBPQ.items() if name not in url.query}
        else:
            self.label = str(where)
            url = _file_url(Path(where), read_only=read_only)
            arguments = {"timeout": BUSY_S}
        self._engine = create_engine(
            url,
            poolclass=QueuePool,
            pool_size=1,
            max_overflow=0,
            pool_pre_ping=True,
            isolation_level="AUTOCOMMIT",
            hide_parameters=True,
            connect_args=arguments,
        )
        event.listen(self._engine, "connect", self._prepare_session)
        self._connection: Connection | None = None  # inside a transaction, snapshot or reading
        try:
            with self._opening():
                self._prepare()
        except StoreError:
            self.close()
            raise

    def close(self) -> None:
        """Close the connection; nothing is pending outside a transaction."""
        self._engine.dispose()

    @property
    def connection(self) -> Connection:
        """Return the connection that is in use."""
        assert self._connection is not None, "only inside a transaction, a snapshot or reading"
        return self._connection

    # --- statements -----------------------------------------------------------------------

    def run(
        self, statement: Executable, values: Mapping[str, Any] | Sequence[Mapping[str, Any]] = ()
    ) -> CursorResult[Any]:
        """Execute one statement, for each of several values if there are several."""
        return self._execute(statement, values or None)

    def rows(self, statement: Executable, **values: Any) -> list[Any]:
        """Return all rows of a query."""
        return list(self._execute(statement, values))

    def stream(self, statement: Executable, **values: Any) -> Iterator[Any]:
        """Yield the rows of a query, fetched in parts; inside `snapshot`."""
        yield from self._execute(statement, values, yield_per=FETCH)

    def one(self, statement: Executable, **values: Any) -> Any:
        """Return the first column of the first row, or None."""
        return self._execute(statement, values).scalar()

    def _execute(
        self,
        statement: Executable,
        values: Mapping[str, Any] | Sequence[Mapping[str, Any]] | None,
        **options: Any,
    ) -> CursorResult[Any]:
        try:
            return self.connection.execute(statement, values, execution_options=options)
        except faults.ROW_ERRORS as error:  # raised by the driver, past SQLAlchemy
            raise self._error(error, "used with these data") from error

    def put(self, table: Table) -> postgresql.Insert | sqlite.Insert:
        """Return an INSERT that supports ON CONFLICT in this database."""
        return postgresql.insert(table) if self.server else sqlite.insert(table)

    def put_new(self, table: Table, **values: Any) -> bool:
        """Insert a row unless its key exists; return whether it was inserted."""
        put = self.put(table).on_conflict_do_nothing().returning(literal(1))
        return self.run(put, values).fetchone() is not None

    def _error(self, error: Exception, what: str) -> StoreError:
        text = f"{self.label}: the store cannot be {what}: {faults.error_text(error)}"
        return faults.kind(error)(text)

    @contextmanager
    def _errors(self, what: str) -> Iterator[None]:
        """Convert library errors to StoreUnavailable or RowRejected with a one-line message."""
        try:
            yield
        except SQLAlchemyError as error:
            raise self._error(error, what) from error

    @contextmanager
    def _connected(self, what: str) -> Iterator[None]:
        if self._connection is not None:
            with self._errors(what):
                yield
            return
        with self._errors(what):
            connection = self._engine.connect()
        with connection:
            self._connection = connection
            try:
                with self._errors(what):
                    yield
            except StoreUnavailable:
                # A file is reopened too, because its disk may have been remounted.
                connection.invalidate()
                raise
            finally:
                self._connection = None

    def reading(self) -> AbstractContextManager[None]:
        """Allow reading inside: in the open transaction, or else each statement separately."""
        return self._connected("read")

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Commit durably on a normal exit, and roll back on any other."""
        with self._connected("written"):
            try:
                self._begin()
                yield
                self.connection.exec_driver_sql("COMMIT")
            except BaseException:
                # Fails too if a full disk or a lost server has already ended the transaction.
                with suppress(SQLAlchemyError):
                    self.connection.exec_driver_sql("ROLLBACK")
                raise

    @contextmanager
    def savepoint(self) -> Iterator[None]:
        """Inside a transaction: undo the writes inside unless the exit is normal.

        The transaction continues in both cases.
        """
        with self._errors("written"):
            self.connection.exec_driver_sql("SAVEPOINT attempt")
            try:
                yield
                self.connection.exec_driver_sql("RELEASE SAVEPOINT attempt")
            except BaseException:
                # If the whole transaction has ended, this fails too.
                with suppress(SQLAlchemyError):
                    self.connection.exec_driver_sql("ROLLBACK TO SAVEPOINT attempt")
                    self.connection.exec_driver_sql("RELEASE SAVEPOINT attempt")
                raise

    @contextmanager
    def snapshot(self) -> Iterator[None]:
        """Read a consistent snapshot; writing is not possible."""
        with self._connected("read"):
            how = " ISOLATION LEVEL REPEATABLE READ READ ONLY" if self.server else ""
            self.connection.exec_driver_sql(f"BEGIN{how}")
            try:
                yield
            finally:
                with suppress(SQLAlchemyError):
                    self.connection.exec_driver_sql("ROLLBACK")

    def _begin(self) -> None:
        if self.server:
            self.connection.exec_driver_sql("BEGIN")
            self.connection.execute(
                text("SELECT pg_advisory_xact_lock(:key)"), {"key": APPLICATION_ID}
            )
        else:
            self.connection.exec_driver_sql("BEGIN IMMEDIATE")

    # --- opening --------------------------------------------------------------------------

    @contextmanager
    def _opening(self) -> Iterator[None]:
        """Distinguish an unusable store from a failing disk or an unavailable server."""
        try:
            yield
        except StoreUnusable:
            raise
        except StoreError as error:
            raise faults.kind_at_start(error.__cause__)(str(error)) from error

    def _prepare(self) -> None:
        """Create the tables of an empty database; check the version of any other."""
        with self._connected("read" if self._read_only else "opened"):
            if schema.tables(self.connection):
                self._check_version()
                return
            if self._read_only:
                raise StoreUnusable(
                    f"{self.label}: the store is empty; name the one that `senyum receive` writes"
                )
            if not self.server:
                self.connection.exec_driver_sql("PRAGMA journal_mode = WAL")
            with self.transaction():
                if not schema.tables(self.connection):  # else another receiver was faster
                    schema.create(self.connection)
            self._check_version()

    def _check_version(self) -> None:
        """Raise StoreUnusable unless this is a store of this version. Changes nothing."""
        if self.server:
            names = schema.tables(self.connection)
            ours, unreleased = (name in names for name in (VERSION.name, UNRELEASED_VERSION_TABLE))
            table = VERSION.name if ours else UNRELEASED_VERSION_TABLE
            query = f"SELECT version FROM {table}"  # noqa: S608 - one of two constants
        else:
            found = self.one(text("PRAGMA application_id"))
            ours, unreleased = found == APPLICATION_ID, found == UNRELEASED_APPLICATION_ID
            query = "PRAGMA user_version"
        if not ours and not unreleased:
            what = "name a database" if self.server else "name a file"
            raise StoreUnusable(f"{self.label}: is another program's database; {what} of its own")
        version = int(self.one(text(query)))
        if unreleased:
            raise StoreUnusable(
                f"{self.label}: the store has schema {version} of an unreleased version of senyum, "
                "which this version does not read; start a new store, and export from this one "
                "with the version that wrote it"
            )
        if version != SCHEMA_VERSION:
            raise StoreUnusable(
                f"{self.label}: the store has schema {version}, this program knows "
                f"{SCHEMA_VERSION}; use the senyum that wrote it, or a newer one"
            )

    def _prepare_session(self, connection: Any, _record: object) -> None:
        """Configure each new connection of the pool."""
        cursor = connection.cursor()
        if not self.server:
            cursor.execute("PRAGMA synchronous = FULL")
            return
        for statement in (f"SET lock_timeout = {BUSY_S * 1000:.0f}", *_SESSION):
            cursor.execute(statement)
        if self._read_only:
            cursor.execute("SET default_transaction_read_only = on")
        # An event is acknowledged after its commit, which must be durable.
        elif cursor.execute("SHOW synchronous_commit").fetchone() == ("off",):
            cursor.execute("SET synchronous_commit = on")


def _file_url(path: Path, *, read_only: bool) -> URL:
    if not read_only:
        _touch(path)
        return URL.create("sqlite", database=str(path))
    query = {"mode": "ro", "uri": "true"}
    with suppress(OSError):
        read_only_disk = os.statvfs(path).f_flag & os.ST_RDONLY
        if read_only_disk and not path.with_name(f"{path.name}-wal").exists():
            query["immutable"] = "1"  # else SQLite has to create a file next to it
    return URL.create("sqlite", database=path.absolute().as_uri(), query=query)


def _touch(path: Path) -> None:
    """Create the file with mode 0600, which SQLite also uses for its other files."""
    try:
        check_replaceable(path)
        os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
    except OSError as error:
        kind = faults.kind_at_start(error)
        raise kind(f"{path}: the store cannot be opened: {error.strerror}") from None
    if not os.access(path.parent, os.W_OK):
        raise StoreUnusable(
            f"{path}: the store cannot be opened: SQLite creates files next to it, and "
            f"{path.parent} cannot be written"
        )
