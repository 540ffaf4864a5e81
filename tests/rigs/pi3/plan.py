"""Which cues are played, for how long, and what the pins are to do meanwhile."""

from collections.abc import Callable, Iterator
from itertools import pairwise

from edge.gpio.patterns import pattern_of, timeline
from edge.types import Cue, CueName

MOST_S = 4.0
FAINT = 0.09  # of full light
ROUND_S = 10.5  # of the blip that comes every ten seconds

Span = tuple[float, float]


def cues() -> Iterator[Cue]:
    """Yield every cue, the smile at three levels and the loud out-of-order too."""
    for name in CueName:
        yield Cue(name)
    yield Cue(CueName.SMILE_ASKED, level=0.5)
    yield Cue(CueName.SMILE_ASKED, level=1.0)
    yield Cue(CueName.OUT_OF_ORDER, level=1.0)


def seconds_of(cue: Cue) -> float:
    """Return for how long a cue is played."""
    if cue.name is CueName.IDLE:
        return ROUND_S
    pattern = pattern_of(cue)
    return min(pattern.seconds + 2 * sum(step.seconds for step in pattern.loop), MOST_S)


def planned(cue: Cue, part: str) -> list[Span]:
    """Return when `part` (green, red or pitch) is on, as (from, to) in seconds after the start."""
    return _when(cue, part, lambda level: level >= FAINT)


def faint(cue: Cue, part: str) -> list[Span]:
    """Return when a light is so faint that a reader now and then may miss its pulses."""
    return _when(cue, part, lambda level: 0 < level < FAINT)


def _when(cue: Cue, part: str, holds: Callable[[float], bool]) -> list[Span]:
    spans: list[Span] = []
    for (at, light), (until, _) in pairwise(timeline(cue, seconds_of(cue))):
        if not holds(getattr(light, part) or 0.0):
            continue
        if spans and abs(spans[-1][1] - at) < 1e-9:
            spans[-1] = (spans[-1][0], until)
        else:
            spans.append((at, until))
    return spans
