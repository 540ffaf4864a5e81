"""Stores signed events durably until the broker acknowledges them, and then as an archive.

One table to which rows are only added: its newest row is the head of the chain, so that an event
and the new head are one transaction. The highest acknowledged number is stored separately and
written late: losing it only means that some events are sent again.

Two connections, one thread each: `Outbox` writes (the recorder's thread); `OutboxReader` reads and
stores what was delivered (the link's thread). SQLite's lock separates the two.

Pages of 1 KiB and a checkpoint every CHECKPOINT_EVENTS keep what one event costs the card near
its own size: an insert touches the end of one tree, and each page is copied back once for many.

Acknowledged events stay as the archive until they exceed its age or count. A damaged file is set
aside at the start, and the chain continues in a new one (`edge.outbox.recovery`).
"""

import contextlib
import json
import logging
import math
import os
import shutil
import sqlite3
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from edge.contract.jose import digest
from edge.contract.keys import SigningKey, sequence_log_path
from edge.errors import OutboxDamaged, OutboxError, OutboxFull, OutboxUnusable
from edge.outbox.event_signer import ChainHead, SignedEvent
from edge.outbox.integrity import check_integrity
from edge.outbox.recovery import KEEP, recover
from edge.outbox.retention import Retention
from edge.outbox.schema import build_new_file, move_into_place
from edge.outbox.sequence_log import SequenceLog
from edge.outbox.sqlite import connect, transaction, translate_sqlite_errors
from edge.outbox.summary import check_owner
from edge.system.clock import Clock, SystemClock
from edge.system.files import lock_file

log = logging.getLogger(__name__)

CHECKPOINT_EVENTS = 32  # few: while the WAL grows after a start, an event costs three times as much
BURST_EVENTS = (
    128  # instead, while they come so fast that a checkpoint would be due more often than
)
BURST_SECONDS = 1.0  # after so long
REMOVALS = 8  # commits that remove what is past retention, at most each time
MIB = 1024 * 1024

Build = Callable[[ChainHead], SignedEvent]


@dataclass(frozen=True, slots=True)
class OutboxRow:
    """One stored event."""

    sequence: int
    id: str
    token: str


class _Connection:
    """What the writer and the reader have in common."""

    def __init__(self, file: Path, synchronous: str) -> None:
        self.file = file
        with translate_sqlite_errors(file):
            self._db = _connect(file, synchronous)
            base = self._counter("base")
            row = self._db.execute("SELECT value FROM note WHERE name = 'base'").fetchone()
            self._base = ChainHead(base, row[0]) if base else ChainHead()

    def head(self) -> ChainHead:
        """Return the newest event's number and digest."""
        with translate_sqlite_errors(self.file):
            return self._head()

    def close(self) -> None:
        """Close; a second time does nothing."""
        self._db.close()

    def _head(self) -> ChainHead:
        row = self._db.execute(
            "SELECT sequence, jws FROM event ORDER BY sequence DESC LIMIT 1"
        ).fetchone()
        # Events up to the base were saved from the file before this one.
        if row is None or row[0] <= self._base.sequence:
            return self._base
        return ChainHead(row[0], digest(row[1]))

    def _counter(self, name: str) -> int:
        row = self._db.execute("SELECT value FROM counter WHERE name = ?", (name,)).fetchone()
        return int(row[0])


