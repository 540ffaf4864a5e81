"""Keeps a panel: opens it again when its pins were lost, or could not be had at the start.

Without lights nobody gets feedback, so nobody is recorded either; but the unit stays
up, its events go on to the broker, and its health says what is wrong.
"""

import logging
import time
from collections.abc import Callable

from edge.errors import GpioError, PinBusyError
from edge.gpio.cue_player import CuePlayer
from edge.types import Cue

log = logging.getLogger(__name__)

RETRY_S = 5.0


class ReconnectingPanel:
    """Shows cues on the panel that `opener` opens, while it can be had. One thread only.

    Raises GpioError if trying again cannot help: no chip, no driver.
    """

    def __init__(self, opener: Callable[[], CuePlayer]) -> None:
        self.fault: str | None = None  # why the panel does not work, or None
        self._opener = opener
        self._panel: CuePlayer | None = None
        self._retry_at = 0.0  # time.monotonic()
        self._levels: tuple[float, float] | None = None
        self._open()

    def show(self, cue: Cue) -> None:
        """Show `cue`, if there are pins."""
        if self._panel is None:
            return
        try:
            self._panel.show(cue)
        except GpioError as error:
            self._panel.close()
            self._lost(error)

    def use_levels(self, brightness: float, volume: float) -> None:
        """Show and sound at these levels from now on, both 0 to 1."""
        self._levels = brightness, volume
        if self._panel is not None:
            self._panel.use_levels(brightness, volume)

    def poll(self) -> None:
        """Try again, every few seconds, to have the pins; call it now and then."""
        if self._panel is None and time.monotonic() >= self._retry_at:
            self._open()

    def close(self) -> None:
        """Leave all dark and silent. May be called twice."""
        if self._panel is not None:
            self._panel.close()

    def _open(self) -> None:
        try:
            self._panel, self.fault = self._opener(), None
            if self._levels is not None:
                self._panel.use_levels(*self._levels)
        except PinBusyError as error:
            self._lost(error)
        except GpioError as error:
            if self.fault is None:  # the first attempt: the caller handles it
                raise
            self._lost(error)

    def _lost(self, error: GpioError) -> None:
        self._panel, self.fault = None, str(error)
        self._retry_at = time.monotonic() + RETRY_S
