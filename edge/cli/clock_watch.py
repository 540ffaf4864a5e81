"""`senyum clock-watch`: publishes the kernel's clock state for the daemon.

The daemon's sandbox need not allow the question then. `edge.system.clock` describes the file.
"""

import argparse
import json
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from edge.errors import ClockError
from edge.system.boot_id import boot_id
from edge.system.clock import kernel_synchronized
from edge.system.files import replace_file
from edge.system.sd_notify import Notifier

ANSWER = Path("/run/senyum-clock/clock.json")
EVERY_SECONDS = 10.0  # a sixth of the age at which an answer counts for nothing


def add_parser(commands: Any) -> None:
    # Without `help`, so that `senyum --help` does not list it: only systemd runs it.
    parser = commands.add_parser(
        "clock-watch",
        description="Ask the kernel every few seconds whether a time service disciplines the "
        "clock, and write the answer to the file that clock.state_file names.",
    )
    parser.add_argument("--file", type=Path, default=ANSWER, help="default: %(default)s")
    parser.set_defaults(func=run)


def run(options: argparse.Namespace) -> int:
    """Run until SIGTERM or SIGINT."""
    notifier = Notifier()
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda _number, _frame: stop.set())
    first = True
    while True:
        synchronized = publish(options.file)
        notifier.status("clock synchronized" if synchronized else "clock not synchronized")
        notifier.watchdog()
        if first:
            notifier.ready()
            first = False
        if stop.wait(EVERY_SECONDS):
            return 0


def publish(file: Path, ask: Callable[[], bool] = kernel_synchronized) -> bool:
    """Ask whether the clock is synchronized, write the answer and return it. Raises ClockError."""
    asked_ns = time.monotonic_ns()  # before: it is never thought younger than it is
    try:
        synchronized = ask()
    except OSError as error:
        raise ClockError(
            f"the kernel does not say whether the clock is right: {error.strerror}; "
            "let this process call adjtimex"
        ) from None
    answer = {
        "synchronized": synchronized,
        "boot_id": boot_id(),
        "monotonic_ns": str(asked_ns),
    }
    try:
        # Mode 0644 because the daemon is another user; not durable because /run is in memory.
        replace_file(file, json.dumps(answer).encode(), mode=0o644, durable=False)
    except OSError as error:
        raise ClockError(f"{file}: cannot be written: {error.strerror}") from None
    return synchronized