class Outbox(_Connection):
    """The writer. Opening creates the file if it is missing, checks it, and counts a session.

    Raises OutboxError, also if another process has the outbox open. `clock` gives the UTC that age
    is later judged by. While less than `reserve_bytes` of the disk are free nothing is added, so
    that what is there can always be moved, noted and closed.

    With `signing_key`, the file of the key that signs, no number is ever used twice under it: an
    outbox is not made for a key that has signed events of another one, and a damaged one is set
    aside and goes on in a new file. `renewal` reports that until it is recorded in the chain.

    `source` is the unit's URN. An outbox of another unit is damage, as far as the key's numbers
    tell; for a key that has signed nothing yet it is refused.
    """

    def __init__(
        self,
        file: Path,
        retention_days: int = 90,
        retention_events: int = 100_000,
        *,
        clock: Clock | None = None,
        signing_key: Path | None = None,
        source: str | None = None,
        reserve_bytes: int = 0,
    ) -> None:
        self._retention = Retention(retention_days, retention_events)
        self._clock = clock or SystemClock()
        self._reserve_bytes = reserve_bytes
        # The first tidying comes soon after a start: what the last session left, and old age.
        self._since_checkpoint = CHECKPOINT_EVENTS
        self._tidied_at = -math.inf
        self._numbers: SequenceLog | None = None
        self.session = 0
        self.sequence = 0  # of the newest event; any thread may read it
        self.renewal: Mapping[str, Any] | None = None
        with contextlib.ExitStack() as undo:
            undo.callback(os.close, _lock(file))
            _make_or_find(file, None if signing_key is None else sequence_log_path(signing_key))
            if signing_key is not None:
                self._numbers = SequenceLog(sequence_log_path(signing_key))
                undo.callback(self._close_numbers)
            self._check_or_recover(file, signing_key, source)
            super().__init__(file, "FULL")
            undo.callback(self._db.close)
            self._begin_session()
            self._close = undo.pop_all()

    def append(self, *builds: Build, records_renewal: bool = False) -> tuple[OutboxRow, ...]:
        """Sign and store events in the order given, durable on return, or none of them.

        Each of `builds` is handed the head that its event follows. With `records_renewal`, they say
        what `renewal` holds, and it is forgotten. Raises OutboxError (OutboxFull where the disk
        has no room, OutboxDamaged), and whatever a build raises.
        """
        self._check_room()
        rows = []
        before: ChainHead | None = None
        try:
            with translate_sqlite_errors(self.file), transaction(self._db):
                # Of the disk, not of memory: a failed commit leaves no trace here.
                before = head = self._head()
                if self._numbers is not None:
                    self._numbers.begin(head.sequence + len(builds))
                for build in builds:
                    signed = build(head)
                    head = head.followed_by(signed.token)
                    rows.append(OutboxRow(head.sequence, signed.id, signed.token))
                    self._db.execute(
                        "INSERT INTO event VALUES (?, ?, ?, ?)",
                        (head.sequence, signed.id, self._now(), signed.token),
                    )
                if records_renewal:
                    self._db.execute("DELETE FROM note WHERE name = 'renewal'")
        except BaseException as error:
            if before is not None:
                self._remember(before)
            if isinstance(error, OutboxDamaged) and self._numbers is not None:
                self._numbers.mark_uncertain()
            raise
        self._remember(head)
        if records_renewal:
            self.renewal = None
        self._since_checkpoint += len(rows)
        return tuple(rows)

    def newest(self) -> str | None:
        """Return the newest event's JWS, or None if the outbox has no event."""
        with translate_sqlite_errors(self.file):
            row = self._db.execute(
                "SELECT jws FROM event ORDER BY sequence DESC LIMIT 1"
            ).fetchone()
        return None if row is None else str(row[0])

    def delete_expired(self, now: datetime | None) -> None:
        """Checkpoint and remove what is past retention, when enough has come together.

        `now` is None while the time is not known: then age removes nothing. What the broker has
        not acknowledged and the newest event always stay.
        """
        burst = time.monotonic() < self._tidied_at + BURST_SECONDS
        if self._since_checkpoint < (BURST_EVENTS if burst else CHECKPOINT_EVENTS):
            return
        with translate_sqlite_errors(self.file):
            for _ in range(REMOVALS):
                past = self._retention.past(self._db, self._counter("delivered"), now)
                if past == 0:
                    break
                with transaction(self._db):
                    self._db.execute("DELETE FROM event WHERE sequence <= ?", (past,))
            self._db.execute("PRAGMA wal_checkpoint(PASSIVE)")
        self._since_checkpoint = 0
        self._tidied_at = time.monotonic()

    def close(self) -> None:
        """Checkpoint and close; a second time does nothing."""
        self._close.close()

    # --- at the start and the end ----------------------------------------------------------------

    def _check_or_recover(self, file: Path, signing_key: Path | None, source: str | None) -> None:
        """Look at the file, and renew it where it is damaged. Raises OutboxError."""
        mark = None if self._numbers is None else self._numbers.mark
        known = signing_key is not None and signing_key.exists()
        kid = SigningKey.load_or_create(signing_key).kid if signing_key and known else None
        try:
            check_integrity(file, mark, kid)
            if mark is None and source is not None:
                check_owner(file, source, kid)
        except OutboxDamaged as damage:
            if self._numbers is None or signing_key is None or mark is None:
                raise OutboxDamaged(f"{damage}; {KEEP}") from damage
            log.error("%s; it is set aside, and a new one is made", damage)  # noqa: TRY400 - the message is complete
            key = SigningKey.load_or_create(signing_key)
            recover(file, self._numbers, key, str(damage), self._now())
            check_integrity(file, self._numbers.mark)

    def _begin_session(self) -> None:
        head = self.head()
        self.sequence = head.sequence
        with translate_sqlite_errors(self.file):
            session, epoch = self._counter("session"), self._counter("epoch")
            row = self._db.execute("SELECT value FROM note WHERE name = 'renewal'").fetchone()
        self.renewal = None if row is None else json.loads(row[0])
        mark = None if self._numbers is None else self._numbers.mark
        self.session = max(session, 0 if mark is None else mark.session) + 1
        try:
            with translate_sqlite_errors(self.file), transaction(self._db):
                self._db.execute(
                    "UPDATE counter SET value = ? WHERE name = 'session'", (self.session,)
                )
        except OutboxFull as error:
            if self._numbers is None:
                raise
            log.warning("%s", error)  # the marker counts sessions too; the unit says what is wrong
        if self._numbers is not None:
            schema = int(self._db.execute("PRAGMA user_version").fetchone()[0])  # may be newer
            self._numbers.initialize_from(schema, epoch, self.session, head.sequence, head.digest)

    def _close_numbers(self) -> None:
        assert self._numbers is not None
        with contextlib.suppress(OutboxError):  # then the next start takes nothing for certain
            self._numbers.close(orderly=self.session > 0)

    def _remember(self, head: ChainHead) -> None:
        """Note where the chain stands; a marker that fails here is found by the next `begin`."""
        self.sequence = head.sequence
        if self._numbers is not None:
            with contextlib.suppress(OutboxError):
                self._numbers.stored(head.sequence, head.digest)

    def _now(self) -> int:
        """Return the UTC seconds since 1970, however uncertain."""
        return self._clock.read().utc_ns // 1_000_000_000

    def _check_room(self) -> None:
        if self._reserve_bytes == 0:
            return
        try:
            free = shutil.disk_usage(self.file.parent).free
        except OSError as error:
            raise OutboxError(f"{self.file}: cannot be reached: {error.strerror}") from None
        if free < self._reserve_bytes:
            least = self._reserve_bytes // MIB  # constant, so that it is logged once
            raise OutboxFull(f"{self.file}: the disk is full (under {least} MiB); make room on it")


