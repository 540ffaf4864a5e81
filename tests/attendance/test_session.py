"""Each moment that a person in front of the unit can live through."""

import itertools
import math
from dataclasses import replace

import pytest
from doorway import (
    FRAME_S,
    LIVING,
    ON_THE_WAY,
    REACT,
    ROSTER,
    RULES,
    TO_PROMPT,
    Doorway,
    bystander,
    face,
    mesh,
    stranger,
)

from edge.attendance.policy import LOST, RECALL_S
from edge.attendance.session import Session
from edge.attendance.table import State
from edge.types import (
    Box,
    Cue,
    CueName,
    EventStored,
    FaceObservation,
    FrameResult,
    LinkChanged,
    Outcome,
    PassiveLivenessScore,
    QualityProblem,
    Reason,
    StoreFailed,
)


@pytest.fixture
def door() -> Doorway:
    return Doorway.with_rules()


def test_nobody_is_idle(door: Doorway) -> None:
    assert door.see() == [CueName.IDLE]
    assert door.at(State.NOBODY)


def test_a_distant_face_lights_the_idle_cue_and_is_noticed_only_when_it_is_near(
    door: Doorway,
) -> None:
    for frame in range(1, 60):
        result = door.session.step(FrameResult(frame, (), Box(0, 0, 50, 50)), frame * 66_000_000)
        assert result.cues == (Cue(CueName.IDLE, 1.0),)
        assert result.events == ()
    assert door.at(State.NOBODY)
    assert door.session.step(FrameResult(60, ()), 60 * 66_000_000).cues == (Cue(CueName.IDLE),)


def test_a_face_is_noticed_in_its_second_frame(door: Doorway) -> None:
    assert door.see(face()) == []
    assert door.see(face()) == [CueName.NOTICED]


def test_a_face_in_one_frame_only_is_a_mistake_of_the_detector(door: Doorway) -> None:
    door.see(face(track=1))
    door.see()
    door.see(face(track=2))
    assert door.at(State.NOBODY)


def test_a_person_is_asked_within_600_ms_and_recorded_at_the_smile(door: Doorway) -> None:
    began = door.now
    door.ask()
    asked = next(at for at, cue in door.cues if cue.name is CueName.SMILE_ASKED)
    assert asked - began + LIVING.prompt_delay < 0.6
    assert door.see(face(smile=40.0)) == [CueName.SMILE_ASKED]
    assert door.cues[-1][1].level == pytest.approx(0.4)
    assert door.see(face(smile=62.0)) == []
    event = door.events[0]
    assert event.outcome is Outcome.RECORDED
    assert event.reason is Reason.ACCEPTED
    assert event.person == "ani"
    assert event.smile == 62.0
    assert event.smile_threshold == RULES.smile_threshold
    assert event.match is not None
    assert event.captured_ns == round(door.now * 1e9)
    assert door.store() == [CueName.RECORDED]
    assert door.names == [CueName.NOTICED, CueName.SMILE_ASKED, CueName.RECORDED]


def test_recorded_waits_for_the_disk(door: Doorway) -> None:
    door.ask()
    door.see(face(smile=80.0))
    door.see_for(1.5, face(smile=80.0))
    assert CueName.RECORDED not in door.names
    assert door.store() == [CueName.RECORDED]


def test_recorded_while_the_broker_is_away(door: Doorway) -> None:
    door.send(LinkChanged(up=False))
    door.ask()
    door.see(face(smile=80.0))
    assert door.store() == [CueName.RECORDED_OFFLINE]


def test_the_broker_is_away_until_it_was_reached() -> None:
    door = Doorway(
        Session(RULES, ROSTER, living=LIVING, passive=False, chance=itertools.repeat(0.0))
    )
    door.ask()
    door.see(face(smile=80.0))
    assert door.store() == [CueName.RECORDED_OFFLINE]


