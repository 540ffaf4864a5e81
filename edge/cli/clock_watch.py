"""`senyum clock-watch`: publishes the kernel's clock state for the daemon."""

import argparse
import signal
import threading
from pathlib import Path
from typing import Any


def add_parser(commands: Any) -> None:
    # Without `help`, so that `senyum --help` does not list it: only systemd runs it.
    parser = commands.add_parser(
        "clock-watch",
        description="Ask the kernel every few seconds whether a time service disciplines the "
        "clock, and write the answer to the file that clock.state_file names.",
    )
    parser.add_argument("--file", type=Path, help="default: /run/senyum-clock/clock.json")
    parser.set_defaults(func=run)


def run(options: argparse.Namespace) -> int:
    """Run until SIGTERM or SIGINT."""
    from edge.system.clock_publisher import ANSWER, EVERY_SECONDS, ClockPublisher
    from edge.system.sd_notify import Notifier

    publisher = ClockPublisher(options.file or ANSWER)
    notifier = Notifier()
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda _number, _frame: stop.set())
    first = True
    while True:
        synchronized = publisher.publish()
        notifier.status("clock synchronized" if synchronized else "clock not synchronized")
        notifier.watchdog()
        if first:
            notifier.ready()
            first = False
        if stop.wait(EVERY_SECONDS):
            return 0
