"""`senyum keys`: prints the public keys with which a server verifies this unit."""

import argparse
import json
from pathlib import Path
from typing import Any


def add_parser(commands: Any) -> None:
    parser = commands.add_parser(
        "keys",
        help="print this unit's public keys for the central server's keys.json",
        description=(
            "Print this unit's public keys as a JWK set, or add them to the key file of a central "
            "server: the signing key, and the key that face rosters are encrypted to. Keys that do "
            "not exist are made."
        ),
    )
    parser.add_argument("--config", type=Path, help="settings, TOML (default: /etc/senyum)")
    parser.add_argument("--add-to", type=Path, metavar="FILE", help="keys.json to add them to")
    parser.set_defaults(func=run)


def run(options: argparse.Namespace) -> int:
    from edge.contract.encryption import EncryptionKey, encryption_key_path
    from edge.contract.keys import SigningKey, add_registration
    from edge.contract.topics import UnitName
    from edge.settings import load_settings

    settings = load_settings(options.config)
    key = SigningKey.load_or_create(settings.outbox.signing_key, settings.outbox.signing_algorithm)
    encrypting = EncryptionKey.load_or_create(encryption_key_path(settings.outbox.signing_key))
    unit = UnitName.of(settings.unit)
    registrations = [key.registration(unit), encrypting.registration(unit)]
    if options.add_to is None:
        print(json.dumps({"keys": registrations}, indent=2))
    else:
        for registration in registrations:
            replaced = add_registration(options.add_to, registration)
            what = "replaced the entry of" if replaced else "added"
            kid = registration["kid"]
            print(f"{options.add_to}: {what} key {kid} of {settings.unit.source}")
    return 0
