"""`senyum self-test`: whether this version can work on this unit; `senyum update` asks it."""

import argparse
from pathlib import Path
from typing import Any


def add_parser(commands: Any) -> None:
    parser = commands.add_parser(
        "self-test",
        help="whether this version can work here; the unit's service must be stopped",
        description=(
            "Judge one camera frame with every network, open roster, key and outbox. Changes "
            "nothing. `senyum update` asks this of a new version before it is put in force."
        ),
    )
    parser.add_argument("--config", type=Path, help="settings, TOML (default: /etc/senyum)")
    parser.set_defaults(func=run)


def run(options: argparse.Namespace) -> int:
    from edge.appliance.update.selftest import examine

    examine(options.config)
    print("all is well")
    return 0
