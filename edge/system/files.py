"""Files that are complete or absent after a power cut, and locks between processes.

A new content is written to a draft in the same folder, synced, and given its name in one step; the
folder is synced last. All functions raise OSError.
"""

import fcntl
import os
import tempfile
from pathlib import Path


def create_file(path: Path, content: bytes, *, mode: int) -> None:
    """Write a new file durably. Raises FileExistsError if there is one already."""
    draft = write_draft(path, content, mode=mode)
    try:
        # A link never replaces a file that another process made meanwhile; a rename would.
        path.hardlink_to(draft)
    finally:
        draft.unlink()
    sync_folder(path.parent)


def replace_file(path: Path, content: bytes, *, mode: int, durable: bool = True) -> None:
    """Write a file in the place of any earlier one.

    Without `durable` nothing is synced, for files in memory (/run) and for those that can be lost.
    """
    draft = write_draft(path, content, mode=mode, durable=durable)
    try:
        draft.replace(path)
    except BaseException:
        draft.unlink()
        raise
    if durable:
        sync_folder(path.parent)


def write_draft(path: Path, *parts: bytes, mode: int = 0o600, durable: bool = True) -> Path:
    """Write the parts, joined, to a hidden file next to `path`, and return it.

    Its name is `.NAME.RANDOM`. It belongs to root, or to the user that this process runs as.
    """
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")  # mode 0600
    try:
        with os.fdopen(descriptor, "wb") as file:
            os.fchmod(descriptor, mode)  # whatever the umask
            file.writelines(parts)
            file.flush()
            if durable:
                os.fsync(descriptor)
    except BaseException:
        Path(name).unlink()
        raise
    return Path(name)


def sync_folder(folder: Path) -> None:
    """Make the names in `folder` durable: a new file is lost in a power cut without it."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def lock_file(path: Path, *, wait: bool) -> int:
    """Lock a file, made with mode 0600 if missing, and return its descriptor; closing it unlocks.

    The kernel unlocks it too when the process ends. Raises BlockingIOError if another process
    holds the lock and `wait` is false.
    """
    return _locked(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600), wait=wait)


def lock_folder(path: Path) -> int:
    """Wait for the lock of a folder, and return its descriptor; closing it unlocks."""
    return _locked(os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC), wait=True)


def is_locked(path: Path) -> bool:
    """Return whether a process holds the lock of a file; False if the file is missing."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        return True
    finally:
        os.close(descriptor)
    return False


def _locked(descriptor: int, *, wait: bool) -> int:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor
