"""A real ext4 whose image can be copied in one instant, as a power cut would leave it."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

MIB = 1024 * 1024


def command(*words: object) -> None:
    subprocess.run([str(word) for word in words], check=True, stderr=subprocess.DEVNULL)


@contextmanager
def ext4_on_btrfs(folder: Path) -> Iterator[Path]:
    """Mount a btrfs at `folder`/pool with an ext4 in it, the latter at `folder`/disk.

    `folder`/cut is for a copy. Skips the test where this machine cannot.
    """
    mkfs = shutil.which("mkfs.btrfs") or "/sbin/mkfs.btrfs"
    if os.geteuid() != 0 or not Path(mkfs).exists():
        pytest.skip("needs root and btrfs-progs")
    places = [folder / name for name in ("pool", "disk", "cut")]
    for place in places:
        place.mkdir()
    pool, disk, _ = places
    with (folder / "pool.img").open("wb") as file:
        file.truncate(512 * MIB)
    try:
        command(mkfs, "-q", folder / "pool.img")
        command("mount", "-o", "loop", folder / "pool.img", pool)
        with (pool / "disk.img").open("wb") as file:
            file.truncate(64 * MIB)
        command("mkfs.ext4", "-q", "-b", "4096", pool / "disk.img")
        command("mount", "-o", "loop", pool / "disk.img", disk)
    except subprocess.CalledProcessError:
        pytest.skip("this machine does not let us mount")
    try:
        yield pool
    finally:
        for place in reversed(places):
            subprocess.run(["umount", "-l", place], check=False, stderr=subprocess.DEVNULL)


@contextmanager
def small_ext4(folder: Path, inodes: int = 64, mib: int = 16) -> Iterator[Path]:
    """Mount an ext4 with this number of inodes and MiB at `folder`/small; skips where it cannot."""
    if os.geteuid() != 0:
        pytest.skip("needs root")
    image, place = folder / "small.img", folder / "small"
    place.mkdir()
    with image.open("wb") as file:
        file.truncate(mib * MIB)
    try:
        command("mkfs.ext4", "-q", "-N", inodes, image)
        command("mount", "-o", "loop", image, place)
    except (subprocess.CalledProcessError, FileNotFoundError):
        pytest.skip("this machine does not let us mount")
    try:
        yield place
    finally:
        subprocess.run(["umount", "-l", place], check=False, stderr=subprocess.DEVNULL)


@contextmanager
def inodes_taken(folder: Path, left: int = 0) -> Iterator[None]:
    """Take every inode of a file system but `left`, for the time of the block."""
    taken = folder / "taken"
    taken.mkdir()
    try:
        for number in range(os.statvfs(folder).f_ffree - left):
            (taken / str(number)).touch()
        yield
    finally:
        for file in taken.iterdir():
            file.unlink()
        taken.rmdir()


@contextmanager
def blocks_taken(folder: Path) -> Iterator[None]:
    """Take every block of a file system, for the time of the block."""
    ballast = folder / "ballast"
    try:
        for size in (1 << 16, 1 << 10):  # large pieces, then what is left between them
            with suppress(OSError), ballast.open("ab", buffering=0) as file:
                while file.write(bytes(size)):
                    pass
        yield
    finally:
        ballast.unlink()
