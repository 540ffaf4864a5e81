"""A real `senyum receive`, mosquitto and database, of which the database fails in every way it can.

After each fault: the receiver still runs, every event is stored once, and nothing was reported
missing. The short form takes two minutes, `--long` the durations of docs/reliability.md.
"""

import argparse
import errno
import itertools
import os
import shutil
import socket
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from pathlib import Path

import psycopg
from central_parts import Unit
from places import Place
from private_servers import PrivateBroker, PrivatePostgres
from processes import Process, publish

from edge.contract.keys import add_registration
from edge.errors import StoreError
from senyum_central.store.schema import APPLICATION_ID

PATIENCE_S = 120.0  # for what has to happen in the end
AWAY = "Store away since "  # what the status says
BACK = "the store is back"


class Broken(AssertionError):
    """What must not happen has happened."""


def until(reached: Callable[[], bool], what: str, one: Process | None = None) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not reached():
        if one is not None and one.process.poll() is not None:
            raise Broken(f"the receiver ended while {what} was waited for: {one.log[-2000:]}")
        if time.monotonic() > deadline:
            raise Broken(f"not in time: {what}; {one.log[-2000:] if one else ''}")
        time.sleep(0.05)


def say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


class Trial:
    """One receiver, what was published to it, and where it stores."""

    def __init__(self, folder: Path, broker: PrivateBroker, place: Place) -> None:
        name = f"receiver-{time.monotonic_ns()}"
        self.broker = broker
        self.place = place
        self.unit = Unit(f"unit-{time.monotonic_ns()}")
        self.published: list[str] = []
        add_registration(folder / "keys.json", self.unit.key.registration(self.unit.name))
        # As systemd does: the log holds no more than ten lines of one kind in a minute.
        self.statuses: list[str] = []
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(str(folder / name))
        threading.Thread(target=self._listen, daemon=True).start()
        os.environ["NOTIFY_SOCKET"] = str(folder / name)
        self.one = Process(folder, broker.port, *place.options, name=name, store=False)

    def _listen(self) -> None:
        with suppress(OSError):  # closed
            while True:
                word, _, sentence = self._socket.recv(4096).decode().partition("=")
                if word == "STATUS":
                    self.statuses.append(sentence)

    def publish(self, count: int) -> None:
        messages = self.unit.events(count)
        publish(self.broker, *messages)
        self.published += [message.payload.decode() for message in messages]

    def stored(self) -> list[str]:
        try:
            query = f"SELECT jws FROM event WHERE unit = '{self.unit.name.source}'"
            return [jws for (jws,) in self.place.rows(query)]
        except (psycopg.Error, sqlite3.Error):
            return []

    def away(self) -> bool:
        return bool(self.statuses) and self.statuses[-1].startswith(AWAY)

    def outages(self) -> int:
        """Return how many have ended."""
        return sum(
            one.startswith(AWAY) and not two.startswith(AWAY)
            for one, two in itertools.pairwise(self.statuses)
        )

    def until_away(self) -> None:
        until(self.away, AWAY, self.one)

    def until_whole(self) -> None:
        until(lambda: len(self.stored()) >= len(self.published), "every event", self.one)

    def close(self) -> None:
        """Hold it against what was promised."""
        try:
            self.publish(3)
            self.until_whole()
            until(lambda: not self.away(), BACK, self.one)
            twice = [jws for jws, times in Counter(self.stored()).items() if times > 1]
            if twice or sorted(self.stored()) != sorted(self.published):
                raise Broken(f"{len(twice)} events are stored twice, or not as they were signed")
            alarms = [line for line in self.one.said if line["alarm"]]
            if alarms:
                raise Broken(f"false alarm: {alarms[0]}")
            if "Traceback" in self.one.log:
                raise Broken(f"a traceback: {self.one.log[-2000:]}")
            status = self.one.end()
            if status:
                raise Broken(f"the receiver ended with {status}")
            if self.outages() and "the store does not answer" not in self.one.log:
                raise Broken("no warning in the log")
        finally:
            self.one.kill()
            self._socket.close()


def fill(folder: Path) -> Path:
    """Leave no byte on a disk; returns the file to remove."""
    ballast = folder / "ballast"
    with ballast.open("wb", buffering=0) as file:
        for size in (1 << 20, 1 << 12, 1):
            try:
                while True:
                    file.write(bytes(size))
            except OSError as error:
                if error.errno != errno.ENOSPC:
                    raise
    return ballast


