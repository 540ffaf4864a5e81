"""`scripts/wear`: what a day at a door writes to the card, by the count of the device itself.

The state, and the journal of a real journald, lie each on an ext4 of its own on a loop device, and
what the kernel writes to either is counted, the file system's own log with it. The day is 300
people who come within half an hour and leave within half an hour, 6 seconds apart (600 events), and
nobody the rest of it. So the rush is played at its real rate:

- the real daemon (networks, outbox, signatures, mosquitto, receiver) starts and records for
  `--minutes`; 60 are the whole day's events, fewer are stretched, but not the start and the first
  events after it, while SQLite's log grows;
- another one then stands before an empty room for `--idle-minutes`, which are stretched to 24
  hours.

All in a mount namespace that ends with it.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Self

from edge.errors import SenyumError
from edge.outbox.store import CHECKPOINT_EVENTS
from senyum_lab.bench.scenes import Scene
from senyum_lab.soak.stage import FASTEST, REAL_S, SoakSite, at_work, scenes

EVENTS, HOURS = 600, 24.0  # of the day
BAR_MIB = 16.0
GROWTH = CHECKPOINT_EVENTS + 8  # events until SQLite's log has its size, and some more
DISK_MIB = 512
JOURNALD = Path("/lib/systemd/systemd-journald")
SETTLE_S = 10.0  # for what a start leaves to do; all else is written by the sync after it
MIB = 1024 * 1024


def run(*words: object) -> str:
    """Run a command to its end; returns what it says."""
    command = [str(word) for word in words]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


class Disk:
    """An ext4 on a loop device, and how many bytes have gone to it."""

    def __init__(self, image: Path, place: Path, options: str = "") -> None:
        with image.open("wb") as file:
            file.truncate(DISK_MIB * MIB)
        place.mkdir()
        run("mkfs.ext4", "-q", "-b", "4096", "-E", "lazy_itable_init=0", image)
        run("mount", "-o", f"loop,{options}".rstrip(","), image, place)
        self.place = place
        device = Path(run("findmnt", "-no", "SOURCE", place).strip()).name
        self._stat = Path(f"/sys/block/{device}/stat")

    def written(self) -> int:
        """Return the bytes that went to the device."""
        return int(self._stat.read_text(encoding="ascii").split()[6]) * 512

    def all_written(self) -> int:
        """Have written what waits, and return the same; where nothing waits, nothing is written."""
        run("sync", "-f", self.place)
        return self.written()


@contextmanager
def journal(place: Path) -> Iterator[None]:
    """Run a journald of our own whose persistent journal is `place`."""
    run("mount", "-t", "tmpfs", "tmpfs", "/run")
    run("mount", "-t", "tmpfs", "tmpfs", "/var/log")
    kept = Path("/var/log/journal")
    kept.mkdir()
    run("mount", "--bind", place, kept)
    Path("/run/systemd/journald.conf.d").mkdir(parents=True)
    # What the kernel says is this machine's affair, not the unit's.
    Path("/run/systemd/journald.conf.d/wear.conf").write_text("[Journal]\nReadKMsg=no\nAudit=no\n")
    with subprocess.Popen([JOURNALD], stderr=subprocess.DEVNULL) as daemon:
        try:
            deadline = time.monotonic() + 20.0
            while not Path("/run/systemd/journal/socket").exists():
                if time.monotonic() > deadline or daemon.poll() is not None:
                    raise SenyumError("systemd-journald does not start here")
                time.sleep(0.05)
            run("journalctl", "--flush")
            yield
        finally:
            daemon.terminate()


def _to_journal(log: IO[bytes]) -> dict[str, str]:
    """Have the daemon take `log` for what the journal reads; it then speaks to the journal."""
    about = os.fstat(log.fileno())
    return {"JOURNAL_STREAM": f"{about.st_dev}:{about.st_ino}", "INVOCATION_ID": "0" * 32}


@dataclass(frozen=True, slots=True)
class WriteCount:
    """Bytes that went to each disk."""

    state: float
    journal: float

    def __sub__(self, other: Self) -> Self:
        return type(self)(self.state - other.state, self.journal - other.journal)

    def stretched(self, factor: float) -> Self:
        return type(self)(self.state * factor, self.journal * factor)

    @property
    def mib(self) -> float:
        return (self.state + self.journal) / MIB


@dataclass(frozen=True, slots=True)
class Disks:
    """That of the state, and that of the journal."""

    state: Disk
    journal: Disk

    def count(self, *, whole: bool = True) -> WriteCount:
        """Count; `whole`: with what waits to be written, else the state's as it comes."""
        run("journalctl", "--sync")
        state = self.state.all_written() if whole else self.state.written()
        return WriteCount(state, self.journal.all_written())


@dataclass(frozen=True, slots=True)
class Work:
    """What a unit at work wrote."""

    grown: int  # events until SQLite's log had its size
    made: int  # events in all
    start: WriteCount  # daemon started, and those first events
    rest: WriteCount  # the events after them

    @property
    def each(self) -> WriteCount:
        """Bytes of an event after the first ones."""
        return self.rest.stretched(1 / (self.made - self.grown))

    def __str__(self) -> str:
        return (
            f"start and {self.grown} events: {_said(self.start)}\n"
            f"{self.made - self.grown} events more: {_said(self.rest)}; each {_said(self.each)}"
        )


