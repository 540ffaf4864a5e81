"""What libcamera is asked for, with the controls that two cameras of the Raspberry Pi list."""

from typing import Any

import numpy as np
import pytest

from edge.capture.camera_controls import (
    Available,
    CaptureRequest,
    dynamic_controls,
    rotate,
    static_controls,
)
from edge.settings import CameraSettings
from edge.types import Yuv

# Of Camera Module 3, as far as it matters here: least, most, default.
MODULE_3: dict[str, tuple[Any, Any, Any]] = {
    "FrameDurationLimits": (17849, 220416129, 33333),
    "ExposureValue": (-8.0, 8.0, 0.0),
    "AeExposureMode": (0, 3, 0),
    "AeFlickerMode": (0, 1, 0),
    "AeFlickerPeriod": (100, 1000000, None),
    "AfMode": (0, 2, 0),
    "LensPosition": (0.0, 32.0, 1.0),
    "HdrMode": (0, 4, 0),
    "ScalerCrop": ((0, 0, 64, 64), (0, 0, 4608, 2592), (576, 0, 3456, 2592)),
}
VIRTUAL: Available = {}


def test_a_wish_is_a_frame_duration_and_an_exposure_value() -> None:
    assert dynamic_controls(CaptureRequest(15.0, 1.5), MODULE_3) == {
        "FrameDurationLimits": (66667, 66667),
        "ExposureValue": 1.5,
    }


def test_stops_stay_within_what_the_camera_takes() -> None:
    short = {**MODULE_3, "ExposureValue": (-1.0, 1.0, 0.0)}
    assert dynamic_controls(CaptureRequest(15.0, 3.0), short)["ExposureValue"] == 1.0
    assert dynamic_controls(CaptureRequest(15.0, -3.0), short)["ExposureValue"] == -1.0


def test_a_camera_without_controls_is_asked_for_nothing() -> None:
    settings = CameraSettings(zoom=2.0, hdr=True)
    assert dynamic_controls(CaptureRequest(15.0, 1.0), VIRTUAL) == {}
    assert static_controls(settings, VIRTUAL) == {}


def test_lamps_on_50_hz_flicker_a_hundred_times_a_second() -> None:
    controls = static_controls(CameraSettings(), MODULE_3)
    assert (controls["AeFlickerMode"], controls["AeFlickerPeriod"]) == (1, 10_000)
    assert static_controls(CameraSettings(mains_hz=60), MODULE_3)["AeFlickerPeriod"] == 8333
    assert "AeFlickerMode" not in static_controls(CameraSettings(mains_hz=0), MODULE_3)


def test_gain_comes_before_exposure_and_the_lens_stays_where_people_stand() -> None:
    controls = static_controls(CameraSettings(focus_m=0.5), MODULE_3)
    assert controls["AeExposureMode"] == 1
    assert (controls["AfMode"], controls["LensPosition"]) == (0, 2.0)
    assert "HdrMode" not in controls
    assert static_controls(CameraSettings(hdr=True), MODULE_3)["HdrMode"] == 3


def test_zoom_is_the_middle_of_what_is_shown_without_it() -> None:
    assert "ScalerCrop" not in static_controls(CameraSettings(), MODULE_3)
    crop = static_controls(CameraSettings(zoom=2.0), MODULE_3)["ScalerCrop"]
    assert crop == (576 + 864, 648, 1728, 1296)


PICTURE = Yuv(
    np.arange(24, dtype=np.uint8).reshape(4, 6),
    np.arange(6, dtype=np.uint8).reshape(2, 3),
    np.arange(6, 12, dtype=np.uint8).reshape(2, 3),
)


@pytest.mark.parametrize(
    ("rotation", "mirror", "top_left"),
    [
        (0, False, 0),
        (90, False, 18),
        (180, False, 23),
        (270, False, 5),
        (0, True, 5),
        (90, True, 0),
    ],
)
def test_a_picture_is_turned_clockwise_then_mirrored(
    rotation: int, mirror: bool, top_left: int
) -> None:
    picture = rotate(PICTURE, rotation, mirror=mirror)
    assert picture.y[0, 0] == top_left
    assert picture.y.shape == ((6, 4) if rotation in {90, 270} else (4, 6))
    assert picture.u.shape == picture.v.shape == (picture.height // 2, picture.width // 2)
    assert all(plane.flags.c_contiguous for plane in (picture.y, picture.u, picture.v))
