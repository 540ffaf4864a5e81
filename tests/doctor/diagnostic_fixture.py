"""A unit to check, on a machine whose sensors are files."""

import os
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from wireunit import SteppedClock

from edge.appliance.doctor.diagnostics import DiagnosticContext, DiagnosticResult
from edge.camera import Camera
from edge.capture.camera_controls import CaptureRequest
from edge.errors import CameraError
from edge.settings import CameraSettings, Settings
from edge.status.status_file import DaemonStatus
from edge.system.privileges import Owner
from edge.types import Frame, Yuv

ME = Owner(os.geteuid(), os.getegid())


def make_context(
    folder: Path, settings: Mapping[str, Any] | None = None, **changes: Any
) -> DiagnosticContext:
    """Return a context with its state in `folder` and /sys and /proc in `folder`/root."""
    (folder / "root").mkdir(exist_ok=True)
    content = {
        "unit": {"org": "dinas", "site": "balai-kota", "name": "pintu-1"},
        "outbox": {
            "file": folder / "outbox.db",
            "signing_key": folder / "signing.key",
            "min_free_mib": 1,
        },
        "roster": {"file": folder / "roster.senyum", "key": folder / "roster.key"},
        "gpio": {"factory": "mock"},
        **(settings or {}),
    }
    made = DiagnosticContext(
        Settings.model_validate(content), SteppedClock(time.time()), ME, root=folder / "root"
    )
    return replace(made, **changes)


def kernel(folder: Path, files: Mapping[str, str]) -> None:
    """Write kernel files below the root."""
    for path, text in files.items():
        file = folder / "root" / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text + "\n")


def make_status(**changes: Any) -> DaemonStatus:
    content = {
        "sentence": "Watching.",
        "source": "urn:senyum:dinas:balai-kota:pintu-1",
        "software": "0",
        "pid": os.getpid(),
        "boot_id": "0",
        "started_ns": 0,
        "written_ns": time.monotonic_ns(),
        "frame_rate": 15.0,
        "level": 100.0,
        "sharpness": 90.0,
    }
    return DaemonStatus.of({**content, **changes})


class Still:
    """A camera that shows one picture at some rate, or fails."""

    def __init__(self, luma: Any, fps: float = 15.0, fails: bool = False) -> None:
        self._luma = luma
        self._fps = fps
        self._fails = fails
        self.closed = False

    def __call__(self, settings: CameraSettings) -> Camera:
        return self

    def read(self, timeout: float) -> Frame:
        if self._fails:
            raise CameraError("camera 0 is gone; check its cable")
        time.sleep(1 / self._fps)
        half = np.full((120, 160), 128, np.uint8)
        picture = Yuv(self._luma, half, half)
        return Frame(1, time.monotonic_ns(), picture, picture)

    def ask(self, wish: CaptureRequest) -> None:
        pass

    def close(self) -> None:
        self.closed = True


def noise(level: float, spread: float) -> Any:
    drawn = np.random.default_rng(1).normal(level, spread, (240, 320))
    return drawn.clip(0, 255).astype(np.uint8)


def outcome(result: DiagnosticResult) -> tuple[str, str | None]:
    return result.status.value, result.code
