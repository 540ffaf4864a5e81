"""`senyum self-test`: tests whether this version works on this unit, for `senyum update`."""

import argparse
from pathlib import Path
from typing import Any


def add_parser(commands: Any) -> None:
    parser = commands.add_parser(
        "self-test",
        help="test whether this version works on this unit (stop senyum.service first)",
        description=(
            "Process one camera frame with every model; open roster, key and outbox. Changes "
            "nothing. `senyum update` runs this with a new version before it activates it."
        ),
    )
    parser.add_argument("--config", type=Path, help="settings, TOML (default: /etc/senyum)")
    parser.set_defaults(func=run)


def run(options: argparse.Namespace) -> int:
    from edge.appliance.update.selftest import run_tests

    run_tests(options.config)
    print("self-test passed")
    return 0
