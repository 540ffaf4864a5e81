"""`senyum status`: how the daemon is, in a sentence."""

import argparse
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from edge.status.status_file import RUNTIME
from edge.system.text import ascii_json, escaped


def add_parser(commands: Any) -> None:
    parser = commands.add_parser(
        "status",
        help="say in a sentence how this unit is",
        description=(
            "Say how the running daemon is, as systemctl status does. Ends with 0 where it does "
            "its work, 1 where it is out of order, 3 where it does not run."
        ),
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--runtime", type=Path, default=RUNTIME, help="(default: %(default)s)")
    parser.set_defaults(func=run)


def run(options: argparse.Namespace) -> int:
    from edge.status.status_file import STALE_S, read

    bulletin = read(options.runtime)
    if bulletin is None:
        said = "The daemon is not running; see: systemctl status senyum"
        print(json.dumps({"running": False}) if options.json else said)
        return 3
    stale = bulletin.age_s > STALE_S
    if options.json:
        content = {"running": True, "age_s": round(bulletin.age_s, 1), **asdict(bulletin)}
        print(ascii_json(json.dumps(content, indent=2)))
    else:
        print(escaped(bulletin.sentence))
        if stale:
            print(f"It has said nothing for {bulletin.age_s:.0f} s; see: journalctl -u senyum")
    return 1 if stale or bulletin.fault is not None else 0
