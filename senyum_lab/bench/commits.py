"""How many messages a second a disk takes when each commit must be on it: the bare SQLite of it.

No signature, no number, no link: what no durable outbox on that disk can pass.
"""

import contextlib
import os
import sqlite3
import time
from pathlib import Path

from edge.outbox.schema import PAGE_BYTES


def commit_rate(file: Path, size: int, messages: int, together: int = 1) -> float:
    """Return messages of `size` bytes a second, so many `together` in one durable commit.

    In the outbox's mode: WAL, synchronous FULL, its page size. Raises sqlite3.Error.
    """
    with contextlib.closing(sqlite3.connect(file, isolation_level=None)) as db:
        db.execute(f"PRAGMA page_size = {PAGE_BYTES}")
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("PRAGMA synchronous = FULL")
        db.execute("CREATE TABLE message (number INTEGER PRIMARY KEY, content TEXT) STRICT")
        content = os.urandom(size // 2 + 1).hex()[:size]
        began = time.perf_counter()
        for _ in range(0, messages, together):
            db.execute("BEGIN IMMEDIATE")
            for _ in range(together):
                db.execute("INSERT INTO message (content) VALUES (?)", (content,))
            db.execute("COMMIT")
        return -(-messages // together) * together / (time.perf_counter() - began)
