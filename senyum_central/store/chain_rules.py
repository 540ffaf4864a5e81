"""Classify a genuine event by the stored events of its chain. Pure: no clock, no I/O.

An event's place is its unit's `sequence`, never the order of arrival. Each event names the digest
of the one before it (`previous`), so a chain can be checked wherever two neighbours are present:

    stored               arrives              verdict
    same id, same bytes  anything             DUPLICATE  (kept once)
    same id, other bytes anything             FORK       (the newcomer is kept as evidence only)
    n                    another n            FORK       (both are kept: both were signed)
    n - 1                n, `previous` other  FORK
    n + 1                n, its digest is not the `previous` of n + 1: FORK
    state or health named another head at n   FORK
    otherwise                                 GENUINE
"""

from dataclasses import dataclass
from enum import StrEnum


class Classification(StrEnum):
    """How an event with a valid signature, key and topic relates to the stored chain."""

    GENUINE = "genuine"
    DUPLICATE = "duplicate"
    FORK = "fork"


@dataclass(frozen=True, slots=True)
class ChainEntry:
    """An event's place in the chain of its unit."""

    unit: str  # urn:senyum:{org}:{site}:{unit}
    id: str
    sequence: int  # from 1
    digest: str  # SHA-256 of the JWS, base64url
    previous: str | None  # digest of the entry before; None if and only if sequence is 1

    @property
    def key(self) -> tuple[str, str]:
        """Return what names the event: CloudEvents' `source` and `id`."""
        return self.unit, self.id


@dataclass(frozen=True, slots=True)
class Neighbours:
    """Stored events of the same unit around an entry. Several with one number are a fork."""

    same_id: str | None = None  # digest of the unit's stored event with the entry's id
    before: frozenset[str] = frozenset()  # digests at sequence - 1
    same: frozenset[str] = frozenset()  # digests at sequence
    after: frozenset[str] = frozenset()  # `previous` of the events at sequence + 1
    head: str | None = None  # digest for this sequence named by a state or health


@dataclass(frozen=True, slots=True)
class ChainDecision:
    """The classification, with a reason for a fork."""

    classification: Classification
    reason: str = ""
    keep: bool = True  # whether the event is stored as an event


def classify(entry: ChainEntry, stored: Neighbours) -> ChainDecision:
    """Return the classification of `entry`."""
    if stored.same_id == entry.digest:
        return ChainDecision(Classification.DUPLICATE, keep=False)
    if stored.same_id is not None:
        why = f"event {entry.sequence} carries the id of another event"
        return ChainDecision(Classification.FORK, why, keep=False)
    reason = _contradiction(entry, stored)
    return (
        ChainDecision(Classification.FORK, reason)
        if reason
        else ChainDecision(Classification.GENUINE)
    )


def _contradiction(entry: ChainEntry, stored: Neighbours) -> str | None:
    n = entry.sequence
    if stored.same:
        return f"another event {n} is stored already"
    if stored.before and entry.previous not in stored.before:
        return f"event {n} does not follow the stored event {n - 1}"
    if stored.after and entry.digest not in stored.after:
        return f"the stored event {n + 1} does not follow event {n}"
    if stored.head is not None and stored.head != entry.digest:
        return f"event {n} is not the head that the unit named"
    return None


def classify_head(
    sequence: int, head: str, stored: frozenset[str], named: str | None
) -> ChainDecision:
    """Compare the chain head named by a state or health with the stored event of that number.

    `stored` holds the digests of the stored events at `sequence`, `named` the head that an earlier
    state or health gave for the same number.
    """
    known = stored or ({named} if named else {head})
    if head in known:
        return ChainDecision(Classification.GENUINE, keep=False)
    why = f"the unit names a head that is not event {sequence} as it was sent"
    return ChainDecision(Classification.FORK, why, keep=False)
