"""Where the central store is, as the commands that use it are told."""

import argparse
from pathlib import Path

from edge.errors import UsageError
from senyum_central.store.database import is_url
from senyum_central.store.event_store import Store


def add_store(parser: argparse.ArgumentParser) -> None:
    """Add `--store` and what belongs to it."""
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
        help="password of a server's store, mode 0600 (or PGPASSFILE)",
    )


def open_store(args: argparse.Namespace, *, read_only: bool = False) -> Store:
    """Open the store; unless `read_only`, a file is made if there is none. Raises StoreError."""
    where: Path | str = args.store
    if isinstance(where, Path) and not where.parent.is_dir():
        raise UsageError(f"--store {where}: {where.parent} is no folder; make it first")
    if isinstance(where, Path) and read_only and not where.is_file():
        raise UsageError(f"--store {where}: is no file; name the store that `receive` writes")
    if isinstance(where, Path) and args.store_password_file:
        raise UsageError("--store-password-file: is for a server, and --store names a file")
    return Store(where, password=args.store_password_file, read_only=read_only)


def _where(text: str) -> Path | str:
    return text if is_url(text) else Path(text)
