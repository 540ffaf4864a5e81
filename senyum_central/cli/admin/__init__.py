"""`senyum admin …`: what the people do who look after a fleet; a module an action."""

import argparse
import importlib
from typing import Any

# In the order of a fleet's life.
ACTIONS: dict[str, str] = {
    "keys": "senyum_central.cli.admin.keys",
    "send": "senyum_central.cli.admin.send",
    "ca": "senyum_central.cli.admin.ca",
    "roster": "senyum_central.cli.admin.roster",
    "erase": "senyum_central.cli.admin.erase",
}


def add_parser(commands: Any) -> None:
    parser: argparse.ArgumentParser = commands.add_parser(
        "admin",
        help="look after a fleet: certificates, keys, commands, rosters",
        description="What is done where units are looked after, never on a unit.",
    )
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    for module in ACTIONS.values():
        importlib.import_module(module).add_parser(actions)
