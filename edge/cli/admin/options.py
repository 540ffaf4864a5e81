"""What the actions that speak with units have in common."""

import argparse
import secrets
from pathlib import Path


def add_connection(parser: argparse.ArgumentParser) -> None:
    """Add where the broker is and how to be let in; `edge.cli.receive.broker_settings` reads it."""
    parser.add_argument(
        "--broker",
        required=True,
        metavar="HOST[:PORT]",
        help="or mqtt://HOST[:PORT], or mqtts://HOST[:PORT] for TLS",
    )
    parser.add_argument("--ca", type=Path, metavar="PEM", help="authority of the broker")
    parser.add_argument(
        "--certificate", dest="cert", type=Path, metavar="PEM", help="certificate to show it"
    )
    parser.add_argument("--key", type=Path, metavar="PEM", help="its key, mode 0600")
    parser.add_argument("--username")
    parser.add_argument("--password-file", type=Path, metavar="FILE", help="mode 0600")


def client_id() -> str:
    """Return a name for one visit to the broker."""
    return f"senyum-admin.{secrets.token_hex(6)}"
