"""The tables of the central store."""

from edge.central import dating

SCHEMA_VERSION = 2
APPLICATION_ID = 0x53454E43  # "SENC", in SQLite's header: this file is a central store

SCHEMA = """
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

SCHEMA += dating.SCHEMA  # since version 2
