"""The power goes while events are stored, on a real ext4.

The file system lies in an image on btrfs, where a reflink copies the image in one instant: the
copy is the disk as the cut would leave it. It is mounted, which replays the journal, and the unit
starts over it. Nothing here reorders the writes that a drive keeps in a volatile cache.
"""

import subprocess
import sys
import threading
import time
from dataclasses import replace
from functools import partial
from itertools import pairwise
from pathlib import Path

import pytest
from disks import command
from wireunit import Signer, attempt, environment, until

from edge.mqtt import numbers
from edge.mqtt.encoding import digest
from edge.mqtt.numbers import BLOCK
from edge.mqtt.outbox import Outbox, Reader
from edge.mqtt.outbox_check import read


class Worker:
    """The storing process, and the last number that it called durable."""

    def __init__(self, folder: Path, events: int) -> None:
        script = Path(__file__).with_name("cut_worker.py")
        self._process = subprocess.Popen(
            [sys.executable, script, folder, str(events)],
            env=environment(),
            stdout=subprocess.PIPE,
            text=True,
        )
        self.last = 0
        self._reading = threading.Thread(target=self._read, daemon=True)
        self._reading.start()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self.last = int(line)

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


def check_cut(pool: Path, shown: int, *, damage: bool) -> None:
    """Start over a copy of the disk; `shown` is what had been called durable before the copy."""
    cut = pool.parent / "cut"
    command("mount", "-o", "loop", pool / "cut.img", cut)
    try:
        folder = cut / "state"
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
            reader = Reader(folder / "outbox.db")
            rows = reader.after(0, 10_000)
            reader.close()
            assert rows[-1].sequence == head.sequence
            for before, after in pairwise(rows):
                assert after.sequence == before.sequence + 1
                assert read(after.token, "previous") == digest(before.token)
        (row,) = box.append(partial(signer.sealer.event, attempt()))
        assert row.sequence == head.sequence + 1
        box.close()
    finally:
        command("umount", cut)


@pytest.mark.parametrize("cuts", [6, pytest.param(100, marks=pytest.mark.slow)])
def test_no_power_cut_loses_what_was_shown_as_recorded(pool: Path, cuts: int) -> None:
    folder = pool.parent / "disk" / "state"
    folder.mkdir()
    worker = Worker(folder, 1_000_000)
    until(lambda: worker.last > 0, 20.0)
    try:
        for number in range(cuts):
            time.sleep(0.05 + 0.03 * (number % 7))
            shown = worker.last
            command("cp", "--reflink=always", pool / "disk.img", pool / "cut.img")
            check_cut(pool, shown, damage=number % 3 == 2)
    finally:
        worker.end()
    assert worker.last > cuts