def test_already_recorded_in_the_cool_down_and_not_after_it(door: Doorway) -> None:
    door.record()
    door.leave()
    began = door.now
    assert door.see(face(track=2), frames=3) == [CueName.ALREADY_RECORDED]
    assert door.now - began < 0.6
    door.leave()
    door.wait(RULES.cool_down)
    door.record(track=3)
    assert len(door.events) == 2


def test_the_smile_that_goes_on_after_the_record_is_one_record(door: Doorway) -> None:
    door.record()
    door.see_for(20.0, face(smile=90.0))
    assert len(door.events) == 1
    assert door.at(State.DONE)


def test_a_stranger_is_told_within_1_5_s_and_recorded_once(door: Doorway) -> None:
    began = door.now
    door.see(stranger(), frames=RULES.unknown_frames)
    assert door.cues[-1][1].name is CueName.NOT_KNOWN
    assert door.now - began < 1.5
    (event,) = door.events
    assert (event.outcome, event.reason) == (Outcome.REFUSED, Reason.NOT_KNOWN)
    assert event.person is None
    assert event.smile is None
    assert event.smile_threshold is None
    door.see_for(60.0, stranger())
    assert len(door.events) == 1


def test_a_stranger_whom_the_tracker_loses_does_not_flood(door: Doorway) -> None:
    for track in range(1, 41):  # a new track every 0.6 s
        door.see(stranger(track), frames=9)
    assert len(door.events) <= 1 + 40 * 0.6 / 10
    door.leave()
    door.wait(10.0)
    door.see(stranger(track=99), frames=9)
    assert door.events[-1].reason is Reason.NOT_KNOWN


def test_an_empty_roster_knows_nobody(door: Doorway) -> None:
    door.see(face(person=None), frames=RULES.unknown_frames)
    assert door.events[0].reason is Reason.NOT_KNOWN


def test_a_person_taken_for_a_stranger_is_still_known_later(door: Doorway) -> None:
    door.see(stranger(), frames=RULES.unknown_frames)
    door.see(face(), frames=TO_PROMPT)
    assert door.at(State.ASKED)


@pytest.mark.parametrize(
    ("similarity", "runner_up", "known"),
    [
        (0.46, 0.40, True),
        (0.45, None, True),  # nobody else in the roster
        (0.44, 0.10, False),
        (0.90, 0.86, False),
    ],
)
def test_near_enough_and_clearly_ahead_or_nobody(
    door: Doorway, similarity: float, runner_up: float | None, known: bool
) -> None:
    door.see(face(similarity=similarity, runner_up=runner_up), frames=20)
    assert door.at(State.ASKED) == known


def test_frames_that_disagree_make_nobody_known(door: Doorway) -> None:
    for person in itertools.islice(itertools.cycle(["ani", "budi"]), 20):
        door.see(face(person=person))
    assert door.at(State.UNKNOWN)
    assert [e.reason for e in door.events] == [Reason.NOT_KNOWN]


def test_the_same_exposure_twice_proves_nothing_twice(door: Doorway) -> None:
    view = FrameResult(5, (face(),))
    for _ in range(10):
        door.send(view, after=FRAME_S)
    assert door.at(State.NOBODY)


def test_no_smile_in_time_is_refused_with_the_person(door: Doorway) -> None:
    door.see(face(), frames=TO_PROMPT)
    began = door.now
    door.see_for(RULES.smile_timeout - 0.2, face(smile=30.0))
    assert door.events == []
    door.see_for(0.4, face(smile=30.0))
    (event,) = door.events
    assert (event.outcome, event.reason) == (Outcome.REFUSED, Reason.NO_SMILE)
    assert event.person == "ani"
    assert event.smile == 30.0
    assert event.smile_threshold == RULES.smile_threshold
    assert event.match is not None
    shown, cue = door.cues[-1]
    assert cue.name is CueName.NO_SMILE
    assert shown - began == pytest.approx(RULES.smile_timeout, abs=0.1)


