"""The unit's roster: loading it at start, and installing a delivered one.

    content checked ─▶ roster file ─▶ state file ─▶ previous roster wiped
                        durable        durable

After a power cut the file is either the complete old roster or the complete new one. A new roster
with an old state file is corrected at the next start, because the roster contains the tombstones.

The state file holds the roster's version and the erased people, so that an older roster file,
restored by hand or from a backup, is recognised. It also holds a receipt that is still to be
recorded. Its first line is the SHA-256 of the JSON after it, so that damage is detected.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from enum import StrEnum
from pathlib import Path
from typing import Any

from edge.errors import RosterError
from edge.gallery import Gallery
from edge.roster.codec import RosterData, unpack
from edge.roster.file import content, gallery_of, write
from edge.roster.wipe import replace_and_wipe, sweep
from edge.system.text import pluralize


@dataclass(frozen=True, slots=True)
class PendingReceipt:
    """A receipt that is still to be signed: the roster is in force, the people are gone."""

    to: str  # id of the manifest that is answered
    erased: tuple[str, ...]  # opaque ids


@dataclass(frozen=True, slots=True)
class RosterState:
    """What is remembered. A unit that never had a roster has version 0."""

    version: int = 0
    digest: str = ""  # SHA-256 of the content of that version, hex
    tombstones: Mapping[str, int] = field(default_factory=dict)  # opaque id to version
    owed: PendingReceipt | None = None

    def followed_by(
        self,
        version: int,
        digest: str,
        tombstones: Mapping[str, int],
        readmitted: Mapping[str, int],
    ) -> "RosterState":
        """Return the ledger once a roster is in force that names these."""
        merged = dict(self.tombstones)
        for person, at in tombstones.items():
            merged[person] = max(at, merged.get(person, 0))
        standing = {person: at for person, at in merged.items() if readmitted.get(person, 0) <= at}
        return RosterState(version, digest, standing, self.owed)


def read_ledger(path: Path) -> RosterState | None:
    """Return what is remembered; None where there is no such file. Raises RosterError."""
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise RosterError(f"{path}: cannot be read: {error.strerror}") from None
    checksum, _, text = content.partition(b"\n")
    if hashlib.sha256(text).hexdigest().encode() != checksum:
        raise RosterError(
            f"{path}: what is remembered of the roster is damaged; restore a copy, or move it "
            "away and have the newest roster delivered"
        )
    return _parsed(json.loads(text))


def _parsed(said: dict[str, Any]) -> RosterState:
    owed = said["owed"]
    return RosterState(
        version=said["version"],
        digest=said["digest"],
        tombstones=said["tombstones"],
        owed=None if owed is None else PendingReceipt(owed["to"], tuple(owed["erased"])),
    )


def write_ledger(path: Path, ledger: RosterState) -> None:
    """Remember, durably when this returns. Raises RosterError."""
    text = json.dumps(asdict(ledger), separators=(",", ":")).encode()
    try:
        replace_and_wipe(path, hashlib.sha256(text).hexdigest().encode() + b"\n" + text)
    except OSError as error:
        raise RosterError(f"{path}: cannot be written: {error.strerror}") from None


class RosterRejectReason(StrEnum):
    """Why a roster is not taken."""

    STALE = "stale"  # not newer than the one in force
    BAD_DATA = "bad-data"  # not the bytes that were promised, or no roster
    OTHER_NETWORK = "other-network"  # made with another identity network
    ERASED_PERSON = "erased-person"  # holds somebody who was erased


class RosterRejected(RosterError):
    """A roster that is not taken; the one in force stays."""

    def __init__(self, reason: RosterRejectReason, message: str) -> None:
        super().__init__(message)
        self.reason = reason


class RosterStore:
    """The roster file and its ledger. One thread at a time."""

    def __init__(self, file: Path, key: bytes, embedder: str) -> None:
        """`embedder`: SHA-256 of the unit's identity network, hex. Wipes what a power cut left.

        Raises RosterError.
        """
        self.file = file
        self._place = file.with_name(file.name + ".ledger")
        self._key = key
        self._embedder = embedder
        try:
            sweep(self.file)
            sweep(self._place)
        except OSError as error:
            raise RosterError(f"{file}: what a power cut left cannot be wiped: {error}") from None
        self.ledger = read_ledger(self._place) or RosterState()
        self._newest = 0  # of what was brought by hand

    def load(self) -> Gallery:
        """Return what the file holds. Raises RosterError, too, for one that is out of date."""
        said = content(self.file, self._key, self._embedder)
        if said.version < self.ledger.version:
            raise RosterError(
                f"{self.file}: is version {said.version}, and this unit had version "
                f"{self.ledger.version}; bring the newest roster, or have it delivered"
            )
        if erased := self._erased(said):
            raise RosterError(
                f"{self.file}: holds {pluralize(len(erased), 'person')} erased before (the first "
                f"{min(erased)}); bring the newest roster, or have it delivered"
            )
        gallery = gallery_of(self.file, said)
        if self.ledger.version == 0 and not said.tombstones:
            # Brought by hand, and nothing was ever delivered: the same version may still come.
            self._newest = said.version - 1
        elif said.version > self.ledger.version:
            self._remember(self._owing(said, ""))
        return gallery

    def install(self, plain: bytearray, version: int, digest: str, to: str) -> Gallery:
        """Put a roster that was delivered in force; durable when this returns.

        `version` and `digest` (hex) are what its content was promised to be, `to` is the id of
        the promise.
        Raises RosterRefused, and RosterError where the disk does not take it.
        """
        try:
            said = unpack(plain)
            gallery = said.gallery()
        except ValueError:
            raise RosterRejected(
                RosterRejectReason.BAD_DATA, "what was delivered is no roster"
            ) from None
        if (said.version, said.digest) != (version, digest):
            raise RosterRejected(
                RosterRejectReason.BAD_DATA, "what was delivered is not what was signed"
            )
        self.check(said.version, digest, said.embedder)
        if erased := self._erased(said):
            raise RosterRejected(
                RosterRejectReason.ERASED_PERSON,
                f"holds {pluralize(len(erased), 'person')} erased before, and does not say "
                "that they were enrolled again",
            )
        after = self._owing(said, to)
        write(self.file, self._key, plain)
        self._remember(after)
        return gallery

    def check(self, version: int, digest: str, embedder: str) -> None:
        """Raise RosterRefused for a roster that need not even be fetched.

        The very content that was in force last may come again: its file may be lost.
        """
        newest = max(self.ledger.version, self._newest)
        again = (version, digest) == (self.ledger.version, self.ledger.digest)
        if version <= newest and not again:
            raise RosterRejected(
                RosterRejectReason.STALE, f"is version {version}, and version {newest} was here"
            )
        if embedder != self._embedder:
            raise RosterRejected(
                RosterRejectReason.OTHER_NETWORK,
                f"was made with another identity network ({embedder[:12]}…, this unit has "
                f"{self._embedder[:12]}…)",
            )

    def receipt_sent(self) -> None:
        """Note that the receipt is in the chain. Raises RosterError."""
        self._remember(replace(self.ledger, owed=None))

    def _following(self, said: RosterData) -> RosterState:
        return self.ledger.followed_by(said.version, said.digest, said.tombstones, said.readmitted)

    def _owing(self, said: RosterData, to: str) -> RosterState:
        """Return the ledger once a roster is in force, with the receipt that is owed for it."""
        after = self._following(said)
        new = after.tombstones.keys() - self.ledger.tombstones.keys()
        before = self.ledger.owed.erased if self.ledger.owed else ()
        return replace(after, owed=PendingReceipt(to, tuple(sorted({*new, *before}))))

    def _erased(self, said: RosterData) -> frozenset[str]:
        """Return who is in a roster in spite of a tombstone, its own or a remembered one."""
        return said.people() & self._following(said).tombstones.keys()

    def _remember(self, ledger: RosterState) -> None:
        write_ledger(self._place, ledger)
        self.ledger = ledger
