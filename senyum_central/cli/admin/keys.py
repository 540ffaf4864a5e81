"""`senyum admin keys`: makes a command key and prints its public half."""

import argparse
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any


def add_parser(actions: Any) -> None:
    parser = actions.add_parser(
        "keys",
        help="make a command key, and print its public half for the units",
        description=(
            "Print the public half of a command key with its roles and units, as a JWK set for the "
            "units' authorities.json, or add it to such a file. The key is made if it does not "
            "exist, with mode 0600. Keep it off the units and the broker."
        ),
    )
    parser.add_argument(
        "--authority", type=Path, required=True, metavar="FILE", help="the command key"
    )
    parser.add_argument(
        "--role",
        action="append",
        choices=["command", "roster"],
        help="what it may sign; may be repeated (default: command)",
    )
    parser.add_argument(
        "--units",
        action="append",
        required=True,
        metavar="URN",
        help="units it may address: urn:senyum:ORG:SITE:UNIT, each a name or *; may be repeated",
    )
    parser.add_argument(
        "--alg",
        choices=["Ed25519", "ES256"],
        default="Ed25519",
        help="algorithm of a key that is made (default: %(default)s)",
    )
    parser.add_argument(
        "--until", type=_day, metavar="DATE", help="last day of its validity, such as 2027-12-31"
    )
    parser.add_argument("--add-to", type=Path, metavar="FILE", help="authorities.json to add it to")
    parser.set_defaults(func=run)


def _day(text: str) -> datetime:
    try:
        day = datetime.strptime(text, "%Y-%m-%d").replace(tzinfo=UTC)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a date such as 2027-12-31") from None
    return day.replace(hour=23, minute=59, second=59)


def run(options: argparse.Namespace) -> int:
    from edge.contract.authority import Authorities, Role, register
    from edge.contract.keys import add_registration
    from edge.errors import SecretError, SettingsError
    from senyum_central.admin.authority_key import load_or_create

    roles = [Role(role) for role in options.role or ["command"]]
    if options.add_to is not None:
        Authorities.load(options.add_to)
        if not options.add_to.parent.is_dir():
            raise SecretError(
                f"{options.add_to}: folder {options.add_to.parent} does not exist; create it"
            )
    key, keep = load_or_create(options.authority, options.alg, roles)
    try:
        entry = register(key, roles, options.units, not_after=options.until)
    except ValueError as error:
        raise SettingsError(f"--units: {error}") from None
    keep()  # nothing was written until here
    if options.add_to is None:
        print(json.dumps({"keys": [entry]}, indent=2))
        return 0
    replaced = add_registration(options.add_to, entry, Authorities.of)
    what = "replaced" if replaced else "added"
    print(f"{options.add_to}: {what} key {key.kid} ({', '.join(roles)})")
    return 0
