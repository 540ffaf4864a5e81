"""The options for the connection to the broker and for the central store."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, get_args
from urllib.parse import urlsplit

from pydantic import ValidationError

from edge.errors import UsageError
from edge.setting_types import ProtocolName
from edge.settings import BrokerSettings
from edge.system.text import describe_validation_error

if TYPE_CHECKING:
    from senyum_central.store.event_store import Store

_PORTS = {"mqtt": 1883, "mqtts": 8883}


def add_broker(parser: argparse.ArgumentParser) -> None:
    """Add the options that `broker_settings` reads."""
    parser.add_argument(
        "--broker",
        required=True,
        metavar="HOST[:PORT]",
        help="or mqtt://HOST[:PORT], or mqtts://HOST[:PORT] for TLS",
    )
    parser.add_argument(
        "--ca",
        type=Path,
        metavar="PEM",
        help="CA certificates of the broker (default: the system's)",
    )
    parser.add_argument("--cert", type=Path, metavar="PEM", help="client certificate")
    parser.add_argument("--key", type=Path, metavar="PEM", help="its key, mode 0600")
    parser.add_argument("--username")
    parser.add_argument("--password-file", type=Path, metavar="FILE", help="mode 0600")
    parser.add_argument(
        "--protocol",
        choices=get_args(ProtocolName),
        default="auto",
        help="MQTT version; auto: 5, or 3.1.1 if the broker does not support 5 (default: auto)",
    )


def broker_settings(args: argparse.Namespace) -> BrokerSettings:
    """Return the broker settings of the options. Raises UsageError."""
    text: str = args.broker
    try:
        url = urlsplit(text if "://" in text else f"//{text}")
        port = url.port
    except ValueError as error:
        raise UsageError(f"--broker {text}: {error}") from None
    scheme = url.scheme or ("mqtts" if args.ca or args.cert else "mqtt")
    if scheme not in _PORTS or not url.hostname or url.path not in {"", "/"} or url.query:
        raise UsageError(
            f"--broker {text}: must be HOST[:PORT], mqtt://HOST[:PORT] or mqtts://HOST[:PORT]"
        )
    if "@" in url.netloc:
        raise UsageError("--broker: contains a user name; use --username and --password-file")
    try:
        return BrokerSettings(
            host=url.hostname,
            port=_PORTS[scheme] if port is None else port,
            tls=scheme == "mqtts",
            ca=args.ca,
            certificate=args.cert,
            certificate_key=args.key,
            username=args.username,
            password=args.password_file,
            protocol=args.protocol,
        )
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        field = "".join(f"{part}: " for part in first["loc"])
        raise UsageError(f"--broker {text}: {field}{describe_validation_error(first)}") from None


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


def open_store(args: argparse.Namespace, *, read_only: bool = False) -> "Store":
    """Open the store. Unless `read_only`, a missing file is created. Raises StoreError."""
    from senyum_central.store.event_store import Store

    where: Path | str = args.store
    if isinstance(where, Path) and not where.parent.is_dir():
        raise UsageError(f"--store {where}: folder {where.parent} does not exist; create it first")
    if isinstance(where, Path) and read_only and not where.is_file():
        raise UsageError(f"--store {where}: file not found; name the store that `receive` writes")
    if isinstance(where, Path) and args.store_password_file:
        raise UsageError("--store-password-file: is for PostgreSQL, but --store names a file")
    return Store(where, password=args.store_password_file, read_only=read_only)


def _where(text: str) -> Path | str:
    return text if "://" in text else Path(text)
