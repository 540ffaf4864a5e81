"""The power goes, or the process is killed, while rosters are delivered."""

import random
import subprocess
import sys
import threading
import time
from functools import partial
from pathlib import Path

import pytest
from disks import command
from roster_worker import people_of
from rosters import EMBEDDER, KEY, person, roster
from wireunit import environment, until

from edge.errors import RosterError
from edge.roster.codec import pack, stripped, unpack
from edge.roster.file import content, save
from edge.roster.store import RosterStore

PEOPLE = 40


class Worker:
    """The process that takes rosters, and the last version that it called durable."""

    def __init__(self, folder: Path, versions: int = 1_000_000) -> None:
        script = Path(__file__).with_name("roster_worker.py")
        self._process = subprocess.Popen(
            [sys.executable, script, folder, str(versions), str(PEOPLE)],
            env=environment(),
            stdout=subprocess.PIPE,
            text=True,
        )
        self.last = 0
        self._reading = threading.Thread(target=self._read, daemon=True)
        self._reading.start()

    def beyond(self, version: int) -> bool:
        return self.last > version

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


def check(folder: Path, shown: int) -> int:
    """Start over what is left; `shown` had been called durable. Returns the version in force."""
    file = folder / "roster.senyum"
    keeper = RosterStore(file, KEY, EMBEDDER)
    gallery = keeper.load()
    assert gallery.version >= shown, "a roster that was in force is lost"
    version = gallery.version
    assert list(gallery.people) == [person(serial).id for serial in people_of(version, PEOPLE)]
    assert keeper.ledger.version == version
    assert keeper.ledger.tombstones == {person(each - 1).id: each for each in range(1, version + 1)}
    receipt = keeper.ledger.owed
    assert receipt is not None or version % 3 == 0
    assert receipt is None or person(version - 1).id in receipt.erased
    assert {path.name for path in folder.iterdir()} == {"roster.senyum", "roster.senyum.ledger"}
    return version


@pytest.mark.timeout(900)
@pytest.mark.parametrize("kills", [8, pytest.param(100, marks=pytest.mark.slow)])
def test_no_kill_leaves_half_a_roster(tmp_path: Path, kills: int) -> None:
    chance = random.Random(1)
    shown = 0
    for _ in range(kills):
        worker = Worker(tmp_path)
        try:
            until(partial(worker.beyond, shown), 60.0)
            time.sleep(chance.uniform(0.0, 0.05))
        finally:
            worker.end()
        shown = check(tmp_path, worker.last)


@pytest.mark.timeout(900)
@pytest.mark.parametrize("cuts", [6, pytest.param(100, marks=pytest.mark.slow)])
def test_no_power_cut_leaves_half_a_roster(pool: Path, cuts: int) -> None:
    folder = pool.parent / "disk" / "state"
    folder.mkdir()
    worker = Worker(folder)
    try:
        until(lambda: worker.last > 0, 30.0)
        for number in range(cuts):
            time.sleep(0.02 + 0.011 * (number % 7))
            shown = worker.last
            command("cp", "--reflink=always", pool / "disk.img", pool / "cut.img")
            cut = pool.parent / "cut"
            command("mount", "-o", "loop", pool / "cut.img", cut)
            try:
                check(cut / "state", shown)
            finally:
                command("umount", cut)
    finally:
        worker.end()


def test_the_disk_holds_nothing_of_the_erased_roster(pool: Path) -> None:
    """All bytes of a real ext4 are searched: not even the old file's ciphertext is left."""
    folder = pool.parent / "disk" / "state"
    folder.mkdir()
    file = folder / "roster.senyum"
    ani, budi = person(1, 5), person(2, 5)
    save(file, KEY, roster(1, ani, budi, *(person(n, 5) for n in range(3, 60))))
    old = file.read_bytes()
    command("sync")
    image = pool / "disk.img"
    assert pieces_in(image, old) > 20  # the search finds what is there
    keeper = RosterStore(file, KEY, EMBEDDER)
    keeper.load()
    new = roster(2, *(person(n, 5) for n in range(2, 60)), tombstones={ani.id: 2})
    plain = pack(stripped(new))
    gallery = keeper.install(bytearray(plain), 2, unpack(plain).digest, "id")
    command("sync")
    assert pieces_in(image, old) == 0
    assert ani.number.encode() not in image.read_bytes()
    assert ani.templates.astype("<f2").tobytes()[:32] not in image.read_bytes()
    assert ani.id not in gallery.people
    assert content(file, KEY).version == 2
    with pytest.raises(RosterError, match="is version 1"):
        put_back(file, old)


def put_back(file: Path, old: bytes) -> None:
    file.write_bytes(old)
    RosterStore(file, KEY, EMBEDDER).load()


def pieces_in(image: Path, old: bytes) -> int:
    """Count the pieces of 32 bytes of a file, one from each 4 KiB block, that a disk holds."""
    disk = image.read_bytes()
    return sum(old[at : at + 32] in disk for at in range(64, len(old) - 32, 4096))
