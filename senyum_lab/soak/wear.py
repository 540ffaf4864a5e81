"""`scripts/wear`: the bytes that one day writes to the memory card, counted by the block device.

The state and the journal of a real journald are on separate ext4 file systems on loop devices, and
the bytes that the kernel writes to each are counted, including the journal of the file system. On
that day, 300 people arrive within half an hour and leave within half an hour, 6 seconds apart (600
events); otherwise nobody comes. The events are played at their real rate:

- the real daemon (networks, outbox, signatures, mosquitto, receiver) starts and records for
  `--minutes`; 60 are all events of the day, fewer are extrapolated, except for the start and the
  first events, while the log of SQLite grows;
- another daemon then watches an empty scene for `--idle-minutes`, extrapolated to 24 hours.

Everything runs in its own mount namespace.
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
from senyum_lab.soak.soak_site import FASTEST, REAL_S, SoakSite, running_unit, scenes

EVENTS, HOURS = 600, 24.0  # of the day
BAR_MIB = 16.0
GROWTH = CHECKPOINT_EVENTS + 8  # events until the log of SQLite has its full size, and some more
DISK_MIB = 512
JOURNALD = Path("/lib/systemd/systemd-journald")
SETTLE_S = 10.0  # for work after the start; the following sync writes the rest
MIB = 1024 * 1024


def run(*words: object) -> str:
    """Run a command; return its output."""
    command = [str(word) for word in words]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


class Disk:
    """An ext4 file system on a loop device that counts the bytes written."""

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
        """Return the bytes written to the device."""
        return int(self._stat.read_text(encoding="ascii").split()[6]) * 512

    def all_written(self) -> int:
        """Write pending data, then return the bytes written to the device."""
        run("sync", "-f", self.place)
        return self.written()


@contextmanager
def journal(place: Path) -> Iterator[None]:
    """Run a separate journald whose persistent journal is `place`."""
    run("mount", "-t", "tmpfs", "tmpfs", "/run")
    run("mount", "-t", "tmpfs", "tmpfs", "/var/log")
    kept = Path("/var/log/journal")
    kept.mkdir()
    run("mount", "--bind", place, kept)
    Path("/run/systemd/journald.conf.d").mkdir(parents=True)
    # Kernel messages are of this machine, not of the unit.
    Path("/run/systemd/journald.conf.d/wear.conf").write_text("[Journal]\nReadKMsg=no\nAudit=no\n")
    with subprocess.Popen([JOURNALD], stderr=subprocess.DEVNULL) as daemon:
        try:
            deadline = time.monotonic() + 20.0
            while not Path("/run/systemd/journal/socket").exists():
                if time.monotonic() > deadline or daemon.poll() is not None:
                    raise SenyumError("systemd-journald does not start")
                time.sleep(0.05)
            run("journalctl", "--flush")
            yield
        finally:
            daemon.terminate()


def _to_journal(log: IO[bytes]) -> dict[str, str]:
    """Return the variables that make the daemon log to the journal."""
    about = os.fstat(log.fileno())
    return {"JOURNAL_STREAM": f"{about.st_dev}:{about.st_ino}", "INVOCATION_ID": "0" * 32}


@dataclass(frozen=True, slots=True)
class WriteCount:
    """The bytes written to each disk."""

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
    """The disk of the state and the disk of the journal."""

    state: Disk
    journal: Disk

    def count(self, *, whole: bool = True) -> WriteCount:
        """Return the bytes written; `whole`: after writing the pending data of the state."""
        run("journalctl", "--sync")
        state = self.state.all_written() if whole else self.state.written()
        return WriteCount(state, self.journal.all_written())


@dataclass(frozen=True, slots=True)
class WrittenByEvents:
    """The bytes written while recording events."""

    grown: int  # events until the log of SQLite had its full size
    made: int  # events in all
    start: WriteCount  # the start and those first events
    rest: WriteCount  # the events after them

    @property
    def each(self) -> WriteCount:
        """The bytes per event after the first ones."""
        return self.rest.stretched(1 / (self.made - self.grown))

    def __str__(self) -> str:
        return (
            f"start and {self.grown} events: {_describe(self.start)}\n"
            f"{self.made - self.grown} events more: {_describe(self.rest)};"
            f" each {_describe(self.each)}"
        )


@dataclass(frozen=True, slots=True)
class WrittenInADay:
    """One start, all events, and 24 idle hours."""

    work: WrittenByEvents
    idle: WriteCount
    idle_hours: float

    @property
    def mib(self) -> float:
        events = self.work.each.stretched(EVENTS - self.work.grown)
        return self.work.start.mib + events.mib + self.idle.stretched(HOURS / self.idle_hours).mib

    def __str__(self) -> str:
        return (
            f"{self.idle_hours * 60:g} min idle: {_describe(self.idle)}\n"
            f"a day of {EVENTS} events and {HOURS:.0f} hours: "
            f"{self.mib:.1f} MiB (limit {BAR_MIB:.0f})"
        )


def _describe(count: WriteCount) -> str:
    return f"state {count.state / 1024:,.1f} KiB, journal {count.journal / 1024:,.1f} KiB"


def _measure_events(folder: Path, disks: Disks, minutes: float) -> WrittenByEvents:
    """Run a unit that records events."""
    folder.mkdir()
    state = disks.state.place / "busy"
    state.mkdir()
    with running_unit(folder, state, scenes(FASTEST), _to_journal) as site:
        before = disks.count()
        ends = time.monotonic() + minutes * 60
        grown = _until(site, GROWTH, minutes * 60 + 60.0)
        first = disks.count(whole=False)
        while time.monotonic() < ends:
            time.sleep(1.0)
            site.check()
        made = site.stored()
        after = disks.count()
        site.stop()
    if made == grown:
        raise SenyumError(f"no event after the first {grown}: increase --minutes")
    return WrittenByEvents(grown, made, first - before, after - first)


def _measure_idle(folder: Path, disks: Disks, minutes: float) -> WriteCount:
    """Run a unit on an empty scene; return the bytes written after its start."""
    folder.mkdir()
    state = disks.state.place / "idle"
    state.mkdir()
    with running_unit(folder, state, [Scene("empty", "nobody", 10.0)], _to_journal) as site:
        _until(site, 1, 60.0)
        time.sleep(SETTLE_S)
        before = disks.count()
        until = time.monotonic() + minutes * 60
        while time.monotonic() < until:
            time.sleep(1.0)
            site.check()
        written = disks.count() - before
        site.stop()
    return written


def _until(site: SoakSite, events: int, seconds: float) -> int:
    """Wait until `events` are stored centrally; return the number of stored events."""
    deadline = time.monotonic() + seconds
    while (stored := site.stored()) < events:
        site.check()
        if time.monotonic() > deadline:
            raise SenyumError(f"{stored} of {events} events in time; the machine may be overloaded")
        time.sleep(0.5)
    return stored


def measure(folder: Path, minutes: float, idle_minutes: float, options: str) -> int:
    """Measure and print; return the exit status."""
    disks = Disks(
        Disk(folder / "state.image", folder / "state", options),
        Disk(folder / "journal.image", folder / "journal"),
    )
    with journal(disks.journal.place):
        work = _measure_events(folder / "busy", disks, minutes)
        print(work, flush=True)
        idle = _measure_idle(folder / "idle", disks, idle_minutes)
        lines = run("journalctl", "--no-pager", "-o", "cat", "-D", "/var/log/journal").count("\n")
    day = WrittenInADay(work, idle, idle_minutes / 60)
    print(f"{day}\njournal: {lines} lines of two starts", flush=True)
    return 0 if day.mib <= BAR_MIB else 1


def main(words: Sequence[str] | None = None) -> int:
    """Run the program; return the exit status."""
    least = (GROWTH + 1) * REAL_S / FASTEST / 60 + 1
    parser = argparse.ArgumentParser(
        prog="scripts/wear",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--minutes",
        type=float,
        default=60.0,
        help=f"at least {least:.0f} (default: 60)",
    )
    parser.add_argument("--idle-minutes", type=float, default=10.0, help="idle time (default: 10)")
    parser.add_argument("--mount", default="", help="mount options of the disk of the state")
    chosen = parser.parse_args(words)
    if chosen.minutes < least or chosen.idle_minutes <= 0:
        parser.error(f"--minutes must be at least {least:.0f}, --idle-minutes more than 0")
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
