import subprocess
import sys
from pathlib import Path

import pytest

from edge.attendance.table import (
    IGNORED,
    LASTS,
    SIGNS,
    STATES,
    TABLE,
    IllegalTransition,
    State,
    Trigger,
    transition_for,
)
from edge.settings import AttendanceSettings
from edge.types import CueName, Reason

ROOT = Path(__file__).parents[2]
ATTEMPT = {State.NOTICED, State.UNKNOWN, State.KNOWN, State.ASKED, State.EXEMPT_WAIT}
KNOWN = {State.KNOWN, State.ASKED, State.EXEMPT_WAIT}


def test_every_state_has_an_answer_for_every_sign_or_refuses_it() -> None:
    for state in State:
        assert not TABLE[state].keys() & IGNORED[state]
        for sign in Trigger:
            if sign in TABLE[state] or sign in IGNORED[state]:
                transition_for(state, sign)
            else:
                with pytest.raises(IllegalTransition, match=f"{sign}.*{state}"):
                    transition_for(state, sign)


def test_states_and_signs_are_explained() -> None:
    assert set(STATES) == set(TABLE) == set(IGNORED) == set(State)
    assert set(SIGNS) == set(Trigger)


def test_every_state_can_be_reached_and_left() -> None:
    reached = {rule.to for rows in TABLE.values() for rule in rows.values()}
    assert reached == set(State)
    for state, rows in TABLE.items():
        assert any(rule.to is not state for rule in rows.values())


def test_recorded_is_shown_only_after_stored() -> None:
    for rows in TABLE.values():
        for sign, rule in rows.items():
            if rule.cue is not None and rule.cue.name is CueName.RECORDED:
                assert sign is Trigger.STORED
            if rule.cue is not None and rule.cue.name is CueName.RECORDED_OFFLINE:
                assert sign is Trigger.STORED_OFFLINE


def test_every_record_waits_for_the_disk_and_nothing_else_does() -> None:
    for rows in TABLE.values():
        for rule in rows.values():
            assert (rule.event is Reason.ACCEPTED) == (rule.to is State.RECORDING)


def test_what_waits_for_something_is_bounded() -> None:
    for state in (*KNOWN, State.RECORDING):
        assert state in LASTS
        assert TABLE[state][Trigger.TIMEOUT].to is not state
    for lasts in LASTS.values():
        assert not isinstance(lasts, str) or lasts in AttendanceSettings.model_fields


def test_a_fault_is_noticed_everywhere_and_a_face_that_leaves_ends_every_attempt() -> None:
    for state in State:
        assert transition_for(state, Trigger.FAULT).to is State.FAULTY
    for state in ATTEMPT:
        assert transition_for(state, Trigger.LEFT).to is State.NOBODY


def test_a_suspected_photo_is_refused_wherever_a_known_person_could_be_recorded() -> None:
    for state, rows in TABLE.items():
        recorded = any(rule.to is State.RECORDING for rule in rows.values())
        assert recorded == (state in KNOWN)
        assert (Trigger.SPOOF in rows) == recorded
        if recorded:
            assert rows[Trigger.SPOOF].event is Reason.SPOOF
            assert rows[Trigger.SPOOF].to is State.REFUSED


def test_exempt_people_get_the_cues_of_those_who_are_asked() -> None:
    asked, paused = TABLE[State.ASKED], TABLE[State.EXEMPT_WAIT]
    assert TABLE[State.KNOWN][Trigger.ASK].cue == TABLE[State.KNOWN][Trigger.EXEMPT].cue
    for sign in asked.keys() & paused.keys() - {Trigger.TIMEOUT}:
        assert asked[sign].cue == paused[sign].cue


def test_the_page_in_the_docs_is_drawn_from_this_table() -> None:
    drawing = ROOT / "scripts" / "lib" / "session_drawing.py"
    check = subprocess.run(
        [sys.executable, drawing, "--check"], check=False, capture_output=True, text=True
    )
    assert check.returncode == 0, check.stdout + check.stderr


def test_an_event_and_its_cue_say_the_same() -> None:
    said = {
        Reason.NOT_KNOWN: CueName.NOT_KNOWN,
        Reason.NO_SMILE: CueName.NO_SMILE,
        Reason.SPOOF: CueName.SPOOF,
    }
    for rows in TABLE.values():
        for rule in rows.values():
            if rule.event in said:
                assert rule.cue is not None
                assert rule.cue.name is said[rule.event]
