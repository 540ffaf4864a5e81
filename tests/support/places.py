"""Where a test's central store is: an SQLite file, or a database of a real PostgreSQL server."""

import itertools
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from senyum_central.store.event_store import Store
from senyum_lab.servers.postgres import PrivatePostgres, program

_NUMBERS = itertools.count(1)


@dataclass(frozen=True, slots=True)
class Place:
    """One empty place for a store, which several may open."""

    where: Path | str
    server: PrivatePostgres | None = None
    database: str = ""

    @property
    def password(self) -> Path | None:
        return self.server.password_file if self.server else None

    @property
    def options(self) -> list[str]:
        """What the command line says of it."""
        password = [f"--store-password-file={self.password}"] if self.server else []
        return [f"--store={self.where}", *password]

    def open(self, refused_kept: int = 10_000) -> Store:
        return Store(self.where, refused_kept, password=self.password)

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        """Ask the database itself, past the program."""
        if self.server:
            return self.server.sql(query, self.database)
        with closing(sqlite3.connect(self.where)) as db:
            return db.execute(query).fetchall()


@pytest.fixture(scope="session")
def postgres() -> Iterator[PrivatePostgres]:
    """Give a running server; each test makes databases of its own in it."""
    if program("initdb") is None:
        pytest.skip("needs PostgreSQL: sudo apt install postgresql")
    with PrivatePostgres() as server:
        yield server


@pytest.fixture
def server_place(postgres: PrivatePostgres) -> Place:
    database = f"events_{next(_NUMBERS)}"
    return Place(postgres.create(database), postgres, database)


@pytest.fixture
def file_place(tmp_path: Path) -> Place:
    return Place(tmp_path / "events.db")


@pytest.fixture(params=["sqlite", "postgresql"])
def place(request: pytest.FixtureRequest) -> Place:
    found = request.getfixturevalue(
        "server_place" if request.param == "postgresql" else "file_place"
    )
    assert isinstance(found, Place)
    return found
