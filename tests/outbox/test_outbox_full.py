"""A disk without room: a real one of a few megabytes, filled to the last byte."""

import shutil
import sqlite3
import subprocess
from collections.abc import Callable, Iterator
from contextlib import closing
from functools import partial
from itertools import count, pairwise
from pathlib import Path

import pytest
from wireunit import Signer, attempt

from edge.contract.jose import claim, digest
from edge.errors import ErrorCode, OutboxError, OutboxFull
from edge.outbox.recorder import Recorder
from edge.outbox.store import MIB, Outbox, OutboxReader
from edge.system.event_queue import EventQueue
from edge.types import EventStored, StoreFailed

Fill = Callable[[int], None]


@pytest.fixture(params=["tmpfs", "ext4"])
def disk(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Path]:
    """Mount a file system of 4 MiB, where this machine lets us."""
    place = tmp_path / "disk"
    place.mkdir()
    kind: str = request.param
    if kind == "tmpfs":
        mount = ["mount", "-t", "tmpfs", "-o", "size=4m", "none", str(place)]
    else:
        image = tmp_path / "image"
        image.write_bytes(b"")
        with image.open("r+b") as file:
            file.truncate(4 * MIB)
        make = ["mkfs.ext4", "-q", "-b", "4096", "-m", "0", "-O", "^has_journal", str(image)]
        if not shutil.which("mkfs.ext4") or subprocess.run(make, check=False).returncode:
            pytest.skip("no mkfs.ext4")
        mount = ["mount", "-o", "loop", str(image), str(place)]
    if subprocess.run(mount, check=False, stderr=subprocess.DEVNULL).returncode:
        pytest.skip("this machine does not let us mount")
    yield place
    subprocess.run(["umount", "-l", place], check=True)


def fill(disk: Path, leave: int = 0) -> Path:
    """Take all the room but so many bytes."""
    ballast = disk / "ballast"
    with ballast.open("ab", buffering=0) as file:
        try:
            while (room := shutil.disk_usage(disk).free - leave) > 0:
                file.write(b"x" * min(room, 65_536))
        except OSError:
            assert leave == 0
    return ballast


def check_whole(file: Path, events: int) -> None:
    with closing(sqlite3.connect(file)) as db:
        assert db.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        rows = db.execute("SELECT sequence, jws FROM event ORDER BY sequence").fetchall()
    assert [sequence for sequence, _ in rows] == list(range(1, events + 1))
    for (_, before), (_, after) in pairwise(rows):
        assert claim(after, "previous") == digest(before)


def test_a_full_disk_refuses_and_recovers_by_itself(disk: Path, tmp_path: Path) -> None:
    """The reports are what makes the unit out of order, and what ends it."""
    signer = Signer(tmp_path)
    box = Outbox(disk / "outbox.db", signing_key=tmp_path / "signing.key")
    reports: EventQueue[EventStored | StoreFailed] = EventQueue()
    recorder = Recorder(box, signer.sealer, reports)
    recorder.start()

    refs = count(1)

    def record() -> EventStored | StoreFailed:
        recorder.submit(attempt(next(refs)))
        (report,) = reports.get(10.0)
        return report

    stored = 0
    for _ in range(3):
        for _ in range(5):
            assert isinstance(record(), EventStored)
        stored += 5
        ballast = fill(disk)
        refused = 0
        while refused < 5:
            report = record()
            if isinstance(report, EventStored):  # the WAL may have room of its own for some
                stored += 1
                continue
            assert report.trouble is ErrorCode.DISK_FULL
            assert report.why.endswith("outbox.db: the disk is full; make room on it")
            refused += 1
        assert box.head().sequence == stored
        ballast.unlink()
        assert isinstance(record(), EventStored)
        stored += 1
    recorder.close()
    fill(disk)
    box.close()  # with no room at all: what is stored stays, in the WAL if need be
    assert (disk / "outbox.db-wal").exists()
    (disk / "outbox.db-shm").unlink()
    fill(disk)  # no room to open it either
    with pytest.raises(OutboxFull, match=r"outbox\.db: the disk is full; make room on it"):
        Outbox(disk / "outbox.db", signing_key=tmp_path / "signing.key")
    (disk / "ballast").unlink()
    again = Outbox(disk / "outbox.db", signing_key=tmp_path / "signing.key")
    assert again.renewal is None
    assert again.head().sequence == stored
    again.append(partial(signer.sealer.event, attempt()))
    again.close()
    check_whole(disk / "outbox.db", stored + 1)