@contextmanager
def mounted(folder: Path, *words: str) -> Iterator[Path]:
    place = folder / f"disk-{time.monotonic_ns()}"
    place.mkdir()
    subprocess.run(["mount", *words, place], check=True)
    try:
        place.chmod(0o755)
        yield place
    finally:
        subprocess.run(["umount", "-l", place], check=False)


# --- PostgreSQL --------------------------------------------------------------------------------


def restarts(trial: Trial, times: int, *, busy: bool) -> None:
    server = trial.place.server
    assert server is not None
    for turn in range(times):
        before = trial.outages()
        server.stop("immediate" if turn % 2 else "fast")
        if busy:
            trial.publish(20)
            trial.until_away()
        elif turn % 3 == 0:  # longer than the receiver looks for gaps, which it does each second
            trial.until_away()
        server.start()
        if busy:
            until(lambda n=before: trial.outages() > n, BACK, trial.one)  # type: ignore[misc]
            trial.publish(20)
        time.sleep(1.5)  # idle: it looks for gaps meanwhile
        trial.until_whole()


def held(trial: Trial, statement: str, seconds: float) -> None:
    """Hold a lock as another program does."""
    server = trial.place.server
    assert server is not None
    secret = server.password_file.read_text().strip()
    trial.publish(10)
    trial.until_whole()
    with psycopg.connect(str(trial.place.where), password=secret) as connection:
        connection.execute(statement.encode())
        trial.publish(40)
        time.sleep(seconds)
        if not trial.away():
            raise Broken("the receiver did not notice the lock")
    trial.until_whole()


def read_only(trial: Trial) -> None:
    server = trial.place.server
    assert server is not None
    alter = f'ALTER DATABASE "{trial.place.database}"'
    end = (
        "SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity"
        f" WHERE datname = '{trial.place.database}'"
    )
    server.sql(f"{alter} SET default_transaction_read_only = on")
    server.sql(end)
    trial.publish(20)
    trial.until_away()
    server.sql(f"{alter} RESET default_transaction_read_only")
    trial.until_whole()


def full_server(trial: Trial, disk: Path) -> None:
    server = trial.place.server
    assert server is not None
    trial.publish(20)
    trial.until_whole()
    ballast = fill(disk)
    trial.publish(600)
    trial.until_away()
    time.sleep(3.0)
    ballast.unlink()
    try:
        server.sql("SELECT 1")
    except psycopg.Error:  # it could not write its log either, and ended: start it as one would
        with_retry(server.start)
    trial.until_whole()


def with_retry(work: Callable[[], None]) -> None:
    try:
        work()
    except StoreError:
        time.sleep(2.0)
        work()


# --- SQLite ------------------------------------------------------------------------------------


