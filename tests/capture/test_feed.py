"""The feed on a scripted camera: each opening plays the next act of a script."""

import itertools
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from kept_events import KeptEvents
from PIL import Image

from edge.camera import Camera, open_camera
from edge.capture.camera_controls import CaptureRequest
from edge.capture.capture_thread import CaptureThread
from edge.errors import CameraError, CameraStalled, EndOfReplay
from edge.settings import CameraSettings
from edge.system.event_queue import EventQueue
from edge.types import CameraFault, Frame, ReplayEnded, Yuv

FPS = 50.0
SETTINGS = CameraSettings(fps=FPS, stall_timeout=0.3)
REPLAY = CameraSettings(driver="replay", replay=Path("/nowhere"), fps=FPS, stall_timeout=0.3)

# What one opened camera does: a frame's level, or what a read raises; None is noise.
Act = Iterator[int | Exception | None]


def picture(level: int | None) -> Yuv:
    if level is None:
        luma = np.random.default_rng().integers(90, 110, (64, 64), np.uint8)
    else:
        luma = np.full((64, 64), level, np.uint8)
    chroma = np.full((32, 32), 128, np.uint8)
    return Yuv(luma, chroma, chroma)


class ScriptedCamera:
    """Frames at FPS from an act; silence for good after its end."""

    def __init__(self, act: Act) -> None:
        self._act = act
        self._number = 0
        self._due = time.monotonic()
        self.closed = 0
        self.wishes: list[CaptureRequest] = []

    def read(self, timeout: float) -> Frame:
        try:
            cue = next(self._act)
        except StopIteration:
            time.sleep(timeout)
            raise CameraStalled("no frame") from None
        if isinstance(cue, Exception):
            raise cue
        while self._due < time.monotonic():  # what nobody read is gone
            self._due += 1 / FPS
            self._number += 1
        time.sleep(max(0.0, self._due - time.monotonic()))
        self._due += 1 / FPS
        self._number += 1
        shown = picture(cue)
        return Frame(self._number, time.monotonic_ns(), shown, shown)

    def ask(self, wish: CaptureRequest) -> None:
        self.wishes.append(wish)

    def close(self) -> None:
        self.closed += 1


class Stage:
    """Opens a camera for each act, and keeps what the feed says of it."""

    def __init__(self, *acts: Act | CameraError, settings: CameraSettings = SETTINGS) -> None:
        self._acts = iter(acts)
        self.cameras: list[ScriptedCamera] = []
        self.openings: list[float] = []
        self.events = KeptEvents()
        self.feed = CaptureThread(self._open, settings, self.events)

    def _open(self) -> Camera:
        self.openings.append(time.monotonic())
        act = next(self._acts, None)
        if isinstance(act, CameraError):
            raise act
        camera = ScriptedCamera(iter(()) if act is None else act)
        self.cameras.append(camera)
        return camera

    @property
    def frames(self) -> list[Frame]:
        return self.events.of(Frame)

    @property
    def faults(self) -> list[tuple[float, str | None]]:
        return [
            (at, message.why)
            for at, message in zip(list(self.events.times), list(self.events.all), strict=False)
            if isinstance(message, CameraFault)
        ]

    @property
    def said(self) -> list[str | None]:
        return [why for _, why in self.faults]

    def until(self, condition: Callable[[], object], timeout: float = 6.0) -> None:
        deadline = time.monotonic() + timeout
        while not condition():
            assert time.monotonic() < deadline, f"nothing: {self.faults}, {len(self.frames)}"
            time.sleep(0.01)


@pytest.fixture
def stage() -> Iterator[Callable[..., Stage]]:
    stages: list[Stage] = []

    def build(*acts: Act | CameraError, settings: CameraSettings = SETTINGS) -> Stage:
        stages.append(Stage(*acts, settings=settings))
        stages[-1].feed.start()
        return stages[-1]

    yield build
    for one in stages:
        one.feed.close()


def noise(count: int | None = None) -> Act:
    return itertools.repeat(None) if count is None else itertools.repeat(None, count)