def test_the_time_out_needs_no_frame(door: Doorway) -> None:
    door.ask()
    door.wait(RULES.smile_timeout + 0.2)
    assert door.events[0].reason is Reason.NO_SMILE


def test_who_stays_after_a_refusal_is_asked_again_three_times_in_all(door: Doorway) -> None:
    door.ask()
    door.see_for(120.0, face(smile=5.0))
    assert [e.reason for e in door.events] == [Reason.NO_SMILE] * 3
    assert door.at(State.REFUSED)


def test_who_stays_after_a_refusal_can_still_smile(door: Doorway) -> None:
    door.ask()
    door.see_for(8.2, face(smile=5.0))
    assert door.at(State.REFUSED)
    door.see_for(10.5, face(smile=5.0))
    assert door.at(State.ASKED)
    door.see(face(smile=70.0))
    assert door.events[-1].outcome is Outcome.RECORDED


def test_an_exempt_person_looks_like_everybody_and_is_asked_nothing() -> None:
    door = Doorway.with_rules(exempt=frozenset({"ani"}))
    door.see(face(smile=3.0), frames=TO_PROMPT)
    assert door.at(State.EXEMPT_WAIT)
    began = len(door.cues)
    door.see_for(RULES.exempt_pause + 2 * FRAME_S, face(smile=3.0))
    levels = [cue.level for _, cue in door.cues[began:]]
    assert {cue.name for _, cue in door.cues[began:]} == {CueName.SMILE_ASKED}
    assert levels == sorted(levels)
    assert 0.4 < levels[-1] <= RULES.smile_threshold / 100
    (event,) = door.events
    assert (event.outcome, event.person) == (Outcome.RECORDED, "ani")
    assert event.smile is None
    assert event.smile_threshold is None
    assert door.store() == [CueName.RECORDED]


def test_an_exempt_person_who_is_no_longer_surely_there_is_not_recorded() -> None:
    door = Doorway.with_rules(exempt=frozenset({"ani"}))
    door.see(face(), frames=3)
    door.see_for(RULES.smile_timeout + 0.2, stranger())
    assert not [e for e in door.events if e.outcome is Outcome.RECORDED]
    assert not door.at(State.EXEMPT_WAIT)


def test_with_the_smile_rule_off_an_exempt_person_gives_the_same_event() -> None:
    off = Doorway.with_rules(smile=False, exempt=frozenset({"ani"}))
    off.see(face(), frames=RULES.agreeing_frames + 1)
    assert off.at(State.RECORDING)
    exempt = Doorway.with_rules(exempt=frozenset({"ani"}))
    exempt.see_for(2.0, face())
    a, b = off.events[0], exempt.events[0]
    assert (a.smile, a.smile_threshold, a.reason) == (b.smile, b.smile_threshold, b.reason)
    assert a.life == b.life


def test_a_new_roster_may_exempt_somebody(door: Doorway) -> None:
    door.session.use_exempt(frozenset({"ani"}))
    door.see(face(), frames=TO_PROMPT)
    assert door.at(State.EXEMPT_WAIT)


def test_a_smile_that_was_there_before_the_prompt_does_not_count(door: Doorway) -> None:
    door.see(face(smile=80.0), frames=TO_PROMPT)
    assert door.at(State.ASKED)
    door.see_for(1.5, face(smile=80.0))
    assert door.events == []
    door.see_for(1.0, face(smile=80.0))
    assert CueName.HINT in door.names, "somebody who smiles already gets a clue"
    door.see_for(7.0, face(smile=80.0))
    assert door.events[0].reason is Reason.NO_SMILE


@pytest.mark.parametrize("scores", [[20.0, 60.0], [55.0, 78.0], [80.0, 55.0, 78.0]])
def test_a_smile_that_begins_or_widens_after_the_prompt_counts(
    door: Doorway, scores: list[float]
) -> None:
    door.see(face(smile=scores[0]), frames=TO_PROMPT + REACT)
    for score in scores[1:]:
        assert door.events == []
        door.see(face(smile=score))
    assert door.events[0].smile == scores[-1]


