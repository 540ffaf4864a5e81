"""A command key, and the sequence numbers that it has used."""

import contextlib
import json
import os
import re
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from edge.contract.authority import ROLES, Role, roles_of
from edge.contract.certificate import replace_output
from edge.contract.keys import SigningKey
from edge.errors import CertificateError, SecretError
from edge.system.files import lock_file, replace_file
from edge.system.key_files import read_secret, write_secret

_MAX_NUMBER = 2**53 - 1  # a JSON number that every language reads exactly


def load_or_create(
    path: Path, alg: str, roles: Iterable[Role]
) -> tuple[SigningKey, Callable[[], None]]:
    """Return the key of `path` and what keeps it there, with these roles beside those it has.

    A missing key is created, of Ed25519 or ES256 (`alg`). Nothing is written before the
    second is called. Both raise SecretError.
    """
    try:
        there = path.exists()
    except OSError as error:
        raise SecretError(f"{path}: the key cannot be read: {error.strerror}") from None
    if there:
        key = SigningKey.load_or_create(path, alg)
        content = read_secret(path, "the authority's key")
        if json.loads(content).get("x") != key.public()["x"]:
            raise SecretError(f"{path}: was replaced while it was read; run this again")
    else:
        key, content = SigningKey.generate(alg)
    known = roles_of(content)
    wanted = known.union(roles)

    def keep() -> None:
        if there and wanted == known:
            return
        whole = json.dumps({**json.loads(content), ROLES: sorted(wanted)}).encode()
        try:
            if there:
                replace_output(path, whole, mode=0o600)
            else:
                write_secret(path, whole)
        except (OSError, CertificateError) as error:
            raise SecretError(f"{path}: the key cannot be kept: {error}") from None

    return key, keep


def next_number(key: Path, clock: Callable[[], float] = time.time) -> int:
    """Return a new command number of this key; it is never used again. Durable on return.

    The last one is kept beside the key, in `KEY.number`. Numbers follow the seconds since 1970
    where those are higher, so that one goes on upward though the file was lost. Raises SecretError.
    """
    file = key.with_name(key.name + ".number")
    try:
        with _locked(file):
            number = max(_last(file) + 1, int(clock()))
            if number > _MAX_NUMBER:
                raise SecretError(f"{file}: {number} is higher than any number of a command")
            replace_file(file, b"%d\n" % number, mode=0o600)
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
    if not re.fullmatch(r"[0-9]{1,20}", text):
        raise SecretError(
            f"{file}: not a number; write the highest one that this key has used (a unit's "
            "answer `stale` names it)"
        )
    return int(text)


@contextlib.contextmanager
def _locked(file: Path) -> Iterator[None]:
    """Lock out other processes; the kernel releases the lock when this process ends."""
    lock = lock_file(file.with_name(file.name + ".lock"), wait=True)
    try:
        yield
    finally:
        os.close(lock)
