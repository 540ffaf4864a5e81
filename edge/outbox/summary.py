"""Summary of an outbox for programs other than the daemon. Reads only."""

import contextlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edge.contract.jose import claim, key_id
from edge.errors import OutboxError, OutboxUnusable
from edge.outbox.sqlite import connect, translate_sqlite_errors
from edge.system import files
from edge.system.text import escaped


@dataclass(frozen=True, slots=True)
class Contents:
    """How far the chain went; zeros where nothing was recorded yet."""

    newest: int = 0  # number of the newest event
    delivered: int = 0  # the newest that a broker took, with all before it
    token: str | None = None  # the newest event's JWS

    @property
    def waiting(self) -> int:
        """How many events no broker has taken yet."""
        return max(self.newest - self.delivered, 0)

    @property
    def source(self) -> str | None:
        """The URN that the newest event was signed under."""
        found = None if self.token is None else claim(self.token, "source")
        return found if isinstance(found, str) else None


def summarize(file: Path) -> Contents:
    """Return what the outbox holds, of any version of its tables. Raises OutboxError."""
    if not file.exists():
        return Contents()
    with translate_sqlite_errors(file), contextlib.closing(connect(file, "ro")) as db:
        row = db.execute("SELECT value FROM counter WHERE name = 'delivered'").fetchone()
        delivered = 0 if row is None else int(row[0])
        newest = db.execute(
            "SELECT sequence, jws FROM event ORDER BY sequence DESC LIMIT 1"
        ).fetchone()
    if newest is None:
        return Contents(delivered, delivered)
    return Contents(int(newest[0]), delivered, str(newest[1]))


def check_owner(file: Path, source: str, kid: str | None) -> None:
    """Raise OutboxUnusable if the newest event is of another unit and of another key than `kid`.

    A unit that was renamed by `senyum provision` goes on with its outbox; but it has signed before,
    which is noted next to its key; this check is for keys that have not.
    """
    contents = summarize(file)
    if contents.token is None or contents.source == source or key_id(contents.token) == kid:
        return
    raise OutboxUnusable(
        f"{file}: is the outbox of {escaped(contents.source)}, and this unit is {source}; move it "
        "away, or bring the signing key and its .begun file of that unit too"
    )


def rename_detail(newest: str | None, source: str) -> dict[str, Any] | None:
    """Return the detail of the audit of a renamed unit: newest event not of `source`, or None."""
    before = None if newest is None else claim(newest, "source")
    if newest is None or before in (None, source):
        return None
    return {"from": before, "last": int(claim(newest, "sequence"))}


def is_locked(file: Path) -> bool:
    """Whether a daemon has the outbox open. Raises OutboxError."""
    try:
        return files.is_locked(file.with_name(file.name + ".lock"))
    except OSError as error:
        raise OutboxError(f"{file}: cannot be looked into: {error.strerror}") from None
