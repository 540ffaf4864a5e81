"""What a unit remembers of its roster in a place of its own: the version, and who was erased.

An older roster file, put back by hand or by a backup, says nothing of what came after it; this
file does. It also remembers that a receipt is owed until it is in the chain, whatever happens to
the power between the two.

JSON, and the SHA-256 of it on a line before, so that a damaged file is not taken for an old one.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from edge.errors import RosterError
from edge.roster.wipe import replace_and_wipe


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
