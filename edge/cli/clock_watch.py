"""`senyum clock-watch`: ask the kernel about the clock, in the daemon's place."""

import argparse
import signal
import threading
from pathlib import Path
from typing import Any


def add_parser(commands: Any) -> None:
    parser = commands.add_parser(
        "clock-watch",
        help="tell the daemon whether the clock is right: the helper that systemd starts",
        description="Ask the kernel every few seconds whether a time service disciplines the "
        "clock, and leave the answer where clock.state_file of the settings points to.",
    )
    parser.add_argument("--file", type=Path, help="default: /run/senyum-clock/clock.json")
    parser.set_defaults(func=run)


def run(options: argparse.Namespace) -> int:
    """Go on until SIGTERM or SIGINT; returns 0."""
    from edge.system.clock_publisher import ANSWER, EVERY_SECONDS, ClockPublisher
    from edge.system.sd_notify import Notifier

    keeper = ClockPublisher(options.file or ANSWER)
    notifier = Notifier()
    over = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda _number, _frame: over.set())
    first = True
    while True:
        synchronized = keeper.publish()
        notifier.status("the clock is right" if synchronized else "nobody sets the clock")
        notifier.watchdog()
        if first:
            notifier.ready()
            first = False
        if over.wait(EVERY_SECONDS):
            return 0