def test_frames_are_handed_on_in_order(stage: Callable[..., Stage]) -> None:
    play = stage(noise())
    play.until(lambda: len(play.frames) >= 20)
    numbers = [frame.number for frame in play.frames]
    assert numbers == sorted(set(numbers))
    assert play.said == []


def test_a_paced_feed_reads_each_nth_frame_and_wakes_at_once(stage: Callable[..., Stage]) -> None:
    play = stage(noise())
    play.until(lambda: play.frames)
    play.feed.set_controls(CaptureRequest(FPS / 10))
    time.sleep(0.1)
    count = len(play.frames)
    time.sleep(1.0)
    assert 3 <= len(play.frames) - count <= 7

    play.feed.set_controls(CaptureRequest(FPS / 1000))
    time.sleep(0.3)
    woken = time.monotonic()
    count = len(play.frames)
    play.feed.set_controls(CaptureRequest(FPS))
    play.until(lambda: len(play.frames) > count)
    assert time.monotonic() - woken < 0.2


def test_the_camera_is_told_what_is_wished_also_when_it_is_opened_again(
    stage: Callable[..., Stage],
) -> None:
    play = stage(noise(20), noise())
    play.until(lambda: play.frames)
    brighter = CaptureRequest(FPS, stops=1.5)
    play.feed.set_controls(brighter)
    play.until(lambda: len(play.cameras) == 2 and play.cameras[1].wishes)
    assert play.cameras[0].wishes == [CaptureRequest(FPS), brighter]
    assert play.cameras[1].wishes == [brighter]


def test_a_stalled_camera_is_closed_and_opened_without_a_word(stage: Callable[..., Stage]) -> None:
    play = stage(noise(5), noise())
    play.until(lambda: len(play.frames) >= 20)
    assert len(play.openings) == 2
    assert play.cameras[0].closed == 1
    assert play.said == []


def test_a_camera_that_opens_and_stays_silent_is_reported_within_two_seconds(
    stage: Callable[..., Stage],
) -> None:
    play = stage(noise(5), iter(()), noise())
    play.until(lambda: play.faults)
    lost = play.frames[-1].captured_ns / 1e9
    assert play.faults[0][0] - lost < 2.0
    assert "no frames; check its cable" in str(play.said[0])

    play.until(lambda: play.said[-1] is None)
    assert len(play.faults) == 2


def test_a_camera_that_is_gone_is_reported_when_it_cannot_be_opened_again(
    stage: Callable[..., Stage],
) -> None:
    gone = CameraError("camera 0 is gone")
    play = stage(iter([None, None, gone]), CameraError("no camera found"), noise())
    play.until(lambda: play.said == ["no camera found", None])
    assert play.faults[0][0] - play.frames[1].captured_ns / 1e9 < 0.5
    assert play.openings[2] - play.openings[1] >= 0.5  # the back-off


def test_trying_never_ends_and_slows_down(stage: Callable[..., Stage]) -> None:
    play = stage(*(CameraError(f"failure {n}") for n in range(4)), noise())
    play.until(lambda: play.frames)
    gaps = np.diff(play.openings)
    assert gaps[0] < 0.3
    assert gaps[1:] == pytest.approx([0.5, 1.0, 2.0], abs=0.3)
    assert play.said == ["failure 1", None]  # once, however often it failed


def test_a_camera_that_comes_and_goes_is_not_opened_in_a_frenzy(
    stage: Callable[..., Stage],
) -> None:
    play = stage(*(iter([None, CameraError("gone")]) for _ in range(100)))
    time.sleep(1.2)
    assert 3 <= len(play.openings) <= 4


def test_a_black_picture_is_reported_and_taken_back(stage: Callable[..., Stage]) -> None:
    dark = itertools.islice(itertools.cycle([0, 2]), int(2.6 * FPS))
    play = stage(itertools.chain(noise(5), dark, noise()))
    play.until(lambda: play.said[-1:] == [None])
    assert "is the lens covered" in str(play.said[0])
    assert len(play.faults) == 2
    since = play.frames[5].captured_ns / 1e9
    assert 1.9 < play.faults[0][0] - since < 2.4
    assert len(play.openings) == 1


