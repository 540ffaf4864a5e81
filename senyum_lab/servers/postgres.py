"""A private PostgreSQL server on a free loopback port, for the benchmarks and the tests."""

import os
import pwd
import secrets
import shutil
import subprocess
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Self

from edge.errors import StoreError
from senyum_lab.servers.mosquitto import free_port

ROLE = "senyum"
SECONDS = 60.0  # for each of its programs to finish
_INSTALLED = Path("/usr/lib/postgresql")  # not in PATH on Debian


def program(name: str) -> Path | None:
    """Return the path of a program of the newest PostgreSQL, or None if it is not installed."""
    if found := shutil.which(name):
        return Path(found)
    versions = (path for path in _INSTALLED.glob("*/bin") if (path / name).is_file())
    newest = max(versions, key=lambda path: int(path.parent.name), default=None)
    return newest / name if newest else None


class PrivatePostgres:
    """One server with a role that has a password; its data is removed at the end.

    PostgreSQL refuses to run as root, so root starts it as the user `postgres` or `nobody`. With
    `durable` it syncs to the disk, as a production server does.
    """

    def __init__(self, folder: Path | None = None, *, durable: bool = False) -> None:
        self.port = free_port()
        self._durable = durable
        self._folder = Path(tempfile.mkdtemp(prefix="senyum-postgres-", dir=folder))
        self.password_file = self._folder / "password"
        self._data = self._folder / "data"
        self._as: dict[str, Any] = {}
        if os.getuid() == 0:
            user = "postgres" if _exists("postgres") else "nobody"
            shutil.chown(self._folder, user)
            self._as = {"user": user, "extra_groups": []}

    def address(self, database: str = "postgres") -> str:
        """Return the value of `--store`."""
        return f"postgresql://{ROLE}@127.0.0.1:{self.port}/{database}"

    def create(self, database: str) -> str:
        """Create an empty database; return its address."""
        self.sql(f'CREATE DATABASE "{database}"')
        return self.address(database)

    def sql(self, statement: str, database: str = "postgres") -> list[tuple[Any, ...]]:
        """Run one statement as the owner; return its rows."""
        import psycopg  # noqa: PLC0415 - of the `central` extra

        password = self.password_file.read_text(encoding="ascii").strip()
        with psycopg.connect(
            self.address(database), password=password, autocommit=True
        ) as connection:
            done = connection.execute(statement.encode())
            return done.fetchall() if done.description else []

    def start(self) -> None:
        """Start it and wait until it accepts connections. Raises StoreError with its output."""
        if not self._data.exists():
            self._create_data()
        options = {
            "listen_addresses": "127.0.0.1",
            "port": self.port,
            "unix_socket_directories": self._folder,
            "fsync": "on" if self._durable else "off",
            "max_connections": 50,
        }
        self._run("pg_ctl", "start", "-w", "-l", self._folder / "log", "-o", _options(options))

    def stop(self, mode: str = "fast") -> None:
        """Stop it; the mode `immediate` is equivalent to a crash."""
        self._run("pg_ctl", "stop", "-w", "-m", mode)

    def _create_data(self) -> None:
        self.password_file.touch(0o600)
        self.password_file.write_text(secrets.token_hex(16) + "\n", encoding="ascii")
        if self._as:
            shutil.chown(self.password_file, self._as["user"])
        auth = ("--auth=scram-sha-256", "--pwfile", self.password_file)
        self._run("initdb", "-U", ROLE, "-E", "UTF8", "--locale=C", "--no-sync", *auth)

    def _run(self, name: str, *arguments: str | Path) -> None:
        found = program(name)
        if found is None:
            raise StoreError(f"{name} is not installed; run: sudo apt install postgresql")
        log = self._folder / "output"
        with log.open("wb") as output:  # not a pipe, because the server would keep it open
            done = subprocess.run(
                [found, "-D", self._data, *arguments],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                timeout=SECONDS,
                cwd=self._folder,
                check=False,
                **self._as,
            )
        if done.returncode:
            text = " ".join(log.read_text(errors="replace").split())
            raise StoreError(f"{name} failed: {text[-500:]}")

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        with suppress(StoreError):  # it may have stopped already
            self.stop("immediate")
        shutil.rmtree(self._folder, ignore_errors=True)


def _options(values: Mapping[str, object]) -> str:
    return " ".join(f"-c {name}={value}" for name, value in values.items())


def _exists(user: str) -> bool:
    try:
        pwd.getpwnam(user)
    except KeyError:
        return False
    return True
