"""The main loop's inbox."""

import threading
from collections import deque

from edge.types import Frame, Stimulus


class EventQueue:
    """What the main loop waits for: every stimulus in order, and the newest frame only."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._stimuli: deque[Stimulus] = deque()
        self._frame: Frame | None = None

    def put(self, stimulus: Stimulus) -> None:
        with self._changed:
            self._stimuli.append(stimulus)
            self._changed.notify()

    def put_frame(self, frame: Frame) -> None:
        with self._changed:
            self._frame = frame
            self._changed.notify()

    def get(self, timeout: float) -> tuple[tuple[Stimulus, ...], Frame | None]:
        """Everything that waits, after at most `timeout` seconds; empty where nothing came."""
        with self._changed:
            if not self._stimuli and self._frame is None:
                self._changed.wait(timeout)
            taken = tuple(self._stimuli), self._frame
            self._stimuli.clear()
            self._frame = None
            return taken
