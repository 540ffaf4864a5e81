"""Monitors temperature, supply voltage and throttling.

Writes each change to the journal and saves the latest reading for the daemon. Sources: the first
thermal zone of the kernel; the firmware's `get_throttled` word, whose bits 0 to 3 are the current
state (under-voltage, frequency capped, throttled, soft temperature limit); without that file, the
alarm of the `rpi_volt` sensor, which reports only under-voltage.
"""

import sys
import time
from pathlib import Path

from edge.appliance.watchdog import Level, log, stop_event
from edge.system.power import STATE_FILE, PowerReading, save_power_reading

INTERVAL_S = 5.0
HOT_C = 80.0  # the firmware throttles at 80 to 85
COOL_C = 75.0  # no longer hot below this

UNDER_VOLTAGE, CAPPED, THROTTLED, SOFT_LIMIT = 1, 2, 4, 8


def _text(path: Path) -> str | None:
    try:
        return path.read_text(encoding="ascii").strip()
    except (OSError, ValueError):
        return None


class Sensors:
    """Reads the sensors under `sys_folder`."""

    def __init__(self, sys_folder: Path = Path("/sys")) -> None:
        self._thermal = sys_folder / "class/thermal/thermal_zone0/temp"
        self._word = sys_folder / "devices/platform/soc/soc:firmware/get_throttled"
        self._hwmon = sys_folder / "class/hwmon"

    def read(self, before: PowerReading | None = None) -> PowerReading:
        """Return the current state; `before` is the previous reading (`hot` has a hysteresis)."""
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
    """Return the journal lines for what changed between two readings."""
    was = before or PowerReading(0, under_voltage=False, throttled=False)
    lines = []
    if bool(now.under_voltage) != bool(was.under_voltage):
        lines.append(
            (Level.WARNING, "under-voltage: use the official supply and a short, thick cable")
            if now.under_voltage
            else (Level.INFO, "the supply voltage is normal again")
        )
    if bool(now.throttled) != bool(was.throttled):
        lines.append(
            (Level.WARNING, f"the firmware throttles the processor at {now.temperature_c} °C")
            if now.throttled
            else (Level.INFO, "the processor runs at full speed again")
        )
    if now.hot != was.hot:
        lines.append(
            (Level.WARNING, f"too hot: {now.temperature_c} °C; ventilate or shade the unit")
            if now.hot
            else (Level.INFO, f"no longer too hot: {now.temperature_c} °C")
        )
    return lines


def main() -> int:
    """Monitor until SIGTERM and return the exit status."""
    stop = stop_event()
    sensors, before = Sensors(), None
    while True:
        now = sensors.read(before)
        for level, line in changes(before, now):
            log(level, line)
        save_power_reading(now, STATE_FILE)
        before = now
        if stop.wait(INTERVAL_S):
            return 0


if __name__ == "__main__":
    sys.exit(main())
