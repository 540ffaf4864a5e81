"""Sets a damaged outbox aside and creates one that continues where it ended.

The damaged file keeps its bytes under a dated name. Events that the broker had not acknowledged
are recovered if they verify: by the link from a later event that does, or by their signature.
The new file continues after the last number used. If that number is not certain, because of a power
cut that also damaged the file, it continues after the highest number that could have been used,
leaving one out: no signed event can have the number before its first, so none contradicts it.

The steps, in an order that lets the next start repeat them after a power cut:

1. the damaged file gets a second, dated name;
2. the new file is completed next to it;
3. the sequence log marks the old one as replaced (`SequenceLog.rewrite`): it is never opened again;
4. the new file takes the name.
"""

import contextlib
import json
import sqlite3
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edge.contract.jose import claim, digest, parse
from edge.contract.keys import SigningKey
from edge.errors import OutboxDamaged, OutboxError
from edge.outbox.schema import VERSION, build_new_file, move_into_place
from edge.outbox.sequence_log import SequenceLog, SequenceRecord
from edge.outbox.sqlite import ILLEGIBLE, connect
from edge.system.files import sync_folder

NO_DIGEST = digest("")  # what the first event follows if the event before it is not known
KEEP = (
    "keep the file, it is evidence; then move it, the signing key and the key's .begun file away "
    "and register the new key with central"
)
_PORTION = 256  # events read at a time
_MISSES = 4_096  # numbers in a row that cannot be read, after which the search ends
_WHY = 160  # characters kept of what was wrong

Row = tuple[int, str, int, str]  # sequence, id, stored_at, jws


@dataclass(frozen=True, slots=True)
class _RecoveryPoint:
    """The event that the new chain follows."""

    sequence: int
    digest: str | None


def recover(
    file: Path,
    numbers: SequenceLog,
    key: SigningKey,
    why: str,
    utc: float,
) -> None:
    """Replace a damaged outbox by a new one; `key` is the unit's signing key.

    `utc` is the second since 1970 that dates the damaged file's name. Raises OutboxError; then
    the next start does it again.
    """
    mark = numbers.mark
    if mark is None:  # it is not known which numbers are free
        raise OutboxDamaged(f"{why}; {KEEP}")
    saved, newest = _salvage(file, mark, key)
    base = _base(mark, numbers.boot, newest)
    try:
        aside = _set_aside(file, utc)
        renewal = {
            "file": aside.name,
            "why": why.removeprefix(f"{file}: ")[:_WHY],
            "last_known": max(newest[0] if newest else 0, mark.sequence),
            "next": base.sequence + 1,
            "saved": len(saved),
        }
        with build_new_file(file) as db:
            _fill(db, mark, base, saved, renewal)
        numbers.rewrite(base.sequence, base.digest, VERSION)
        for companion in ("-wal", "-shm"):  # of the old one: SQLite would apply it to the new
            file.with_name(file.name + companion).unlink(missing_ok=True)
        move_into_place(file)
    except (OSError, sqlite3.Error) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise OutboxError(f"{why}; a new one cannot be created next to it: {reason}") from error


def _base(mark: SequenceRecord, boot: str, newest: Row | None) -> _RecoveryPoint:
    """Return the last number used if it is certain, else one that cannot have been used."""
    sequence, last = mark.sequence, mark.digest
    if newest is not None and newest[0] > sequence:
        sequence, last = newest[0], digest(newest[3])
    certain = mark.exact(boot) and sequence == mark.sequence
    if not certain:
        sequence = max(sequence, mark.started, mark.reserved) + 1
    # The very first event follows nothing; any other names something.
    return _RecoveryPoint(sequence, (last or NO_DIGEST) if sequence else None)


def _set_aside(file: Path, utc: float) -> Path:
    """Give the damaged file, and its WAL where there is one, a second, dated name."""
    stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(utc))
    name, number = f"{file.name}.damaged-{stamp}", 1
    while (aside := file.with_name(name)).exists():
        number += 1
        name = f"{file.name}.damaged-{stamp}-{number}"
    wal = file.with_name(file.name + "-wal")
    with contextlib.suppress(FileNotFoundError):
        aside.with_name(aside.name + "-wal").hardlink_to(wal)
    aside.hardlink_to(file)
    sync_folder(file.parent)
    return aside


