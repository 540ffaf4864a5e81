"""Replaces a file so that the earlier content cannot be read any more.

The earlier file is overwritten where it lies, then removed: on a file system that writes in place
(ext4, as Raspberry Pi OS has it) its blocks then hold zeros. What a card keeps of earlier writes
in spare cells that no program can reach is beyond software.

However the power goes, `path` is the earlier file or the new one, whole; what was left behind of
the other `sweep` wipes on the next start.
"""

import contextlib
import os
from pathlib import Path

from edge.system.files import sync_folder, write_draft
from edge.system.supplied_files import check_replaceable

_BLOCK = bytes(65_536)


def replace_and_wipe(path: Path, *parts: bytes) -> None:
    """Put the parts, joined, in place of `path`, mode 0600, durable; wipe what was there.

    Raises OSError.
    """
    check_replaceable(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = write_draft(path, *parts)
    earlier = _earlier(path)
    with contextlib.ExitStack() as opened:
        try:
            if os.geteuid() == 0:  # written by root, read by the service that owns the folder
                owner = path.parent.stat()
                os.chown(draft, owner.st_uid, owner.st_gid)
            if earlier.exists():
                sweep(path, earlier)
            old = opened.enter_context(path.open("r+b")) if path.is_file() else None
            if old is not None:
                # To find it by, should the power go before the wiping; not every disk has links.
                with contextlib.suppress(OSError):
                    earlier.hardlink_to(path)
            draft.replace(path)
        except BaseException:
            draft.unlink(missing_ok=True)
            earlier.unlink(missing_ok=True)
            raise
        sync_folder(path.parent)
        if old is not None:
            _overwrite(old.fileno())
            earlier.unlink(missing_ok=True)
            sync_folder(path.parent)


def wipe(path: Path) -> None:
    """Overwrite a file in place, durably, then remove it. Raises OSError."""
    with path.open("r+b") as file:
        _overwrite(file.fileno())
    path.unlink()
    sync_folder(path.parent)


def _overwrite(descriptor: int) -> None:
    left = os.fstat(descriptor).st_size
    while left > 0:
        left -= os.write(descriptor, _BLOCK[:left])
    os.fsync(descriptor)


def sweep(path: Path, *leftovers: Path) -> None:
    """Wipe the remains of a power cut next to `path`; no one else may write it. Raises OSError."""
    for left in leftovers or path.parent.glob(f".{path.name}.*"):
        if "." in left.name.removeprefix(f".{path.name}."):
            continue  # of another file, whose name begins as this one's
        if left.stat().st_nlink > 1:
            left.unlink()  # the cut came before the new one had the name: this is the one in use
        else:
            wipe(left)


def _earlier(path: Path) -> Path:
    return path.with_name(f".{path.name}.earlier")
