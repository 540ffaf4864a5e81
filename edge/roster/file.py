"""The roster file: everybody who can be recognised, in one encrypted and authenticated piece.

    offset  bytes  what (integers are little-endian)
    0       8      magic
    8       2      format version, 1
    10      8      id of the roster key (`keys.key_id`)
    18      12     nonce
    30      8      length of the rest
    38      ...    AES-256-GCM ciphertext and tag; the 38 bytes before are its associated data

Plaintext: length of the JSON part (4 bytes), the JSON part (UTF-8), the templates as contiguous
float16 (photos, DIMENSION) in the order of the people. Half precision moves no cosine by more
than 0.0005, a hundredth of the least useful margin, and halves the file.

A file is replaced as a whole or not at all; no earlier version stays behind.
"""

import hashlib
import json
import os
import secrets
import struct
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from numpy.typing import NDArray

from edge.errors import RosterError
from edge.roster.keys import key_id
from edge.roster.search import DIMENSION, Gallery
from edge.secrets import sync_folder
from edge.types import Floats

MAX_PHOTOS = 5  # of one person

_MAGIC = b"\x89SENYUM\n"
_FORMAT = 1
_HEADER = struct.Struct("<8sH8s12sQ")
_LENGTH = struct.Struct("<I")
_TAG_BYTES = 16
_HALF = np.dtype("<f2")

_WAY_OUT = "restore a copy, or move it away and enrol again"


@dataclass(frozen=True, slots=True, eq=False)
class Person:
    """Somebody as the enroller knows them."""

    id: str  # opaque, from `people.person_id`
    number: str  # 18 digits
    name: str
    exempt: bool
    templates: Floats  # (1 to MAX_PHOTOS, DIMENSION), rows of unit length


@dataclass(frozen=True, slots=True, eq=False)
class Roster:
    """What the file holds."""

    version: int  # from 1, higher with every change
    created: datetime  # with its zone
    embedder: str  # SHA-256 of the network that made the templates, hex
    people: tuple[Person, ...]


@dataclass(frozen=True, slots=True, eq=False)
class _Opened:
    """The plaintext, checked for shape."""

    document: dict[str, Any]
    halves: NDArray[np.float16]  # (photos, DIMENSION)
    starts: NDArray[np.intp]  # (people,), where each person's photos begin
    digest: str


def load(path: Path, key: bytes, embedder: str | None = None) -> Gallery:
    """Read a roster for recognition: ids and vectors; names and numbers are let go at once.

    `embedder` is the SHA-256 of the identity network that will make the probes; a roster of
    another network is refused. None takes any. Raises RosterError.
    """
    opened = _open(path, key, embedder)
    people = opened.document["people"]
    if people:
        # The mean's length does not matter before it is made a unit vector, so the sum serves.
        matrix = np.add.reduceat(opened.halves, opened.starts, axis=0, dtype=np.float32)
        matrix /= np.linalg.norm(matrix, axis=1, keepdims=True)
    else:
        matrix = np.zeros((0, DIMENSION), np.float32)
    return Gallery(
        people=tuple(person["id"] for person in people),
        matrix=matrix,
        exempt=frozenset(person["id"] for person in people if person["exempt"]),
        version=opened.document["version"],
        embedder=opened.document["embedder"],
        digest=opened.digest,
    )


def read(path: Path, key: bytes, embedder: str | None = None) -> Roster:
    """Read a roster with everything in it, for the enroller. Raises RosterError as `load` does."""
    opened = _open(path, key, embedder)
    photos = np.split(opened.halves.astype(np.float32), opened.starts[1:])
    return Roster(
        version=opened.document["version"],
        created=datetime.fromisoformat(opened.document["created"]),
        embedder=opened.document["embedder"],
        people=tuple(
            Person(
                id=person["id"],
                number=person["number"],
                name=person["name"],
                exempt=person["exempt"],
                templates=templates,
            )
            for person, templates in zip(opened.document["people"], photos, strict=False)
        ),
    )


