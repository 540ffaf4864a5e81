"""What stands beside the daemon: the cue for when it is down, power and heat, the last resort.

Each is a small program of its own (`python3 -m edge.appliance.watchdog.fault_led`), run by a
service of its own.
They import nothing but Python's own library and, for a light, lgpio: they start at once, weigh
next to nothing, and still work where a broken settings file or package keeps the daemon down.
"""

import sys
from enum import IntEnum


class Level(IntEnum):
    """How the journal files a line; sd-daemon(3)."""

    ERROR = 3
    WARNING = 4
    INFO = 6


def log(level: Level, line: str) -> None:
    """Write one line to the journal."""
    sys.stderr.write(f"<{level.value}>{line}\n")
