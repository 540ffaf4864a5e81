"""What the camera is to do: its rate by who is there and how warm it is, its exposure by faces.

Metering by the whole picture makes a face in front of a window black. So the exposure follows the
face: how bright its brightest part is, for highlights, eye whites and teeth have about the same
brightness in everybody, and skin has not. What was found stays after the person has gone, since
the next one stands before the same window; it fades by half in five minutes.
"""

import logging
import math

import numpy as np

from edge.capture.camera_controls import CaptureRequest
from edge.settings import CameraSettings
from edge.types import Box, Frame, FrameResult

log = logging.getLogger(__name__)

REST_AFTER_NS = 2_000_000_000  # nobody in view for this long
STEP_NS = 400_000_000  # between two changes: the camera's own metering follows within this
HALF_LIFE_NS = 300_000_000_000
MOST_STEP = 1.0  # stops

# Levels are those of luma, 0 to 255, of the face's brightest hundredth.
AIM, ENOUGH, CLIPPED = 200.0, 0.7, 250  # ENOUGH: deviation in stops that is tolerated
GAMMA = 2.2  # from levels to light, about
SHARE = 0.99
INNER = 0.6  # of the face's box: a window next to the head is outside it

# Frame rate factors above `warm_temperature_c`, one step for each COOLER degrees. The firmware
# starts to throttle at 80 degrees Celsius (60 on the 3B+).
STEPS = (1.0, 2 / 3, 1 / 3)
COOLER = 4.0
HYSTERESIS = 3.0  # degrees to cool down before the rate is raised again
LEAST_FPS = 3.0


class CameraController:
    """Decides the `CaptureRequest` of one unit. Times are time.monotonic_ns()."""

    def __init__(self, settings: CameraSettings) -> None:
        self._settings = settings
        self._stops = 0.0
        self._seen_ns: int | None = None  # when somebody was in view last
        self._changed_ns = 0
        self._step = 0  # of STEPS

    @property
    def is_throttled(self) -> bool:
        """Whether heat takes frames away."""
        return self._step > 0

    def update_temperature(self, celsius: float | None) -> None:
        """Note the processor's temperature; None where nobody knows it.

        Frames are taken away before the firmware takes clock cycles.
        """
        if celsius is None:
            return
        above = (celsius - self._settings.warm_temperature_c) / COOLER
        most = len(STEPS) - 1
        hotter = min(most, math.floor(above) + 1) if above >= 0 else 0
        cooled = above + HYSTERESIS / COOLER
        cooler = min(most, math.floor(cooled) + 1) if cooled >= 0 else 0
        was, self._step = self._step, max(hotter, min(self._step, cooler))
        if bool(was) != bool(self._step):
            log.warning("too warm: fewer frames" if not was else "cool enough: all frames again")

    def next_request(self, frame: Frame, view: FrameResult, now: int) -> CaptureRequest:
        """Return what the camera is to do after this frame."""
        if self._seen_ns is None:
            self._seen_ns = now
        box = view.sightings[0].box if view.sightings else view.distant
        if box is not None:
            self._seen_ns = now
            level = face_level(frame, box)
            if level is not None and now - self._changed_ns >= STEP_NS:
                self._expose(level, now)
        elif self._stops and now - max(self._seen_ns, self._changed_ns) >= HALF_LIFE_NS:
            self._stops = self._stops / 2 if abs(self._stops) > ENOUGH / 2 else 0.0
            self._changed_ns = now
        idle = now - self._seen_ns > REST_AFTER_NS
        full = self._settings.fps
        fps = min(full, self._settings.idle_fps) if idle else full
        return CaptureRequest(max(min(fps, LEAST_FPS), fps * STEPS[self._step]), self._stops)

    def _expose(self, level: int, now: int) -> None:
        """Brighten or darken by what the face lacks."""
        # A clipped level says only that it is too much.
        lacks = -MOST_STEP if level >= CLIPPED else GAMMA * math.log2(AIM / max(level, 1))
        if abs(lacks) <= ENOUGH:
            return
        most = self._settings.face_exposure_stops
        step = min(max(lacks, -MOST_STEP), MOST_STEP)
        stops = min(max(self._stops + step, -most), most)
        if stops != self._stops:
            self._stops, self._changed_ns = stops, now


def face_level(frame: Frame, box: Box) -> int | None:
    """Return the level of the brightest hundredth within a face, 0 to 255; None: too small.

    `box` is of the large picture; the small one is looked at.
    """
    luma, scale = frame.lores.y, frame.lores.width / frame.main.width

    def within(start: float, length: float) -> slice:
        edges = (start + length * (1 - INNER) / 2, start + length * (1 + INNER) / 2)
        return slice(*(max(0, round(edge * scale)) for edge in edges))

    columns, rows = within(box.x, box.width), within(box.y, box.height)
    values = luma[rows, columns].reshape(-1)
    if values.size < 64:
        return None
    rank = int(SHARE * (values.size - 1))
    return int(np.partition(values, rank)[rank])
