"""Run by ./run inside the root: the Picamera2 driver on the virtual camera, check by check."""

import sys
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path

import daemon
import numpy as np
from PIL import Image

from edge.camera import Camera, open_camera
from edge.capture.camera_controls import CaptureRequest
from edge.capture.capture_thread import CaptureThread
from edge.errors import CameraError
from edge.images import letterbox
from edge.settings import CameraSettings
from edge.system.event_queue import EventQueue
from edge.types import Bytes2D, CameraFault, Frame

FACES = Path(__file__).parents[2] / "faces"
FRAMES = Path("/tmp/frames")  # named in virtual.yaml
MAIN, LORES = (1280, 960), (320, 240)
SETTINGS = CameraSettings(driver="picamera2")


def write_frames() -> list[Bytes2D]:
    """Give the virtual camera its pictures; returns the luma of each."""
    FRAMES.mkdir()
    lumas = []
    for number, name in enumerate(("obama.jpg", "biden.jpg", "astronaut.jpg")):
        with Image.open(FACES / name) as photo:
            picture = letterbox(photo, *MAIN)
        planes = [
            Image.fromarray(plane).resize(MAIN) for plane in (picture.y, picture.u, picture.v)
        ]
        Image.merge("YCbCr", planes).save(FRAMES / f"{number}.jpg", quality=95)
        lumas.append(picture.y)
    return lumas


def likeness(picture: Bytes2D, other: Bytes2D) -> float:
    return float(np.corrcoef(picture.ravel(), other.ravel())[0, 1])


def shown(frame: Frame) -> int:
    """Which of the pictures this is."""
    return int(np.argmax([likeness(frame.main.y, luma) for luma in LUMAS]))


def read(camera: Camera, count: int) -> list[Frame]:
    return [camera.read(2.0) for _ in range(count)]


@contextmanager
def opened() -> Iterator[Camera]:
    camera = open_camera(SETTINGS)
    try:
        yield camera
    finally:
        camera.close()


def frames_have_the_shape_asked_for() -> None:
    with opened() as camera:
        for frame in read(camera, 3):
            assert frame.main.y.shape == MAIN[::-1], frame.main.y.shape
            assert frame.lores.y.shape == LORES[::-1], frame.lores.y.shape
            for picture in (frame.main, frame.lores):
                half = (picture.height // 2, picture.width // 2)
                assert picture.u.shape == picture.v.shape == half, picture.u.shape
                assert picture.y.dtype == np.uint8


def times_and_numbers_only_grow_and_are_of_now() -> None:
    with opened() as camera:
        frames = read(camera, 30)
    for before, after in pairwise(frames):
        assert after.captured_ns > before.captured_ns
        assert after.number > before.number
    age = time.monotonic_ns() - frames[-1].captured_ns
    assert 0 <= age < 1e9, f"{age / 1e6:.0f} ms old"


def both_streams_show_the_source_in_full_range() -> None:
    with opened() as camera:
        frames = read(camera, 10)
    for frame in frames:
        luma = LUMAS[shown(frame)]
        assert likeness(frame.main.y, luma) > 0.99
        small = np.asarray(Image.fromarray(luma).resize(LORES, Image.Resampling.BOX))
        assert likeness(frame.lores.y, small) > 0.98
        level = abs(float(frame.main.y.mean()) - float(luma.mean()))
        assert level < 2.0, f"the mean luma is {level:.1f} off"


def colours_are_those_of_the_source() -> None:
    with opened() as camera:
        frame = camera.read(2.0)
    with Image.open(FRAMES / f"{shown(frame)}.jpg") as photo:
        source = letterbox(photo, *MAIN)
    assert likeness(frame.main.u, source.u) > 0.97
    assert likeness(frame.main.v, source.v) > 0.97


def a_camera_closes_quickly_and_opens_again() -> None:
    for _ in range(5):
        camera = open_camera(SETTINGS)
        camera.read(2.0)
        started = time.monotonic()
        camera.close()
        camera.close()
        assert time.monotonic() - started < 2.0


def a_taken_camera_is_refused() -> None:
    with opened():
        refused("cannot be opened", SETTINGS)
    with opened() as camera:
        camera.read(2.0)


def a_camera_that_is_not_there_is_named() -> None:
    refused("camera.number is 7, but 1 camera", SETTINGS.model_copy(update={"number": 7}))


def refused(words: str, settings: CameraSettings) -> None:
    try:
        open_camera(settings).close()
    except CameraError as error:
        said = str(error)
    else:
        said = "it was opened"
    assert words in said, said


def a_camera_that_hangs_upside_down_delivers_heads_up() -> None:
    settings = SETTINGS.model_copy(update={"rotation": 180})
    camera = open_camera(settings)
    try:
        frame = camera.read(2.0)
    finally:
        camera.close()
    upright = max(likeness(frame.main.y, luma) for luma in LUMAS)
    upside_down = max(likeness(frame.main.y[::-1, ::-1], luma) for luma in LUMAS)
    assert upside_down > 0.99 > upright, (upside_down, upright)


def the_feed_delivers_at_its_rate_and_paced() -> None:
    events: EventQueue[Frame | CameraFault] = EventQueue()
    feed = CaptureThread(lambda: open_camera(SETTINGS), SETTINGS, events)
    faults: list[str | None] = []

    def frames_within(seconds: float) -> int:
        count, deadline = 0, time.monotonic() + seconds
        while (left := deadline - time.monotonic()) > 0:
            for message in events.get(left):
                if isinstance(message, Frame):
                    count += 1
                else:
                    faults.append(message.why)
        return count

    feed.start()
    quick = frames_within(2.0)
    feed.set_controls(CaptureRequest(SETTINGS.fps / 5, stops=1.0))
    slow = frames_within(2.0)
    feed.close()
    # A reader that is kept from the processor may meet the same of the few pictures many times.
    assert faults in ([], ["the picture is frozen", None]), faults
    assert 15 <= quick <= 60, quick  # frames wait here while others have the processor
    assert 4 <= slow <= 9, slow


def a_known_face_before_the_camera_reaches_central() -> None:
    """Last: it puts another picture before the camera."""
    say(daemon.a_known_face_before_the_camera_reaches_central(FACES, FRAMES))


CHECKS: list[Callable[[], None]] = [
    frames_have_the_shape_asked_for,
    times_and_numbers_only_grow_and_are_of_now,
    both_streams_show_the_source_in_full_range,
    colours_are_those_of_the_source,
    a_camera_closes_quickly_and_opens_again,
    a_taken_camera_is_refused,
    a_camera_that_is_not_there_is_named,
    a_camera_that_hangs_upside_down_delivers_heads_up,
    the_feed_delivers_at_its_rate_and_paced,
    a_known_face_before_the_camera_reaches_central,
]


def say(line: str) -> None:
    print(line, flush=True)  # noqa: T201 - a script that reports to a terminal


def main() -> int:
    failed = 0
    for check in CHECKS:
        started = time.monotonic()
        try:
            check()
            verdict = "passed"
        except Exception:  # noqa: BLE001 - whatever it is, the other checks still run
            traceback.print_exc()
            failed += 1
            verdict = "FAILED"
        say(f"{verdict}  {check.__name__} ({time.monotonic() - started:.1f} s)")
    say(f"{len(CHECKS) - failed} passed, {failed} failed")
    return 1 if failed else 0


LUMAS = write_frames()
import virtual_camera  # noqa: E402, F401 - libcamera reads the pictures when it is loaded

if __name__ == "__main__":
    sys.exit(main())
