"""The steering, beside a camera whose own metering looks at the whole picture."""

import numpy as np
import pytest

from edge.capture.camera_controls import CaptureRequest
from edge.capture.exposure import AIM, HALF_LIFE_NS, CameraController, face_level
from edge.settings import CameraSettings, QualityLimits
from edge.types import Box, Bytes2D, FaceObservation, Frame, FrameResult, Yuv

FRAME_NS = 66_666_667
SECOND = 1_000_000_000
FACE = Box(500, 300, 280, 360)  # of 1280 x 960
SOMEBODY = (FaceObservation(1, FACE, 0.9),)


def frame_of(luma: Bytes2D) -> Frame:
    grey = np.full((120, 160), 128, np.uint8)
    small = Yuv(luma, grey, grey)
    large = Yuv(np.empty((960, 1280), np.uint8), grey, grey)
    return Frame(0, 0, large, small)


class Doorway:
    """A camera in front of a scene: mean metering that closes a fifth of what is left a frame.

    Light falls off as in libcamera's AGC for the Raspberry Pi; levels are light to the power 1/2.2.
    """

    def __init__(self, face: float, behind: float) -> None:
        """`face` and `behind` are their light; the face has highlights and darker skin."""
        self.light = np.full((240, 320), behind)
        self.light[60:240, 110:210] = face * 0.6
        self.light[95:105, 130:190] = face
        self.exposure = 0.18 / self.light.mean()

    def shoot(self, stops: float) -> Frame:
        wanted = 0.18 / self.light.mean() * 2.0**stops
        self.exposure *= (wanted / self.exposure) ** 0.2
        return frame_of(self.levels())

    def levels(self) -> Bytes2D:
        seen = np.clip(self.light * self.exposure, 0.0, 1.0) ** (1 / 2.2)
        return np.asarray(255 * seen, np.uint8)


def levels_of(door: Doorway, seconds: float, settings: CameraSettings | None = None) -> list[int]:
    """Return the face's level, frame by frame, as the steering has its way."""
    steering = CameraController(settings or CameraSettings())
    wish, found = CaptureRequest(15.0), []
    for number in range(round(seconds * 15)):
        frame = door.shoot(wish.stops)
        wish = steering.next_request(frame, FrameResult(0, SOMEBODY), number * FRAME_NS)
        level = face_level(frame, FACE)
        assert level is not None
        found.append(level)
    return found


def test_a_face_before_a_window_becomes_bright_enough_and_stays_so() -> None:
    door = Doorway(face=0.15, behind=1.0)
    levels = levels_of(door, 8.0)
    assert levels[0] < QualityLimits().min_backlit_bright
    assert min(levels[30:]) > QualityLimits().min_backlit_bright  # after two seconds
    assert max(levels[-45:]) - min(levels[-45:]) <= 6  # it does not swing


def test_a_face_in_even_light_is_left_alone() -> None:
    assert len(set(levels_of(Doorway(face=0.45, behind=0.15), 3.0))) == 1


def test_a_face_in_a_spotlight_becomes_darker() -> None:
    levels = levels_of(Doorway(face=30.0, behind=0.01), 8.0)
    assert levels[0] == 255
    assert levels[-1] < 250


def test_no_more_than_the_setting_allows() -> None:
    settings = CameraSettings(face_exposure_stops=0.5)
    steering = CameraController(settings)
    dark = frame_of(np.full((240, 320), 10, np.uint8))
    stops = {
        steering.next_request(dark, FrameResult(0, SOMEBODY), n * SECOND).stops
        for n in range(1, 10)
    }
    assert max(stops) == 0.5
    off = CameraController(CameraSettings(face_exposure_stops=0.0))
    assert off.next_request(dark, FrameResult(0, SOMEBODY), SECOND).stops == 0.0


