"""`senyum doctor`: looks this unit over."""

import argparse
import json
import os
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edge.errors import SettingsError
from edge.status.status_file import RUNTIME
from edge.system.privileges import USER
from edge.system.text import ascii_json, escaped

if TYPE_CHECKING:
    from edge.appliance.doctor.result import DiagnosticResult

PARTS = ("green", "red", "buzzer")


def add_parser(commands: Any) -> None:
    parser = commands.add_parser(
        "doctor",
        help="look this unit over: a line for each thing, and what to do next",
        description=(
            "Look over power, clock, disk, camera, light, sound, models, roster, keys and brokers. "
            "Run it as root. While the daemon runs it is asked about camera and broker, and light "
            "and sound are left out. Ends with 0 where nothing is wrong, else with 1. What the "
            "codes mean: docs/troubleshooting.md."
        ),
    )
    parser.add_argument("--config", type=Path, help="settings, TOML (default: /etc/senyum)")
    parser.add_argument("--json", action="store_true", help="print one JSON object, ask nothing")
    parser.add_argument(
        "--loopback",
        type=_wire,
        action="append",
        default=[],
        metavar="[PART=]PIN",
        help="a wire from green (the default), red or buzzer to this BCM pin measures it",
    )
    parser.add_argument("--runtime", type=Path, default=RUNTIME, help=argparse.SUPPRESS)
    parser.add_argument("--user", default=USER, help="whom the daemon runs as (%(default)s)")
    parser.set_defaults(func=run)


def _wire(text: str) -> tuple[str, int]:
    part, _, pin = text.rpartition("=")
    if (part or "green") not in PARTS or not pin.isascii() or not pin.isdigit() or int(pin) > 27:
        raise argparse.ArgumentTypeError(f"{text!r} is not green, red or buzzer, =, and a BCM pin")
    return part or "green", int(pin)


def run(options: argparse.Namespace) -> int:
    from edge.appliance.doctor.checks import run_checks
    from edge.appliance.doctor.context import DiagnosticContext
    from edge.appliance.doctor.result import CheckStatus, DiagnosticCode, DiagnosticResult, healthy
    from edge.appliance.provision.boot import BOOT
    from edge.settings import load_settings, remarks
    from edge.status.status_file import read
    from edge.system.clock import SystemClock
    from edge.system.privileges import service

    # libcamera and lgpio say much that is not for a technician.
    os.environ.setdefault("LIBCAMERA_LOG_LEVELS", "*:ERROR")
    try:
        settings = load_settings(options.config)
    except SettingsError as error:
        findings = [
            DiagnosticResult(
                "settings", CheckStatus.BAD, str(error), DiagnosticCode.SETTINGS, _PROVISION
            )
        ]
        _tell(findings, as_json=options.json)
        return 1
    loopback = dict(options.loopback)
    gpio = settings.gpio
    if set(loopback.values()) & {gpio.green, gpio.red, gpio.buzzer}:
        raise SettingsError("--loopback names a pin that a light or the buzzer has; wire another")
    asks = not options.json and sys.stdin.isatty()
    patient = DiagnosticContext(
        settings,
        SystemClock(settings.clock.state_file, settings.clock.stale_after),
        service(options.user),
        read(options.runtime),
        boot=BOOT,
        remarks=remarks(options.config),
        ask=_yes if asks else None,
        loopback=loopback,
    )
    findings = []
    for finding in run_checks(patient):
        findings.append(finding)
        if not options.json:
            print(line(finding, colour=sys.stdout.isatty()), flush=True)
    if options.json:
        _tell(findings, as_json=True)
    return 0 if healthy(findings) else 1


_PROVISION = "senyum provision, or mend the file"
_COLOURS = {"good": "32", "bad": "31", "unchecked": "90"}
_MARKS = {"good": "ok", "bad": "BAD", "unchecked": "-"}


def line(finding: "DiagnosticResult", *, colour: bool = False) -> str:
    """Return a finding as one line; whatever is foreign in it is escaped."""
    mark = f"{_MARKS[finding.verdict]:<4}"
    if colour:
        mark = f"\033[{_COLOURS[finding.verdict]}m{mark}\033[0m"
    code = f" [{finding.code}]" if finding.code else ""
    do = f"; {finding.do}" if finding.do else ""
    return f"{mark}{escaped(f'{finding.check}: {finding.text}{code}{do}')}"


def _tell(findings: "list[DiagnosticResult]", *, as_json: bool) -> None:
    from edge.appliance.doctor.result import healthy

    if not as_json:
        for finding in findings:
            print(line(finding, colour=sys.stdout.isatty()))
        return
    content = {"ok": healthy(findings), "findings": [asdict(finding) for finding in findings]}
    print(ascii_json(json.dumps(content, indent=2)))


def _yes(question: str) -> bool:
    try:
        return input(f"{question}? [y/n] ").strip().lower() in ("y", "yes")
    except EOFError:
        return False
