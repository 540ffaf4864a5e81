"""One connection to where the central store is: an SQLite file or a PostgreSQL database.

SQLite in WAL mode, synchronous FULL, and PostgreSQL with its commits waited for: what a
transaction committed survives a power cut. Writers take turns, in both: a transaction that writes
begins with the lock that it needs, so that what it read stays true until it commits.
"""

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from sqlalchemy import Executable, Table, create_engine, literal, make_url, text
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import URL, CursorResult
from sqlalchemy.exc import ArgumentError, SQLAlchemyError
from sqlalchemy.pool import NullPool

from edge.central import dating, faults, moving, schema
from edge.central.schema import APPLICATION_ID, SCHEMA_VERSION, VERSION
from edge.errors import StoreError, StoreUnusable
from edge.secrets import read_secret

FETCH = 500  # rows of a long answer at a time
BUSY_S = 10  # how long another receiver's transaction is waited for
# A receiver whose machine died must not hold the others' turn for hours.
_SESSION = (
    f"SET lock_timeout = '{BUSY_S}s'",
    "SET idle_in_transaction_session_timeout = '60s'",
    "SET tcp_keepalives_idle = 30",
    "SET tcp_keepalives_interval = 10",
    "SET tcp_keepalives_count = 3",
    "SET client_min_messages = warning",
)


def is_url(where: Path | str) -> bool:
    """Tell a server's address from a file."""
    return isinstance(where, str) and "://" in where


def parse_url(address: str) -> URL:
    """Read `postgresql://[USER@]HOST[:PORT]/DATABASE[?OPTION=…]`; StoreUnusable where it is none.

    A password in it is refused: whoever lists the processes of the machine would read it.
    """
    try:
        url = make_url(address)
    except (ArgumentError, ValueError):
        raise StoreUnusable("--store: is no address, as postgresql://HOST/DATABASE") from None
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
        raise StoreUnusable("--store: names no database, as postgresql://HOST/DATABASE")
    return url.set(drivername="postgresql+psycopg")