def _fill(
    db: sqlite3.Connection,
    mark: SequenceRecord,
    base: _RecoveryPoint,
    saved: list[Row],
    renewal: dict[str, Any],
) -> None:
    delivered = saved[0][0] - 1 if saved else base.sequence
    counters = {
        "session": mark.session,
        "delivered": delivered,
        "epoch": mark.epoch + 1,
        "base": base.sequence,
    }
    for name, value in counters.items():
        db.execute("UPDATE counter SET value = ? WHERE name = ?", (value, name))
    if base.digest is not None:
        db.execute("INSERT INTO note VALUES ('base', ?)", (base.digest,))
    db.execute("INSERT INTO note VALUES ('renewal', ?)", (json.dumps(renewal),))
    db.executemany("INSERT INTO event VALUES (?, ?, ?, ?)", saved)


# --- reading what is left ----------------------------------------------------------------------


def _salvage(file: Path, mark: SequenceRecord, key: SigningKey) -> tuple[list[Row], Row | None]:
    """Return the events to send again, ascending, and the newest event that verifies."""
    rows: dict[int, Row] = {}
    delivered = 0
    with contextlib.suppress(*ILLEGIBLE), contextlib.closing(connect(file, "ro")) as db:
        newest = _newest(db)
        delivered = _delivered(db, newest)
        highest = max(mark.reserved, mark.started, mark.sequence, newest)
        for row in _readable_rows(db, max(delivered, 1), highest):
            rows[row[0]] = row
    genuine = _verified(rows, mark, key)
    return [row for row in genuine if row[0] > delivered], genuine[-1] if genuine else None


def _newest(db: sqlite3.Connection) -> int:
    with contextlib.suppress(*ILLEGIBLE, TypeError):
        return int(db.execute("SELECT max(sequence) FROM event").fetchone()[0])
    return 0


def _delivered(db: sqlite3.Connection, newest: int) -> int:
    """Return how far the broker had acknowledged; 0, so that all is sent again, if unknown."""
    with contextlib.suppress(*ILLEGIBLE, TypeError):
        row = db.execute("SELECT value FROM counter WHERE name = 'delivered'").fetchone()
        if isinstance(row[0], int) and 0 <= row[0] <= newest:
            return row[0]
    return 0


def _readable_rows(db: sqlite3.Connection, first: int, last: int) -> list[Row]:
    """Read what can be read of the events `first` to `last`, from both ends."""
    found: dict[int, Row] = {}
    for newest_first in (False, True):
        at, misses, limit = last if newest_first else first, 0, _PORTION
        while first <= at <= last and misses < _MISSES and at not in found:
            try:
                rows = db.execute(_SELECT[newest_first], (at, first, last, limit)).fetchall()
            except ILLEGIBLE:
                if limit > 1:
                    limit = 1
                    continue
                misses += 1
                at += -1 if newest_first else 1
                continue
            if not rows:
                break
            found.update((row[0], row) for row in rows if _is_row(row))
            misses, limit = 0, _PORTION
            at = rows[-1][0] + (-1 if newest_first else 1)
    return [found[sequence] for sequence in sorted(found)]


_SELECT = {
    False: "SELECT sequence, id, stored_at, jws FROM event"
    " WHERE sequence >= ?1 AND sequence BETWEEN ?2 AND ?3 ORDER BY sequence LIMIT ?4",
    True: "SELECT sequence, id, stored_at, jws FROM event"
    " WHERE sequence <= ?1 AND sequence BETWEEN ?2 AND ?3 ORDER BY sequence DESC LIMIT ?4",
}


def _is_row(row: tuple[Any, ...]) -> bool:
    return tuple(map(type, row)) == (int, str, int, str)


def _verified(rows: dict[int, Row], mark: SequenceRecord, key: SigningKey) -> list[Row]:
    """Return the events that are genuine under their number, ascending."""
    genuine: list[Row] = []
    expected: dict[int, str | None] = {mark.sequence: mark.digest}  # what a later one says
    for sequence in sorted(rows, reverse=True):
        row = rows[sequence]
        token = row[3]
        if claim(token, "sequence") != f"{sequence:020d}":
            continue
        follows = claim(token, "previous")
        linked = expected.get(sequence)
        if (digest(token) == linked) if linked is not None else _signed(token, key):
            genuine.append((sequence, str(claim(token, "id")), row[2], token))
            expected[sequence - 1] = follows
    return genuine[::-1]


def _signed(token: str, key: SigningKey) -> bool:
    try:
        return key.verifies(parse(token))
    except ValueError:
        return False
