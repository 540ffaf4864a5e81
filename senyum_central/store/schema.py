"""The tables of the central store, the same in SQLite and PostgreSQL.

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

SCHEMA_VERSION = 1
APPLICATION_ID = 0x53454E53  # "SENS", in SQLite's header: this file is a central store
# The same of the stores that were written before the first release, and their table in PostgreSQL.
UNRELEASED_APPLICATION_ID = 0x53454E43
UNRELEASED_VERSION_TABLE = "senyum_store"

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
    _text("id"),
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
    Index("event_time", "time"),
    UniqueConstraint("unit", "id"),  # CloudEvents: `source` and `id` together name an event
    sqlite_strict=True,
)

# The newest chain head that a state or health of the unit names, with the signed message.
HEAD = _table(
    "head",
    _text("unit", key=True),
    _int("sequence"),
    _text("digest"),
    _text("topic"),
    _text("jws"),
    _text("received_at"),
)

# The open rows (not healed) do not overlap: each missing number is in exactly one of them.
GAP = _table(
    "gap",
    _text("unit", key=True),
    _int("first", key=True),
    _int("last", key=True),
    _text("reported_at"),
    _text("healed_at", optional=True),
    _text("outage"),  # when the first gap of the outage was reported
    # Requests to the unit to resend the events.
    Column("asked", _INT, nullable=False, server_default="0"),  # requests since the last arrival
    _text("ask_after", optional=True),  # null: at once
    Column("wanted", _INT),  # numbers that were missing at the last request
    _text("request", optional=True),  # id of the last command
    _text("answer", optional=True),
    _text("given_up_at", optional=True),
    Index(
        "gap_waiting",  # units with outstanding requests
        "unit",
        "ask_after",
        sqlite_where=text("healed_at IS NULL AND given_up_at IS NULL"),
        postgresql_where=text("healed_at IS NULL AND given_up_at IS NULL"),
    ),
    Index(
        "gap_open_first",
        "unit",
        "first",
        sqlite_where=text("healed_at IS NULL"),
        postgresql_where=text("healed_at IS NULL"),
    ),
)

# Each fork is reported once.
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

# How many refused messages were removed to make room for newer ones.
REFUSED_BEFORE = _table("refused_before", _text("flaw", key=True), _int("times"))

# Events with an unsynchronized clock, and the time computed from the nearest anchor.
UNDATED = _table(
    "undated",
    _text("unit", key=True),
    _text("id", key=True),
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

# Signed events of a type that this version does not know.
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

# The last command number that was used with each authority key.
COMMAND = _table("command", _text("kid", key=True), _int("number"))

# Where a chain continues under a new unit name.
MOVE = _table("move", _text("unit", key=True), _int("sequence", key=True), _text("origin"))

# The key set that the receiver uses; `export` verifies with it by default.
KEY_FILE = _table("key_file", _text("path", key=True), _text("noted_at"))

# PostgreSQL only: SQLite stores the version in the file header.
VERSION = Table("senyum_schema", METADATA, Column("version", Integer, nullable=False))


def create(db: Connection) -> None:
    """Create every table in an empty database, and record the version and the application id."""
    server = db.dialect.name == "postgresql"
    METADATA.create_all(
        db, [table for table in METADATA.sorted_tables if server or table is not VERSION]
    )
    if server:
        db.execute(VERSION.insert(), {"version": SCHEMA_VERSION})
    else:
        db.exec_driver_sql(f"PRAGMA application_id = {APPLICATION_ID}")
        db.exec_driver_sql(f"PRAGMA user_version = {SCHEMA_VERSION}")


def tables(db: Connection) -> set[str]:
    """Return the names of all tables in the database, other programs' included."""
    return set(inspect(db).get_table_names())
