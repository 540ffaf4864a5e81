"""Key files: read with care, written for their owner only, durable.

A key comes from the service's credentials directory first (systemd's LoadCredential), then from
the path that a setting names.
"""

import contextlib
import os
import stat
from pathlib import Path

from edge.errors import SecretError
from edge.system.files import create_file
from edge.system.supplied_files import as_text, check_line, open_regular, read_whole

LARGEST = 250_000  # bytes of any key file; the largest take a few hundred


def secret_path(path: Path) -> Path:
    """Return where a secret lies: with systemd's credentials, under the same name, or at `path`."""
    folder = os.environ.get("CREDENTIALS_DIRECTORY")
    with contextlib.suppress(OSError):  # an impossible file name; reported when it is opened
        if folder and (credential := Path(folder) / path.name).is_file():
            return credential
    return path


def read_secret(path: Path, what: str) -> bytes:
    """Return the content of a key file that only its owner can read.

    It is a regular file of at most LARGEST bytes, and not empty; `secret_path` says where it is.
    Raises SecretError, which names the file and never its content.
    """
    source = secret_path(path)
    try:
        with open_regular(source) as file:
            # The mode of what is read, whatever has the name by now.
            mode = os.fstat(file.fileno()).st_mode
            if source == path and mode & (stat.S_IRWXG | stat.S_IRWXO):
                raise SecretError(
                    f"{path}: {what} can be read by others (mode {stat.S_IMODE(mode):04o}); "
                    f"run: chmod 600 {path}"
                )
            content = read_whole(file, LARGEST)
    except OSError as error:
        raise SecretError(f"{path}: {what} cannot be read: {error.strerror}") from None
    if not content:
        raise SecretError(f"{path}: {what} is empty; restore it, or move it away")
    return content


def read_secret_line(path: Path, what: str) -> str:
    """Return a secret that is one line of text: a password, a passphrase, a key in hex.

    A byte order mark before it and the line end after it do not belong to it. Everything else
    that cannot be seen is refused: see `edge.system.supplied_files.check_line`. Raises SecretError.
    """
    try:
        return check_line(as_text(read_secret(path, what)).rstrip("\r\n"))
    except ValueError as error:
        raise SecretError(f"{path}: {what}: {error}") from None


def write_secret(path: Path, content: bytes) -> None:
    """Write a new key file with mode 0600, never over an existing one: FileExistsError.

    Durable when this returns; however the power goes, it is there whole or not at all.
    """
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    create_file(path, content, mode=0o600)
