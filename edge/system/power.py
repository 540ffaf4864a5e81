"""The latest reading of the power monitor: temperature, supply voltage and throttling.

`edge/appliance/watchdog/power_monitor.py` saves it; the daemon and `senyum doctor` load it.
"""

import json
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from edge.system.files import replace_file

STATE_FILE = Path("/run/senyum-power/power.json")
STALE_NS = 60_000_000_000
_MAX_BYTES = 1024


@dataclass(frozen=True, slots=True)
class PowerReading:
    """A reading at `monotonic_ns` (CLOCK_MONOTONIC of this boot); None: no sensor for it."""

    monotonic_ns: int
    temperature_c: float | None = None
    under_voltage: bool | None = None
    throttled: bool | None = None
    hot: bool = False


def load_power_reading(file: Path = STATE_FILE) -> PowerReading | None:
    """Return the latest reading; None if it is missing, invalid or older than STALE_NS."""
    try:
        reading = PowerReading(**json.loads(file.read_bytes()[:_MAX_BYTES]))
        age_ns = time.monotonic_ns() - reading.monotonic_ns
    except (OSError, ValueError, TypeError):
        return None
    return reading if 0 <= age_ns <= STALE_NS else None


def save_power_reading(reading: PowerReading, file: Path) -> None:
    """Replace `file` atomically. Not synced: the file is in /run. Raises OSError."""
    replace_file(file, json.dumps(asdict(reading)).encode(), mode=0o644, durable=False)
