"""Key files: read with care, written for their owner only, durable.

A key comes from the service's credentials directory first (systemd's LoadCredential), then from
the path that a setting names.
"""

import os
import stat
import tempfile
from pathlib import Path

from edge.errors import SecretError


def read_secret(path: Path, what: str) -> bytes:
    """Return the content of a key file that only its owner can read.

    A credential of the same file name that systemd handed to the service comes first. Raises
    SecretError, which names the file and never its content.
    """
    credentials = os.environ.get("CREDENTIALS_DIRECTORY")
    try:
        if credentials and (credential := Path(credentials) / path.name).is_file():
            return credential.read_bytes()
        mode = path.stat().st_mode
        if mode & (stat.S_IRWXG | stat.S_IRWXO):
            raise SecretError(
                f"{path}: {what} can be read by others (mode {stat.S_IMODE(mode):04o}); "
                f"run: chmod 600 {path}"
            )
        return path.read_bytes()
    except OSError as error:
        raise SecretError(f"{path}: {what} cannot be read: {error.strerror}") from None


def write_secret(path: Path, content: bytes) -> None:
    """Write a new key file with mode 0600, never over an existing one: FileExistsError.

    Durable when this returns; however the power goes, it is there whole or not at all.
    """
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    descriptor, draft = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")  # mode 0600
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        # A link never replaces a key that another process made meanwhile; a rename would.
        path.hardlink_to(draft)
    finally:
        Path(draft).unlink()
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Make the names in `folder` durable: a new file is lost in a power cut without it."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
