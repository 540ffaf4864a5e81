"""The tables of the central store, for SQLite and PostgreSQL alike, and how older ones grow.

Times are RFC 3339 in UTC, as text. `event.number` is the order of receipt.
"""

from sqlalchemy import (
    BigInteger,
    Column,
    Connection,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
    UniqueConstraint,
    inspect,
    text,
)

SCHEMA_VERSION = 5
APPLICATION_ID = 0x53454E43  # "SENC", in SQLite's header: this file is a central store

_INT = BigInteger().with_variant(Integer(), "sqlite")  # 64 bits in both
METADATA = MetaData()


def _table(name: str, *parts: Column[int] | Column[str] | Column[bytes] | Index) -> Table:
    """Describe a table whose key is not a running number."""
    return Table(name, METADATA, *parts, sqlite_strict=True, sqlite_with_rowid=False)


def _text(name: str, *, key: bool = False, optional: bool = False) -> Column[str]:
    return Column(name, Text, primary_key=key, nullable=optional)


def _int(name: str, *, key: bool = False) -> Column[int]:
    return Column(name, _INT, primary_key=key, autoincrement=False, nullable=False)


EVENT = Table(
    "event",
    METADATA,
    Column("number", _INT, primary_key=True),
    Column("id", Text, nullable=False, unique=True),
    _text("unit"),
    _int("sequence"),
    _text("digest"),
    _text("previous", optional=True),
    _text("type"),
    _text("time"),
    _text("subject", optional=True),
    _text("kid"),
    _text("jws"),
    _text("received_at"),
    Index("event_chain", "unit", "sequence"),
    Index("event_time", "time"),  # since version 3
    sqlite_strict=True,
)

# The latest that a unit's state or health said about its chain.
HEAD = _table(
    "head",
    _text("unit", key=True),
    _int("sequence"),
    _text("digest"),
    # Since version 3: the signed message itself, which proves it to others.
    _text("topic", optional=True),
    _text("jws", optional=True),
    _text("received_at", optional=True),
)

# Each missing number is in one row that is not healed, and in no two.
GAP = _table(
    "gap",
    _text("unit", key=True),
    _int("first", key=True),
    _int("last", key=True),
    _text("reported_at"),
    _text("healed_at", optional=True),
    # Since version 3: what became of asking the unit for it.
    Column("asked", _INT, nullable=False, server_default="0"),  # times, since the last that came
    _text("ask_after", optional=True),  # null: at once
    Column("wanted", _INT),  # numbers of it that were missing when it was last asked for
    _text("request", optional=True),  # id of the last command
    _text("answer", optional=True),
    _text("given_up_at", optional=True),
    _text("outage", optional=True),  # since version 5: when the first gap of it was reported
    Index(
        "gap_waiting",  # since version 5: units that are asked for something
        "unit",
        "ask_after",
        sqlite_where=text("healed_at IS NULL AND given_up_at IS NULL"),
        postgresql_where=text("healed_at IS NULL AND given_up_at IS NULL"),
    ),
    Index(
        "gap_open_first",  # since version 5
        "unit",
        "first",
        sqlite_where=text("healed_at IS NULL"),
        postgresql_where=text("healed_at IS NULL"),
    ),
)

# Reported once each.
FORK = _table(
    "fork",
    _text("unit", key=True),
    _int("sequence", key=True),
    _text("digest", key=True),
    _text("why"),
    _text("found_at"),
)

REFUSED = Table(
    "refused",
    METADATA,
    Column("number", _INT, primary_key=True),
    _text("first_at"),
    _text("last_at"),
    _int("times"),
    _text("topic"),
    _text("flaw"),
    _text("why"),
    _int("size"),
    _text("sha256"),  # of the whole payload
    Column("payload", LargeBinary, nullable=False),  # its first bytes
    UniqueConstraint("topic", "flaw", "sha256"),
    sqlite_strict=True,
)

# Messages that made room for newer ones: only their count is left.
REFUSED_BEFORE = _table("refused_before", _text("flaw", key=True), _int("times"))

# Since version 2: events of no certain time, and the time that an anchor gave them.
UNDATED = _table(
    "undated",
    _text("id", key=True),
    _text("unit"),
    _int("sequence"),
    _text("boot_id"),
    _int("monotonic_ns"),
    _text("corrected", optional=True),
    Index("undated_boot", "unit", "boot_id"),
)
ANCHOR = _table(
    "anchor",
    _text("unit", key=True),
    _text("boot_id", key=True),
    _int("monotonic_ns", key=True),
    _text("utc"),
    _int("sequence", key=True),
)

# Since version 3: signed by the unit, of a type that a later contract brought.
LATER = _table(
    "later",
    _text("digest", key=True),
    _text("unit"),
    _int("sequence"),
    _text("type"),
    _text("topic"),
    _text("jws"),
    _text("received_at"),
    Index("later_chain", "unit", "sequence"),
)

# Since version 3: the last number of a command that was signed with a key.
COMMAND = _table("command", _text("kid", key=True), _int("number"))

# Since version 4: where a unit's chain goes on under this name.
MOVE = _table("move", _text("unit", key=True), _int("sequence", key=True), _text("origin"))

# Made when a receiver first starts with the store: the key set that it uses, for `export`. Not part
# of METADATA: a store without it is as good, and every version of this program leaves it alone.
KEY_FILE = Table("key_file", MetaData(), Column("path", Text, primary_key=True), _text("noted_at"))

# PostgreSQL has no place of its own for it.
VERSION = Table("senyum_store", METADATA, Column("version", Integer, nullable=False))


def create(db: Connection) -> None:
    """Make every table in an empty database."""
    METADATA.create_all(db, [table for table in METADATA.sorted_tables if table is not VERSION])


def dating_tables(db: Connection) -> None:
    """Grow from version 1 to 2; the caller reads the stored events into them."""
    METADATA.create_all(db, [UNDATED, ANCHOR])


def asking_tables(db: Connection) -> None:
    """Grow from version 2 to 3, in SQLite: no server has an older one."""
    METADATA.create_all(db, [LATER, COMMAND])
    _add_columns(db, "head", "topic TEXT", "jws TEXT", "received_at TEXT")
    _add_columns(
        db,
        "gap",
        "asked INTEGER NOT NULL DEFAULT 0",
        "ask_after TEXT",
        "wanted INTEGER",
        "request TEXT",
        "answer TEXT",
        "given_up_at TEXT",
    )
    for index in EVENT.indexes:
        index.create(db, checkfirst=True)


def moving_tables(db: Connection) -> None:
    """Grow from version 3 to 4; the caller reads the stored events into them."""
    METADATA.create_all(db, [MOVE])


def outage_columns(db: Connection) -> None:
    """Grow from version 4 to 5."""
    _add_columns(db, GAP.name, "outage TEXT")
    db.exec_driver_sql("DROP INDEX IF EXISTS gap_open")
    for index in GAP.indexes:
        index.create(db, checkfirst=True)
    db.execute(GAP.update().values(outage=GAP.c.reported_at))


def _add_columns(db: Connection, table: str, *columns: str) -> None:
    there = {column["name"] for column in inspect(db).get_columns(table)}
    for column in columns:
        if column.partition(" ")[0] not in there:
            db.exec_driver_sql(f"ALTER TABLE {table} ADD COLUMN {column}")


def tables(db: Connection) -> set[str]:
    """Return the names of the tables that are there, anybody's."""
    return set(inspect(db).get_table_names())
