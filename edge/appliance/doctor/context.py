"""What is examined, and by what means; tests hand in other ones."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from edge.camera import Camera, open_camera
from edge.gpio.board import IndicatorBoard
from edge.settings import CameraSettings, GpioSettings, Settings
from edge.status.status_file import Status
from edge.system.clock import Clock
from edge.system.privileges import Owner


@dataclass(frozen=True, slots=True)
class DiagnosticContext:
    """A unit. While `bulletin` is there its daemon runs, and has camera and pins."""

    settings: Settings
    clock: Clock
    owner: Owner  # of the state
    bulletin: Status | None = None
    root: Path = Path("/")  # of /sys and /proc
    boot: Sequence[Path] = ()  # where a claim may lie
    remarks: Sequence[str] = ()  # on settings that are used in another spelling than written
    ask: Callable[[str], bool] | None = None  # a person at the terminal: yes or no
    loopback: Mapping[str, int] = field(default_factory=dict)  # part to the pin wired to it
    open_camera: Callable[[CameraSettings], Camera] = open_camera
    open_board: Callable[[GpioSettings], IndicatorBoard] = IndicatorBoard

    def today(self) -> datetime:
        """Return UTC, as this machine has it."""
        return datetime.fromtimestamp(self.clock.read().utc_ns / 1e9, UTC)

    def text(self, path: str) -> str | None:
        """Return what a file of the kernel says; None where it says nothing."""
        try:
            return (self.root / path).read_text(encoding="ascii").strip()
        except (OSError, ValueError):
            return None
