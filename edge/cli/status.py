"""`senyum status`: prints the daemon's status in one sentence."""

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
        help="show this unit's status in one sentence",
        description=(
            "Show the status of the running daemon, as systemctl status does. Exits with 0 if it "
            "works, 1 if it is out of order, 3 if it is not running."
        ),
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--runtime", type=Path, default=RUNTIME, help="(default: %(default)s)")
    parser.set_defaults(func=run)


def run(options: argparse.Namespace) -> int:
    from edge.status.status_file import STALE_S, read

    status = read(options.runtime)
    if status is None:
        text = "The daemon is not running; see: systemctl status senyum"
        print(json.dumps({"running": False}) if options.json else text)
        return 3
    stale = status.age_s > STALE_S
    if options.json:
        content = {"running": True, "age_s": round(status.age_s, 1), **asdict(status)}
        print(ascii_json(json.dumps(content, indent=2)))
    else:
        print(escaped(status.sentence))
        if stale:
            print(f"No update for {status.age_s:.0f} s; see: journalctl -u senyum")
    return 1 if stale or status.fault is not None else 0
