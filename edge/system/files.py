"""Files that are there whole or not at all, however the power goes, and never over others."""

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

from edge.errors import CertificateError
from edge.system.key_files import sync_folder


def create(path: Path, content: bytes, *, mode: int = 0o644) -> None:
    """Write a new file, durable; CertificateError where it exists or cannot be written."""
    with _told(path):
        draft = _draft(path, content, mode)
        try:
            # A link never replaces a file that is there; a rename would.
            path.hardlink_to(draft)
        finally:
            draft.unlink()
        sync_folder(path.parent)


def replace(path: Path, content: bytes, *, mode: int = 0o644) -> None:
    """Put a whole file in the place of the old one, durable; CertificateError where it cannot."""
    with _told(path):
        _draft(path, content, mode).replace(path)
        sync_folder(path.parent)


def check_absent(path: Path | None) -> None:
    """Raise CertificateError where the file to be made exists already, or has no folder."""
    if path is None:
        return
    if path.exists() or path.is_symlink():
        raise CertificateError(f"{path}: exists and is never overwritten; move it away first")
    if not path.parent.is_dir():
        raise CertificateError(f"{path}: {path.parent} is no folder; make it first")


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Keep other processes of ours out of `folder` meanwhile."""
    with _told(folder):
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _draft(path: Path, content: bytes, mode: int) -> Path:
    draft = path.with_name(f".{path.name}.{os.getpid()}.new")
    draft.unlink(missing_ok=True)
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
    with os.fdopen(os.open(draft, flags, mode), "wb") as file:
        os.fchmod(file.fileno(), mode)  # whatever the umask
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    return draft


@contextlib.contextmanager
def _told(path: Path) -> Iterator[None]:
    try:
        yield
    except FileExistsError:
        raise CertificateError(
            f"{path}: exists and is never overwritten; move it away first"
        ) from None
    except OSError as error:
        raise CertificateError(f"{path}: cannot be written: {error.strerror}") from None
