"""`senyum keys`: what a central server needs to verify this unit."""

import argparse
import json
from pathlib import Path
from typing import Any


def add_parser(commands: Any) -> None:
    parser = commands.add_parser(
        "keys",
        help="print this unit's public key for the central server's keys.json",
        description=(
            "Print the public half of this unit's signing key as a JWK set, or add it to the "
            "key file of a central server. The key is made if the unit has none yet."
        ),
    )
    parser.add_argument("--config", type=Path, help="settings, TOML (default: /etc/senyum)")
    parser.add_argument("--add-to", type=Path, metavar="FILE", help="keys.json to add it to")
    parser.set_defaults(func=run)


def run(options: argparse.Namespace) -> int:
    from edge.configuration import load_unit
    from edge.mqtt.keys import SigningKey, add_registration
    from edge.mqtt.topics import UnitName

    settings = load_unit(options.config)
    key = SigningKey.load_or_create(settings.outbox.signing_key, settings.outbox.signing_algorithm)
    registration = key.registration(UnitName.of(settings.unit))
    if options.add_to is None:
        print(json.dumps({"keys": [registration]}, indent=2))
    else:
        replaced = add_registration(options.add_to, registration)
        what = "replaced the entry of" if replaced else "added"
        print(f"{options.add_to}: {what} key {key.kid} of {settings.unit.source}")
    return 0