def test_a_small_rise_over_the_threshold_is_no_onset(door: Doorway) -> None:
    door.see(face(smile=45.0), frames=3)
    door.see(face(smile=55.0), frames=5)
    assert door.events == []


def test_a_face_whose_points_do_not_move_has_not_smiled(door: Doorway) -> None:
    """A photo that is tilted until its score rises: no corner of its mouth goes anywhere."""
    door.see(face(stiff=True), frames=TO_PROMPT + REACT)
    door.see_for(3.0, face(smile=90.0, stiff=True))
    assert door.events == []
    assert CueName.HINT in door.names
    door.see_for(RULES.smile_timeout, face(smile=90.0, stiff=True))
    (event,) = door.events
    assert event.reason is Reason.NO_SMILE
    votes = {"motion": pytest.approx(0.0), "onset": 1.0, "continuity": 1.0}
    assert event.life.cues == votes


def test_a_mouth_that_leaps_is_another_photo(door: Doorway) -> None:
    """A smiling photo put in the place of the neutral one: nothing was seen in between."""
    door.ask()
    door.see(face(smile=90.0), frames=10, leap=True)
    assert door.events == []
    assert door.at(State.ASKED)
    door.see_for(RULES.smile_timeout, face(smile=90.0))
    (event,) = door.events
    assert event.reason is Reason.NO_SMILE


def test_a_mouth_that_is_seen_once_on_its_way_leaps_too(door: Doorway) -> None:
    """A strip of the neutral photo over the mouth of the smiling one, drawn off."""
    door.ask()
    half = replace(face(smile=12.0), points=(mesh(10.0) + mesh(90.0)) / 2)
    door.see(half, leap=True)
    door.see(face(smile=90.0), frames=10, leap=True)
    assert door.events == []


def test_who_leapt_once_may_smile_again(door: Doorway) -> None:
    door.ask()
    door.see(face(smile=90.0), frames=10, leap=True)
    door.see(face(smile=10.0), frames=math.ceil(RECALL_S / FRAME_S))
    door.see(face(smile=90.0))
    assert door.events[0].outcome is Outcome.RECORDED


def test_a_face_without_points_has_not_moved(door: Doorway) -> None:
    door.ask()
    door.see(replace(face(smile=90.0), points=None), frames=5)
    assert door.events == []


def test_a_smile_that_answers_sooner_than_anybody_can_does_not_count() -> None:
    """A recording that happens to smile as the prompt comes; it may not go on to count either."""
    door = Doorway.with_rules()
    door.see(face(), frames=TO_PROMPT)
    assert door.at(State.ASKED)
    door.see_for(1.5, face(smile=90.0))
    assert door.events == []
    door.see(face(smile=20.0), frames=2)
    door.see(face(smile=90.0))
    assert door.events[0].outcome is Outcome.RECORDED, "who stops and smiles again is heard"


def test_a_smile_under_way_at_the_prompt_does_not_count(door: Doorway) -> None:
    scores = [5.0, 5.0, 20.0, 40.0, 60.0, 80.0, 90.0, 90.0, 90.0, 90.0]
    for score in scores:
        door.see(face(smile=score), leap=True)
    assert door.at(State.ASKED)
    assert door.events == []