def test_a_reserve_keeps_room_to_move_note_and_close(disk: Path, tmp_path: Path) -> None:
    signer = Signer(tmp_path)
    box = Outbox(disk / "outbox.db", signing_key=tmp_path / "signing.key", reserve_bytes=MIB)
    event = partial(signer.sealer.event, attempt())
    for _ in range(200):
        box.append(event)
    reader = OutboxReader(disk / "outbox.db")
    fill(disk, leave=MIB - 8192)
    with pytest.raises(OutboxFull, match=r"outbox\.db: the disk is full \(under 1 MiB\)"):
        box.append(event)
    box.delete_expired(None)
    reader.set_delivered(200)
    reader.close()
    box.close()
    assert not (disk / "outbox.db-wal").exists()  # all of it was moved
    fill(disk, leave=MIB - 8192)
    again = Outbox(disk / "outbox.db", signing_key=tmp_path / "signing.key", reserve_bytes=MIB)
    with pytest.raises(OutboxFull):
        again.append(event)
    (disk / "ballast").unlink()
    assert again.append(event)[0].sequence == 201
    again.close()
    check_whole(disk / "outbox.db", 201)


def test_no_room_to_mend_leaves_the_damaged_file_for_the_next_start(
    disk: Path, tmp_path: Path
) -> None:
    signer = Signer(tmp_path)
    box = Outbox(disk / "outbox.db", signing_key=tmp_path / "signing.key")
    for _ in range(200):
        box.append(partial(signer.sealer.event, attempt()))
    box.close()
    content = bytearray((disk / "outbox.db").read_bytes())
    content[100:2000] = bytes(1900)
    (disk / "outbox.db").write_bytes(content)
    ballast = fill(disk, leave=64 * 1024)  # enough to look at it
    with pytest.raises(OutboxError, match="cannot be created"):
        Outbox(disk / "outbox.db", signing_key=tmp_path / "signing.key")
    assert (disk / "outbox.db").read_bytes() == content
    ballast.unlink()
    again = Outbox(disk / "outbox.db", signing_key=tmp_path / "signing.key")
    assert again.renewal is not None
    assert again.head().sequence == 200
    again.close()


def test_a_sound_file_is_not_set_aside_for_what_cannot_be_opened_beside_it(tmp_path: Path) -> None:
    signer = Signer(tmp_path)
    file = tmp_path / "outbox.db"
    box = Outbox(file, signing_key=tmp_path / "signing.key")
    box.append(partial(signer.sealer.event, attempt()))
    box.close()
    in_the_way = tmp_path / "outbox.db-shm"
    in_the_way.mkdir()
    with pytest.raises(OutboxError, match=r"outbox\.db: attempt to write a readonly"):
        Outbox(file, signing_key=tmp_path / "signing.key")
    in_the_way.rmdir()
    again = Outbox(file, signing_key=tmp_path / "signing.key")
    assert again.renewal is None
    assert again.head().sequence == 1
    again.close()


def test_a_folder_that_went_away_is_named(tmp_path: Path) -> None:
    folder = tmp_path / "disk"
    box = Outbox(folder / "outbox.db", reserve_bytes=1)
    folder.rename(tmp_path / "elsewhere")
    with pytest.raises(OutboxError, match=r"outbox\.db: cannot be reached: No such file"):
        box.append(lambda head: pytest.fail(str(head)))
    box.close()
