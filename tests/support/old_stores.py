"""Central stores as earlier versions of this program made them, word for word."""

import sqlite3
from contextlib import closing
from pathlib import Path

from central_parts import Unit, keys_of

from edge.contract.envelope import verify
from edge.contract.events import AttendanceEvent, AuditEvent
from edge.contract.jose import digest
from senyum_central.ingest.ingestor import Message

NOW = "2026-03-02T00:31:04.000+00:00"
_FIRST = """
CREATE TABLE event (
    number INTEGER PRIMARY KEY,  -- in the order of receipt
    id TEXT NOT NULL UNIQUE,
    unit TEXT NOT NULL,
    sequence INTEGER NOT NULL,
    digest TEXT NOT NULL,
    previous TEXT,
    type TEXT NOT NULL,
    time TEXT NOT NULL,
    subject TEXT,
    kid TEXT NOT NULL,
    jws TEXT NOT NULL,
    received_at TEXT NOT NULL
) STRICT;
CREATE INDEX event_chain ON event (unit, sequence);

CREATE TABLE head (  -- the latest that a unit's state or health said about its chain
    unit TEXT PRIMARY KEY,
    sequence INTEGER NOT NULL,
    digest TEXT NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE gap (  -- reported once each
    unit TEXT NOT NULL,
    first INTEGER NOT NULL,
    last INTEGER NOT NULL,
    reported_at TEXT NOT NULL,
    healed_at TEXT,
    PRIMARY KEY (unit, first, last)
) STRICT, WITHOUT ROWID;

CREATE TABLE fork (  -- reported once each
    unit TEXT NOT NULL,
    sequence INTEGER NOT NULL,
    digest TEXT NOT NULL,
    why TEXT NOT NULL,
    found_at TEXT NOT NULL,
    PRIMARY KEY (unit, sequence, digest)
) STRICT, WITHOUT ROWID;

CREATE TABLE refused (
    number INTEGER PRIMARY KEY,
    first_at TEXT NOT NULL,
    last_at TEXT NOT NULL,
    times INTEGER NOT NULL,
    topic TEXT NOT NULL,
    flaw TEXT NOT NULL,
    why TEXT NOT NULL,
    size INTEGER NOT NULL,
    sha256 TEXT NOT NULL,  -- of the whole payload
    payload BLOB NOT NULL,  -- its first bytes
    UNIQUE (topic, flaw, sha256)
) STRICT;

CREATE TABLE refused_before (  -- messages that made room for newer ones: only their count is left
    flaw TEXT PRIMARY KEY,
    times INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
"""
_DATING = """
CREATE TABLE undated (  -- events of no certain time, and the time that an anchor gave them
    id TEXT PRIMARY KEY,
    unit TEXT NOT NULL,
    sequence INTEGER NOT NULL,
    boot_id TEXT NOT NULL,
    monotonic_ns INTEGER NOT NULL,
    corrected TEXT
) STRICT, WITHOUT ROWID;
CREATE INDEX undated_boot ON undated (unit, boot_id);

CREATE TABLE anchor (
    unit TEXT NOT NULL,
    boot_id TEXT NOT NULL,
    monotonic_ns INTEGER NOT NULL,
    utc TEXT NOT NULL,
    sequence INTEGER NOT NULL,
    PRIMARY KEY (unit, boot_id, monotonic_ns, sequence)
) STRICT, WITHOUT ROWID;
"""
SCHEMAS = {1: _FIRST, 2: _FIRST + _DATING}


def make(path: Path, version: int, unit: Unit, messages: list[Message]) -> None:
    """Write a store of that version which holds `messages` of `unit`."""
    keys = keys_of(unit)
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        db.executescript(SCHEMAS[version])
        db.execute("PRAGMA application_id = 0x53454E43")
        db.execute(f"PRAGMA user_version = {version}")
        for message in messages:
            found = verify(message.payload, keys, message.topic)
            event = found.event
            assert isinstance(event, AttendanceEvent | AuditEvent)
            db.execute(
                "INSERT INTO event (id, unit, sequence, digest, previous, type, time, subject, kid,"
                " jws, received_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    event.id,
                    event.source,
                    event.number,
                    digest(found.token),
                    event.previous,
                    event.type,
                    event.time,
                    getattr(event, "subject", None),
                    found.kid,
                    found.token,
                    NOW,
                ),
            )
        source = unit.name.source
        last = unit.head.sequence
        db.execute("INSERT INTO head VALUES (?, ?, ?)", (source, last, unit.head.digest))
        db.execute("INSERT INTO gap VALUES (?, 90, 91, ?, NULL)", (source, NOW))
        db.execute(
            "INSERT INTO refused"
            " (first_at, last_at, times, topic, flaw, why, size, sha256, payload)"
            " VALUES (?, ?, 3, 'a/b', 'malformed', 'why', 1, 'aa', x'00')",
            (NOW, NOW),
        )
