"""Checks whether a file is a sound outbox, without changing it."""

import contextlib
import os
import sqlite3
from pathlib import Path

from edge.contract.jose import claim, digest, key_id
from edge.errors import OutboxDamaged, OutboxUnusable
from edge.outbox.schema import APPLICATION_ID, PRE_RELEASE_ID, VERSION
from edge.outbox.sequence_log import SequenceRecord
from edge.outbox.sqlite import ILLEGIBLE, NOT_OF_THE_FILE, connect, translate_sqlite_errors

TAIL = 64  # newest events whose chain is always checked
UNSENT = 20_000  # at most, of those that the broker has not acknowledged
FULL_CHECK_BYTES = 16 * 1024 * 1024  # up to this size the whole file is checked at every start


def check_integrity(file: Path, mark: SequenceRecord | None, kid: str | None = None) -> None:
    """Check that the file is a sound outbox, and the one that `mark` describes if given.

    `kid` is the id of the signing key: it identifies the owner of events beyond `mark`. Raises
    OutboxDamaged, OutboxUnusable for a file of another program or version, and
    OutboxError (OutboxFull) if the files that SQLite keeps next to it cannot be opened.
    """
    try:
        with file.open("r+b") as opened:
            size = os.fstat(opened.fileno()).st_size
    except OSError as error:
        raise OutboxUnusable(f"{file}: cannot be opened: {error.strerror}") from None
    if size == 0:  # SQLite would treat it as new and start at 1 again
        raise OutboxDamaged(f"{file}: is empty, which an outbox never is")
    try:
        # Read-only: a damaged file is evidence, and a newer one must stay as it is.
        with contextlib.closing(connect(file, "ro")) as db:
            _check_format(db, file, mark)
            if size <= FULL_CHECK_BYTES or (mark is not None and mark.suspect):
                found = db.execute("PRAGMA quick_check(1)").fetchone()[0]
                if found != "ok":
                    raise OutboxDamaged(f"{file}: is damaged ({found})")
            _check_chain(db, file, mark, kid)
    except ILLEGIBLE as error:
        code = getattr(error, "sqlite_errorcode", 0)
        with translate_sqlite_errors(file):
            if code in NOT_OF_THE_FILE or code & 0xFF in NOT_OF_THE_FILE:
                raise
        raise OutboxDamaged(f"{file}: is damaged ({error})") from error


def _check_format(db: sqlite3.Connection, file: Path, mark: SequenceRecord | None) -> None:
    version = int(db.execute("PRAGMA user_version").fetchone()[0])
    application_id = db.execute("PRAGMA application_id").fetchone()[0]
    if application_id == PRE_RELEASE_ID:
        raise OutboxUnusable(
            f"{file}: was written by a Senyum from before the first release (schema {version}), "
            "which this one does not read; let that one deliver its events, then move the outbox, "
            "the signing key and the key's .begun file away and register the new key with central"
        )
    if application_id != APPLICATION_ID:
        try:
            db.execute("SELECT sequence, id, stored_at, jws FROM event LIMIT 1")
        except sqlite3.OperationalError:
            raise OutboxUnusable(
                f"{file}: is not an outbox of Senyum; name another outbox.file"
            ) from None
        raise OutboxDamaged(f"{file}: is damaged (its application id is wrong)")
    # A newer program records its schema in the sequence log too; any other version is damage.
    if version < 1 or (mark is not None and version > max(mark.schema, VERSION)):
        raise OutboxDamaged(f"{file}: is damaged (schema {version} does not exist)")
    if version > VERSION and not _is_compatible(db):
        raise OutboxUnusable(
            f"{file}: was written by a newer Senyum (schema {version}, this one knows "
            f"{VERSION}); install that one again"
        )


def _is_compatible(db: sqlite3.Connection) -> bool:
    """Return whether a newer outbox notes, as `serves`, that this version can work on it.

    A schema that only adds something says so, because an update may be rolled back.
    """
    row = db.execute("SELECT value FROM note WHERE name = 'serves'").fetchone()
    return row is not None and str(row[0]).isdecimal() and int(row[0]) <= VERSION


def _check_chain(
    db: sqlite3.Connection, file: Path, mark: SequenceRecord | None, kid: str | None
) -> None:
    """Check the links of the newest events, and the last one against the sequence log."""
    counters = dict(db.execute("SELECT name, value FROM counter").fetchall())
    if counters.keys() != {"session", "delivered", "epoch", "base"}:
        raise OutboxDamaged(f"{file}: is damaged (its counters are wrong)")
    notes = dict(db.execute("SELECT name, value FROM note").fetchall())
    base = counters["base"]
    base_digest = notes.get("base", "") if base else None
    newest = db.execute("SELECT max(sequence) FROM event").fetchone()[0] or 0
    first = min(max(counters["delivered"], newest - UNSENT), newest - TAIL)
    sequence, last = 0, None
    for found, jws in db.execute(
        "SELECT sequence, jws FROM event WHERE sequence >= ? ORDER BY sequence", (first,)
    ):
        # Saved events, up to the base, may have gaps; the oldest follows what is not here.
        if found == base + 1:
            wrong = claim(jws, "previous") != base_digest
        elif found == sequence + 1:
            wrong = claim(jws, "previous") != last
        else:
            wrong = sequence > 0 and found > base
        if wrong:
            raise OutboxDamaged(f"{file}: the chain is broken at event {found}")
        sequence, last = found, digest(jws)
    if sequence <= base:
        sequence, last = base, base_digest
    if counters["delivered"] > sequence:
        raise OutboxDamaged(f"{file}: events after {sequence} were delivered and are gone")
    if mark is not None:
        _check_against_sequence_log(mark, file, counters["epoch"], sequence, last)
        at_base = base > 0 and (mark.sequence, mark.digest) == (base, base_digest)
        if sequence > mark.sequence and not at_base:
            _check_own_events(db, mark, file, sequence, kid)


def _check_against_sequence_log(
    mark: SequenceRecord, file: Path, epoch: int, sequence: int, last: str | None
) -> None:
    if epoch < mark.epoch:
        raise OutboxDamaged(f"{file}: is one that was set aside earlier and has been put back")
    if sequence < mark.sequence:
        raise OutboxDamaged(f"{file}: ends at event {sequence}, and {mark.sequence} was stored")
    if sequence == mark.sequence and last != mark.digest:
        raise OutboxDamaged(f"{file}: event {sequence} is not the one that was stored")


def _check_own_events(
    db: sqlite3.Connection, mark: SequenceRecord, file: Path, newest: int, kid: str | None
) -> None:
    """Check that events beyond the sequence log's, as after a power cut, are this unit's."""
    query = "SELECT jws FROM event WHERE sequence = ?"
    row = db.execute(query, (mark.sequence,)).fetchone()
    if row is not None:
        if digest(row[0]) != mark.digest:
            raise OutboxDamaged(
                f"{file}: is of another unit or key: event {mark.sequence} is not the one that was "
                "stored"
            )
        return
    # That event is past retention, or no event existed yet.
    (token,) = db.execute(query, (newest,)).fetchone() or ("",)
    if newest > mark.reserved or (kid is not None and key_id(token) != kid):
        raise OutboxDamaged(
            f"{file}: is of another unit or key: its event {newest} was not signed here"
        )
