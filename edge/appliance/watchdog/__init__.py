"""Small programs that watch over the daemon and the machine, each run by its own systemd service.

They import only edge/system, the standard library and, for the LED, lgpio. They therefore start
fast, use little memory, and still work if a broken settings file or package stops the daemon.
"""

import signal
import sys
import threading
from enum import IntEnum


class Level(IntEnum):
    """Journal priority; see sd-daemon(3)."""

    ERROR = 3
    WARNING = 4
    INFO = 6


def log(level: Level, line: str) -> None:
    """Write one line to the journal."""
    sys.stderr.write(f"<{level.value}>{line}\n")


def stop_event() -> threading.Event:
    """Return an event that SIGTERM and SIGINT set."""
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda _number, _frame: stop.set())
    return stop
