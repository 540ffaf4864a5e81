"""Whether a file is a sound outbox. Looks, and changes nothing."""

import contextlib
import os
import sqlite3
from collections.abc import Iterator
from pathlib import Path

from edge.contract.jose import claim, digest, key_id
from edge.errors import OutboxDamaged, OutboxError, OutboxFull, OutboxUnusable
from edge.outbox.schema import APPLICATION_ID, VERSION, is_current
from edge.outbox.sequence_log import SequenceRecord

TAIL = 64  # newest events whose chain is always checked
UNSENT = 20_000  # so many of them at most where the broker has not acknowledged them
FULL_CHECK_BYTES = 16 * 1024 * 1024  # up to this size the whole file is checked at every start
BUSY_SECONDS = 5.0  # how long one connection waits for the other

# What reading a damaged file raises: Python decodes the names of columns by itself, as UTF-8.
ILLEGIBLE = (sqlite3.DatabaseError, UnicodeDecodeError)
_DAMAGE = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB})
# The index of the log beside the file takes 32 KiB again at every start.
_NO_ROOM = frozenset({sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR_SHMSIZE})
# What says nothing against the file itself, of which only what lies beside it is written.
_BESIDE = _NO_ROOM | {sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY}


@contextlib.contextmanager
def translate_sqlite_errors(file: Path) -> Iterator[None]:
    """Tell what SQLite says in our own words, by what can be done about it."""
    try:
        yield
    except sqlite3.Error as error:
        code = getattr(error, "sqlite_errorcode", 0)
        if code in _NO_ROOM:
            raise OutboxFull(f"{file}: the disk is full; make room on it") from error
        if code & 0xFF == sqlite3.SQLITE_CANTOPEN and _no_inode(file.parent):
            raise OutboxFull(
                f"{file}: the disk has no inode left for another file; remove files from it (df -i)"
            ) from error
        kind = OutboxDamaged if code & 0xFF in _DAMAGE else OutboxError  # whatever its detail
        raise kind(f"{file}: {error}") from error
    except UnicodeDecodeError as error:  # see ILLEGIBLE
        raise OutboxDamaged(f"{file}: is damaged ({error.reason})") from error


def _no_inode(folder: Path) -> bool:
    """Whether the file system of a folder counts inodes, and none is left."""
    try:
        disk = os.statvfs(folder)
    except OSError:
        return False
    return disk.f_files > 0 and disk.f_favail == 0


def connect(file: Path, mode: str) -> sqlite3.Connection:
    """Open a file that is there; `mode` is "ro" or "rw". Raises sqlite3.Error."""
    # The thread that opens is not always the thread that works, but there is one at a time.
    db = sqlite3.connect(
        f"{file.absolute().as_uri()}?mode={mode}",
        uri=True,
        timeout=BUSY_SECONDS,
        isolation_level=None,
        check_same_thread=False,
    )
    db.text_factory = _ascii
    return db


def _ascii(content: bytes) -> str:
    """Read a text; all of ours are ASCII, and one that is damaged fails its signature, not us."""
    return content.decode("ascii", "replace").replace("\ufffd", "?")


def check_integrity(file: Path, mark: SequenceRecord | None, kid: str | None = None) -> None:
    """Return where the file is a sound outbox, the one that `mark` speaks of where there is one.

    `kid` is the id of the key that signs: it tells whose events are that `mark` does not name.
    Raises OutboxDamaged, OutboxRefused for a file that is none of ours, or not ours to open, and
    OutboxError (OutboxFull) where what SQLite keeps beside it cannot be had.
    """
    try:
        with file.open("r+b") as opened:
            size = os.fstat(opened.fileno()).st_size
    except OSError as error:
        raise OutboxUnusable(f"{file}: cannot be opened: {error.strerror}") from None
    if size == 0:  # SQLite would take it for a new one, and begin at 1 again
        raise OutboxDamaged(f"{file}: is empty, which no outbox ever is")
    try:
        # Read-only: a damaged file is evidence, and a newer one not ours to touch.
        with contextlib.closing(connect(file, "ro")) as db:
            version = _kind(db, file, mark)
            if size <= FULL_CHECK_BYTES or (mark is not None and mark.suspect):
                found = db.execute("PRAGMA quick_check(1)").fetchone()[0]
                if found != "ok":
                    raise OutboxDamaged(f"{file}: is damaged ({found})")
            _chain(db, file, version, mark, kid)
    except ILLEGIBLE as error:
        code = getattr(error, "sqlite_errorcode", 0)
        with translate_sqlite_errors(file):
            if code in _BESIDE or code & 0xFF in _BESIDE:
                raise
        raise OutboxDamaged(f"{file}: is damaged ({error})") from error