def written(trial: Trial, seconds: float) -> None:
    trial.publish(10)
    trial.until_whole()
    with closing(sqlite3.connect(trial.place.where, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        trial.publish(40)
        time.sleep(seconds)
        if not trial.away():
            raise Broken("the receiver did not notice the lock")
        other.execute("ROLLBACK")
    trial.until_whole()


def full_file(trial: Trial, disk: Path) -> None:
    trial.publish(20)
    trial.until_whole()
    ballast = fill(disk)
    trial.publish(200)
    trial.until_away()
    time.sleep(2.0)
    ballast.unlink()
    trial.until_whole()


def turned_read_only(trial: Trial, disk: Path, image: Path) -> None:
    """As after an error of the disk: the file system refuses to write until it is mounted again."""
    trial.publish(20)
    trial.until_whole()
    subprocess.run(["mount", "-o", "remount,abort", disk], check=True)
    trial.publish(20)
    trial.until_away()
    until(lambda: not umount(disk), "the receiver lets go of the disk", trial.one)
    subprocess.run(["e2fsck", "-fy", image], check=False, capture_output=True)
    subprocess.run(["mount", "-o", "loop", image, disk], check=True)
    trial.until_whole()


def umount(disk: Path) -> int:
    return subprocess.run(["umount", disk], check=False, capture_output=True).returncode


# --- all ---------------------------------------------------------------------------------------


class Rig:
    """Says what passed and what failed."""

    def __init__(self, folder: Path, broker: PrivateBroker) -> None:
        self.folder = folder
        self.broker = broker
        self.passed = self.failed = self.skipped = 0

    def tried(
        self,
        what: str,
        place: Place,
        fault: Callable[[Trial], None],
        late: Callable[[], None] | None = None,
    ) -> None:
        """Run one fault; `late` starts the database once the receiver waits for it."""
        began = time.monotonic()
        trial = Trial(self.folder, self.broker, place)
        try:
            if late is not None:
                trial.until_away()
                late()
            until(lambda: "receiving from broker" in trial.one.log, "its start", trial.one)
            fault(trial)
            trial.close()
        except (Broken, StoreError, OSError, psycopg.Error, subprocess.SubprocessError) as error:
            trial.one.kill()
            with suppress(StoreError):  # for the next
                if place.server:
                    place.server.start()
            self.failed += 1
            say(f"FAILED  {what}: {error}")
        else:
            self.passed += 1
            count, seconds = len(trial.published), time.monotonic() - began
            say(f"passed  {what}: {count} events, each once, {seconds:.0f} s")

    def can_mount(self) -> bool:
        if os.geteuid() == 0:
            with ExitStack() as stack:
                try:
                    stack.enter_context(
                        mounted(self.folder, "-t", "tmpfs", "-o", "size=1m", "none")
                    )
                except subprocess.CalledProcessError:
                    return False
                return True
        return False


def of_server(rig: Rig, *, long: bool) -> None:
    seconds = 30.0 if long else 5.0
    with PrivatePostgres() as server:

        def place() -> Place:
            database = f"events_{time.monotonic_ns()}"
            return Place(server.create(database), server, database)

        times = 20 if long else 2
        rig.tried(
            f"PostgreSQL: {times} restarts, idle", place(), lambda t: restarts(t, times, busy=False)
        )
        rig.tried(
            f"PostgreSQL: {times} restarts, busy", place(), lambda t: restarts(t, times, busy=True)
        )
        for name, statement in (
            ("table", "LOCK TABLE event IN ACCESS EXCLUSIVE MODE"),
            ("advisory", f"SELECT pg_advisory_xact_lock({APPLICATION_ID})"),
        ):
            what = f"PostgreSQL: {name} lock for {seconds:.0f} s"
            rig.tried(what, place(), lambda t, s=statement: held(t, s, seconds))  # type: ignore[misc]
        rig.tried("PostgreSQL: read-only", place(), read_only)
        late = place()
        server.stop()
        what = "PostgreSQL: started before its server"
        rig.tried(what, late, lambda t: t.publish(20), late=server.start)


def of_disks(rig: Rig) -> None:
    with (
        mounted(rig.folder, "-t", "tmpfs", "-o", "size=160m", "none") as disk,
        PrivatePostgres(disk) as server,
    ):
        place = Place(server.create("events"), server, "events")
        rig.tried("PostgreSQL: full disk", place, lambda t: full_server(t, disk))
    with mounted(rig.folder, "-t", "tmpfs", "-o", "size=4m", "none") as disk:
        rig.tried("SQLite: full disk", Place(disk / "events.db"), lambda t: full_file(t, disk))
    image = rig.folder / "disk.img"
    with image.open("wb") as file:
        file.truncate(32 << 20)
    subprocess.run(["mkfs.ext4", "-q", image], check=True)
    with mounted(rig.folder, "-o", "loop", str(image)) as disk:
        place = Place(disk / "events.db")
        rig.tried("SQLite: read-only disk", place, lambda t: turned_read_only(t, disk, image))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--long", action="store_true")
    long = parser.parse_args().long
    folder = Path(tempfile.mkdtemp(prefix="senyum-databases-"))
    folder.chmod(0o755)  # the server is another user's process
    os.environ["PATH"] += ":/usr/sbin:/sbin"
    try:
        with PrivateBroker(folder / "broker") as broker:
            rig = Rig(folder, broker)
            of_server(rig, long=long)
            seconds = 60.0 if long else 6.0
            what = f"SQLite: write transaction of another program for {seconds:.0f} s"
            rig.tried(what, Place(folder / "events.db"), lambda t: written(t, seconds))
            if rig.can_mount():
                of_disks(rig)
            else:
                rig.skipped += 3
                say("skipped full and read-only disks: needs root that may mount")
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    say(f"{rig.passed} passed, {rig.failed} failed, {rig.skipped} skipped")
    return 1 if rig.failed else 0


if __name__ == "__main__":
    sys.exit(main())
