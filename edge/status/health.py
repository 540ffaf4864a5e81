"""How a unit is, for systemd's status sentence and for `health`."""

import shutil
from dataclasses import dataclass
from pathlib import Path

from edge.errors import ErrorCode
from edge.system.power import STATE_FILE, PowerReading, load_power_reading


@dataclass(slots=True)
class HealthState:
    """What is counted since the start, and what is known to be wrong now."""

    enrolled: int = 0  # people in the roster
    recorded: int = 0
    refused: int = 0
    frames: int = 0
    link_up: bool = False
    frame_rate: float = 0.0  # pictures judged a second, of late
    camera_fault: str | None = None
    pins_fault: str | None = None
    roster_fault: str | None = None
    store_fault: str | None = None
    store_trouble: ErrorCode = ErrorCode.STORE_FAILED  # the kind of `store_fault`
    link_trouble: ErrorCode | None = None  # what stands in the way of events, or soon will
    authorities_trouble: ErrorCode | None = None
    commands_trouble: ErrorCode | None = None
    waiting: int = 0  # events that no broker has taken
    broker: str = ""  # host and port, connected or tried last
    level: float | None = None  # of the picture: mean luma, 0 to 255
    sharpness: float | None = None  # of the picture: variance of its Laplacian
    power_file: Path = STATE_FILE  # of the power monitor

    @property
    def power(self) -> PowerReading | None:
        """The latest reading of the power monitor, if there is a recent one."""
        return load_power_reading(self.power_file)

    @property
    def fault(self) -> str | None:
        """Why the unit cannot do its work, or None where it can."""
        return self.camera_fault or self.pins_fault or self.store_fault or self.roster_fault

    @property
    def error_code(self) -> ErrorCode | None:
        """The kind of `fault`."""
        if self.camera_fault:
            return ErrorCode.CAMERA_LOST
        if self.pins_fault:
            return ErrorCode.PINS_LOST
        if self.store_fault:
            return self.store_trouble
        return ErrorCode.ROSTER_MISSING if self.roster_fault else None

    @property
    def codes(self) -> tuple[ErrorCode, ...]:
        """All that is wrong, as docs/troubleshooting.md has it; the worst first."""
        lasting = (
            self.error_code,
            power_warning(self.power),
            self.link_trouble,
            self.authorities_trouble,
            self.commands_trouble,
        )
        return tuple(trouble for trouble in lasting if trouble is not None)

    def summary(self) -> str:
        """How the unit is, as `systemctl status` and `senyum status` show it."""
        doing = f"Out of order: {self.fault}" if self.fault else "Watching"
        broker = "broker connected" if self.link_up else "broker away, events are kept"
        waiting = f", {self.waiting} not delivered yet" if self.waiting else ""
        codes = f" See: {', '.join(self.codes)}." if self.codes else ""
        return (
            f"{doing}. {self.enrolled} enrolled, {broker}, "
            f"{self.recorded} recorded and {self.refused} refused since the start{waiting}.{codes}"
        )


def power_warning(seen: PowerReading | None) -> ErrorCode | None:
    """Return what the watcher of heat and voltage warns of, the supply first."""
    if seen is None:
        return None
    if seen.under_voltage:
        return ErrorCode.UNDER_VOLTAGE
    return ErrorCode.TOO_HOT if seen.hot else None


def temperature() -> float | None:
    """Return the processor's temperature in degrees Celsius, where the kernel tells it."""
    try:
        text = Path("/sys/class/thermal/thermal_zone0/temp").read_text(encoding="ascii")
        return int(text) / 1000
    except (OSError, ValueError):
        return None


def free_bytes(folder: Path) -> int | None:
    """Return the free space of the disk that holds `folder`, or None if it cannot be determined."""
    try:
        return shutil.disk_usage(folder).free
    except OSError:
        return None
