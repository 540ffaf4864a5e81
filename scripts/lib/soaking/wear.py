"""`scripts/wear`: what a day at a door writes to the card, by the count of the device itself.

The state, and the journal of a real journald, lie on an ext4 of their own on a loop device. The
daemon works at ten times the real rate for a while, then stands before an empty room for a while;
a day of 600 events is put together from the two. All in a mount namespace that ends with it.
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
from pathlib import Path
from typing import IO

from edge.bench.scenes import Scene
from edge.errors import SenyumError
from edge.mqtt.outbox_look import look as look_into
from soaking.stage import FASTEST, Stage, at_work, scenes

EVENTS, HOURS = 600, 24.0  # of the day
BAR_MIB = 16.0
DISK_MIB = 512
JOURNALD = Path("/lib/systemd/systemd-journald")
SETTLE_S = 5.0  # ext4 writes its log every five seconds
MIB = 1024 * 1024


def run(*words: object) -> str:
    """Run a command to its end; returns what it says."""
    command = [str(word) for word in words]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


class Disk:
    """An ext4 on a loop device, and how many bytes have gone to it."""

    def __init__(self, image: Path, place: Path) -> None:
        with image.open("wb") as file:
            file.truncate(DISK_MIB * MIB)
        place.mkdir()
        run("mkfs.ext4", "-q", "-b", "4096", "-E", "lazy_itable_init=0", image)
        run("mount", "-o", "loop", image, place)
        device = Path(run("findmnt", "-no", "SOURCE", place).strip()).name
        self._stat = Path(f"/sys/block/{device}/stat")

    def written(self) -> int:
        """Return the bytes that went to the device; all that waits goes first."""
        os.sync()
        return int(self._stat.read_text(encoding="ascii").split()[6]) * 512


@contextmanager
def journal(place: Path) -> Iterator[None]:
    """Run a journald of our own whose persistent journal is `place`."""
    run("mount", "-t", "tmpfs", "tmpfs", "/run")
    run("mount", "-t", "tmpfs", "tmpfs", "/var/log")
    kept = Path("/var/log/journal")
    place.mkdir()
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


def _spell(
    folder: Path, disk: Disk, state: Path, shown: list[Scene], seconds: float
) -> tuple[int, int]:
    """Let a unit work for so long; returns bytes written and events made, the start left out."""
    folder.mkdir()
    state.mkdir()
    with at_work(folder, state, shown, _to_journal) as stage:
        _warm_up(stage)
        events, before = look_into(state / "outbox.db").newest, disk.written()
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            time.sleep(1.0)
            stage.check()
        time.sleep(SETTLE_S)
        made = look_into(state / "outbox.db").newest - events
        written = disk.written() - before
        stage.end()
    return written, made


def _warm_up(stage: Stage) -> None:
    """Wait until it has begun its chain and all of the start is on the disk."""
    deadline = time.monotonic() + 60.0
    while stage.stored() < 1:
        stage.check()
        if time.monotonic() > deadline:
            raise SenyumError("the unit does not begin; the machine is too busy")
        time.sleep(0.5)
    time.sleep(SETTLE_S)


def measure(folder: Path, minutes: float, idle_minutes: float) -> int:
    """Measure, and print; returns the exit status."""
    disk = Disk(folder / "image", folder / "disk")
    with journal(folder / "disk/journal"):
        busy = _spell(folder / "busy", disk, folder / "disk/busy", scenes(FASTEST), minutes * 60)
        empty = [Scene("empty", "nobody", 10.0)]
        idle = _spell(folder / "idle", disk, folder / "disk/idle", empty, idle_minutes * 60)
        lines = run("journalctl", "--no-pager", "-o", "cat", "-D", "/var/log/journal").count("\n")
    each, hour = busy[0] / max(busy[1], 1), idle[0] / idle_minutes * 60
    day = each * EVENTS + hour * HOURS
    for line in (
        f"{busy[1]} events, {minutes:g} min: {busy[0] / MIB:.2f} MiB, {each:,.0f} bytes an event",
        f"{idle_minutes:g} min idle: {idle[0] / 1024:.1f} KiB, {hour / 1024:.1f} KiB an hour",
        f"journal: {lines} lines in all, on the same disk",
        f"a day of {EVENTS} events and {HOURS:.0f} hours: {day / MIB:.1f} MiB (bar {BAR_MIB:.0f})",
    ):
        print(line, flush=True)
    return 0 if day <= BAR_MIB * MIB and busy[1] else 1


def main(words: Sequence[str] | None = None) -> int:
    """Run it; returns the exit status."""
    parser = argparse.ArgumentParser(prog="scripts/wear", description=__doc__)
    parser.add_argument("--minutes", type=float, default=4.0, help="at work (default: 4)")
    parser.add_argument("--idle-minutes", type=float, default=3.0, help="idle (default: 3)")
    chosen = parser.parse_args(words)
    if os.geteuid() != 0 or not JOURNALD.exists() or shutil.which("mkfs.ext4") is None:
        print("wear: needs root, systemd-journald and e2fsprogs", file=sys.stderr)
        return 2
    with tempfile.TemporaryDirectory() as folder:
        try:
            return measure(Path(folder).resolve(), chosen.minutes, chosen.idle_minutes)
        except SenyumError as error:
            print(f"wear: {error}", file=sys.stderr)
            return error.exit_status
        finally:
            subprocess.run(
                ["umount", "-l", Path(folder) / "disk"], check=False, capture_output=True
            )


if __name__ == "__main__":
    sys.exit(main())
