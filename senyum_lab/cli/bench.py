"""`senyum bench`: measures speed, memory and disk use. Ratios are taken within one run."""

import argparse
import json
import os
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

FACES = Path(__file__).parents[2] / "tests" / "faces"  # of a checkout

# JSON key -> what it is, with its unit, in the order of the table.
MEANING = {
    "pass_ms": "whole pass, ms on one thread (median)",
    "invoke_ms": "sum of the bare invokes of the same pass, ms",
    "overhead": "whole pass over bare invokes",
    "search_ms": "1:N search, ms by people enrolled",
    "events_per_s": "events a second, signed, durable, acknowledged",
    "events_cpu_us": "CPU of the sender for one of them, microseconds",
    "paho_events_per_s": "the same messages by bare paho, QoS 1",
    "commit_per_s": "the same messages into bare SQLite on that disk, a durable commit each",
    "commit_together_per_s": "the same with as many in a commit as the recorder joins in a burst",
    "drain_per_s": "events of a backlog that leave in a second",
    "drain_paho_per_s": "messages of that size by bare paho, QoS 1",
    "drain_ratio": "the former over the latter (bar 0.7)",
    "drain_mb": "MB by which memory grew while the backlog left (bar 5)",
    "bytes_per_event": "bytes written to disk per event",
    "bytes_per_idle_hour": "bytes written to disk in an hour without events",
    "received_per_s": "events a second that two receivers verify and store, by database",
    "received_cpu_us": "CPU of those receivers for one event meanwhile, microseconds, by database",
    "gaps_ms": "CPU, ms, of a receiver for the missing numbers of one unit, by gaps",
    "gaps_ratio": "that of twice as many gaps over that of the former (bar 2)",
    "idle_cpu_share": "CPU share of one core, nobody in view, 15 frames a second",
    "busy_cpu_share": "the same with a face in view",
    "rss_mb": "MB resident, 7,000 people enrolled",
    "ready_s": "seconds from start to READY",
    "cue_latency_ms": "ms from the first smiling frame to the green pin, the slowest",
}


def add_parser(commands: Any) -> None:
    parser = commands.add_parser(
        "bench",
        help="measure the unit on this machine",
        description=(
            "Measure stages, search, delivery and the running daemon (about three minutes). "
            "Needs mosquitto and the photos of a checkout. The parts receive and gaps need the "
            "server: pip install 'senyum-edge[central]'."
        ),
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument(
        "--part",
        action="append",
        choices=["pipeline", "search", "delivery", "drain", "receive", "gaps", "daemon"],
        help="measure this only; may be repeated",
    )
    parser.add_argument(
        "--backlog", type=int, default=20_000, help="events of part drain (default: 20,000)"
    )
    parser.add_argument("--faces", type=Path, default=FACES, help="folder of the bench's photos")
    parser.set_defaults(func=run)


def run(options: argparse.Namespace) -> int:
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # as `senyum run` has it
    from edge.errors import PhotoError
    from senyum_lab.bench import daemon, delivery, drain, pipeline, search

    if not (options.faces / "obama.jpg").is_file():
        raise PhotoError(f"{options.faces}: not the photos of the bench; name tests/faces")
    figures: dict[str, Any] = {}
    with tempfile.TemporaryDirectory(prefix="senyum-bench-") as temporary:
        folder = Path(temporary)
        parts: dict[str, Callable[[], dict[str, Any]]] = {
            "pipeline": lambda: pipeline.measure(options.faces),
            "search": lambda: {"search_ms": search.measure()},
            "delivery": lambda: delivery.measure(folder=folder),
            "drain": lambda: drain.measure(options.backlog, folder),
            "receive": _receive,
            "gaps": lambda: _gaps(folder),
            "daemon": lambda: daemon.measure(options.faces, folder),
        }
        for name, measure in parts.items():
            if options.part is None or name in options.part:
                print(f"measuring: {name} …", file=sys.stderr, flush=True)
                figures |= measure()
    if options.json:
        print(json.dumps(figures, indent=2))
    else:
        _print_table(figures)
    return 0


def _gaps(folder: Path) -> dict[str, Any]:
    try:
        from senyum_lab.bench import gaps
    except ModuleNotFoundError as error:
        _skip("gaps", error)
        return {}
    return gaps.measure(folder)


def _skip(part: str, error: ModuleNotFoundError) -> None:
    remedy = "pip install 'senyum-edge[central]'"
    print(f"{part} not measured: no package {error.name}; {remedy}", file=sys.stderr)


def _receive() -> dict[str, Any]:
    """Measure receivers, if the server is installed; a unit does not have it."""
    try:
        from senyum_lab.bench import receive
        from senyum_lab.servers.postgres import program
    except ModuleNotFoundError as error:
        _skip("receive", error)
        return {}
    postgres = program("initdb") is not None
    if not postgres:
        print(
            "PostgreSQL not measured: not installed; sudo apt install postgresql", file=sys.stderr
        )
    return receive.measure(postgres=postgres)


def _print_table(figures: dict[str, Any]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table("figure", "value", "what it is")
    for key, value in sorted(figures.items(), key=lambda item: _rank(item[0])):
        table.add_row(key, _text(value), MEANING.get(key, ""))
    Console().print(table)


def _rank(key: str) -> tuple[int, str]:
    order = list(MEANING)
    return (order.index(key) if key in order else len(order), key)


def _text(value: Any) -> str:
    if isinstance(value, dict):
        return "\n".join(f"{key}: {_text(part)}" for key, part in value.items())
    return f"{value:.3g}" if isinstance(value, float) and value < 100 else str(value)
