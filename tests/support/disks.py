"""A real ext4 whose image can be copied in one instant, as a power cut would leave it."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
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
