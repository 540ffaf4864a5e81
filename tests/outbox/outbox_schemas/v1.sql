PRAGMA page_size = 1024;
PRAGMA journal_mode = WAL;
PRAGMA application_id = 0x53454E59;
PRAGMA user_version = 1;
CREATE TABLE event (
    sequence INTEGER PRIMARY KEY,
    id TEXT NOT NULL,
    stored_at INTEGER NOT NULL,
    jws TEXT NOT NULL
) STRICT;
CREATE TRIGGER event_is_final BEFORE UPDATE ON event
    BEGIN SELECT RAISE(ABORT, 'a stored event never changes'); END;
CREATE TABLE counter (name TEXT PRIMARY KEY, value INTEGER NOT NULL) STRICT, WITHOUT ROWID;
INSERT INTO counter VALUES ('session', 0), ('delivered', 0);
