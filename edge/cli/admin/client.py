"""The options by which an administrator reaches the broker: those of `senyum receive`."""

import argparse
from pathlib import Path


def add_broker(parser: argparse.ArgumentParser) -> None:
    """Add them; `edge.cli.receive.broker_settings` reads them."""
    parser.add_argument(
        "--broker",
        required=True,
        metavar="HOST[:PORT]",
        help="or mqtt://HOST[:PORT], or mqtts://HOST[:PORT] for TLS",
    )
    parser.add_argument("--ca", type=Path, metavar="PEM", help="authority of the broker")
    parser.add_argument("--cert", type=Path, metavar="PEM", help="certificate to be let in with")
    parser.add_argument("--key", type=Path, metavar="PEM", help="its key, mode 0600")
    parser.add_argument("--username")
    parser.add_argument("--password-file", type=Path, metavar="FILE", help="mode 0600")
