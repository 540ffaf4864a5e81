"""Which cue is on, when several want to be. Pure: the clock is an argument, in seconds.

Rules

1. A cue that goes on (idle, noticed, smile asked, several, out of order) is the background until
   another one replaces it. A cue that passes is played over it, once.
2. A cue that passes gives way at once to one of its own or a higher rank. One of a lower rank
   waits until the `hold` of the cue that is on is over; the last one to wait is played.
3. A new background that ranks lower also waits for the `hold`, except idle, which waits for the
   end. One that ranks as high or higher is on at once.
4. A cue that ends an attempt leaves idle as background, whatever was there before it.
5. Nothing is played over a background of a higher rank.
6. A new level of the smile replaces the old one in mid-pulse; it moves at most RATE, so that a
   score that jumps from frame to frame does not flicker.
"""

import math
from dataclasses import dataclass, replace

from edge.gpio.patterns import DARK, LEVELS, LightState, pattern_of
from edge.types import Cue, CueName

RATE = 2.5  # of the smile level, a second: from none to full and back is 1.25 flashes a second
IDLE = Cue(CueName.IDLE)
_IN_PLACE = {CueName.IDLE, CueName.SMILE_ASKED}  # shown again, they go on where they are


@dataclass(slots=True)
class _ActiveCue:
    cue: Cue
    began: float | None = None  # None: not been on yet

    def light(self, now: float) -> tuple[LightState, float]:
        """Return the light and for how many seconds it stays; starts at the first call."""
        if self.began is None:
            self.began = now
        return pattern_of(self.cue).at(now - self.began)


class CueScheduler:
    """What is on. Dark until the first cue."""

    def __init__(self) -> None:
        self._background: _ActiveCue | None = None
        self._passing: _ActiveCue | None = None
        self._waiting: Cue | None = None
        self._yield = False  # a background that wants to be seen came after the passing cue
        self._target = 0.0  # level of the smile
        self._moved = 0.0  # when the level last moved

    def show(self, cue: Cue, now: float) -> None:
        """Take in one more cue at `now`."""
        self._settle(now)
        if pattern_of(cue).is_transient:
            self._pass(cue, now)
        else:
            self._continue(cue, now)

    def light(self, now: float) -> tuple[LightState, float]:
        """Return what to show at `now`, and for how many seconds it stays so, or infinity."""
        self._settle(now)
        if self._passing is not None:
            light, seconds = self._passing.light(now)
            return light, min(seconds, self._until(self._passing) - now)
        if self._background is None:
            return DARK, math.inf
        self._move(self._background, now)
        return self._background.light(now)

    def _until(self, playing: _ActiveCue) -> float:
        assert playing.began is not None
        pattern = pattern_of(playing.cue)
        waited_for = self._waiting is not None or self._yield
        return playing.began + (pattern.hold_seconds if waited_for else pattern.seconds)

    def _settle(self, now: float) -> None:
        """Let the passing cue go when its time is over, and the waiting one come."""
        while self._passing is not None and now >= self._until(self._passing):
            self._passing = None
            if self._waiting is not None:
                self._passing, self._waiting = _ActiveCue(self._waiting, now), None
                return
            self._yield = False

    def _pass(self, cue: Cue, now: float) -> None:
        pattern = pattern_of(cue)
        background = self._background
        if background is not None and pattern_of(background.cue).rank > pattern.rank:
            return
        if pattern.ends:
            self._background = _ActiveCue(IDLE)
            self._yield = False
        if self._passing is None or pattern.rank >= pattern_of(self._passing.cue).rank:
            self._passing, self._waiting = _ActiveCue(cue, now), None
        else:
            self._waiting = cue

    def _continue(self, cue: Cue, now: float) -> None:
        before = self._background
        if cue.name in _IN_PLACE and before is not None and before.cue.name is cue.name:
            self._target = cue.level
            if cue.name is CueName.SMILE_ASKED or cue == before.cue:
                return
        if cue.name is CueName.SMILE_ASKED:
            self._target, self._moved = cue.level, now
        self._background = _ActiveCue(cue)
        if self._passing is None:
            return
        self._yield = cue.name is not CueName.IDLE
        if pattern_of(cue).rank >= pattern_of(self._passing.cue).rank:
            self._passing = self._waiting = None
            self._yield = False

    def _move(self, background: _ActiveCue, now: float) -> None:
        """Bring the level of the smile nearer to the latest score."""
        if background.cue.name is not CueName.SMILE_ASKED:
            return
        most = RATE * (now - self._moved)
        gap = self._target - background.cue.level
        if abs(gap) > 1 / LEVELS and most > 0:
            step = max(-most, min(most, gap))
            background.cue = replace(background.cue, level=background.cue.level + step)
        self._moved = now
