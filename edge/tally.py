"""How a unit is, for systemd's status sentence and for `health`."""

import shutil
from dataclasses import dataclass
from pathlib import Path

from edge.errors import Trouble
from edge.guard import power
from edge.mqtt.seal import Vitals


@dataclass(slots=True)
class Tally:
    """What is counted since the start, and what is known to be wrong now."""

    recorded: int = 0
    refused: int = 0
    frames: int = 0
    link_up: bool = False
    frame_rate: float = 0.0  # pictures judged a second, of late
    camera_fault: str | None = None
    pins_fault: str | None = None
    store_fault: str | None = None
    store_trouble: Trouble = Trouble.STORE_FAILED  # the kind of `store_fault`

    @property
    def fault(self) -> str | None:
        """Why the unit cannot do its work, or None where it can."""
        return self.camera_fault or self.pins_fault or self.store_fault

    @property
    def trouble(self) -> Trouble | None:
        """The kind of `fault`."""
        if self.camera_fault:
            return Trouble.CAMERA_LOST
        if self.pins_fault:
            return Trouble.PINS_LOST
        return self.store_trouble if self.store_fault else None

    def sentence(self, enrolled: int) -> str:
        """How the unit is, as `systemctl status` shows it."""
        doing = f"Out of order: {self.fault}" if self.fault else "Watching"
        broker = "broker connected" if self.link_up else "broker away, events are kept"
        return (
            f"{doing}. {enrolled} enrolled, {broker}, "
            f"{self.recorded} recorded and {self.refused} refused since the start."
        )

    def vitals(self, folder: Path) -> Vitals:
        """Return what `health` tells; events are kept in `folder`. Raises OSError."""
        return Vitals(
            temperature_c=temperature(),
            disk_free_bytes=shutil.disk_usage(folder).free,
            frame_rate=round(self.frame_rate, 1),
            last_error=self.trouble or weakness(power.read()),
        )


def weakness(seen: power.Power | None) -> Trouble | None:
    """Return what the watcher of heat and voltage warns of, the supply first."""
    if seen is None:
        return None
    if seen.under_voltage:
        return Trouble.UNDER_VOLTAGE
    return Trouble.TOO_HOT if seen.hot else None


def temperature() -> float | None:
    """Return the processor's temperature in degrees Celsius, where the kernel tells it."""
    try:
        text = Path("/sys/class/thermal/thermal_zone0/temp").read_text(encoding="ascii")
        return int(text) / 1000
    except (OSError, ValueError):
        return None