def test_a_short_darkness_is_nothing(stage: Callable[..., Stage]) -> None:
    play = stage(itertools.chain(itertools.repeat(0, int(FPS)), noise()))
    play.until(lambda: len(play.frames) >= FPS + 10)
    assert play.said == []


def test_a_frozen_picture_is_a_stall(stage: Callable[..., Stage]) -> None:
    play = stage(itertools.repeat(100), itertools.repeat(100), noise())
    play.until(lambda: play.said == ["the picture is frozen", None])
    assert len(play.openings) == 3
    assert play.cameras[0].closed == play.cameras[1].closed == 1


@pytest.mark.parametrize("level", [0, 255])
def test_a_clipped_picture_has_no_noise_and_is_not_frozen(
    stage: Callable[..., Stage], level: int
) -> None:
    play = stage(itertools.repeat(level))
    time.sleep(1.0)
    assert len(play.openings) == 1


def test_a_replay_may_hold_its_picture(stage: Callable[..., Stage]) -> None:
    play = stage(itertools.repeat(100), settings=REPLAY)
    time.sleep(1.0)
    assert len(play.openings) == 1
    assert play.said == []


def test_the_end_of_a_replay_is_told_once(stage: Callable[..., Stage]) -> None:
    play = stage(iter([None, None, EndOfReplay("over")]), settings=REPLAY)
    play.until(lambda: play.events.of(ReplayEnded))
    assert [type(message) for message in play.events.all] == [Frame, Frame, ReplayEnded]
    assert play.events.all[-1].error is None
    assert play.cameras[0].closed == 1


def test_a_photo_that_cannot_be_read_ends_the_replay_with_its_name(tmp_path: Path) -> None:
    Image.new("RGB", (64, 64), "grey").save(tmp_path / "0.png")
    (tmp_path / "1.png").write_bytes(b"damaged")
    # Slow: a photo whose time has passed is not even looked at.
    settings = REPLAY.model_copy(update={"replay": tmp_path, "fps": 2.0})
    events: EventQueue[Frame | ReplayEnded] = EventQueue()
    feed = CaptureThread(lambda: open_camera(settings), settings, events)
    feed.start()
    messages: list[Frame | ReplayEnded] = []
    while len(messages) < 2 and (arrived := events.get(10.0)):
        messages += arrived
    feed.close()
    frame, ended = messages
    assert isinstance(frame, Frame)
    assert isinstance(ended, ReplayEnded)
    assert "1.png: is not an image that can be read" in str(ended.error)


@pytest.mark.parametrize("act", [noise, lambda: iter(()), lambda: itertools.repeat(100)])
def test_closing_is_quick_and_closes_the_camera(
    stage: Callable[..., Stage], act: Callable[[], Act]
) -> None:
    play = stage(act())
    play.until(lambda: play.cameras)
    play.feed.set_controls(CaptureRequest(FPS / 1000))
    time.sleep(0.05)
    started = time.monotonic()
    play.feed.close()
    assert time.monotonic() - started < 0.5
    assert play.cameras[0].closed == 1


def test_closing_interrupts_the_back_off(stage: Callable[..., Stage]) -> None:
    play = stage(*(CameraError("gone") for _ in range(10)))
    play.until(lambda: len(play.openings) == 3)
    started = time.monotonic()
    play.feed.close()
    assert time.monotonic() - started < 0.3


def test_closing_a_feed_that_hangs_does_not_hang() -> None:
    release = threading.Event()

    def hang() -> Camera:
        release.wait(10)
        raise CameraError("too late")

    feed = CaptureThread(hang, SETTINGS, EventQueue())
    feed.start()
    assert not feed.close(time.monotonic() + 0.2)
    release.set()


def test_a_feed_that_was_never_started_closes() -> None:
    CaptureThread(lambda: ScriptedCamera(noise()), SETTINGS, EventQueue()).close()
