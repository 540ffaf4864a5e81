"""The roster file: everybody who can be recognised, in one encrypted and authenticated piece.

    offset  bytes  what (integers are little-endian)
    0       8      magic
    8       2      format version, 1
    10      8      id of the roster key (`keys.key_id`)
    18      12     nonce
    30      8      length of the rest
    38      ...    AES-256-GCM ciphertext and tag; the 38 bytes before are its associated data

The plaintext is described in `edge.roster.codec`. A file is replaced as a whole or not at all,
and nothing of the earlier one stays readable on the disk.
"""

import dataclasses
import secrets
import struct
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from edge.errors import RosterError
from edge.gallery import Gallery
from edge.roster.codec import SALT_BYTES, Roster, RosterData, pack, unpack
from edge.roster.keys import key_id
from edge.roster.wipe import replace_and_wipe
from edge.system.supplied_files import read_regular

_MAGIC = b"\x89SENYUM\n"
_FORMAT = 1
_HEADER = struct.Struct("<8sH8s12sQ")
_TAG_BYTES = 16
_MOST_BYTES = 1 << 30  # 200,000 people with five photos each

_WAY_OUT = "restore a copy, or move it away and enrol again"


def load(path: Path, key: bytes, embedder: str | None = None) -> Gallery:
    """Read a roster for recognition: ids and vectors; names and numbers are let go at once.

    `embedder` is the SHA-256 of the identity network that will make the probes; a roster of
    another network is refused. None takes any. Raises RosterError.
    """
    return gallery_of(path, content(path, key, embedder))


def read(path: Path, key: bytes, embedder: str | None = None) -> Roster:
    """Read a roster with everything in it, for the enroller. Raises RosterError as `load` does."""
    return content(path, key, embedder).roster()


def save(path: Path, key: bytes, roster: Roster) -> str:
    """Write a roster in place of the one at `path`, durable when this returns.

    Returns the SHA-256 of its content, hex. Raises RosterError where it cannot be written; the
    earlier file is then untouched.
    """
    salted = dataclasses.replace(roster, salt=roster.salt or secrets.token_hex(SALT_BYTES))
    plain = pack(salted)
    write(path, key, plain)
    return unpack(plain).digest


def write(path: Path, key: bytes, plain: bytes | bytearray) -> None:
    """Encrypt the bytes of a roster into the file at `path`, durable. Raises RosterError."""
    nonce = secrets.token_bytes(12)
    header = _HEADER.pack(_MAGIC, _FORMAT, key_id(key), nonce, len(plain) + _TAG_BYTES)
    try:
        replace_and_wipe(path, header, AESGCM(key).encrypt(nonce, plain, header))
    except OSError as error:
        raise RosterError(f"{path}: the roster cannot be written: {error.strerror}") from None


def content(path: Path, key: bytes, embedder: str | None = None) -> RosterData:
    """Read what the file says. Raises RosterError as `load` does."""
    try:
        sealed = read_regular(path, _MOST_BYTES)
    except FileNotFoundError:
        raise RosterError(f"{path}: no roster found; make one with: senyum enroll") from None
    except OSError as error:
        raise RosterError(f"{path}: the roster cannot be read: {error.strerror}") from None
    try:
        data = unpack(_decrypt(path, sealed, key))
    except ValueError:
        raise _not_whole(path) from None
    if embedder is not None and data.embedder != embedder:
        raise RosterError(
            f"{path}: the roster was made with another identity network ({data.embedder[:12]}…, "
            f"this one is {embedder[:12]}…); move it away and enrol again"
        )
    return data


def gallery_of(path: Path, data: RosterData) -> Gallery:
    """Return what recognition needs of a file's content. Raises RosterError."""
    try:
        return data.gallery()
    except ValueError:
        raise _not_whole(path) from None


def _not_whole(path: Path) -> RosterError:
    # The key's owner wrote it so: a fault of the program that did, not of the disk.
    return RosterError(f"{path}: the roster is genuine but not whole; {_WAY_OUT}")


def _decrypt(path: Path, sealed: bytes, key: bytes) -> bytes:
    if not sealed.startswith(_MAGIC[: len(sealed)]) or not sealed:
        what = "is not a roster of Senyum" if sealed else "the roster is empty"
        raise RosterError(f"{path}: {what}; {_WAY_OUT}")
    if len(sealed) < _HEADER.size:
        raise RosterError(f"{path}: the roster was cut short inside its header; {_WAY_OUT}")
    _, version, owner, nonce, length = _HEADER.unpack_from(sealed)
    if version != _FORMAT:
        raise RosterError(
            f"{path}: the roster has format {version}, this Senyum reads format {_FORMAT}; "
            "update Senyum, or enrol again with this one"
        )
    if owner != key_id(key):
        raise RosterError(
            f"{path}: the roster belongs to another key (id {owner.hex()}, the key given has "
            f"{key_id(key).hex()}); name the right one with --key, or in the setting roster.key"
        )
    body = memoryview(sealed)[_HEADER.size :]
    if len(body) < length:
        raise RosterError(
            f"{path}: the roster was cut short ({len(body)} of {length} bytes); {_WAY_OUT}"
        )
    try:
        return AESGCM(key).decrypt(nonce, body, sealed[: _HEADER.size])
    except InvalidTag:
        raise RosterError(f"{path}: the roster was altered; {_WAY_OUT}") from None