@pytest.mark.parametrize("chance", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("exempt", [frozenset(), frozenset({"ani"})])
def test_the_prompt_comes_at_a_random_moment_for_everybody(
    chance: float, exempt: frozenset[str]
) -> None:
    living = replace(LIVING, prompt_delay=1.0)
    door = Doorway.with_rules(exempt, living=living, chance=itertools.repeat(chance))
    door.see(face(), frames=RULES.agreeing_frames)
    assert door.at(State.KNOWN)
    began = door.now
    door.see_for(1.3, face())
    asked = next(at for at, cue in door.cues if cue.name is CueName.SMILE_ASKED)
    assert chance - 1e-6 <= asked - began <= chance + 2 * FRAME_S


def test_each_attempt_has_a_chance_of_its_own() -> None:
    door = Doorway.with_rules(chance=[0.0, 1.0])
    for track in (1, 2):
        door.see(face(track), frames=RULES.agreeing_frames + 1)
        assert door.at(State.ASKED) == (track == 1)
        door.leave()


def test_what_was_before_a_gap_is_no_rest_for_a_smile(door: Doorway) -> None:
    """Two prints of one person, exchanged behind a hand: nothing went from one to the other."""
    door.ask()
    door.see_for(0.8, face(problem=QualityProblem.COVERED))
    door.see_for(2.5, face(smile=90.0))
    assert door.events == []


@pytest.mark.parametrize(
    "hidden", [(face(problem=QualityProblem.CUT_OFF),), (bystander(width=100),), ()]
)
def test_photos_may_not_be_exchanged_while_nobody_looks(
    door: Doorway, hidden: tuple[FaceObservation, ...]
) -> None:
    door.ask()
    door.see(face(), frames=REACT)
    door.see(*hidden, frames=LOST + 1)
    door.see(face(smile=90.0), frames=10)
    assert door.events == []


def test_a_frame_that_is_lost_in_a_smile_is_forgiven(door: Doorway) -> None:
    door.ask()
    door.see(face(smile=40.0), frames=REACT)
    door.see(face(problem=QualityProblem.BLURRED), frames=LOST)
    door.see(face(smile=90.0))
    assert door.events[0].outcome is Outcome.RECORDED


# --- liveness ------------------------------------------------------------------------------------


@pytest.fixture
def judged() -> Doorway:
    return Doorway.with_rules(passive=True)


def test_a_living_person_is_recorded_with_every_vote(judged: Doorway) -> None:
    judged.see(face(alive=0.9), frames=TO_PROMPT + REACT)
    judged.see(face(smile=80.0, alive=0.9))
    (event,) = judged.events
    assert event.outcome is Outcome.RECORDED
    assert event.life.live is True
    assert event.life.score == pytest.approx(0.9)
    assert event.life.frames == TO_PROMPT + REACT + 1 + ON_THE_WAY
    assert event.life.cues == {
        "network": pytest.approx(0.9),
        "motion": 1.0,
        "onset": 1.0,
        "continuity": 1.0,
    }


def test_a_suspected_photo_is_refused_with_the_person_within_2_s(judged: Doorway) -> None:
    began = judged.now
    judged.see_for(1.9, face(smile=80.0, alive=0.1))
    (event,) = judged.events
    assert (event.outcome, event.reason) == (Outcome.REFUSED, Reason.SPOOF)
    assert event.person == "ani"
    assert event.match is not None
    assert event.life.live is False
    assert event.life.cues["network"] == pytest.approx(0.1)
    shown, _ = next(c for c in judged.cues if c[1].name is CueName.SPOOF)
    assert shown - began < 2.0
    assert judged.at(State.REFUSED)


def test_a_suspected_photo_that_stays_is_refused_three_times_in_all(judged: Doorway) -> None:
    judged.see_for(120.0, face(alive=0.1))
    assert [e.reason for e in judged.events] == [Reason.SPOOF] * 3
    assert judged.at(State.REFUSED)


def test_who_was_suspected_wrongly_can_try_again(judged: Doorway) -> None:
    judged.see_for(2.0, face(alive=0.3))
    assert judged.at(State.REFUSED)
    judged.see_for(10.5, face(alive=0.9))
    assert judged.at(State.ASKED)
    judged.see(face(smile=80.0, alive=0.9))
    assert judged.events[-1].outcome is Outcome.RECORDED


@pytest.mark.parametrize("alive", [None, 0.1])
def test_without_enough_live_frames_no_smile_counts(alive: float | None) -> None:
    judged = Doorway.with_rules(passive=True)
    judged.see(face(alive=alive), frames=TO_PROMPT + REACT - 1)
    judged.see(face(smile=90.0, alive=alive))
    assert judged.events == []


def test_a_network_that_says_nothing_ends_in_the_ordinary_time_out(judged: Doorway) -> None:
    judged.see(face(), frames=TO_PROMPT)
    judged.see_for(RULES.smile_timeout + 0.2, face(smile=90.0))
    assert [e.reason for e in judged.events] == [Reason.NO_SMILE]
    assert judged.events[0].life.live is None


def test_one_odd_frame_neither_refuses_nor_saves(judged: Doorway) -> None:
    judged.see(face(alive=0.6), frames=TO_PROMPT)
    judged.see(face(alive=0.0))
    judged.see(face(alive=0.6), frames=REACT)
    judged.see(face(smile=90.0, alive=0.6))
    assert judged.events[0].outcome is Outcome.RECORDED
    photo = Doorway.with_rules(passive=True)
    photo.see(face(alive=0.4), frames=TO_PROMPT)
    photo.see(face(alive=1.0))
    photo.see(face(alive=0.4), frames=10)
    assert photo.events[0].reason is Reason.SPOOF


def test_frames_with_a_problem_are_no_evidence(judged: Doorway) -> None:
    judged.see(face(alive=0.9), frames=TO_PROMPT)
    blurred = replace(face(problem=QualityProblem.BLURRED), liveness=PassiveLivenessScore(0.0, {}))
    judged.see_for(2.0, blurred)
    assert judged.at(State.ASKED)
    judged.see(face(alive=0.9), frames=REACT)
    judged.see(face(smile=80.0, alive=0.9))
    assert judged.events[0].life.frames == TO_PROMPT + REACT + 1 + ON_THE_WAY


def test_what_another_face_showed_is_no_evidence_for_this_one(judged: Doorway) -> None:
    judged.see(face(person="budi", alive=0.95), frames=TO_PROMPT + 5)
    judged.see(face(person="ani", alive=0.1))
    judged.see_for(1.5, face(person="ani", alive=0.1))
    assert [e.reason for e in judged.events] == [Reason.SPOOF]
    assert judged.events[0].life.score == pytest.approx(0.1)


@pytest.mark.parametrize("smile_rule", [True, False])
def test_nobody_is_exempt_from_being_alive(smile_rule: bool) -> None:
    exempt = frozenset({"ani"})
    photo = Doorway.with_rules(exempt, passive=True, smile=smile_rule)
    photo.see_for(4.0, face(alive=0.1))
    assert [e.reason for e in photo.events] == [Reason.SPOOF]
    person = Doorway.with_rules(exempt, passive=True, smile=smile_rule)
    person.see_for(2.5, face(alive=0.9))
    (event,) = person.events
    assert event.outcome is Outcome.RECORDED
    assert event.life.frames >= LIVING.frames
    assert (event.life.cues["motion"], event.life.cues["onset"]) == (None, None)


def test_a_photo_of_an_exempt_person_is_refused_as_anybody_is() -> None:
    shown = []
    for exempt in (frozenset[str](), frozenset({"ani"})):
        door = Doorway.with_rules(exempt, passive=True)
        door.see_for(2.0, face(smile=5.0, alive=0.1))
        shown.append((door.names, [e.reason for e in door.events]))
    assert shown[0] == shown[1]


def test_a_stranger_is_told_so_alive_or_not(judged: Doorway) -> None:
    judged.see(
        replace(stranger(), liveness=PassiveLivenessScore(0.1, {})), frames=RULES.unknown_frames
    )
    assert judged.events[0].reason is Reason.NOT_KNOWN
    assert judged.events[0].life.live is False


def test_without_the_rise_any_smile_after_the_prompt_counts() -> None:
    living = replace(LIVING, motion=0.0)
    door = Doorway.with_rules(living=living, smile_rise=0.0)
    door.see(face(smile=80.0), frames=TO_PROMPT + REACT - 1)
    assert door.events == []
    door.see(face(smile=80.0), frames=2)
    assert door.events[0].outcome is Outcome.RECORDED


def test_the_smile_must_be_surely_of_the_person_who_was_asked(door: Doorway) -> None:
    door.ask()
    door.see(face(similarity=0.3, smile=90.0), frames=5)
    assert door.events == []


def test_another_person_in_the_same_track_starts_over(door: Doorway) -> None:
    door.ask(person="ani")
    assert door.see(face(person="budi", smile=90.0)) == [CueName.NOTICED]
    assert door.events == []
    door.see(face(person="budi", smile=90.0), frames=TO_PROMPT)
    assert door.at(State.ASKED)
    door.see(face(person="budi", smile=60.0), frames=REACT)
    door.see(face(person="budi", smile=90.0))
    assert [e.person for e in door.events] == ["budi"]


def test_another_track_starts_over(door: Doorway) -> None:
    door.ask(track=1, person="ani")
    door.see(face(track=2, person="budi", smile=90.0), frames=2)
    assert door.at(State.NOTICED)
    assert door.events == []


def test_a_missed_detection_does_not_end_an_attempt(door: Doorway) -> None:
    door.ask()
    door.see(frames=5)
    door.see(bystander(track=7, width=60.0))
    door.see(face())
    door.see(face(smile=80.0))
    assert door.events[0].outcome is Outcome.RECORDED


def test_who_leaves_before_the_end_was_not_there(door: Doorway) -> None:
    door.ask()
    door.leave()
    door.wait(20.0)
    assert door.events == []
    assert door.cues[-1][1].name is CueName.IDLE


@pytest.mark.parametrize("problem", list(QualityProblem))
def test_a_problem_is_a_hint_within_1_s_and_never_a_refusal(
    door: Doorway, problem: QualityProblem
) -> None:
    began = door.now
    door.see_for(60.0, face(problem=problem))
    hints = [at for at, cue in door.cues if cue.name is CueName.HINT]
    assert hints[0] - began < 1.0
    assert len(hints) == 3
    assert all(b - a > 2.99 for a, b in itertools.pairwise(hints))
    assert door.events == []
    assert door.at(State.NOTICED)


def test_a_problem_that_changes_waits_again(door: Doorway) -> None:
    for problem in itertools.islice(
        itertools.cycle([QualityProblem.BLURRED, QualityProblem.TURNED]), 60
    ):
        door.see(face(problem=problem), frames=5)
    assert CueName.HINT not in door.names


def test_a_problem_during_the_prompt_hints_and_the_prompt_goes_on(door: Doorway) -> None:
    door.ask()
    door.see_for(1.0, face(problem=QualityProblem.TURNED))
    assert CueName.HINT in door.names
    door.see(face())
    door.see(face(smile=80.0))
    assert door.events[0].outcome is Outcome.RECORDED


def test_several_equally_near_are_told_within_600_ms_and_nobody_is_known(door: Doorway) -> None:
    began = door.now
    door.see(face(), bystander(), frames=2)
    assert door.names == [CueName.SEVERAL]
    assert door.now - began < 0.6
    door.see_for(30.0, face(smile=80.0), bystander())
    assert door.events == []
    assert door.at(State.SEVERAL)
    door.see(face(), frames=4)
    assert door.at(State.ASKED)


def test_several_who_leave_leave_nobody(door: Doorway) -> None:
    door.see(face(), bystander(), frames=3)
    door.leave()
    assert door.cues[-1][1].name is CueName.IDLE


def test_several_end_an_attempt_but_not_in_one_frame(door: Doorway) -> None:
    door.ask()
    door.see(face(smile=80.0), bystander())
    assert door.at(State.ASKED)
    assert door.events == []
    door.see(face(smile=80.0), bystander())
    assert door.at(State.SEVERAL)
    assert door.events == []


def test_somebody_further_back_does_not_disturb(door: Doorway) -> None:
    door.see(face(), bystander(width=100.0), frames=TO_PROMPT)
    assert door.at(State.ASKED)


def test_a_group_far_away_is_asked_to_come_closer(door: Doorway) -> None:
    door.see_for(1.0, face(problem=QualityProblem.TOO_FAR), bystander())
    assert door.names == [CueName.NOTICED, CueName.HINT]


def test_a_store_that_fails_is_out_of_order_and_no_record(door: Doorway) -> None:
    door.ask()
    door.see(face(smile=80.0))
    assert door.fail() == [CueName.OUT_OF_ORDER]
    assert door.cues[-1][1].level > 0
    door.leave()
    door.record(track=2)
    assert len(door.events) == 2


def test_a_store_without_an_answer_is_out_of_order_within_2_s(door: Doorway) -> None:
    door.ask()
    door.see(face(smile=80.0))
    door.wait(2.1)
    assert door.names[-1] is CueName.OUT_OF_ORDER
    door.leave()
    door.see(face(track=2), frames=3)
    assert door.cues[-1][1].name is CueName.OUT_OF_ORDER, "neither recorded nor not"
    assert len(door.events) == 1
    door.send(EventStored(door.events[0].ref))
    door.leave()
    assert door.see(face(track=3), frames=3) == [CueName.ALREADY_RECORDED]


def test_who_comes_next_is_not_thanked_for_who_went(door: Doorway) -> None:
    door.ask(track=1)
    door.see(face(track=1, smile=80.0))
    door.see(face(track=2, person="budi"), frames=2)
    assert door.store() == []
    assert CueName.RECORDED not in door.names
    door.leave()
    assert door.see(face(track=3), frames=3) == [CueName.ALREADY_RECORDED]


def test_answers_about_other_events_change_nothing(door: Doorway) -> None:
    door.ask()
    door.see(face(smile=80.0))
    assert door.send(EventStored(-1)) == []
    assert door.send(StoreFailed(-2, "disk full")) == []
    assert door.at(State.RECORDING)


def test_a_fault_is_shown_at_once_and_heard_when_a_face_comes_near(door: Doorway) -> None:
    assert door.fault("camera lost") == [CueName.OUT_OF_ORDER]
    assert door.cues[-1][1].level == 0
    assert door.fault("camera lost") == []
    door.see(face(), frames=2)
    assert door.cues[-1][1].level > 0
    door.see_for(20.0, face(smile=80.0))
    assert door.events == []
    assert len(door.cues) == 2
    assert door.fault(None) == [CueName.IDLE]
    door.ask()


def test_a_fault_ends_an_attempt(door: Doorway) -> None:
    door.ask()
    assert door.fault("camera lost") == [CueName.OUT_OF_ORDER]
    door.see_for(10.0, face(smile=80.0))
    assert door.events == []


def test_a_clock_that_steps_back_holds_nothing_up(door: Doorway) -> None:
    door.see(face(), frames=TO_PROMPT)
    door.now -= 50.0
    door.see(face(smile=80.0))
    assert door.at(State.ASKED), "a frame from before the prompt does not count"
    door.see_for(RULES.smile_timeout - 0.2, face(smile=20.0))
    assert door.at(State.ASKED)
    door.see_for(0.4, face(smile=20.0))
    assert door.at(State.REFUSED)


def test_a_face_that_was_not_judged_is_only_followed(door: Doorway) -> None:
    unjudged = FaceObservation(1, face().box, 0.9)
    door.see_for(5.0, unjudged)
    assert door.at(State.NOTICED)
    assert door.events == []


def test_refs_count_upward_from_one_or_come_from_outside(door: Doorway) -> None:
    door.record()
    door.leave()
    door.record(track=2, person="budi")
    assert [e.ref for e in door.events] == [1, 2]
    refs = itertools.count(70)
    other = Doorway(
        Session(
            RULES, ROSTER, refs=refs, living=LIVING, passive=False, chance=itertools.repeat(0.0)
        )
    )
    other.record()
    assert other.events[0].ref == 70
