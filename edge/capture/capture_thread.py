"""Keeps frames coming: reads a camera in a thread, and opens it again when it stalls or goes."""

import logging
import threading
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from edge.camera import Camera
from edge.capture.camera_controls import CaptureRequest
from edge.errors import CameraError, CameraStalled, EndOfReplay, ReplayError
from edge.settings import CameraSettings
from edge.system.event_queue import EventQueue, join_until
from edge.types import Bytes2D, CameraFault, Frame, ReplayEnded

log = logging.getLogger(__name__)

# Seconds.
_SLICE = 0.2  # longest single wait, so that closing and reporting are never later than this
_REPORT = 1.0  # without a picture since it was lost, while it is being opened again
_START_UP = 3.0  # until the first frame; a Pi exposes several dark ones and drops them
_STEADY = 2.0  # of frames before a reopened camera counts as working
_BACKOFF_MIN, _BACKOFF_MAX = 0.5, 10.0
_BLACK_FOR = 2.0

# Mean of 0 to 255: a dim room with the gain up is well above the one, a lit one below the other.
_BLACK_LUMA, _WHITE_LUMA = 3.0, 252.0
_SILENT = "the camera delivers no frames; check its cable"
_BLACK = "the picture is black: is the lens covered, is there any light?"


class CaptureThread:
    """The camera thread: opens the camera, captures, and opens it again when it stalls.

    It puts into `events`:

    - each Frame, in place of one that still waits there;
    - CameraFault with what is wrong, once, when the first attempt to open the camera again has
      failed or `_REPORT` seconds after the picture was lost; and with None when it is over;
    - ReplayEnded last, when a replay is over or cannot be played.
    """

    def __init__(
        self,
        opener: Callable[[], Camera],
        settings: CameraSettings,
        events: EventQueue[Any],
    ) -> None:
        self.name = "camera"
        self._opener = opener
        self._settings = settings
        self._events = events
        self._thread = threading.Thread(target=self._run, name=self.name, daemon=True)
        self._wake = threading.Condition()
        self._closing = False
        self._wish = CaptureRequest(settings.fps)
        # Below: of the camera thread alone. Times are time.monotonic() seconds.
        self._fault: str | None = None
        self._failures = 0  # since the camera was last steady
        self._lost_since: float | None = None
        self._previous: Bytes2D | None = None
        self._changed = 0.0  # when the picture last was another than the one before
        self._dark_since: float | None = None

    def start(self) -> None:
        self._thread.start()

    def set_controls(self, wish: CaptureRequest) -> None:
        """Set the rate and the exposure of the frames from now on; returns at once.

        A camera without a rate of its own is read at this rate, and what it delivers in between is
        neither copied nor converted.
        """
        if wish != self._wish:
            with self._wake:
                self._wish = wish
                self._wake.notify_all()

    def stop(self) -> None:
        """Ask the thread to close the camera and end; `close` waits for it."""
        with self._wake:
            self._closing = True
            self._wake.notify_all()

    def close(self, deadline: float | None = None) -> bool:
        """Close the camera and end the thread; return False if `deadline` has passed."""
        self.stop()
        return join_until(self._thread, deadline)

    def _run(self) -> None:
        while not self._closing:
            try:
                self._play()
            except (EndOfReplay, ReplayError) as end:
                # A file does not repair itself.
                self._events.put(ReplayEnded(end if isinstance(end, ReplayError) else None))
                return
            except CameraError as error:
                self._failed(str(error))
            except Exception as error:  # camera libraries raise what they like; the feed goes on
                log.exception("the camera failed unexpectedly")
                self._failed(f"the camera failed unexpectedly ({type(error).__name__}: {error})")

    def _failed(self, why: str) -> None:
        """Say what is wrong, unless it is the first time, and wait a little before the next try."""
        self._failures += 1
        log.debug("%s", why)
        if self._lost_since is None:
            self._lost_since = time.monotonic()
        if self._failures > 1:  # a first failure that a restart repairs is not reported
            self._say(why)
            back_off = _BACKOFF_MIN * 2.0 ** min(self._failures - 2, 10)
            self._rest(time.monotonic() + min(_BACKOFF_MAX, back_off), wish=None)

    def _play(self) -> None:
        """Deliver the frames of one opened camera until it fails or the feed is closed."""
        camera = self._opener()
        try:
            patience = max(_START_UP, self._settings.stall_timeout)
            opened = received = time.monotonic()
            asked: CaptureRequest | None = None
            while not self._closing:
                if (wish := self._wish) != asked:
                    camera.ask(wish)
                    asked = wish
                try:
                    frame = camera.read(_SLICE)
                except CameraStalled as stalled:
                    silent = time.monotonic() - received
                    if silent >= patience:
                        raise CameraStalled(_SILENT) from stalled
                    if self._lost_since and time.monotonic() - self._lost_since >= _REPORT:
                        self._say(_SILENT)
                    continue
                received = time.monotonic()
                patience = self._settings.stall_timeout
                self._judge(frame, received)
                if received - opened >= _STEADY:
                    self._failures = 0
                self._events.put_latest(frame)
                self._pause_until_next(frame)
        finally:
            camera.close()

    def _judge(self, frame: Frame, now: float) -> None:
        """Tell a picture of something from a black and from a frozen one."""
        luma = frame.lores.y
        level = float(luma[::4, ::4].mean())
        # The noise of a living sensor makes any two pictures differ, unless they are clipped. A
        # replay may hold a picture.
        if (
            self._settings.driver != "replay"
            and _BLACK_LUMA <= level <= _WHITE_LUMA
            and self._previous is not None
            and np.array_equal(luma, self._previous)
        ):
            if now - self._changed >= self._settings.stall_timeout:
                raise CameraStalled("the picture is frozen")
            return
        self._previous, self._changed, self._lost_since = luma, now, None
        if level >= _BLACK_LUMA:
            self._dark_since = None
        elif self._dark_since is None:
            self._dark_since = now
        dark = self._dark_since is not None and now - self._dark_since >= _BLACK_FOR
        self._say(_BLACK if dark else None)

    def _pause_until_next(self, frame: Frame) -> None:
        # A little early, so that the wanted frame is waited for and not missed; it also holds back
        # a camera that knows no frame rate.
        while True:
            wish = self._wish
            pause = 1 / wish.fps - 0.25 / self._settings.fps
            due = min(frame.captured_ns / 1e9, time.monotonic()) + pause
            if self._rest(due, wish):
                return

    def _rest(self, until: float, wish: CaptureRequest | None) -> bool:
        """Wait until then; False at once if another rate is wished meanwhile."""
        with self._wake:
            while not self._closing and (left := until - time.monotonic()) > 0:
                if wish is not None and wish.fps != self._wish.fps:
                    return False
                self._wake.wait(left)
        return True

    def _say(self, why: str | None) -> None:
        if (why is None) != (self._fault is None):
            self._fault = why
            self._events.put(CameraFault(why))
