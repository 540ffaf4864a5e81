import itertools
import math

import pytest

from edge.gpio.patterns import (
    DARK,
    PATTERNS,
    SMILE_GREEN,
    LightState,
    note,
    pattern_of,
    timeline,
)
from edge.types import Cue, CueName

CUES = [Cue(name) for name in CueName]
HEARD = [
    *(Cue(name) for name in CueName),
    Cue(CueName.SMILE_ASKED, 0.5),
    Cue(CueName.SMILE_ASKED, 1.0),
]
EVERY = [*HEARD, Cue(CueName.OUT_OF_ORDER, 1.0), Cue(CueName.IDLE, 1.0)]
LOOKED_AT_S = 30.0


def segments(cue: Cue) -> list[tuple[bool, float]]:
    """The cue's rhythm without colour: (lit, seconds) in turn; lit is half its brightest."""
    changes = timeline(cue, LOOKED_AT_S)
    peak = max(max(light.green, light.red) for _, light in changes)
    rhythm: list[tuple[bool, float]] = []
    for (at, light), (until, _) in itertools.pairwise(changes):
        lit = max(light.green, light.red) >= peak / 2
        if rhythm and rhythm[-1][0] == lit:
            rhythm[-1] = (lit, rhythm[-1][1] + until - at)
        else:
            rhythm.append((lit, until - at))
    while rhythm and not rhythm[-1][0]:
        rhythm.pop()  # nobody sees how long darkness lasts after the end
    return rhythm


def notes(cue: Cue) -> list[tuple[float, float]]:
    """The cue's sounds: (hertz, seconds) in turn."""
    changes = timeline(cue, LOOKED_AT_S)
    sounds: list[tuple[float, float]] = []
    sounding = False
    for (at, light), (until, _) in itertools.pairwise(changes):
        if light.pitch is None:
            sounding = False
            continue
        if sounding and sounds[-1][0] == light.pitch:
            sounds[-1] = (light.pitch, sounds[-1][1] + until - at)
        else:
            sounds.append((light.pitch, until - at))
        sounding = True
    return sounds


def differ(one: list[float], other: list[float]) -> bool:
    """Whether two rhythms differ by more than a person misses: in number, or by half in length."""
    if len(one) != len(other):
        return True
    return any(max(a, b) >= 1.5 * min(a, b) for a, b in zip(one, other, strict=True))


def contour(sounds: list[tuple[float, float]]) -> list[int]:
    """-1, 0 or 1 where the next note is lower, about the same, or higher."""
    steps = [12 * math.log2(b / a) for (a, _), (b, _) in itertools.pairwise(sounds)]
    return [0 if abs(step) < 1 else int(math.copysign(1, step)) for step in steps]


def test_every_moment_has_a_pattern() -> None:
    assert set(PATTERNS) == set(CueName)


@pytest.mark.parametrize(
    ("one", "other"), list(itertools.combinations(CUES, 2)), ids=lambda c: c.name
)
def test_cues_differ_by_rhythm_alone(one: Cue, other: Cue) -> None:
    assert differ([s for _, s in segments(one)], [s for _, s in segments(other)])


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (one, other)
        for one, other in itertools.combinations(EVERY, 2)
        if one.name is not other.name and notes(one) and notes(other)
    ],
    ids=lambda c: f"{c.name}-{c.level}",
)
def test_cues_differ_by_sound_alone(one: Cue, other: Cue) -> None:
    a, b = notes(one), notes(other)
    octave_apart = abs(math.log2(a[0][0] / b[0][0])) >= 1
    assert octave_apart or contour(a) != contour(b) or differ([s for _, s in a], [s for _, s in b])


def test_only_nobody_and_a_silent_fault_are_silent() -> None:
    silent = {cue.name for cue in CUES if not notes(cue)}
    assert silent == {CueName.IDLE, CueName.OUT_OF_ORDER}
    ((pitch, seconds),) = notes(Cue(CueName.OUT_OF_ORDER, 1.0))
    assert pitch == note("A2")
    assert seconds == pytest.approx(1.0)


@pytest.mark.parametrize("cue", EVERY, ids=lambda c: f"{c.name}-{c.level}")
def test_no_more_than_2_5_flashes_a_second(cue: Cue) -> None:
    for lights in (("green",), ("red",), ("green", "red")):
        rises = []
        before = 0.0
        for at, light in timeline(cue, LOOKED_AT_S):
            level = max(getattr(light, name) for name in lights)
            if level > before + 0.1 or (level > 0 and before == 0):
                rises.append(at)
            before = level
        if cue.name is not CueName.SMILE_ASKED:  # one slow pulse climbs in several steps
            assert all(b - a >= 0.4 - 1e-9 for a, b in itertools.pairwise(rises))


def test_the_smile_pulse_is_one_slow_flash_whatever_the_level() -> None:
    pattern = pattern_of(Cue(CueName.SMILE_ASKED, 0.3))
    reds = [step.light.red for step in pattern.loop]
    top = reds.index(max(reds))
    assert reds[:top] == sorted(reds[:top])
    assert reds[top:] == sorted(reds[top:], reverse=True)
    assert sum(step.seconds for step in pattern.loop) > 1.0
    for level in (0.0, 0.5, 1.0):
        steps = pattern_of(Cue(CueName.SMILE_ASKED, level)).loop
        assert [(s.seconds, s.light.red) for s in steps] == [
            (s.seconds, s.light.red) for s in pattern.loop
        ]


