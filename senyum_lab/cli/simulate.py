"""`senyum simulate`: a morning rush of many units against real brokers and receivers."""

import argparse
import json
import sys
from pathlib import Path
from typing import Any

# JSON key -> what it is, with its unit, in the order of the table.
MEANING = {
    "recorded": "attempts that were recorded",
    "not_recorded": "attempts that could not be stored on their unit",
    "undelivered": "recorded, and taken by no broker in time",
    "stored": "events in the central store",
    "lost": "recorded and not stored",
    "doubled": "stored twice",
    "strange": "stored, and not what was recorded",
    "broken_chains": "units whose stored chain does not hold",
    "came_again": "arrived again and kept once",
    "refused": "refused by a receiver",
    "median_ms": "record to stored, ms, median (bar 300)",
    "p90_ms": "record to stored, ms, 90th percentile",
    "p99_ms": "record to stored, ms, 99th percentile (bar 2000)",
    "max_ms": "record to stored, ms, the slowest",
    "slow": "events that took more than 2 s",
    "slow_from_s": "the first of them was recorded so long after the first event, s",
    "slow_to_s": "and the last of them, s",
    "connected_s": "until all units were connected, s",
    "rush_s": "the rush, compressed, s",
    "late_s": "how late the simulation itself was at worst, s",
    "load": "load of this machine in the last minute",
}


def add_parser(commands: Any) -> None:
    parser = commands.add_parser(
        "simulate",
        help="let many simulated units send a morning rush, and count what arrives",
        description=(
            "Simulates the wire side of many units (key, outbox, recorder and link are the real "
            "ones) through a compressed morning rush, runs `senyum receive` beside them, and holds "
            "its store against what the units recorded. Status 1 if anything is lost, doubled or "
            "out of chain."
        ),
    )
    parser.add_argument("--units", type=int, default=400)
    parser.add_argument("--people", type=int, default=7000)
    parser.add_argument("--minutes", type=float, default=15.0, help="of the rush (default: 15)")
    parser.add_argument("--speed", type=float, default=10.0, help="times faster (default: 10)")
    parser.add_argument(
        "--broker",
        action="append",
        default=[],
        metavar="HOST[:PORT]",
        help="or mqtt://… or mqtts://…; again for the next in order of preference; each gets a "
        "receiver of its own (default: a private mosquitto)",
    )
    parser.add_argument(
        "--spread", action="store_true", help="share the units out over the brokers"
    )
    parser.add_argument("--ca", type=Path, metavar="PEM", help="authority of the brokers")
    parser.add_argument("--username")
    parser.add_argument("--password-file", type=Path, metavar="FILE", help="mode 0600")
    parser.add_argument(
        "--store", type=Path, metavar="FILE", help="SQLite file of the receivers, to be kept"
    )
    parser.add_argument(
        "--keys-out", type=Path, metavar="FILE", help="write the units' keys, for other receivers"
    )
    parser.add_argument("--processes", type=int, default=4, help="for the units (default: 4)")
    parser.add_argument("--seed", type=int, default=1, help="of the arrivals (default: 1)")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.set_defaults(func=run)


def run(options: argparse.Namespace) -> int:
    """Simulate; returns 0, or 1 where an event was lost, doubled or out of chain."""
    from senyum_central.cli.options import broker_settings
    from senyum_lab.simulate.scenario import Scenario, simulate

    _check(options)
    brokers, receivers = [], []
    for broker in options.broker:
        one = {**vars(options), "broker": broker, "cert": None, "key": None, "protocol": "auto"}
        brokers.append(broker_settings(argparse.Namespace(**one)))
        receivers.append(("--broker", broker, *_credentials(options)))
    figures = simulate(
        Scenario(
            units=options.units,
            people=options.people,
            minutes=options.minutes,
            speed=options.speed,
            seed=options.seed,
            brokers=tuple(brokers),
            receivers=tuple(receivers),
            spread=options.spread,
            processes=options.processes,
            store=options.store,
            keys_out=options.keys_out,
        ),
        log=lambda text: print(f"simulate: {text}", file=sys.stderr, flush=True),
    )
    if options.json:
        print(json.dumps(figures, indent=2))
    else:
        _print_table(figures)
    return 0 if figures["good"] else 1


def _credentials(options: argparse.Namespace) -> list[str]:
    named = {
        "--ca": options.ca,
        "--username": options.username,
        "--password-file": options.password_file,
    }
    return [word for flag, value in named.items() if value for word in (flag, str(value))]


def _check(options: argparse.Namespace) -> None:
    from edge.errors import UsageError

    bounds = {
        "units": (1, 999),
        "people": (1, 1_000_000),
        "minutes": (0.01, 1440.0),
        "speed": (0.1, 1000.0),
        "processes": (1, 64),
    }
    for name, (least, most) in bounds.items():
        value = getattr(options, name)
        if not least <= value <= most:
            raise UsageError(f"--{name} {value}: is not {least} to {most}")
    if options.store is not None and options.store.exists():
        raise UsageError(f"--store {options.store}: already exists; choose a new file")


def _print_table(figures: dict[str, Any]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table("figure", "value", "what it is")
    for key, meaning in MEANING.items():
        table.add_row(key, str(figures[key]), meaning)
    console = Console()
    console.print(table)
    for alarm in figures["alarms"]:
        console.print(f"ALARM  {alarm}", highlight=False)
    console.print(
        f"{'nothing lost, doubled or out of chain' if figures['good'] else 'FAILED'}; "
        f"{'within' if figures['fast'] else 'SLOWER than'} the limits for speed"
    )