class Database:
    """The connection. Used by one thread; every method raises StoreError.

    StoreUnusable, raised by the constructor only, is a StoreError that the caller can mend.
    """

    def __init__(self, where: Path | str, password: Path | None = None) -> None:
        if is_url(where):
            url = parse_url(str(where))
            self.label = url.set(drivername="postgresql").render_as_string()
            if password is not None:
                secret = read_secret(password, "the password of the store").strip().decode()
                url = url.set(password=secret)
            self._engine = create_engine(
                url,
                poolclass=NullPool,
                isolation_level="AUTOCOMMIT",
                hide_parameters=True,
                connect_args={"connect_timeout": BUSY_S},
            )
        else:
            self.label = str(where)
            _touch(Path(where))
            self._engine = create_engine(
                URL.create("sqlite", database=str(where)),
                poolclass=NullPool,
                isolation_level="AUTOCOMMIT",
                hide_parameters=True,
                connect_args={"timeout": float(BUSY_S)},
            )
        self.server = self._engine.dialect.name == "postgresql"
        with self._opening():
            self.connection = self._engine.connect()
        try:
            with self._opening():
                self._prepare()
        except StoreError:
            self.close()
            raise

    def close(self) -> None:
        """Close the connection; nothing is pending outside a transaction."""
        with suppress(SQLAlchemyError):
            self.connection.close()
        self._engine.dispose()

    # --- statements -----------------------------------------------------------------------

    def run(
        self, statement: Executable, values: Mapping[str, Any] | Sequence[Mapping[str, Any]] = ()
    ) -> CursorResult[Any]:
        """Execute one statement, for each of several values if there are several."""
        return self._execute(statement, values or None)

    def rows(self, statement: Executable, **values: Any) -> list[Any]:
        """Return all that a query found."""
        return list(self._execute(statement, values))

    def stream(self, statement: Executable, **values: Any) -> Iterator[Any]:
        """Yield what a query finds, a part at a time; inside `snapshot`."""
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
        """Return an INSERT that can say what becomes of a row that is there."""
        return postgresql.insert(table) if self.server else sqlite.insert(table)

    def put_new(self, table: Table, **values: Any) -> bool:
        """Insert a row unless one of its key is there; returns whether it was news."""
        put = self.put(table).on_conflict_do_nothing().returning(literal(1))
        return self.run(put, values).fetchone() is not None

    @contextmanager
    def errors(self, what: str) -> Iterator[None]:
        """Raise whatever the library raises as StoreAway or RowRejected, in one line."""
        try:
            yield
        except SQLAlchemyError as error:
            raise self._error(error, what) from error

    def _error(self, error: Exception, what: str) -> StoreError:
        text = f"{self.label}: the store cannot be {what}: {faults.said(error)}"
        return faults.kind(error)(text)

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """All that is written inside is durable on a normal exit, and gone on any other."""
        with self.errors("written"):
            self._begin()
            try:
                yield
                self.connection.exec_driver_sql("COMMIT")
            except BaseException:
                # Where a full disk or a lost server ended the transaction, this fails too.
                with suppress(SQLAlchemyError):
                    self.connection.exec_driver_sql("ROLLBACK")
                raise

    @contextmanager
    def savepoint(self) -> Iterator[None]:
        """Inside a transaction: what is written inside is undone unless the exit is a normal one.

        The transaction goes on in both cases.
        """
        with self.errors("written"):
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
        """All that is read inside is of one moment; nothing can be written."""
        with self.errors("read"):
            how = " ISOLATION LEVEL REPEATABLE READ READ ONLY" if self.server else ""
            self.connection.exec_driver_sql(f"BEGIN{how}")
            try:
                yield
            finally:
                with suppress(SQLAlchemyError):
                    self.connection.exec_driver_sql("ROLLBACK")

    def _begin(self) -> None:
        if self.connection.invalidated:  # the server went away: come back
            self.connection.rollback()
            self._prepare_session()
        if self.server:
            self.connection.exec_driver_sql("BEGIN")
            try:
                self.connection.execute(
                    text("SELECT pg_advisory_xact_lock(:key)"), {"key": APPLICATION_ID}
                )
            except SQLAlchemyError:
                with suppress(SQLAlchemyError):
                    self.connection.exec_driver_sql("ROLLBACK")
                raise
        else:
            self.connection.exec_driver_sql("BEGIN IMMEDIATE")

    # --- opening --------------------------------------------------------------------------

    @contextmanager
    def _opening(self) -> Iterator[None]:
        """Tell what nobody can use as a store from a disk that fails or a server that is down."""
        try:
            with self.errors("opened"):
                yield
        except StoreUnusable:
            raise
        except StoreError as error:
            raise faults.kind_at_start(error.__cause__)(str(error)) from error

    def _prepare(self) -> None:
        # Before anything is changed: SQLite's journal mode too is written into the file.
        self._refuse_others()
        self._prepare_session()
        with self.transaction():
            if not schema.tables(self.connection):
                schema.create(self.connection)
                self._mark(new=True)
            version = self._version()
            if version == 1:
                schema.dating_tables(self.connection)
                dating.note_stored(self)
                version = 2
            if version == 2:
                schema.asking_tables(self.connection)
                version = 3
            if version == 3:
                schema.moving_tables(self.connection)
                moving.note_stored(self)
                version = SCHEMA_VERSION
                self._mark(new=False)
            if version != SCHEMA_VERSION:
                raise StoreUnusable(
                    f"{self.label}: the store has schema {version}, this program knows "
                    f"{SCHEMA_VERSION}; use the senyum that wrote it, or a newer one"
                )

    def _prepare_session(self) -> None:
        if self.server:
            for statement in _SESSION:
                self.connection.exec_driver_sql(statement)
            # An event is acknowledged after its commit: that has to be on the disk.
            if self.one(text("SHOW synchronous_commit")) == "off":
                self.connection.exec_driver_sql("SET synchronous_commit = on")
        else:
            self.connection.exec_driver_sql("PRAGMA journal_mode = WAL")
            self.connection.exec_driver_sql("PRAGMA synchronous = FULL")

    def _refuse_others(self) -> None:
        there = schema.tables(self.connection)
        if self.server:
            ours = VERSION.name in there
        else:
            ours = self.one(text("PRAGMA application_id")) == APPLICATION_ID
        if there and not ours:
            what = "name a database" if self.server else "name a file"
            raise StoreUnusable(f"{self.label}: is another program's database; {what} of its own")

    def _version(self) -> int:
        if self.server:
            return int(self.one(text("SELECT version FROM senyum_store")))
        return int(self.one(text("PRAGMA user_version")))

    def _mark(self, *, new: bool) -> None:
        db = self.connection
        if not self.server:
            db.exec_driver_sql(f"PRAGMA application_id = {APPLICATION_ID}")
            db.exec_driver_sql(f"PRAGMA user_version = {SCHEMA_VERSION}")
        elif new:
            VERSION.create(db)
            db.execute(VERSION.insert(), {"version": SCHEMA_VERSION})
        else:
            db.execute(VERSION.update().values(version=SCHEMA_VERSION))


def _touch(path: Path) -> None:
    """Make the file, for its owner only: SQLite gives its other files the mode of this one."""
    try:
        os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
    except OSError as error:
        kind = faults.kind_at_start(error)
        raise kind(f"{path}: the store cannot be opened: {error.strerror}") from None