@dataclass(frozen=True, slots=True)
class Day:
    """One start, all events, and nobody for 24 hours."""

    work: Work
    idle: WriteCount
    idle_hours: float

    @property
    def mib(self) -> float:
        events = self.work.each.stretched(EVENTS - self.work.grown)
        return self.work.start.mib + events.mib + self.idle.stretched(HOURS / self.idle_hours).mib

    def __str__(self) -> str:
        return (
            f"{self.idle_hours * 60:g} min idle: {_said(self.idle)}\n"
            f"a day of {EVENTS} events and {HOURS:.0f} hours: "
            f"{self.mib:.1f} MiB (bar {BAR_MIB:.0f})"
        )


def _said(count: WriteCount) -> str:
    return f"state {count.state / 1024:,.1f} KiB, journal {count.journal / 1024:,.1f} KiB"


def _work(folder: Path, disks: Disks, minutes: float) -> Work:
    """Let a unit start and record."""
    folder.mkdir()
    state = disks.state.place / "busy"
    state.mkdir()
    with at_work(folder, state, scenes(FASTEST), _to_journal) as stage:
        before = disks.count()
        ends = time.monotonic() + minutes * 60
        grown = _until(stage, GROWTH, minutes * 60 + 60.0)
        first = disks.count(whole=False)
        while time.monotonic() < ends:
            time.sleep(1.0)
            stage.check()
        made = stage.stored()
        after = disks.count()
        stage.end()
    if made == grown:
        raise SenyumError(f"no event after the first {grown}: give it more --minutes")
    return Work(grown, made, first - before, after - first)


def _stand(folder: Path, disks: Disks, minutes: float) -> WriteCount:
    """Let a unit stand before an empty room; returns what that wrote, its start left out."""
    folder.mkdir()
    state = disks.state.place / "idle"
    state.mkdir()
    with at_work(folder, state, [Scene("empty", "nobody", 10.0)], _to_journal) as stage:
        _until(stage, 1, 60.0)
        time.sleep(SETTLE_S)
        before = disks.count()
        until = time.monotonic() + minutes * 60
        while time.monotonic() < until:
            time.sleep(1.0)
            stage.check()
        written = disks.count() - before
        stage.end()
    return written


def _until(stage: SoakSite, events: int, seconds: float) -> int:
    """Wait until so many are stored centrally; returns how many are."""
    deadline = time.monotonic() + seconds
    while (stored := stage.stored()) < events:
        stage.check()
        if time.monotonic() > deadline:
            raise SenyumError(f"{stored} of {events} events in time; the machine is too busy")
        time.sleep(0.5)
    return stored


def measure(folder: Path, minutes: float, idle_minutes: float, options: str) -> int:
    """Measure, and print; returns the exit status."""
    disks = Disks(
        Disk(folder / "state.image", folder / "state", options),
        Disk(folder / "journal.image", folder / "journal"),
    )
    with journal(disks.journal.place):
        work = _work(folder / "busy", disks, minutes)
        print(work, flush=True)
        idle = _stand(folder / "idle", disks, idle_minutes)
        lines = run("journalctl", "--no-pager", "-o", "cat", "-D", "/var/log/journal").count("\n")
    day = Day(work, idle, idle_minutes / 60)
    print(f"{day}\njournal: {lines} lines in all, of two starts", flush=True)
    return 0 if day.mib <= BAR_MIB else 1


def main(words: Sequence[str] | None = None) -> int:
    """Run it; returns the exit status."""
    least = (GROWTH + 1) * REAL_S / FASTEST / 60 + 1
    parser = argparse.ArgumentParser(
        prog="scripts/wear",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--minutes", type=float, default=60.0, help=f"at work, from {least:.0f} (default: 60)"
    )
    parser.add_argument("--idle-minutes", type=float, default=10.0, help="idle (default: 10)")
    parser.add_argument("--mount", default="", help="options that the state's disk is mounted with")
    chosen = parser.parse_args(words)
    if chosen.minutes < least or chosen.idle_minutes <= 0:
        parser.error(f"--minutes: from {least:.0f}; --idle-minutes: more than none")
    if os.geteuid() != 0 or not JOURNALD.exists() or shutil.which("mkfs.ext4") is None:
        print("wear: needs root, systemd-journald and e2fsprogs", file=sys.stderr)
        return 2
    with tempfile.TemporaryDirectory() as folder:
        try:
            return measure(
                Path(folder).resolve(), chosen.minutes, chosen.idle_minutes, chosen.mount
            )
        except SenyumError as error:
            print(f"wear: {error}", file=sys.stderr)
            return error.exit_status
        finally:
            for disk in ("state", "journal"):
                subprocess.run(["umount", "-l", Path(folder) / disk], check=False)


if __name__ == "__main__":
    sys.exit(main())
