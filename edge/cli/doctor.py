"""`senyum doctor`: checks this unit."""

import argparse
import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edge.errors import SettingsError
from edge.status.status_file import RUNTIME
from edge.system.privileges import USER
from edge.system.text import ascii_json, escaped

if TYPE_CHECKING:
    from edge.appliance.doctor.diagnostics import DiagnosticResult

OUTPUTS = ("green", "red", "buzzer")


def add_parser(commands: Any) -> None:
    parser = commands.add_parser(
        "doctor",
        help="check this unit's hardware, configuration and connections",
        description=(
            "Check power, clock, disk, camera, LEDs, buzzer, models, roster, keys and brokers. "
            "Run as root. While the daemon runs, its status is used for camera and broker, and "
            "LEDs and buzzer are skipped. Exits with 0 if no check failed, else with 1. "
            "docs/troubleshooting.md explains the codes."
        ),
    )
    parser.add_argument("--config", type=Path, help="settings, TOML (default: /etc/senyum)")
    parser.add_argument("--json", action="store_true", help="print one JSON object, ask nothing")
    parser.add_argument(
        "--loopback",
        type=_loopback,
        action="append",
        default=[],
        metavar="[PART=]PIN",
        help="BCM pin wired back to an output (green by default, red or buzzer) to verify it",
    )
    parser.add_argument("--runtime", type=Path, default=RUNTIME, help=argparse.SUPPRESS)
    parser.add_argument("--user", default=USER, help="user that runs the daemon (%(default)s)")
    parser.set_defaults(func=run)


def _loopback(text: str) -> tuple[str, int]:
    output, _, pin = text.rpartition("=")
    output = output or "green"
    if output not in OUTPUTS or not pin.isascii() or not pin.isdigit() or int(pin) > 27:
        raise argparse.ArgumentTypeError(
            f"{text!r} is not a BCM pin, or green, red or buzzer, then =, then a BCM pin"
        )
    return output, int(pin)


def run(options: argparse.Namespace) -> int:
    from edge.appliance.doctor.checks import run_checks
    from edge.appliance.doctor.diagnostics import (
        DiagnosticCode,
        DiagnosticContext,
        all_passed,
        failed,
    )
    from edge.appliance.provision.boot import BOOT
    from edge.settings import load_settings, remarks
    from edge.status.status_file import read
    from edge.system.clock import SystemClock
    from edge.system.privileges import service

    # libcamera logs much that does not help a technician.
    os.environ.setdefault("LIBCAMERA_LOG_LEVELS", "*:ERROR")
    results = []
    try:
        settings = load_settings(options.config)
    except SettingsError as error:
        remedy = "run senyum provision, or correct the file"
        checks = iter([failed("settings", DiagnosticCode.SETTINGS, str(error), remedy)])
    else:
        loopback = dict(options.loopback)
        gpio = settings.gpio
        if set(loopback.values()) & {gpio.green, gpio.red, gpio.buzzer}:
            raise SettingsError("--loopback names the pin of an LED or the buzzer; use another pin")
        asks = not options.json and sys.stdin.isatty()
        checks = run_checks(
            DiagnosticContext(
                settings,
                SystemClock(settings.clock.state_file, settings.clock.stale_after),
                service(options.user),
                read(options.runtime),
                boot=BOOT,
                remarks=remarks(options.config),
                ask=_confirm if asks else None,
                loopback=loopback,
            )
        )
    for result in checks:
        results.append(result)
        if not options.json:
            print(line(result, colour=sys.stdout.isatty()), flush=True)
    passed = all_passed(results)
    if options.json:
        content = {"ok": passed, "findings": [result.to_json() for result in results]}
        print(ascii_json(json.dumps(content, indent=2)))
    return 0 if passed else 1


_COLOURS = {"good": "32", "bad": "31", "unchecked": "90"}
_MARKS = {"good": "ok", "bad": "BAD", "unchecked": "-"}


def line(result: "DiagnosticResult", *, colour: bool = False) -> str:
    """Return a result as one line; text from outside is escaped."""
    mark = f"{_MARKS[result.status]:<4}"
    if colour:
        mark = f"\033[{_COLOURS[result.status]}m{mark}\033[0m"
    code = f" [{result.code}]" if result.code else ""
    remedy = f"; {result.remedy}" if result.remedy else ""
    return f"{mark}{escaped(f'{result.check}: {result.text}{code}{remedy}')}"


def _confirm(question: str) -> bool:
    try:
        return input(f"{question}? [y/n] ").strip().lower() in ("y", "yes")
    except EOFError:
        return False