def save(path: Path, key: bytes, roster: Roster) -> str:
    """Write a roster in place of the one at `path`, durable when this returns.

    Returns the file's SHA-256, hex. Raises RosterError where it cannot be written; the earlier
    file is then untouched.
    """
    document = {
        "version": roster.version,
        "created": roster.created.isoformat(timespec="seconds"),
        "embedder": roster.embedder,
        "people": [
            {
                "id": person.id,
                "number": person.number,
                "name": person.name,
                "exempt": person.exempt,
                "photos": len(person.templates),
            }
            for person in roster.people
        ],
    }
    text = json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode()
    templates = [_halved(person.templates) for person in roster.people]
    plain = b"".join((_LENGTH.pack(len(text)), text, *templates))
    nonce = secrets.token_bytes(12)
    header = _HEADER.pack(_MAGIC, _FORMAT, key_id(key), nonce, len(plain) + _TAG_BYTES)
    content = header + AESGCM(key).encrypt(nonce, plain, header)
    try:
        _replace(path, content)
    except OSError as error:
        raise RosterError(f"{path}: the roster cannot be written: {error.strerror}") from None
    return hashlib.sha256(content).hexdigest()


def _halved(templates: Floats) -> bytes:
    if templates.ndim != 2 or not 1 <= len(templates) <= MAX_PHOTOS:
        raise ValueError(f"a person has 1 to {MAX_PHOTOS} templates, not {templates.shape}")
    if templates.shape[1] != DIMENSION:
        raise ValueError(f"a template has {DIMENSION} numbers, not {templates.shape[1]}")
    return templates.astype(_HALF).tobytes()


def _replace(path: Path, content: bytes) -> None:
    """Put `content` in place of `path` in one step that survives a power cut."""
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")  # mode 0600
    draft = Path(name)
    try:
        with os.fdopen(descriptor, "wb") as file:
            if os.geteuid() == 0:  # enrolled by root, read by the service that owns the folder
                owner = path.parent.stat()
                os.fchown(descriptor, owner.st_uid, owner.st_gid)
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)
    except BaseException:
        draft.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def _open(path: Path, key: bytes, embedder: str | None) -> _Opened:
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        raise RosterError(f"{path}: there is no roster; make one with: senyum enroll") from None
    except OSError as error:
        raise RosterError(f"{path}: the roster cannot be read: {error.strerror}") from None
    digest = hashlib.sha256(content).hexdigest()
    plain = memoryview(_decrypt(path, content, key))
    del content
    try:
        (length,) = _LENGTH.unpack_from(plain)
        document = json.loads(bytes(plain[_LENGTH.size : _LENGTH.size + length]))
        photos = [int(person["photos"]) for person in document["people"]]
        halves = np.frombuffer(plain[_LENGTH.size + length :], _HALF).reshape(-1, DIMENSION)
        starts = _starts(photos, len(halves))
        made_by = str(document["embedder"])
    except (struct.error, KeyError, TypeError, ValueError):
        # The key's owner wrote it so: a fault of the program that did, not of the disk.
        raise RosterError(f"{path}: the roster is genuine but not whole; {_WAY_OUT}") from None
    if embedder is not None and made_by != embedder:
        raise RosterError(
            f"{path}: the roster was made with another identity network ({made_by[:12]}…, "
            f"this one is {embedder[:12]}…); move it away and enrol again"
        )
    return _Opened(document, halves, starts, digest)


def _starts(photos: Sequence[int], total: int) -> NDArray[np.intp]:
    if sum(photos) != total or not all(1 <= count <= MAX_PHOTOS for count in photos):
        raise ValueError("photos and templates do not agree")
    return np.cumsum([0, *photos[:-1]], dtype=np.intp) if photos else np.zeros(0, np.intp)


def _decrypt(path: Path, content: bytes, key: bytes) -> bytes:
    if not content.startswith(_MAGIC[: len(content)]) or not content:
        what = "is no roster of Senyum" if content else "the roster is empty"
        raise RosterError(f"{path}: {what}; {_WAY_OUT}")
    if len(content) < _HEADER.size:
        raise RosterError(f"{path}: the roster was cut short inside its header; {_WAY_OUT}")
    _, version, owner, nonce, length = _HEADER.unpack_from(content)
    if version != _FORMAT:
        raise RosterError(
            f"{path}: the roster has format {version}, this Senyum reads format {_FORMAT}; "
            "update Senyum, or enrol again with this one"
        )
    if owner != key_id(key):
        raise RosterError(
            f"{path}: the roster belongs to another key (id {owner.hex()}, the key given has "
            f"{key_id(key).hex()}); name the right one in roster.key"
        )
    body = memoryview(content)[_HEADER.size :]
    if len(body) < length:
        raise RosterError(
            f"{path}: the roster was cut short ({len(body)} of {length} bytes); {_WAY_OUT}"
        )
    try:
        return AESGCM(key).decrypt(nonce, body, content[: _HEADER.size])
    except InvalidTag:
        raise RosterError(f"{path}: the roster was altered; {_WAY_OUT}") from None
