"""The panel: plays cues on the board from a thread of its own, so that nobody waits for a light."""

import logging
import threading
import time
from contextlib import suppress
from typing import Self

from edge.errors import GpioError
from edge.gpio.board import IndicatorBoard
from edge.gpio.cue_scheduler import CueScheduler
from edge.gpio.patterns import DARK
from edge.settings import GpioSettings
from edge.types import Cue

log = logging.getLogger(__name__)

CLOSE_S = 0.25  # for the player to end; it waits for nothing but pins


class CuePlayer:
    """Two lights and a buzzer. `show` returns at once; `close` leaves them dark and silent.

    `cue_scheduler` decides between several cues. Raises GpioError when
    the pins are not available, and from `show` when they were lost later.
    """

    def __init__(self, settings: GpioSettings, board: IndicatorBoard | None = None) -> None:
        self._board = IndicatorBoard(settings) if board is None else board
        self._stage = CueScheduler()
        self._changed = threading.Condition()
        self._shown = 0  # counts the calls of `show`
        self._closing = False
        self._lost: Exception | None = None
        self._player = threading.Thread(target=self._play, name="panel", daemon=True)
        self._player.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def show(self, cue: Cue) -> None:
        """Show `cue` as soon as its turn comes. Raises GpioError where the pins were lost."""
        if self._lost is not None:
            raise GpioError(f"gpio: the pins were lost ({self._lost}); check the wiring, restart")
        with self._changed:
            self._shown += 1
            self._stage.show(cue, time.monotonic())
            self._changed.notify()

    def use_levels(self, brightness: float, volume: float) -> None:
        """Take another brightness and volume, 0 to 1, from the next change of light on."""
        self._board.use_levels(brightness, volume)

    def close(self) -> None:
        """Turn everything off within 0.3 s, also in the middle of a cue. May be called twice."""
        with self._changed:
            if self._closing:
                return
            self._closing = True
            self._changed.notify()
        self._player.join(CLOSE_S)
        self._board.close()

    def _play(self) -> None:
        try:
            while self._play_on():
                pass
        except Exception as error:  # the thread must not end without a word
            self._lost = error
            log.exception("the panel cannot reach its pins")
        with suppress(Exception):  # reported above if the pins failed
            self._board.set(DARK)

    def _play_on(self) -> bool:
        """Show what is on until it changes; False once closing. Pins are set without the lock."""
        with self._changed:
            seen = self._shown
            light, seconds = self._stage.light(time.monotonic())
        self._board.set(light)
        with self._changed:
            if self._shown == seen and not self._closing:
                self._changed.wait(min(seconds, threading.TIMEOUT_MAX))
            return not self._closing
