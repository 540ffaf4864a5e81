"""The two keys of a roster: 32 random bytes each, kept as text in a file of mode 0600.

The roster key opens the roster file and lives on every unit. The organisation key turns person
numbers into opaque ids and lives only where people are enrolled.
"""

import base64
import binascii
import hashlib
import re
import secrets
from pathlib import Path

from edge.errors import SecretError
from edge.system.key_files import read_secret_line, write_secret

KEY_BYTES = 32

_HEX = re.compile(rb"[0-9A-Fa-f]{64}")


def read_key(path: Path, what: str) -> bytes:
    """Return the 32 bytes that `path` holds as 64 hex digits or as base64.

    `what` names the key in messages. Raises SecretError.
    """
    text = read_secret_line(path, what).encode()
    if _HEX.fullmatch(text):
        return bytes.fromhex(text.decode("ascii"))
    try:
        key = base64.b64decode(text, validate=True)
    except binascii.Error:
        key = b""
    if len(key) != KEY_BYTES:
        raise SecretError(
            f"{path}: {what} must be {KEY_BYTES} bytes as 64 hex digits or base64; "
            "restore the copy that was kept"
        )
    return key


def make_key(path: Path, what: str) -> bytes:
    """Write a new random key to `path`, never over an existing file. Raises SecretError."""
    key = secrets.token_bytes(KEY_BYTES)
    try:
        write_secret(path, key.hex().encode("ascii") + b"\n")
    except OSError as error:
        raise SecretError(f"{path}: {what} cannot be written: {error.strerror}") from None
    return key


def key_id(key: bytes) -> bytes:
    """Return eight bytes that identify a key and reveal nothing about it."""
    return hashlib.sha256(b"senyum roster key id\0" + key).digest()[:8]