def test_what_was_found_is_kept_for_the_next_person_and_fades() -> None:
    steering = CameraController(CameraSettings())
    dark = frame_of(np.full((240, 320), 60, np.uint8))
    stops = steering.next_request(dark, FrameResult(0, SOMEBODY), SECOND).stops
    assert stops == 1.0
    assert steering.next_request(dark, FrameResult(0, ()), 60 * SECOND).stops == stops
    assert steering.next_request(dark, FrameResult(0, ()), SECOND + HALF_LIFE_NS).stops == stops / 2
    assert (
        steering.next_request(dark, FrameResult(0, ()), SECOND + HALF_LIFE_NS + SECOND).stops
        == stops / 2
    )


def test_the_rate_falls_when_nobody_is_there_and_rises_with_the_first_face() -> None:
    steering = CameraController(CameraSettings(fps=15.0, idle_fps=7.5))
    grey = frame_of(np.full((240, 320), 200, np.uint8))
    assert steering.next_request(grey, FrameResult(0, ()), 0).fps == 15.0
    assert steering.next_request(grey, FrameResult(0, ()), 3 * SECOND).fps == 7.5
    assert steering.next_request(grey, FrameResult(0, SOMEBODY), 4 * SECOND).fps == 15.0
    assert steering.next_request(grey, FrameResult(0, ()), 5 * SECOND).fps == 15.0


def test_a_distant_face_wakes_the_camera() -> None:
    steering = CameraController(CameraSettings(fps=15.0, idle_fps=7.5))
    grey = frame_of(np.full((240, 320), 200, np.uint8))
    steering.next_request(grey, FrameResult(0, ()), 0)
    assert steering.next_request(grey, FrameResult(0, ()), 3 * SECOND).fps == 7.5
    distant = FrameResult(0, (), Box(500, 300, 60, 60))
    assert steering.next_request(grey, distant, 4 * SECOND).fps == 15.0


def test_an_idle_rate_above_the_rate_is_the_rate() -> None:
    steering = CameraController(CameraSettings(fps=5.0))
    grey = frame_of(np.full((240, 320), 200, np.uint8))
    assert steering.next_request(grey, FrameResult(0, ()), 0).fps == 5.0
    assert steering.next_request(grey, FrameResult(0, ()), 3 * SECOND).fps == 5.0


def test_heat_takes_frames_away_and_gives_them_back_only_when_it_is_cooler() -> None:
    steering = CameraController(CameraSettings(warm_temperature_c=72.0))
    grey = frame_of(np.full((240, 320), 200, np.uint8))

    def fps(celsius: float | None) -> float:
        steering.update_temperature(celsius)
        return round(steering.next_request(grey, FrameResult(0, SOMEBODY), 0).fps, 1)

    assert [fps(c) for c in (60.0, 71.9, 72.0, 75.9, 76.0, 79.0)] == [15, 15, 10, 10, 5, 5]
    assert [fps(c) for c in (74.0, 72.9, 72.0, 69.1, 68.9)] == [5, 10, 10, 10, 15]
    assert fps(None) == 15
    assert not steering.is_throttled


def test_a_slow_camera_is_not_slowed_to_a_standstill() -> None:
    steering = CameraController(CameraSettings(fps=4.0))
    steering.update_temperature(90.0)
    grey = frame_of(np.full((240, 320), 200, np.uint8))
    assert steering.next_request(grey, FrameResult(0, SOMEBODY), 0).fps == 3.0


@pytest.mark.parametrize("box", [Box(0, 0, 10, 10), Box(-400, 10, 300, 300), Box(1270, 0, 9, 9)])
def test_a_face_too_small_or_outside_says_nothing(box: Box) -> None:
    assert face_level(frame_of(np.full((240, 320), 90, np.uint8)), box) is None


def test_the_level_is_that_of_the_highlights() -> None:
    luma = np.full((240, 320), 60, np.uint8)
    luma[100:104, 140:160] = int(AIM)
    assert face_level(frame_of(luma), FACE) == int(AIM)
