"""Rosters of made-up people for the tests."""

from datetime import UTC, datetime
from hashlib import sha256

import numpy as np

from edge.gallery import DIMENSION
from edge.roster.codec import Person, Roster
from edge.roster.people import person_id
from edge.types import Floats

KEY = bytes(range(32))
ORG_KEY = bytes(32)
EMBEDDER = sha256(b"network").hexdigest()


def templates(count: int, seed: int) -> Floats:
    """Return rows of unit length that belong to nobody."""
    rows = np.random.default_rng(seed).standard_normal((count, DIMENSION), dtype=np.float32)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    return rows


def number(serial: int) -> str:
    """Return a person number that could be somebody's."""
    return f"1985033020101{1 + serial // 999 % 9}1{1 + serial % 999:03}"


def person(serial: int, photos: int = 1, *, exempt: bool = False) -> Person:
    """Return one of them; the same serial is the same person."""
    digits = number(serial)
    return Person(
        id=person_id(digits, ORG_KEY),
        number=digits,
        name=f"Nama {serial}",
        exempt=exempt,
        templates=templates(photos, serial),
    )


def roster(version: int, *people: Person, **changes: object) -> Roster:
    """Return a roster of these people, with a salt that stays."""
    created = datetime(2026, 6, 1, 8, tzinfo=UTC)
    fields = {"salt": "5a" * 16, **changes}
    return Roster(version, created, EMBEDDER, people, **fields)  # type: ignore[arg-type] # as told
