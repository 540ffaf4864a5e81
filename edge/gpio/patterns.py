"""Each cue as data: levels of the two lights and a pitch, step by step.

Two rules for changing a cue, which the tests enforce: every pair of cues differs in rhythm
alone (without colour) and in sound alone, and nothing flashes more than 2.5 times a second.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

from edge.types import Cue, CueName

DIM = 0.15  # green while somebody is looked at
FAINT = 0.1  # green of the blip when nobody is
SMILE_GREEN = 0.3  # green at a smile score of 100; brighter is kept for "recorded"
TICK_S = 0.03
LEVELS = 64  # steps of the smile level; finer steps are not perceptible
HEARD_FROM = 0.15  # smile level from which the note does not stop between the pulses

_SEMITONES = {"C": -9, "D": -7, "E": -5, "F": -4, "G": -2, "A": 0, "B": 2}


def note(name: str) -> float:
    """Return the frequency in hertz of a natural note such as "A4", 440 Hz (equal temperament)."""
    letter, octave = name[0], int(name[1:])
    return 440.0 * math.exp2(octave - 4 + _SEMITONES[letter] / 12)


TICK = note("C7")
BUZZ = note("A2")
LOW = note("A3")


@dataclass(frozen=True, slots=True)
class LightState:
    """What the panel shows and sounds at one instant, before brightness and volume."""

    green: float = 0.0  # 0 to 1
    red: float = 0.0  # 0 to 1
    pitch: float | None = None  # hertz


DARK = LightState()


@dataclass(frozen=True, slots=True)
class PatternStep:
    """One light for some seconds."""

    seconds: float
    light: LightState = DARK


@dataclass(frozen=True, slots=True)
class Pattern:
    """A cue's steps and how it gets on with other cues.

    `intro` is played first, then `loop` over and over; a cue without `loop` is transient.
    """

    rank: int  # a cue gives way to one of the same or a higher rank
    intro: tuple[PatternStep, ...] = ()
    loop: tuple[PatternStep, ...] = ()
    hold: float | None = None  # seconds in which lower ranks wait; None: until it has passed
    ends: bool = False  # the attempt is over: after this cue nobody is awaited

    @property
    def is_transient(self) -> bool:
        return not self.loop

    @property
    def seconds(self) -> float:
        """How long `intro` lasts."""
        return sum(step.seconds for step in self.intro)

    @property
    def hold_seconds(self) -> float:
        return self.seconds if self.hold is None else self.hold

    def at(self, elapsed: float) -> tuple[LightState, float]:
        """Return the light `elapsed` seconds after the start, and for how long it stays so.

        DARK and infinity after a cue that passes.
        """
        steps = self.intro
        if elapsed >= self.seconds:
            if self.is_transient:
                return DARK, math.inf
            steps = self.loop
            elapsed = (elapsed - self.seconds) % sum(step.seconds for step in steps)
        for step in steps:
            if elapsed < step.seconds:
                return step.light, step.seconds - elapsed
            elapsed -= step.seconds
        return steps[-1].light, 0.0  # rounding ate the last nanosecond


def _green(seconds: float, level: float = 1.0, pitch: float | None = None) -> PatternStep:
    return PatternStep(seconds, LightState(green=level, pitch=pitch))


def _red(seconds: float, level: float = 1.0, pitch: float | None = None) -> PatternStep:
    return PatternStep(seconds, LightState(red=level, pitch=pitch))


def _off(seconds: float, pitch: float | None = None) -> PatternStep:
    return PatternStep(seconds, LightState(pitch=pitch))


def _fade(parts: int) -> Iterator[float]:
    """Yield `parts` falling levels; squared, as the eye sees more of the low ones."""
    yield from ((1.0 - part / parts) ** 2 for part in range(parts))


def _no_smile() -> tuple[PatternStep, ...]:
    high, low = note("E5"), note("A4")
    notes = [high] * 5 + [None] + [low] * 7 + [None] * 17  # 50 ms each
    levels = _fade(len(notes))
    return tuple(_red(0.05, level, pitch) for level, pitch in zip(levels, notes, strict=True))


@lru_cache(maxsize=LEVELS + 1)
def _smile_prompt(level: int) -> Pattern:
    """Return the pulse for one smile level; all have the same steps, so one can replace another."""
    share = level / LEVELS
    pitch = note("C5") * math.exp2(share * 14 / 12)  # up to D6
    rising = (0.05, 0.1, 0.2, 0.35, 0.55, 0.75, 0.9, 1.0)
    steps = [
        PatternStep(
            0.1,
            LightState(
                green=SMILE_GREEN * share,
                red=red,
                pitch=pitch if number < 2 or share >= HEARD_FROM else None,
            ),
        )
        for number, red in enumerate((*rising, *reversed(rising)))
    ]
    return Pattern(rank=2, loop=tuple(steps))


_RECORDED = (
    _green(0.18, pitch=note("E5")),
    _green(0.04),
    _green(0.3, pitch=note("A5")),
    _green(1.48),
)
_LOW_BLINK = (_red(0.3, pitch=LOW), _off(0.2))
_SPOOF_BLINK = (_red(0.5, pitch=note("E3")), _red(0.2), _off(0.3))
_SHORT_SHORT_LONG = (_red(0.15), _off(0.35), _red(0.15), _off(0.35), _red(0.8), _off(1.2))
_ALTERNATING = (_green(0.35), _off(0.1), _red(0.35), _off(0.1))

_IDENTIFY_TURN = (
    PatternStep(0.6, LightState(green=1.0, red=1.0, pitch=note("C6"))),
    _off(0.25),
    PatternStep(0.15, LightState(green=1.0, red=1.0, pitch=note("G5"))),
    _off(0.5),
)

PATTERNS: dict[CueName, Pattern] = {
    CueName.IDLE: Pattern(rank=0, loop=(_green(0.06, FAINT), _off(9.94))),
    # Below everybody who stands in front.
    CueName.IDENTIFY: Pattern(rank=0, intro=_IDENTIFY_TURN * 4),
    CueName.NOTICED: Pattern(rank=1, intro=(_green(TICK_S, DIM, TICK),), loop=(_green(60.0, DIM),)),
    CueName.HINT: Pattern(
        rank=2,
        intro=(
            _red(TICK_S, pitch=TICK),
            _red(0.09),
            _red(TICK_S, pitch=TICK),
            _off(0.4),
        ),
    ),
    CueName.SMILE_ASKED: _smile_prompt(0),
    CueName.SEVERAL: Pattern(
        rank=3,
        intro=(
            _green(TICK_S, pitch=TICK),
            _green(0.09),
            _green(TICK_S, pitch=TICK),
            _green(0.09),
            _green(TICK_S, pitch=TICK),
            _green(0.08),
            *_ALTERNATING[1:],
        ),
        loop=_ALTERNATING,
    ),
    CueName.ALREADY_RECORDED: Pattern(
        rank=4,
        intro=(
            _green(0.12, pitch=note("E5")),
            _green(0.58),
            _off(0.5),
            _green(0.12, pitch=note("E5")),
            _green(0.58),
            _off(0.3),
        ),
        ends=True,
    ),
    CueName.NOT_KNOWN: Pattern(rank=4, intro=(*_LOW_BLINK, *_LOW_BLINK), ends=True),
    CueName.NO_SMILE: Pattern(rank=4, intro=_no_smile(), ends=True),
    CueName.RECORDED: Pattern(rank=5, intro=_RECORDED, hold=1.0, ends=True),
    CueName.RECORDED_OFFLINE: Pattern(
        rank=5,
        intro=(*_RECORDED, _off(0.4), _green(TICK_S, pitch=TICK), _green(0.12), _off(0.3)),
        hold=1.0,
        ends=True,
    ),
    CueName.SPOOF: Pattern(rank=6, intro=_SPOOF_BLINK * 3, ends=True),
    CueName.OUT_OF_ORDER: Pattern(rank=7, loop=_SHORT_SHORT_LONG),
}
_APPROACHED = Pattern(rank=0, loop=(_green(0.06, FAINT), _off(0.94)))
_OUT_OF_ORDER_HEARD = Pattern(
    rank=7,
    intro=(
        _red(0.15, pitch=BUZZ),
        _off(0.35, pitch=BUZZ),
        _red(0.15, pitch=BUZZ),
        _off(0.35, pitch=BUZZ),
        *_SHORT_SHORT_LONG[4:],
    ),
    loop=_SHORT_SHORT_LONG,
)


def pattern_of(cue: Cue) -> Pattern:
    """Return what `cue` looks and sounds like."""
    if cue.name is CueName.SMILE_ASKED:
        return _smile_prompt(round(min(1.0, max(0.0, cue.level)) * LEVELS))
    if cue.name is CueName.OUT_OF_ORDER and cue.level > 0.0:
        return _OUT_OF_ORDER_HEARD
    if cue.name is CueName.IDLE and cue.level > 0.0:
        return _APPROACHED
    return PATTERNS[cue.name]


def timeline(cue: Cue, seconds: float | None = None) -> list[tuple[float, LightState]]:
    """Return (seconds from the start, light) at each change, as far as `seconds`.

    Without `seconds`: all of a cue that passes, once and one round of another. The last entry is
    the end, with the light that follows.
    """
    pattern = pattern_of(cue)
    if seconds is None:
        seconds = pattern.seconds + sum(step.seconds for step in pattern.loop)
    steps = iter((*pattern.intro, *pattern.loop))
    changes: list[tuple[float, LightState]] = []
    at = 0.0
    while at < seconds:
        step = next(steps, None)
        if step is None:
            if pattern.is_transient:
                break
            steps = iter(pattern.loop)
            continue
        if not changes or changes[-1][1] != step.light:
            changes.append((at, step.light))
        at += step.seconds
    last = DARK if pattern.is_transient else pattern.at(seconds)[0]
    return [*changes, (min(at, seconds), last)]