class OutboxReader(_Connection):
    """The link's view: what to send next, and what was delivered. Raises OutboxError."""

    def __init__(self, file: Path) -> None:
        # NORMAL: noting a delivery costs no wait for the card; a power cut may forget it.
        super().__init__(file, "NORMAL")

    def after(self, sequence: int, limit: int) -> list[OutboxRow]:
        """Return at most `limit` events that follow `sequence`, oldest first."""
        with translate_sqlite_errors(self.file):
            rows = self._db.execute(
                "SELECT sequence, id, jws FROM event WHERE sequence > ? ORDER BY sequence LIMIT ?",
                (sequence, limit),
            ).fetchall()
        return [OutboxRow(*row) for row in rows]

    def delivered(self) -> int:
        """Return the newest event that `set_delivered` has noted."""
        with translate_sqlite_errors(self.file):
            return self._counter("delivered")

    def set_delivered(self, sequence: int) -> None:
        """Note on disk how far the broker has acknowledged; never goes back."""
        with translate_sqlite_errors(self.file), transaction(self._db):
            self._db.execute(
                "UPDATE counter SET value = ?1 WHERE name = 'delivered' AND value < ?1", (sequence,)
            )

    def oldest(self) -> int | None:
        """Return the number of the oldest event still stored, or None."""
        with translate_sqlite_errors(self.file):
            row = self._db.execute("SELECT min(sequence) FROM event").fetchone()
        return None if row[0] is None else int(row[0])


def _connect(file: Path, synchronous: str) -> sqlite3.Connection:
    db = connect(file, "rw")  # never makes a file
    try:
        db.execute(f"PRAGMA synchronous = {synchronous}")
        # Only `delete_expired` checkpoints, never a commit that a person waits for.
        db.execute("PRAGMA wal_autocheckpoint = 0")
        # Debian's SQLite overwrites freed pages with zeros; that doubles what removing costs.
        db.execute("PRAGMA secure_delete = FAST")
    except sqlite3.Error:
        db.close()
        raise
    return db


def _lock(file: Path) -> int:
    """Keep a second process out; the kernel gives the lock back whichever way this one ends."""
    try:
        file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        return lock_file(file.with_name(file.name + ".lock"), wait=False)
    except BlockingIOError:
        raise OutboxUnusable(f"{file}: another senyum has it open; stop that one first") from None
    except OSError as error:
        raise OutboxError(f"{file}: cannot be opened: {error.strerror}") from None


def _make_or_find(file: Path, marker: Path | None) -> None:
    """Create the outbox if it is missing; `marker` exists if its key has signed events."""
    try:
        if file.exists():
            return
        if marker is not None and marker.exists():
            raise OutboxUnusable(
                f"{file}: is gone, and its key has signed events ({marker}); bring the outbox "
                "back, or move the signing key and that file away and register the new key "
                "with central"
            )
        with translate_sqlite_errors(file), build_new_file(file):
            pass
        move_into_place(file)
    except OSError as error:
        raise OutboxError(f"{file}: cannot be made: {error.strerror}") from None
