"""`senyum csr`: makes a TLS key that stays on this machine, and a certificate request."""

import argparse
from pathlib import Path
from typing import Any


def add_parser(commands: Any) -> None:
    parser = commands.add_parser(
        "csr",
        help="make this machine's TLS key and a certificate request",
        description=(
            "Make the key of a client or server certificate if it does not exist, and print a "
            "certificate request (PKCS #10) for `senyum admin ca`. The key stays on this machine."
        ),
    )
    parser.add_argument("--config", type=Path, help="settings, TOML (default: /etc/senyum)")
    parser.add_argument(
        "--name",
        help="name of a receiver or broker (default: ORG/SITE/UNIT of this unit's settings)",
    )
    parser.add_argument(
        "--key", type=Path, metavar="FILE", help="default: broker.certificate_key of the settings"
    )
    parser.add_argument(
        "--out", type=Path, metavar="FILE", help="file for the request (default: standard output)"
    )
    parser.set_defaults(func=run)


def run(options: argparse.Namespace) -> int:
    from edge.contract.certificate import LONGEST_NAME, common_name, request
    from edge.contract.topics import UnitName
    from edge.errors import UsageError

    name, key = options.name, options.key
    if name is None:
        from edge.settings import load_settings

        settings = load_settings(options.config)
        key = key or settings.broker.certificate_key
        name = common_name(UnitName.of(settings.unit))
    elif not 1 <= len(name) <= LONGEST_NAME:
        raise UsageError(f"--name: has not 1 to {LONGEST_NAME} characters")
    if key is None:
        raise UsageError("--key: name the key file, or set broker.certificate_key")
    pem = request(name, key, options.out)
    print(pem.decode(), end="") if options.out is None else print(
        f"{options.out}: request of {name}"
    )
    return 0