def test_green_and_the_note_follow_the_smile() -> None:
    patterns = [pattern_of(Cue(CueName.SMILE_ASKED, level / 10)) for level in range(11)]
    greens = [pattern.loop[0].light.green for pattern in patterns]
    pitches = [pattern.loop[0].light.pitch or 0.0 for pattern in patterns]
    assert greens == sorted(greens)
    assert greens[0] == 0.0
    assert greens[-1] == SMILE_GREEN == 0.3
    assert pitches == sorted(set(pitches))


def test_levels_beyond_the_ends_are_the_ends() -> None:
    assert pattern_of(Cue(CueName.SMILE_ASKED, 7.0)) == pattern_of(Cue(CueName.SMILE_ASKED, 1.0))
    assert pattern_of(Cue(CueName.SMILE_ASKED, -1.0)) == pattern_of(Cue(CueName.SMILE_ASKED))


@pytest.mark.parametrize("cue", EVERY, ids=lambda c: f"{c.name}-{c.level}")
def test_every_step_is_something_the_pins_can_do(cue: Cue) -> None:
    pattern = pattern_of(cue)
    for step in (*pattern.intro, *pattern.loop):
        assert step.seconds >= 0.03
        assert 0.0 <= step.light.green <= 1.0
        assert 0.0 <= step.light.red <= 1.0
        assert step.light.pitch is None or 20 <= step.light.pitch <= 10_000
    assert 0 <= pattern.hold_seconds <= max(pattern.seconds, 0.0)


def row(name: CueName, level: float = 0.0) -> list[tuple[str, float]]:
    """What is lit, and for how long, until the cue has passed or begins again."""
    cue = Cue(name, level)
    lit: list[tuple[str, float]] = []
    for (at, light), (until, _) in itertools.pairwise(timeline(cue)):
        colour = "green" if light.green else "red" if light.red else "dark"
        if lit and lit[-1][0] == colour:
            lit[-1] = (colour, lit[-1][1] + until - at)
        else:
            lit.append((colour, until - at))
    return [(colour, round(seconds, 3)) for colour, seconds in lit]


def test_the_rows_of_the_table() -> None:
    assert row(CueName.IDLE) == [("green", 0.06), ("dark", 9.94)]
    assert row(CueName.RECORDED) == [("green", 2.0)]
    assert [c for c, _ in row(CueName.RECORDED_OFFLINE)] == ["green", "dark", "green", "dark"]
    assert [c for c, _ in row(CueName.ALREADY_RECORDED)] == ["green", "dark"] * 2
    assert [c for c, _ in row(CueName.NOT_KNOWN)] == ["red", "dark"] * 2
    assert row(CueName.NO_SMILE) == [("red", 1.5)]
    assert [c for c, _ in row(CueName.SPOOF)] == ["red", "dark"] * 3
    assert row(CueName.HINT) == [("red", 0.15), ("dark", 0.4)]
    assert [c for c, _ in row(CueName.SEVERAL)][:4] == ["green", "dark", "red", "dark"]
    short, _, again, _, long, _ = row(CueName.OUT_OF_ORDER)
    assert short == again
    assert long[1] > 3 * short[1]


def test_the_sounds_of_the_table() -> None:
    def heard(name: CueName) -> tuple[int, list[int]]:
        sounds = notes(Cue(name))
        return len(sounds), contour(sounds)

    assert heard(CueName.NOTICED) == (1, [])
    assert heard(CueName.RECORDED) == (2, [1])
    assert heard(CueName.RECORDED_OFFLINE)[0] == 3
    assert heard(CueName.ALREADY_RECORDED) == (2, [0])
    assert heard(CueName.NOT_KNOWN) == (2, [0])
    assert heard(CueName.NO_SMILE) == (2, [-1])
    assert heard(CueName.SPOOF) == (3, [0, 0])
    assert heard(CueName.HINT) == (2, [0])
    assert heard(CueName.SEVERAL) == (3, [0, 0])


def test_recorded_is_brighter_than_any_smile() -> None:
    light, _ = pattern_of(Cue(CueName.RECORDED)).at(0.0)
    assert light.green == 1.0
    assert light.pitch is not None


def test_the_light_at_a_time_is_the_one_of_the_timeline() -> None:
    for cue in EVERY:
        pattern = pattern_of(cue)
        for (at, light), (until, _) in itertools.pairwise(timeline(cue, 20.0)):
            assert pattern.at((at + until) / 2)[0] == light


def test_a_cue_that_passes_is_dark_afterwards() -> None:
    pattern = pattern_of(Cue(CueName.RECORDED))
    assert pattern.at(2.1) == (DARK, math.inf)
    end, light = timeline(Cue(CueName.RECORDED))[-1]
    assert end == pytest.approx(2.0)
    assert light == DARK


def test_a_cue_that_goes_on_repeats() -> None:
    pattern = pattern_of(Cue(CueName.IDLE))
    assert pattern.at(1000.03)[0] == pattern.at(0.03)[0] != DARK
    assert pattern.at(1000.03)[1] == pytest.approx(0.03)
    assert pattern.at(5.0)[0] == LightState()


def test_notes_are_tuned_to_440() -> None:
    assert note("A4") == 440.0
    assert note("C4") == pytest.approx(261.626, abs=0.001)
    assert note("A5") == 880.0
