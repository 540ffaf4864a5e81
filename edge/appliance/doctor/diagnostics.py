"""What a check reads, and what it reports."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Any

from edge.camera import Camera, open_camera
from edge.errors import ErrorCode
from edge.gpio.board import IndicatorBoard
from edge.settings import CameraSettings, GpioSettings, Settings
from edge.status.status_file import DaemonStatus
from edge.system.clock import Clock
from edge.system.privileges import Owner


@dataclass(frozen=True, slots=True)
class DiagnosticContext:
    """The unit to check. With a `daemon_status` its daemon runs, and owns camera and pins."""

    settings: Settings
    clock: Clock
    owner: Owner  # of the state folder
    daemon_status: DaemonStatus | None = None
    root: Path = Path("/")  # of /sys and /proc
    boot: Sequence[Path] = ()  # folders that may hold a claim
    remarks: Sequence[str] = ()  # on settings that are used in another spelling than written
    ask: Callable[[str], bool] | None = None  # asks the person at the terminal: yes or no
    loopback: Mapping[str, int] = field(default_factory=dict)  # output -> BCM pin wired to it
    open_camera: Callable[[CameraSettings], Camera] = open_camera
    open_board: Callable[[GpioSettings], IndicatorBoard] = IndicatorBoard

    def now(self) -> datetime:
        """Return this machine's time in UTC."""
        return datetime.fromtimestamp(self.clock.read().utc_ns / 1e9, UTC)

    def read_text(self, path: str) -> str | None:
        """Return the content of a kernel file; None if it cannot be read."""
        try:
            return (self.root / path).read_text(encoding="ascii").strip()
        except (OSError, ValueError):
            return None


class DiagnosticCode(StrEnum):
    """Codes of failed checks beyond those that a running unit reports (ErrorCode).

    docs/troubleshooting.md explains each.
    """

    SETTINGS = "settings-wrong"
    CLAIM = "claim-not-applied"
    NOT_RUNNING = "daemon-not-running"
    HANGS = "daemon-hangs"
    UNDER_VOLTAGE = "under-voltage"
    THROTTLED = "throttled"
    HOT = "too-hot"
    CLOCK = "clock-unsynchronized"
    READ_ONLY = "disk-read-only"
    DISK_ERRORS = "disk-errors"
    WORN = "disk-worn"
    MEMORY = "memory-unlimited"
    DARK = "picture-dark"
    BRIGHT = "picture-bright"
    BLURRED = "picture-blurred"
    SLOW = "camera-slow"
    LIGHT = "light-dead"
    SOUND = "sound-dead"
    MODEL = "model-wrong"
    ROSTER = "roster-unusable"
    KEY = "key-unusable"
    NAME_UNKNOWN = "broker-name-unknown"


Code = ErrorCode | DiagnosticCode


class CheckStatus(StrEnum):
    """The outcome of a check; the values are those of `senyum doctor --json`."""

    OK = "good"
    FAILED = "bad"
    SKIPPED = "unchecked"  # `text` says why


@dataclass(frozen=True, slots=True)
class DiagnosticResult:
    """The result of one check."""

    check: str
    status: CheckStatus
    text: str  # what was found
    code: Code | None = None  # of a failed check
    remedy: str = ""  # what to do next
    details: Mapping[str, Any] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Return the result as `senyum doctor --json` prints it."""
        return {
            "check": self.check,
            "verdict": self.status,
            "text": self.text,
            "code": self.code,
            "do": self.remedy,
            "facts": dict(self.details),
        }


def ok(check: str, text: str, **details: Any) -> DiagnosticResult:
    """Return the result of a check that passed."""
    return DiagnosticResult(check, CheckStatus.OK, text, details=details)


def failed(check: str, code: Code, text: str, remedy: str = "", **details: Any) -> DiagnosticResult:
    """Return the result of a check that failed."""
    return DiagnosticResult(check, CheckStatus.FAILED, text, code, remedy, details)


def skipped(check: str, text: str, remedy: str = "", **details: Any) -> DiagnosticResult:
    """Return the result of a check that could not run; `text` says why."""
    return DiagnosticResult(check, CheckStatus.SKIPPED, text, None, remedy, details)


def all_passed(results: Iterable[DiagnosticResult]) -> bool:
    """Return whether no check failed; skipped checks do not count."""
    return all(result.status is not CheckStatus.FAILED for result in results)
