"""`senyum admin …`: manages a fleet; one module per action."""

import argparse
import importlib
from typing import Any

# In the order in which a fleet needs them.
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
        help="manage a fleet: certificates, keys, commands, face rosters",
        description="Manage a fleet, on a server or an office computer, not on a unit.",
    )
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    for module in ACTIONS.values():
        importlib.import_module(module).add_parser(actions)
