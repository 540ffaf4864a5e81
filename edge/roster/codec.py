"""What a roster says, as bytes: the same in the file, on the wire, and in the digest of events.

Length of the JSON part (4 bytes, little-endian), the JSON part (UTF-8), the templates as
contiguous float16 (photos, DIMENSION) in the order of the people. Half precision moves no cosine
by more than 0.0005, a hundredth of the least useful margin, and halves the size.

A tombstone says that a person was erased, and with which version of the roster. It stays for good:
a roster that has the person again must say that they were enrolled again after it.
"""

import hashlib
import json
import re
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge.gallery import DIMENSION, Gallery, nearest_others
from edge.types import Floats

MAX_PHOTOS = 5  # of one person
MAX_VERSION = 2**53 - 1  # what every JSON reader takes
SALT_BYTES = 16

_LENGTH = struct.Struct("<I")
_HALF = np.dtype("<f2")
_PERSON = re.compile(r"[0-9a-f]{32}", re.ASCII)
# Of the mean of a person's templates; photos of one person never cancel each other so far.
_LEAST_LENGTH = 0.05


@dataclass(frozen=True, slots=True, eq=False)
class Person:
    """Somebody as the enroller knows them."""

    id: str  # opaque, from `people.person_id`
    number: str  # 18 digits; empty in a roster that was delivered
    name: str  # empty in a roster that was delivered
    exempt: bool
    templates: Floats  # (1 to MAX_PHOTOS, DIMENSION), rows of unit length


@dataclass(frozen=True, slots=True, eq=False)
class Roster:
    """Everybody who can be recognised, and who was erased."""

    version: int  # from 1, higher with every change
    created: datetime  # with its zone
    embedder: str  # SHA-256 of the network that made the templates, hex
    people: tuple[Person, ...]
    tombstones: Mapping[str, int] = field(default_factory=dict)  # opaque id to version
    readmitted: Mapping[str, int] = field(default_factory=dict)  # enrolled again, in that version
    salt: str = ""  # hex; so that nobody can try out what a digest stands for


@dataclass(frozen=True, slots=True, eq=False)
class RosterData:
    """What the bytes of a roster say, checked for shape."""

    version: int
    embedder: str
    tombstones: Mapping[str, int]
    readmitted: Mapping[str, int]
    digest: str  # SHA-256 of the bytes, hex
    _document: dict[str, Any]
    _halves: NDArray[np.float16]  # (photos, DIMENSION)
    _starts: NDArray[np.intp]  # (people,), where each person's photos begin

    def people(self) -> frozenset[str]:
        """Return the opaque ids of everybody in it."""
        return frozenset(person["id"] for person in self._document["people"])

    def gallery(self) -> Gallery:
        """Return what recognition needs: ids and one vector a person; no name and no number."""
        people = self._document["people"]
        matrix = _fused(self._halves, self._starts)
        return Gallery(
            people=tuple(person["id"] for person in people),
            matrix=matrix,
            nearest=nearest_others(matrix),
            exempt=frozenset(person["id"] for person in people if person["exempt"]),
            version=self.version,
            embedder=self.embedder,
            digest=self.digest,
        )

    def roster(self) -> Roster:
        """Return everything that is in it, for the enroller."""
        photos = np.split(self._halves.astype(np.float32), self._starts[1:])
        return Roster(
            version=self.version,
            created=datetime.fromisoformat(self._document["created"]),
            embedder=self.embedder,
            people=tuple(
                Person(
                    id=person["id"],
                    number=person["number"],
                    name=person["name"],
                    exempt=person["exempt"],
                    templates=templates,
                )
                for person, templates in zip(self._document["people"], photos, strict=False)
            ),
            tombstones=self.tombstones,
            readmitted=self.readmitted,
            salt=self._document["salt"],
        )


def stripped(roster: Roster) -> Roster:
    """Return a roster as units get it: without numbers and names, which they have no use for."""
    people = tuple(replace(person, number="", name="") for person in roster.people)
    return replace(roster, people=people)


