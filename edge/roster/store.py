"""The roster that a unit has: what it may go on with at its start, and how a new one comes in.

    content checked ─▶ roster file ─▶ ledger ─▶ the earlier file wiped
                        durable        durable

However the power goes, the file is the old roster or the new one, whole. A new file with an old
ledger is set right at the next start, for the file carries the tombstones too.
"""

from dataclasses import replace
from enum import StrEnum
from pathlib import Path

from edge.errors import RosterError
from edge.roster.codec import RosterData, unpack
from edge.roster.file import content, gallery_of, write
from edge.roster.search import Gallery
from edge.roster.state import PendingReceipt, RosterState, read_ledger, write_ledger
from edge.roster.wipe import sweep
from edge.system.text import pluralize


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
