"""libcamera controls for a capture request, limited to those that the camera supports.

Values are those of libcamera's enumerations, which are part of its stable interface
(control_ids_core.yaml); written as numbers, they need no libcamera to be tested.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from edge.settings import CameraSettings
from edge.types import Bytes2D, Yuv

_AF_MANUAL = 0
_FLICKER_MANUAL = 1
_EXPOSURE_SHORT = 1  # more gain before a longer exposure: a face in motion blurs less
_HDR_SINGLE_EXPOSURE = 3

# Of a control: least, most, default.
Available = Mapping[str, tuple[Any, Any, Any]]


@dataclass(frozen=True, slots=True)
class CaptureRequest:
    """What the unit wants of the camera now; a camera does what it can of it."""

    fps: float  # frames a second
    stops: float = 0.0  # brighter (above 0) or darker than the camera's own metering: EV


def dynamic_controls(wish: CaptureRequest, available: Available) -> dict[str, Any]:
    """Return the controls that a wish comes to."""
    duration = round(1e6 / wish.fps)
    least, most, _ = available.get("ExposureValue", (0.0, 0.0, 0.0))
    wanted = {
        "FrameDurationLimits": (duration, duration),
        "ExposureValue": min(max(wish.stops, least), most),
    }
    return {name: value for name, value in wanted.items() if name in available}


def static_controls(settings: CameraSettings, available: Available) -> dict[str, Any]:
    """Return the controls that hold as long as the camera is open."""
    wanted: dict[str, Any] = {"AeExposureMode": _EXPOSURE_SHORT}
    if settings.mains_hz:
        # Lamps flicker at twice the mains' frequency; the period is in microseconds.
        wanted["AeFlickerMode"] = _FLICKER_MANUAL
        wanted["AeFlickerPeriod"] = round(1e6 / (2 * settings.mains_hz))
    if settings.hdr:
        wanted["HdrMode"] = _HDR_SINGLE_EXPOSURE
    # Where people stand is known: a lens that searches in an empty corridor is late for the next.
    wanted["AfMode"] = _AF_MANUAL
    wanted["LensPosition"] = 1.0 / settings.focus_m  # dioptres
    if settings.zoom > 1.0 and "ScalerCrop" in available:
        wanted["ScalerCrop"] = _middle(available["ScalerCrop"][2], settings.zoom)
    return {name: value for name, value in wanted.items() if name in available}


def _middle(whole: tuple[int, int, int, int], zoom: float) -> tuple[int, int, int, int]:
    """Return the middle of a rectangle (x, y, width, height), `zoom` times as small each way."""
    x, y, width, height = whole
    inner_w, inner_h = round(width / zoom) & ~1, round(height / zoom) & ~1
    return x + (width - inner_w) // 2, y + (height - inner_h) // 2, inner_w, inner_h


def rotate(picture: Yuv, rotation: int, *, mirror: bool) -> Yuv:
    """Return the picture turned clockwise by 0, 90, 180 or 270 degrees, then mirrored."""

    def turn(plane: Bytes2D) -> Bytes2D:
        plane = np.rot90(plane, -(rotation // 90))
        return np.ascontiguousarray(plane[:, ::-1] if mirror else plane)

    return Yuv(turn(picture.y), turn(picture.u), turn(picture.v))