def _kind(db: sqlite3.Connection, file: Path, mark: SequenceRecord | None) -> int:
    version = int(db.execute("PRAGMA user_version").fetchone()[0])
    if db.execute("PRAGMA application_id").fetchone()[0] != APPLICATION_ID:
        try:
            db.execute("SELECT sequence, id, stored_at, jws FROM event LIMIT 1")
        except sqlite3.OperationalError:
            raise OutboxUnusable(
                f"{file}: is not an outbox of Senyum; name another outbox.file"
            ) from None
        raise OutboxDamaged(f"{file}: is damaged (its mark is gone)")
    # A newer program tells the marker its schema too; a version that it did not tell is damage.
    if version < 1 or (mark is not None and version > max(mark.schema, VERSION)):
        raise OutboxDamaged(f"{file}: is damaged (there is no schema {version})")
    if not is_current(db, version):
        raise OutboxUnusable(
            f"{file}: was written by a newer Senyum (schema {version}, this one knows "
            f"{VERSION}); install that one again"
        )
    return version


def _chain(
    db: sqlite3.Connection, file: Path, version: int, mark: SequenceRecord | None, kid: str | None
) -> None:
    """Hold the newest events' links against each other, and the last against the mark."""
    counters = dict(db.execute("SELECT name, value FROM counter").fetchall())
    wanted = {"session", "delivered"} | ({"epoch", "base"} if version > 1 else set())
    if counters.keys() != wanted:
        raise OutboxDamaged(f"{file}: is damaged (its counters are wrong)")
    notes = dict(db.execute("SELECT name, value FROM note").fetchall()) if version > 1 else {}
    base = counters.get("base", 0)
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
        _check_against_sequence_log(mark, file, counters.get("epoch", 0), sequence, last)
        at_base = base > 0 and (mark.sequence, mark.digest) == (base, base_digest)
        if sequence > mark.sequence and not at_base:
            _own(db, mark, file, sequence, kid)


def _check_against_sequence_log(
    mark: SequenceRecord, file: Path, epoch: int, sequence: int, last: str | None
) -> None:
    if epoch < mark.epoch:
        raise OutboxDamaged(f"{file}: is one that was set aside before, and has come back")
    if sequence < mark.sequence:
        raise OutboxDamaged(f"{file}: ends at event {sequence}, and {mark.sequence} was stored")
    if sequence == mark.sequence and last != mark.digest:
        raise OutboxDamaged(f"{file}: event {sequence} is not the one that was stored")


def _own(
    db: sqlite3.Connection, mark: SequenceRecord, file: Path, newest: int, kid: str | None
) -> None:
    """Hold a file that goes on beyond the mark, as after a power cut, against another unit's."""
    query = "SELECT jws FROM event WHERE sequence = ?"
    row = db.execute(query, (mark.sequence,)).fetchone()
    if row is not None:
        if digest(row[0]) != mark.digest:
            raise OutboxDamaged(
                f"{file}: is of another unit or key: event {mark.sequence} is not the one that was "
                "stored"
            )
        return
    # That event is past retention, or there was none yet.
    (token,) = db.execute(query, (newest,)).fetchone() or ("",)
    if newest > mark.reserved or (kid is not None and key_id(token) != kid):
        raise OutboxDamaged(
            f"{file}: is of another unit or key: its event {newest} was not signed here"
        )
