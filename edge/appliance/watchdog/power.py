"""Watches heat and voltage, tells the journal of each change, and leaves a file for the daemon.

Sources: the kernel's first thermal zone; the firmware's `get_throttled` word, whose bits 0 to 3
say what is so now (under-voltage, frequency capped, throttled, soft temperature limit); where
that file is missing, the alarm of the `rpi_volt` sensor, which tells under-voltage alone.
"""

import json
import os
import signal
import sys
import threading
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from types import FrameType

from edge.appliance.watchdog import Level, log

STATE_FILE = Path("/run/senyum-power/power.json")
STALE_NS = 60_000_000_000
EVERY_S = 5.0
HOT_C = 80.0  # the firmware throttles at 80 to 85
COOL_C = 75.0  # hot no more
_BYTES = 1024  # the file is shorter

UNDER_VOLTAGE, CAPPED, THROTTLED, SOFT_LIMIT = 1, 2, 4, 8


@dataclass(frozen=True, slots=True)
class PowerReading:
    """What was seen at `monotonic_ns` (CLOCK_MONOTONIC of this boot); None where nothing tells."""

    monotonic_ns: int
    temperature_c: float | None = None
    under_voltage: bool | None = None
    throttled: bool | None = None
    hot: bool = False


def _text(path: Path) -> str | None:
    try:
        return path.read_text(encoding="ascii").strip()
    except (OSError, ValueError):
        return None


class Sensors:
    """The files under /sys; tests hand in another root."""

    def __init__(self, sys_folder: Path = Path("/sys")) -> None:
        self._thermal = sys_folder / "class/thermal/thermal_zone0/temp"
        self._word = sys_folder / "devices/platform/soc/soc:firmware/get_throttled"
        self._hwmon = sys_folder / "class/hwmon"

    def read(self, before: PowerReading | None = None) -> PowerReading:
        """Return what is so now; heat that was told ends only below COOL_C."""
        temperature = self._temperature()
        limit = COOL_C if before is not None and before.hot else HOT_C
        word = self._throttled()
        return PowerReading(
            monotonic_ns=time.monotonic_ns(),
            temperature_c=temperature,
            under_voltage=self._alarm() if word is None else bool(word & UNDER_VOLTAGE),
            throttled=None if word is None else bool(word & (CAPPED | THROTTLED | SOFT_LIMIT)),
            hot=temperature is not None and temperature >= limit,
        )

    def _temperature(self) -> float | None:
        text = _text(self._thermal)
        try:
            return None if text is None else int(text) / 1000
        except ValueError:
            return None

    def _throttled(self) -> int | None:
        text = _text(self._word)
        try:
            return None if text is None else int(text, 16)
        except ValueError:
            return None

    def _alarm(self) -> bool | None:
        for name in self._hwmon.glob("*/name"):
            if _text(name) == "rpi_volt":
                alarm = _text(name.with_name("in0_lcrit_alarm"))
                return None if alarm is None else alarm == "1"
        return None


def changes(before: PowerReading | None, now: PowerReading) -> list[tuple[Level, str]]:
    """Return the lines that tell what is otherwise than before."""
    was = before or PowerReading(0, under_voltage=False, throttled=False)
    lines = []
    if bool(now.under_voltage) != bool(was.under_voltage):
        lines.append(
            (Level.WARNING, "under-voltage: use the official supply and a short, thick cable")
            if now.under_voltage
            else (Level.INFO, "the voltage is right again")
        )
    if bool(now.throttled) != bool(was.throttled):
        lines.append(
            (Level.WARNING, f"the firmware slows the processor down, at {now.temperature_c} °C")
            if now.throttled
            else (Level.INFO, "the processor runs at full speed again")
        )
    if now.hot != was.hot:
        lines.append(
            (Level.WARNING, f"too hot: {now.temperature_c} °C; give the unit air or shade")
            if now.hot
            else (Level.INFO, f"no longer too hot: {now.temperature_c} °C")
        )
    return lines


def write(power: PowerReading, file: Path) -> None:
    """Replace `file` whole, so that nobody reads half of it."""
    new = file.with_suffix(".new")
    new.write_text(json.dumps(asdict(power)), encoding="ascii")
    os.replace(new, file)  # noqa: PTH105 - atomic, as its name says


def read(file: Path = STATE_FILE) -> PowerReading | None:
    """Return what the watcher left, or None where it left nothing that counts for now."""
    try:
        power = PowerReading(**json.loads(file.read_bytes()[:_BYTES]))
        age = time.monotonic_ns() - power.monotonic_ns
    except (OSError, ValueError, TypeError):
        return None
    return power if 0 <= age <= STALE_NS else None


def main() -> int:
    """Watch until SIGTERM; returns the exit status."""
    stop = threading.Event()

    def end(_number: int, _frame: FrameType | None) -> None:
        stop.set()

    signal.signal(signal.SIGTERM, end)
    signal.signal(signal.SIGINT, end)
    sensors, before = Sensors(), None
    while True:
        now = sensors.read(before)
        for level, line in changes(before, now):
            log(level, line)
        write(now, STATE_FILE)
        before = now
        if stop.wait(EVERY_S):
            return 0


if __name__ == "__main__":
    sys.exit(main())
