"""Each moment that a person in front of the unit can live through."""

import itertools

import pytest
from doorway import FRAME_S, ROSTER, RULES, Doorway, bystander, face, stranger

from edge.attendance import Session, State
from edge.types import (
    CueName,
    LinkChanged,
    Outcome,
    Problem,
    Reason,
    Sighting,
    Stored,
    StoreFailed,
    View,
)


@pytest.fixture
def door() -> Doorway:
    return Doorway.with_rules()


def test_nobody_is_idle(door: Doorway) -> None:
    assert door.see() == [CueName.IDLE]
    assert door.at(State.NOBODY)


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
    assert door.now - began < 0.6
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
    assert door.store() == [CueName.RECORDED_AWAY]


def test_the_broker_is_away_until_it_was_reached() -> None:
    door = Doorway(Session(RULES, ROSTER, frozenset()))
    door.ask()
    door.see(face(smile=80.0))
    assert door.store() == [CueName.RECORDED_AWAY]


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
    door.see(face(), frames=RULES.agreeing_frames)
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
    view = View(5, (face(),))
    for _ in range(10):
        door.send(view, after=FRAME_S)
    assert door.at(State.NOBODY)


def test_no_smile_in_time_is_refused_with_the_person(door: Doorway) -> None:
    door.ask()
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
    door.see(face(smile=3.0), frames=3)
    assert door.at(State.PAUSED)
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
    assert not door.at(State.PAUSED)


def test_with_the_smile_rule_off_an_exempt_person_gives_the_same_event() -> None:
    off = Doorway.with_rules(smile=False, exempt=frozenset({"ani"}))
    off.see(face(), frames=3)
    assert off.at(State.RECORDING)
    exempt = Doorway.with_rules(exempt=frozenset({"ani"}))
    exempt.see_for(2.0, face())
    a, b = off.events[0], exempt.events[0]
    assert (a.smile, a.smile_threshold, a.reason) == (b.smile, b.smile_threshold, b.reason)


def test_a_new_roster_may_exempt_somebody(door: Doorway) -> None:
    door.session.use_exempt(frozenset({"ani"}))
    door.see(face(), frames=3)
    assert door.at(State.PAUSED)


def test_a_smile_that_was_there_before_the_prompt_does_not_count(door: Doorway) -> None:
    door.see(face(smile=80.0), frames=3)
    assert door.at(State.ASKED)
    door.see_for(1.5, face(smile=80.0))
    assert door.events == []
    door.see_for(1.0, face(smile=80.0))
    assert CueName.HINT in door.names, "somebody who smiles already gets a clue"
    door.see_for(7.0, face(smile=80.0))
    assert door.events[0].reason is Reason.NO_SMILE


@pytest.mark.parametrize("scores", [[20.0, 60.0], [60.0, 76.0], [80.0, 60.0, 78.0]])
def test_a_smile_that_begins_or_widens_after_the_prompt_counts(
    door: Doorway, scores: list[float]
) -> None:
    door.see(face(smile=scores[0]), frames=3)
    for score in scores[1:]:
        assert door.events == []
        door.see(face(smile=score))
    assert door.events[0].smile == scores[-1]


def test_a_small_rise_over_the_threshold_is_no_onset(door: Doorway) -> None:
    door.see(face(smile=45.0), frames=3)
    door.see(face(smile=55.0), frames=5)
    assert door.events == []


def test_without_the_rise_any_smile_after_the_prompt_counts() -> None:
    door = Doorway.with_rules(smile_rise=0.0)
    door.see(face(smile=80.0), frames=3)
    assert door.events == []
    door.see(face(smile=80.0))
    assert door.events[0].outcome is Outcome.RECORDED


def test_the_smile_must_be_surely_of_the_person_who_was_asked(door: Doorway) -> None:
    door.ask()
    door.see(face(similarity=0.3, smile=90.0), frames=5)
    assert door.events == []


def test_another_person_in_the_same_track_starts_over(door: Doorway) -> None:
    door.ask(person="ani")
    assert door.see(face(person="budi", smile=90.0)) == [CueName.NOTICED]
    assert door.events == []
    door.see(face(person="budi", smile=90.0), frames=3)
    assert door.at(State.ASKED)
    door.see(face(person="budi", smile=60.0))
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
    door.see(face(smile=80.0))
    assert door.events[0].outcome is Outcome.RECORDED


def test_who_leaves_before_the_end_was_not_there(door: Doorway) -> None:
    door.ask()
    door.leave()
    door.wait(20.0)
    assert door.events == []
    assert door.cues[-1][1].name is CueName.IDLE


@pytest.mark.parametrize("problem", list(Problem))
def test_a_problem_is_a_hint_within_1_s_and_never_a_refusal(
    door: Doorway, problem: Problem
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
    for problem in itertools.islice(itertools.cycle([Problem.BLURRED, Problem.TURNED]), 60):
        door.see(face(problem=problem), frames=5)
    assert CueName.HINT not in door.names


def test_a_problem_during_the_prompt_hints_and_the_prompt_goes_on(door: Doorway) -> None:
    door.ask()
    door.see_for(1.0, face(problem=Problem.TURNED))
    assert CueName.HINT in door.names
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
    door.see(face(), bystander(width=100.0), frames=3)
    assert door.at(State.ASKED)


def test_a_group_far_away_is_asked_to_come_closer(door: Doorway) -> None:
    door.see_for(1.0, face(problem=Problem.TOO_FAR), bystander())
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
    door.send(Stored(door.events[0].ref))
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
    assert door.send(Stored(-1)) == []
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
    door.ask()
    door.now -= 50.0
    door.see(face(smile=80.0))
    assert door.at(State.ASKED), "a frame from before the prompt does not count"
    door.see_for(RULES.smile_timeout - 0.2, face(smile=20.0))
    assert door.at(State.ASKED)
    door.see_for(0.4, face(smile=20.0))
    assert door.at(State.REFUSED)


def test_a_face_that_was_not_judged_is_only_followed(door: Doorway) -> None:
    unjudged = Sighting(1, face().box, 0.9)
    door.see_for(5.0, unjudged)
    assert door.at(State.NOTICED)
    assert door.events == []


def test_refs_count_upward_from_one_or_come_from_outside(door: Doorway) -> None:
    door.record()
    door.leave()
    door.record(track=2, person="budi")
    assert [e.ref for e in door.events] == [1, 2]
    other = Doorway(Session(RULES, ROSTER, frozenset(), refs=itertools.count(70)))
    other.record()
    assert other.events[0].ref == 70
