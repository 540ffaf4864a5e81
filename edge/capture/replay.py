"""The camera driver that plays photos or a video: for the demo, tests and field debugging."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import lru_cache, partial
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from PIL import Image

from edge.capture.camera_controls import CaptureRequest
from edge.errors import CameraStalled, EndOfReplay, PhotoError, ReplayError
from edge.images import fit_size, letterbox, pad_to, read_photo, shrink
from edge.settings import CameraSettings
from edge.types import Frame, Yuv

_PHOTO_SUFFIXES = (".bmp", ".jpeg", ".jpg", ".png", ".webp")
_PHOTOS_KEPT = 4  # converted photos, 1.8 MB each at 1280x960: a short loop decodes nothing twice
_ROUNDING_NS = 1_000_000  # Matroska rounds its times to milliseconds

# For how many seconds it is shown, and what makes the picture; valid until the next is requested.
_Shot = tuple[float, Callable[[], Yuv]]


class ReplayClock(Protocol):
    """What a replay is paced by; the module `time` is one."""

    def monotonic_ns(self) -> int: ...
    def sleep(self, seconds: float, /) -> None: ...


class ReplayCamera:
    """Photos of a folder, one a frame in order of their names, or a video or GIF at its own speed.

    Each frame shows what is on at that time: a reader that lags misses frames, as with any camera,
    and a photo that it missed is not even decoded. Time starts with the first read. What cannot be
    read as a picture raises ReplayError when its turn comes.
    """

    def __init__(self, settings: CameraSettings, clock: ReplayClock = time) -> None:
        assert settings.replay is not None  # the settings see to it
        self._path = settings.replay
        self._interval_ns = round(1e9 / settings.fps)
        self._lores = (settings.lores_width, settings.lores_height)
        self._loop = settings.replay_loop
        self._clock = clock
        size = (settings.main_width, settings.main_height)
        self._source = _source(settings.replay, size, 1.0 / settings.fps)
        self._shots = self._source()
        self._until_ns = 0.0  # since the start; when the present shot is over
        self._shown: tuple[Yuv, Yuv] | None = None
        self._start_ns: int | None = None
        self._next = 0

    def read(self, timeout: float) -> Frame:
        now = self._clock.monotonic_ns()
        if self._start_ns is None:
            self._start_ns = now
        number = max(self._next, (now - self._start_ns) // self._interval_ns)
        due = self._start_ns + number * self._interval_ns
        if due > now:
            self._clock.sleep(min(timeout, (due - now) / 1e9))
            if due - now > timeout * 1e9:
                raise CameraStalled(f"{self._path}: no frame is due within {timeout:.1f} s")
        main, lores = self._picture(number * self._interval_ns)
        self._next = number + 1
        return Frame(number, due, main, lores)

    def ask(self, wish: CaptureRequest) -> None:
        """Do nothing: what was recorded is as it is."""

    def close(self) -> None:
        self._shots = iter(())
        self._loop = False

    def _picture(self, at_ns: int) -> tuple[Yuv, Yuv]:
        make = None
        while self._until_ns <= at_ns + _ROUNDING_NS:
            seconds, make = self._advance()
            self._until_ns += seconds * 1e9
        main = make() if make else None
        if main is not None and (self._shown is None or main is not self._shown[0]):
            self._shown = main, shrink(main, *self._lores)
        assert self._shown is not None  # the first shot begins at 0
        return self._shown

    def _advance(self) -> _Shot:
        shot = next(self._shots, None)
        if shot is None and self._loop:
            self._shots = self._source()
            shot = next(self._shots, None)
        if shot is None:
            raise EndOfReplay(f"{self._path}: the replay is over")
        return shot


class NoWaitClock:
    """A clock that does not wait: a replay shows its next frame at once."""

    def __init__(self) -> None:
        self._now_ns = 0

    def monotonic_ns(self) -> int:
        return self._now_ns

    def sleep(self, seconds: float, /) -> None:
        self._now_ns += round(seconds * 1e9)


def iter_frames(path: Path, settings: CameraSettings) -> Iterator[Frame]:
    """Yield the frames of a folder or a video once, at the settings' size and rate, without waits.

    Raises ReplayError.
    """
    once = settings.model_copy(update={"driver": "replay", "replay": path, "replay_loop": False})
    camera = ReplayCamera(once, NoWaitClock())
    try:
        while True:
            yield camera.read(2 / once.fps)
    except EndOfReplay:
        return
    finally:
        camera.close()


def _source(path: Path, size: tuple[int, int], photo_s: float) -> Callable[[], Iterator[_Shot]]:
    """Return what begins to play `path`, once a call. Raises ReplayError."""
    if path.is_dir():
        photos = sorted(p for p in path.iterdir() if p.suffix.lower() in _PHOTO_SUFFIXES)
        if not photos:
            raise ReplayError(
                f"{path}: no photos in this folder; put some in, named {', '.join(_PHOTO_SUFFIXES)}"
            )
        # A scene repeats a photo as links to it: those are converted once.
        load = lru_cache(_PHOTOS_KEPT)(partial(_load_photo, size))
        return lambda: ((photo_s, partial(load, photo.resolve())) for photo in photos)
    if not path.is_file():
        raise ReplayError(f"{path}: no such folder of photos or video; correct camera.replay")
    return partial(_play_gif if path.suffix.lower() == ".gif" else _play_video, path, size)


def _load_photo(size: tuple[int, int], path: Path) -> Yuv:
    try:
        # YCbCr: a JPEG without the detour through RGB.
        return letterbox(read_photo(path, max(size), "YCbCr"), *size)
    except PhotoError as error:
        raise ReplayError(str(error)) from None


def _play_gif(path: Path, size: tuple[int, int]) -> Iterator[_Shot]:
    with _reading(path), Image.open(path) as image:
        for index in range(getattr(image, "n_frames", 1)):
            image.seek(index)
            image.load()  # here, where damage is reported
            # A duration of 0 leaves it to the viewer; browsers take a tenth of a second.
            yield (image.info.get("duration") or 100) / 1e3, partial(letterbox, image, *size)


def _play_video(path: Path, size: tuple[int, int]) -> Iterator[_Shot]:
    try:
        import av  # noqa: PLC0415 - an extra: 60 MB of FFmpeg that a unit does without
    except ImportError:
        run = "pip install 'senyum-edge[video]'"
        raise ReplayError(f"{path}: to replay a video, install PyAV: {run}") from None
    with _reading(path), av.open(str(path)) as container:
        stream = container.streams.video[0]
        usual = 1.0 / float(stream.average_rate or 25)
        frames = container.decode(stream)
        shown = next(frames)
        for frame in frames:
            dated = frame.time is not None and shown.time is not None
            yield frame.time - shown.time if dated else usual, partial(_scale, shown, size)
            shown = frame
        yield usual, partial(_scale, shown, size)


def _scale(frame: Any, size: tuple[int, int]) -> Yuv:
    """Letterbox a PyAV frame; in YUV all the way, a tenth of the cost of a way through RGB."""
    columns, rows = fit_size(frame.width, frame.height, *size)
    scaled = frame.reformat(
        columns, rows, "yuv420p", dst_colorspace="ITU601", dst_color_range="JPEG"
    )
    planes = [
        np.frombuffer(plane, np.uint8).reshape(-1, plane.line_size)[:, : columns // part]
        for plane, part in zip(scaled.planes, (1, 2, 2), strict=True)
    ]
    return pad_to(planes, *size)


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    try:
        yield
    except Exception as error:  # Pillow and FFmpeg raise whatever they like
        raise ReplayError(
            f"{path}: cannot be read as a picture ({error!s:.200}); replace it, or take it out"
        ) from error
