"""The key of an authority, and the numbers it has given."""

import contextlib
import fcntl
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from edge.errors import SecretError
from edge.mqtt.keys import SigningKey
from edge.secrets import sync_folder

_MOST = 2**53 - 1  # a JSON number that every language reads exactly


def load(path: Path) -> SigningKey:
    """Read an authority's key file (a private JWK, mode 0600). Raises SecretError."""
    if not path.exists():
        raise SecretError(
            f"{path}: no such key; make one with: senyum admin keys --authority {path}"
        )
    return SigningKey.load_or_create(path)


def next_number(key: Path, clock: Callable[[], float] = time.time) -> int:
    """Return a number that no command of this key has had, nor will have; durable on return.

    The last one is kept beside the key, in `KEY.number`. Numbers follow the seconds since 1970
    where those are higher, so that one goes on upward though the file was lost. Raises SecretError.
    """
    file = key.with_name(key.name + ".number")
    try:
        with _locked(file):
            number = max(_last(file) + 1, int(clock()))
            if number > _MOST:
                raise SecretError(f"{file}: {number} is higher than any number of a command")
            draft = file.with_name(file.name + ".new")
            descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
            with os.fdopen(descriptor, "w", encoding="ascii") as opened:
                opened.write(f"{number}\n")
                opened.flush()
                os.fsync(opened.fileno())
            draft.replace(file)
            sync_folder(file.parent)
    except OSError as error:
        raise SecretError(f"{file}: the number cannot be kept: {error.strerror}") from None
    return number


def _last(file: Path) -> int:
    try:
        text = file.read_text(encoding="ascii").strip()
    except FileNotFoundError:
        return 0
    except ValueError:
        text = ""
    if not text.isdecimal():
        raise SecretError(
            f"{file}: is no number; write the highest one that this key has given (a unit's "
            "answer `stale` names it)"
        )
    return int(text)


@contextlib.contextmanager
def _locked(file: Path) -> Iterator[None]:
    """Keep other processes out; the kernel gives the lock back whichever way this one ends."""
    lock = os.open(f"{file}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
    finally:
        os.close(lock)