def pack(roster: Roster) -> bytes:
    """Write a roster as bytes. ValueError for templates of another shape."""
    document = {
        "version": roster.version,
        "created": roster.created.isoformat(timespec="seconds"),
        "embedder": roster.embedder,
        "salt": roster.salt,
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
        "tombstones": dict(roster.tombstones),
        "readmitted": dict(roster.readmitted),
    }
    text = json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode()
    templates = [_halved(person.templates) for person in roster.people]
    return b"".join((_LENGTH.pack(len(text)), text, *templates))


def unpack(plain: bytes | bytearray) -> RosterData:
    """Read the bytes of a roster; ValueError where they are none, in words that quote nothing."""
    digest = hashlib.sha256(plain).hexdigest()
    view = memoryview(plain)
    try:
        (length,) = _LENGTH.unpack_from(view)
        document = json.loads(bytes(view[_LENGTH.size : _LENGTH.size + length]))
        halves = np.frombuffer(view[_LENGTH.size + length :], _HALF).reshape(-1, DIMENSION)
        photos = _photos(document)
        starts = _starts(photos, len(halves))
        datetime.fromisoformat(document["created"])
        return RosterData(
            version=_version(document["version"]),
            embedder=_text(document["embedder"]),
            tombstones=_dated(document.setdefault("tombstones", {})),
            readmitted=_dated(document.setdefault("readmitted", {})),
            digest=digest,
            _document={**document, "salt": _text(document.get("salt", ""))},
            _halves=halves,
            _starts=starts,
        )
    except (struct.error, AttributeError, KeyError, TypeError, ValueError, RecursionError):
        raise ValueError("is not whole") from None


def _version(value: Any) -> int:
    if type(value) is not int or not 1 <= value <= MAX_VERSION:
        raise ValueError("no version")
    return value


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError("no text")  # noqa: TRY004 - one error class for wrong bytes
    return value


def _dated(value: Mapping[Any, Any]) -> dict[str, int]:
    return {_id(person): _version(version) for person, version in value.items()}


def _id(value: Any) -> str:
    if not isinstance(value, str) or not _PERSON.fullmatch(value):
        raise ValueError("no opaque id")
    return value


def _photos(document: dict[str, Any]) -> list[int]:
    """Check each person; returns how many photos each has."""
    photos = []
    seen = set()
    for person in document["people"]:
        seen.add(_id(person["id"]))
        _text(person["number"])
        _text(person["name"])
        if type(person["exempt"]) is not bool or type(person["photos"]) is not int:
            raise ValueError("a person with a field of another type")
        photos.append(person["photos"])
    if len(seen) < len(photos):
        raise ValueError("somebody is there twice")
    return photos


def _starts(photos: Sequence[int], total: int) -> NDArray[np.intp]:
    if sum(photos) != total or not all(1 <= count <= MAX_PHOTOS for count in photos):
        raise ValueError("photos and templates do not agree")
    return np.cumsum([0, *photos[:-1]], dtype=np.intp) if photos else np.zeros(0, np.intp)


def _fused(halves: NDArray[np.float16], starts: NDArray[np.intp]) -> Floats:
    """Join each person's templates into one unit vector."""
    if not len(starts):
        return np.zeros((0, DIMENSION), np.float32)
    # The mean's length does not matter before it is made a unit vector, so the sum serves.
    with np.errstate(invalid="ignore", over="ignore"):
        matrix: Floats = np.add.reduceat(halves, starts, axis=0, dtype=np.float32)
        lengths = np.linalg.norm(matrix, axis=1, keepdims=True)
    # A NaN would win every search.
    if not np.isfinite(lengths).all() or lengths.min() < _LEAST_LENGTH:
        raise ValueError("a template contains values that are not numbers")
    matrix /= lengths
    return matrix


def _halved(templates: Floats) -> bytes:
    if templates.ndim != 2 or not 1 <= len(templates) <= MAX_PHOTOS:
        raise ValueError(f"a person has 1 to {MAX_PHOTOS} templates, not {templates.shape}")
    if templates.shape[1] != DIMENSION:
        raise ValueError(f"a template has {DIMENSION} numbers, not {templates.shape[1]}")
    return templates.astype(_HALF).tobytes()
