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
    """A receipt that is not signed yet: the roster is active, the people are erased."""

    to: str  # id of the manifest that is answered
    erased: tuple[str, ...]  # opaque ids


@dataclass(frozen=True, slots=True)
class RosterState:
    """The stored state. Version 0 means that the unit never had a roster."""

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
        """Return the state after a roster with these entries became active."""
        merged = dict(self.tombstones)
        for person, at in tombstones.items():
            merged[person] = max(at, merged.get(person, 0))
        standing = {person: at for person, at in merged.items() if readmitted.get(person, 0) <= at}
        return RosterState(version, digest, standing, self.owed)


def load_state(path: Path) -> RosterState | None:
    """Return the stored state, or None if the file does not exist. Raises RosterError."""
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise RosterError(f"{path}: cannot be read: {error.strerror}") from None
    checksum, _, text = content.partition(b"\n")
    if hashlib.sha256(text).hexdigest().encode() != checksum:
        raise RosterError(
            f"{path}: the stored state of the roster is damaged; restore a copy, or move it "
            "away and have the newest roster delivered"
        )
    return _parsed(json.loads(text))


def _parsed(data: dict[str, Any]) -> RosterState:
    owed = data["owed"]
    return RosterState(
        version=data["version"],
        digest=data["digest"],
        tombstones=data["tombstones"],
        owed=None if owed is None else PendingReceipt(owed["to"], tuple(owed["erased"])),
    )


def save_state(path: Path, ledger: RosterState) -> None:
    """Write the state durably. Raises RosterError."""
    text = json.dumps(asdict(ledger), separators=(",", ":")).encode()
    try:
        replace_and_wipe(path, hashlib.sha256(text).hexdigest().encode() + b"\n" + text)
    except OSError as error:
        raise RosterError(f"{path}: cannot be written: {error.strerror}") from None


class RosterRejectReason(StrEnum):
    """Why a roster is rejected."""

    STALE = "stale"  # not newer than the active one
    BAD_DATA = "bad-data"  # not the bytes that the manifest states, or not a roster
    OTHER_NETWORK = "other-network"  # made with another identity network
    ERASED_PERSON = "erased-person"  # contains somebody who was erased


class RosterRejected(RosterError):
    """The roster is rejected; the active one stays."""

    def __init__(self, reason: RosterRejectReason, message: str) -> None:
        super().__init__(message)
        self.reason = reason


class RosterStore:
    """The roster file and its state file. One thread at a time."""

    def __init__(self, file: Path, key: bytes, embedder: str) -> None:
        """Load the state, and wipe the remains of a power cut. Raises RosterError.

        `embedder` is the SHA-256 of the unit's identity network, hex.
        """
        self.file = file
        self._state_file = file.with_name(file.name + ".ledger")
        self._key = key
        self._embedder = embedder
        try:
            sweep(self.file)
            sweep(self._state_file)
        except OSError as error:
            raise RosterError(
                f"{file}: the remains of a power cut cannot be wiped: {error}"
            ) from None
        self.ledger = load_state(self._state_file) or RosterState()
        self._newest = 0  # of what was brought by hand

    def load(self) -> Gallery:
        """Return the gallery of the roster file. Raises RosterError, also if it is outdated."""
        data = content(self.file, self._key, self._embedder)
        if data.version < self.ledger.version:
            raise RosterError(
                f"{self.file}: is version {data.version}, and this unit had version "
                f"{self.ledger.version}; bring the newest roster, or have it delivered"
            )
        if erased := self._erased_people(data):
            raise RosterError(
                f"{self.file}: holds {pluralize(len(erased), 'person')} erased before (the first "
                f"{min(erased)}); bring the newest roster, or have it delivered"
            )
        gallery = gallery_of(self.file, data)
        if self.ledger.version == 0 and not data.tombstones:
            # Brought by hand, and nothing was ever delivered: the same version may still come.
            self._newest = data.version - 1
        elif data.version > self.ledger.version:
            self._save_state(self._state_with_receipt(data, ""))
        return gallery

    def install(self, plain: bytearray, version: int, digest: str, to: str) -> Gallery:
        """Install a delivered roster durably.

        `version` and `digest` (hex) are those that the manifest states, `to` is the id of the
        manifest. Raises RosterRejected, and RosterError if the disk fails.
        """
        try:
            data = unpack(plain)
            gallery = data.gallery()
        except ValueError:
            raise RosterRejected(
                RosterRejectReason.BAD_DATA, "the delivered data is not a roster"
            ) from None
        if (data.version, data.digest) != (version, digest):
            raise RosterRejected(
                RosterRejectReason.BAD_DATA, "the delivered data is not what was signed"
            )
        self.check(data.version, digest, data.embedder)
        if erased := self._erased_people(data):
            raise RosterRejected(
                RosterRejectReason.ERASED_PERSON,
                f"holds {pluralize(len(erased), 'person')} erased before, and does not say "
                "that they were enrolled again",
            )
        after = self._state_with_receipt(data, to)
        write(self.file, self._key, plain)
        self._save_state(after)
        return gallery

    def check(self, version: int, digest: str, embedder: str) -> None:
        """Raise RosterRejected for a roster that need not be fetched.

        The content that was active last may come again, because its file may be lost.
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
        """Record that the receipt is in the chain. Raises RosterError."""
        self._save_state(replace(self.ledger, owed=None))

    def _next_state(self, data: RosterData) -> RosterState:
        return self.ledger.followed_by(data.version, data.digest, data.tombstones, data.readmitted)

    def _state_with_receipt(self, data: RosterData, to: str) -> RosterState:
        """Return the state after this roster became active, with the receipt to be signed."""
        after = self._next_state(data)
        new = after.tombstones.keys() - self.ledger.tombstones.keys()
        before = self.ledger.owed.erased if self.ledger.owed else ()
        return replace(after, owed=PendingReceipt(to, tuple(sorted({*new, *before}))))

    def _erased_people(self, data: RosterData) -> frozenset[str]:
        """Return the people of a roster who have a tombstone, its own or a stored one."""
        return data.people() & self._next_state(data).tombstones.keys()

    def _save_state(self, ledger: RosterState) -> None:
        save_state(self._state_file, ledger)
        self.ledger = ledger
