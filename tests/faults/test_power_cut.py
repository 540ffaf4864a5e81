"""The power goes while events, rosters and keys are stored, on a real ext4.

The file system lies in an image on btrfs, where a reflink copies the image in one instant: the
copy is the disk as the cut would leave it. It is mounted, which replays the journal, and the unit
starts over it. Nothing here reorders the writes that a drive keeps in a volatile cache.
"""

import subprocess
import sys
import threading
import time
from dataclasses import dataclass, replace
from functools import partial
from itertools import pairwise
from pathlib import Path

import pytest
from disks import command
from wireunit import Signer, attempt, environment, until

from edge.contract.jose import claim, digest
from edge.contract.keys import SigningKey
from edge.outbox import sequence_log as numbers
from edge.outbox.sequence_log import BLOCK
from edge.outbox.store import Outbox, OutboxReader
from edge.roster.file import read as read_roster
from edge.roster.keys import read_key


class Worker:
    """The storing process, and what it called durable."""

    def __init__(self, folder: Path, events: int) -> None:
        script = Path(__file__).with_name("cut_worker.py")
        self._process = subprocess.Popen(
            [sys.executable, script, folder, str(events)],
            env=environment(),
            stdout=subprocess.PIPE,
            text=True,
        )
        self.last = 0  # event
        self.roster = 0  # version
        self.keys: dict[int, str] = {}  # number to thumbprint
        self._reading = threading.Thread(target=self._read, daemon=True)
        self._reading.start()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            what, number, *kid = line.split()
            if what == "event":
                self.last = int(number)
            elif what == "roster":
                self.roster = int(number)
            else:
                self.keys[int(number)] = kid[0]

    def end(self) -> None:
        self._process.kill()
        self._process.wait()
        self._reading.join()
        assert self._process.stdout is not None
        self._process.stdout.close()


def restart(marker: Path) -> None:
    """Have the marker come from another boot, as it does after a real cut."""
    content = bytearray(marker.read_bytes())
    for at in numbers.SLOTS:
        found = numbers._parse(bytes(content[at : at + numbers.SLOT_BYTES]))
        if found is not None:
            count, mark = found
            slot = numbers._format(count, replace(mark, boot="before-the-cut"))
            content[at : at + numbers.SLOT_BYTES] = slot
    marker.write_bytes(content)


@dataclass(frozen=True, slots=True)
class Shown:
    """What had been called durable before the cut."""

    event: int
    roster: int
    keys: dict[int, str]


def check_files(folder: Path, shown: Shown) -> None:
    """Read roster and keys: the last that was called durable or a later one, and whole."""
    if shown.roster or (folder / "roster").exists():
        key = read_key(folder / "roster.key", "roster key")
        assert read_roster(folder / "roster", key).version >= shown.roster
    found = [path for path in folder.glob("key-*") if path.suffix == ""]
    numbers = {int(path.name.removeprefix("key-")): path for path in found}
    newest = max(shown.keys, default=0)
    assert newest == 0 or newest in numbers or max(numbers, default=0) > newest
    for number, path in numbers.items():
        kid = SigningKey.load_or_create(path).kid
        assert shown.keys.get(number, kid) == kid


def check_cut(pool: Path, before: Shown, *, damage: bool) -> None:
    """Start over a copy of the disk; `before` is what had been called durable before the copy."""
    shown = before.event
    cut = pool.parent / "cut"
    command("mount", "-o", "loop", pool / "cut.img", cut)
    try:
        folder = cut / "state"
        check_files(folder, before)
        signer = Signer(folder)
        restart(folder / "signing.key.begun")
        if damage:
            (folder / "outbox.db").write_bytes(b"")
        box = Outbox(folder / "outbox.db", signing_key=folder / "signing.key")
        head = box.head()
        assert head.sequence >= shown, "an event that was shown as recorded is lost"
        if damage:  # and not known how far it went: never a number twice, and few left out
            assert box.renewal is not None
            assert head.sequence <= shown + 2 * BLOCK + 2
        else:
            assert box.renewal is None, box.renewal
            reader = OutboxReader(folder / "outbox.db")
            rows = reader.after(0, 10_000)
            reader.close()
            assert rows[-1].sequence == head.sequence
            for earlier, later in pairwise(rows):
                assert later.sequence == earlier.sequence + 1
                assert claim(later.token, "previous") == digest(earlier.token)
        (row,) = box.append(partial(signer.sealer.event, attempt()))
        assert row.sequence == head.sequence + 1
        box.close()
    finally:
        command("umount", cut)


@pytest.mark.timeout(900)
@pytest.mark.parametrize("cuts", [6, pytest.param(100, marks=pytest.mark.slow)])
def test_no_power_cut_loses_what_was_shown_as_recorded(pool: Path, cuts: int) -> None:
    folder = pool.parent / "disk" / "state"
    folder.mkdir()
    worker = Worker(folder, 1_000_000)
    until(lambda: worker.last > 0, 20.0)
    try:
        for number in range(cuts):
            time.sleep(0.05 + 0.03 * (number % 7))
            shown = Shown(worker.last, worker.roster, dict(worker.keys))
            command("cp", "--reflink=always", pool / "disk.img", pool / "cut.img")
            check_cut(pool, shown, damage=number % 3 == 2)
    finally:
        worker.end()
    assert worker.last > cuts
