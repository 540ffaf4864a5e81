"""Which cue is on: at most a second of stage time, no thread, no pin."""

import math

import pytest

from edge.gpio.cue_scheduler import CueScheduler
from edge.gpio.patterns import DARK, DIM, FAINT, SMILE_GREEN, TICK, LightState
from edge.types import Cue, CueName

BLIP = LightState(green=FAINT)


def cue(name: str, level: float = 0.0) -> Cue:
    return Cue(CueName(name), level)


@pytest.fixture
def stage() -> CueScheduler:
    return CueScheduler()


def test_the_stage_is_dark_until_the_first_cue(stage: CueScheduler) -> None:
    assert stage.light(0.0) == (DARK, math.inf)


def test_a_background_goes_on(stage: CueScheduler) -> None:
    stage.show(cue("idle"), 0.0)
    assert stage.light(0.0)[0] == BLIP
    assert stage.light(0.06)[0] == DARK
    assert stage.light(1000.01)[0] == BLIP


def test_somebody_who_approaches_makes_the_blip_quicker(stage: CueScheduler) -> None:
    stage.show(cue("idle"), 0.0)
    stage.light(0.0)
    stage.show(cue("idle", 1.0), 5.0)
    assert stage.light(5.01)[0] == BLIP
    stage.show(cue("idle", 1.0), 5.5)
    assert stage.light(5.5)[0] == DARK
    assert stage.light(6.01)[0] == BLIP
    stage.show(cue("idle"), 6.2)
    stage.light(6.2)
    assert stage.light(7.3)[0] == DARK


def test_idle_shown_again_does_not_blip_again(stage: CueScheduler) -> None:
    stage.show(cue("idle"), 0.0)
    stage.light(0.0)
    stage.show(cue("idle"), 5.0)
    assert stage.light(5.01)[0] == DARK


def test_a_new_face_is_a_new_tick(stage: CueScheduler) -> None:
    for at in (0.0, 3.0):
        stage.show(cue("noticed"), at)
        assert stage.light(at)[0] == LightState(green=DIM, pitch=TICK)
        assert stage.light(at + 1)[0] == LightState(green=DIM)


def test_a_hint_is_played_over_the_prompt_and_the_pulse_goes_on_in_time(
    stage: CueScheduler,
) -> None:
    stage.show(cue("smile-asked"), 0.0)
    undisturbed = CueScheduler()
    undisturbed.show(cue("smile-asked"), 0.0)
    stage.light(0.0)
    undisturbed.light(0.0)
    stage.show(cue("hint"), 1.0)
    assert stage.light(1.0)[0] == LightState(red=1.0, pitch=TICK)
    assert stage.light(1.75) == undisturbed.light(1.75)


def test_after_the_end_of_an_attempt_nobody_is_awaited(stage: CueScheduler) -> None:
    stage.show(cue("smile-asked", 0.9), 0.0)
    stage.show(cue("recorded"), 1.0)
    assert stage.light(2.99)[0] == LightState(green=1.0)
    assert stage.light(3.0)[0] == BLIP
    assert stage.light(3.1)[0] == DARK


def test_a_stronger_cue_replaces_a_weaker_at_once(stage: CueScheduler) -> None:
    stage.show(cue("not-known"), 0.0)
    stage.show(cue("recorded"), 0.1)
    assert stage.light(0.1)[0].green == 1.0
    stage.show(cue("spoof"), 0.2)
    assert stage.light(0.2)[0].red == 1.0


def test_an_equal_cue_replaces_too(stage: CueScheduler) -> None:
    stage.show(cue("not-known"), 0.0)
    stage.show(cue("already-recorded"), 0.1)
    assert stage.light(0.1)[0].green == 1.0


def test_a_weaker_cue_waits_for_the_hold_of_the_stronger(stage: CueScheduler) -> None:
    stage.show(cue("recorded"), 0.0)
    stage.show(cue("not-known"), 0.5)
    light, seconds = stage.light(0.6)
    assert light == LightState(green=1.0)
    assert seconds == pytest.approx(0.4)
    assert stage.light(1.0)[0].red == 1.0


def test_the_last_one_to_wait_is_played(stage: CueScheduler) -> None:
    stage.show(cue("recorded"), 0.0)
    stage.show(cue("not-known"), 0.4)
    stage.show(cue("already-recorded"), 0.5)
    assert stage.light(1.0)[0].green == 1.0
    assert stage.light(1.0)[0].pitch is not None


def test_the_next_face_waits_for_the_hold_and_is_heard_then(stage: CueScheduler) -> None:
    stage.show(cue("recorded"), 0.0)
    stage.show(cue("noticed"), 0.5)
    assert stage.light(0.9)[0].green == 1.0
    assert stage.light(1.0)[0] == LightState(green=DIM, pitch=TICK)


def test_idle_does_not_cut_the_thanks_short(stage: CueScheduler) -> None:
    stage.show(cue("recorded"), 0.0)
    stage.show(cue("idle"), 0.5)
    assert stage.light(1.9)[0].green == 1.0


def test_nothing_is_played_over_a_unit_out_of_order(stage: CueScheduler) -> None:
    stage.show(cue("recorded"), 0.0)
    stage.show(cue("out-of-order"), 0.5)
    assert stage.light(0.5)[0] == LightState(red=1.0)
    stage.show(cue("recorded"), 0.6)
    assert stage.light(0.6)[0].green == 0.0
    stage.show(cue("out-of-order", 1.0), 5.0)
    assert stage.light(5.0)[0].pitch is not None
    stage.show(cue("idle"), 9.0)
    assert stage.light(9.0)[0] == BLIP


def test_several_alternate_until_somebody_leads(stage: CueScheduler) -> None:
    stage.show(cue("several"), 0.0)
    stage.show(cue("hint"), 0.5)
    colours = set()
    for tenth in range(100):
        light, _ = stage.light(tenth / 10)
        colours.add("green" if light.green else "red" if light.red else "dark")
        assert not (light.green and light.red)
    assert colours == {"green", "red", "dark"}
    stage.show(cue("noticed"), 10.0)
    assert stage.light(10.0)[0].green == DIM


def test_the_smile_moves_the_light_without_disturbing_the_pulse(stage: CueScheduler) -> None:
    stage.show(cue("smile-asked", 0.0), 0.0)
    still = CueScheduler()
    still.show(cue("smile-asked", 0.0), 0.0)
    before = -1.0
    for frame in range(24):
        at = frame / 15
        stage.show(cue("smile-asked", frame / 24), at)
        light = stage.light(at)[0]
        assert light.red == still.light(at)[0].red
        assert light.green >= before
        before = light.green
    assert before == pytest.approx(SMILE_GREEN * 23 / 24, abs=0.02)


def test_a_score_that_jumps_does_not_flicker(stage: CueScheduler) -> None:
    """Frame by frame between none and full: no swing that would count as a flash."""
    stage.show(cue("smile-asked", 0.5), 0.0)
    greens = []
    for frame in range(60):
        at = frame / 15
        stage.show(cue("smile-asked", float(frame % 2)), at)
        greens.append(stage.light(at)[0].green)
    assert max(greens[10:]) - min(greens[10:]) < 0.1


def test_a_prompt_that_waited_begins_with_its_note(stage: CueScheduler) -> None:
    stage.show(cue("recorded"), 0.0)
    stage.show(cue("smile-asked", 0.0), 0.5)
    stage.show(cue("smile-asked", 0.05), 0.8)
    light, _ = stage.light(1.0)
    assert light.pitch is not None
    assert light.red > 0
