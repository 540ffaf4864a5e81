"""The options for the central store."""

import argparse
from pathlib import Path

from edge.errors import UsageError
from senyum_central.store.database import is_url
from senyum_central.store.event_store import Store


def add_store(parser: argparse.ArgumentParser) -> None:
    """Add `--store` and its password option."""
    parser.add_argument(
        "--store",
        type=_where,
        required=True,
        metavar="STORE",
        help="SQLite file, or postgresql://[USER@]HOST[:PORT]/DATABASE",
    )
    parser.add_argument(
        "--store-password-file",
        type=Path,
        metavar="FILE",
        help="password of the database, mode 0600 (or use PGPASSFILE)",
    )


def open_store(args: argparse.Namespace, *, read_only: bool = False) -> Store:
    """Open the store. Unless `read_only`, a missing file is created. Raises StoreError."""
    where: Path | str = args.store
    if isinstance(where, Path) and not where.parent.is_dir():
        raise UsageError(f"--store {where}: folder {where.parent} does not exist; create it first")
    if isinstance(where, Path) and read_only and not where.is_file():
        raise UsageError(f"--store {where}: file not found; name the store that `receive` writes")
    if isinstance(where, Path) and args.store_password_file:
        raise UsageError("--store-password-file: is for PostgreSQL, but --store names a file")
    return Store(where, password=args.store_password_file, read_only=read_only)


def _where(text: str) -> Path | str:
    return text if is_url(text) else Path(text)
