import itertools
import time
from dataclasses import replace
from pathlib import Path

import pytest
from pydantic import ValidationError
from wireunit import BOOT_ID, PERSON, UNIT, Signer, SteppedClock, attempt

from edge.contract.envelope import verify
from edge.contract.events import (
    AttendanceEvent,
    AuditEvent,
    HealthEvent,
    LivenessData,
    OnlineStatus,
    StateEvent,
    Thresholds,
)
from edge.contract.jose import digest
from edge.contract.topics import TopicKind
from edge.errors import ErrorCode
from edge.outbox.event_signer import ChainHead, HealthReport
from edge.settings import AttendanceSettings, RosterSettings, Settings
from edge.system.clock import ClockState, SystemClock
from edge.types import (
    Attempt,
    Audit,
    AuditCode,
    LivenessResult,
    LivenessRules,
    Match,
    Outcome,
    Reason,
)

OF_THE_SMILE = ("smile", "smile_rise", "smile_timeout", "motion", "reaction", "prompt_delay")


@pytest.fixture
def clock() -> SteppedClock:
    return SteppedClock()


@pytest.fixture
def signer(tmp_path: Path, clock: SteppedClock) -> Signer:
    return Signer(tmp_path, clock)


def attendance(signer: Signer, event: Attempt, head: ChainHead | None = None) -> AttendanceEvent:
    token = signer.sealer.event(event, head or ChainHead()).token
    read = verify(token, signer.keys, UNIT.topic(TopicKind.EVENT)).event
    assert isinstance(read, AttendanceEvent)
    return read


def test_a_recorded_attempt(signer: Signer, clock: SteppedClock) -> None:
    event = attendance(signer, attempt(captured_ns=clock.monotonic_ns - 250_000_000))
    assert event.type == "senyum.attendance.recorded.v1"
    assert event.subject == PERSON
    assert event.sequence == "00000000000000000001"
    assert event.previous is None
    assert event.time == "2027-01-15T07:59:59.750000Z"
    assert event.data.model_dump(mode="json") == {
        "software": "0.1.0",
        "models": dict(signer.sealer.context.models),
        "roster": "e" * 64,
        "outcome": "recorded",
        "reason": "accepted",
        "direction": "unspecified",
        "smile": 77.7,
        "match": {"similarity": 0.7123, "margin": 0.3123},
        "liveness": {
            "judged": True,
            "live": True,
            "score": 0.876,
            "frames": 9,
            "cues": {"network": 0.812, "motion": 0.7, "onset": 1.0},
        },
        "thresholds": {
            "match": 0.62,
            "margin": 0.08,
            "agreeing_frames": 3,
            "unknown_frames": 8,
            "liveness": 0.5,
            "liveness_frames": 5,
            "smile": 50.0,
            "smile_rise": 15.0,
            "smile_timeout": 8.0,
            "motion": 0.05,
            "reaction": 0.15,
            "prompt_delay": 0.3,
        },
        "place": {"latitude": -6.2, "longitude": 106.8, "zone": "Asia/Jakarta"},
        "clock": {
            "state": "synchronized",
            "boot_id": BOOT_ID,
            "monotonic_ns": str(clock.monotonic_ns - 250_000_000),
        },
    }


def test_a_stranger_has_no_subject_and_their_nearest_match_no_name(signer: Signer) -> None:
    refused = attempt(
        outcome=Outcome.REFUSED, reason=Reason.NOT_KNOWN, person=None, smile=None,
        smile_threshold=None, match=Match(PERSON, 0.2, None),
    )  # fmt: skip
    event = attendance(signer, refused)
    assert event.type == "senyum.attendance.refused.v1"
    assert event.subject is None
    assert event.data.match is not None
    assert event.data.match.margin is None
    assert PERSON not in event.model_dump_json()


def test_an_event_states_the_threshold_of_its_match(signer: Signer) -> None:
    own = attendance(signer, attempt(1, match_threshold=0.71, captured_ns=1)).data
    usual = attendance(signer, attempt(2, captured_ns=1)).data
    assert own.thresholds.match == 0.71
    assert usual.thresholds.match != 0.71
    assert own.thresholds.model_copy(update={"match": usual.thresholds.match}) == usual.thresholds


def test_an_exempt_person_looks_like_a_unit_that_asks_nobody(signer: Signer) -> None:
    """Only what differs between any two events may differ."""
    exempt = attendance(signer, attempt(1, smile=None, smile_threshold=None, captured_ns=1))
    rule_off = attendance(signer, attempt(2, smile=None, smile_threshold=None, captured_ns=1))
    assert exempt.data == rule_off.data
    assert exempt.data.smile is None
    limits = exempt.data.thresholds
    assert {getattr(limits, name) for name in OF_THE_SMILE} == {None}
    assert (limits.agreeing_frames, limits.unknown_frames) == (3, 8)


def test_the_limits_of_an_event_are_those_of_the_settings(signer: Signer) -> None:
    rules = AttendanceSettings(
        smile_rise=0.0, smile_timeout=5.5, agreeing_frames=4, unknown_frames=9
    )
    roster = RosterSettings(threshold=0.5, margin=0.0)
    living = LivenessRules(threshold=0.7, frames=9, motion=0.03, reaction=0.2, prompt_delay=1.0)
    signer.sealer.context = replace(
        signer.sealer.context,
        thresholds=Settings(attendance=rules, roster=roster).thresholds(living),
    )
    event = attendance(signer, attempt(smile_threshold=60.0))
    assert event.data.thresholds == Thresholds(
        match=0.5,
        margin=0.0,
        agreeing_frames=4,
        unknown_frames=9,
        smile=60.0,
        smile_rise=0.0,
        smile_timeout=5.5,
        liveness=0.7,
        liveness_frames=9,
        motion=0.03,
        reaction=0.2,
        prompt_delay=1.0,
    )


@pytest.mark.parametrize("field", OF_THE_SMILE)
def test_half_a_smile_rule_is_no_event(field: str) -> None:
    whole = {
        "match": 0.5,
        "margin": 0.1,
        "agreeing_frames": 3,
        "unknown_frames": 8,
        "smile": 50.0,
        "smile_rise": 15.0,
        "smile_timeout": 8.0,
        "liveness": 0.5,
        "liveness_frames": 5,
        "motion": 0.02,
        "reaction": 0.15,
        "prompt_delay": 0.3,
    }
    Thresholds.model_validate(whole)
    with pytest.raises(ValidationError, match="null together"):
        Thresholds.model_validate({**whole, field: None})


def test_a_suspected_photo_names_the_person_and_says_what_spoke(signer: Signer) -> None:
    life = LivenessResult(False, 0.21, 12, {"network": 0.1, "motion": None, "onset": None})
    refused = attempt(
        outcome=Outcome.REFUSED, reason=Reason.SPOOF, smile=None, smile_threshold=None, life=life
    )
    event = attendance(signer, refused)
    assert event.type == "senyum.attendance.refused.v1"
    assert event.subject == PERSON
    assert event.data.reason is Reason.SPOOF
    assert event.data.liveness.model_dump() == {
        "judged": True,
        "live": False,
        "score": 0.21,
        "frames": 12,
        "cues": {"network": 0.1, "motion": None, "onset": None},
    }


def test_without_a_network_only_the_active_cues_speak(signer: Signer) -> None:
    event = attendance(signer, attempt(life=LivenessResult(cues={"motion": 0.9})))
    assert event.data.liveness.model_dump() == {
        "judged": False, "live": None, "score": None, "frames": 0, "cues": {"motion": 0.9},
    }  # fmt: skip


def test_a_vote_out_of_range_does_not_keep_an_event_from_being_signed(signer: Signer) -> None:
    event = attendance(signer, attempt(life=LivenessResult(True, 1.0000001, 9, {"pattern": -3.1})))
    assert event.data.liveness.score == 1.0
    assert event.data.liveness.cues == {"pattern": 0.0}


@pytest.mark.parametrize(
    "changes",
    [
        {"judged": True, "live": None},
        {"judged": False},
        {"score": None},
        {"frames": 0},
        {"cues": {"network": 1.5}},
        {"cues": {"Network": 0.5}},
    ],
)
def test_liveness_that_contradicts_itself_is_no_event(changes: dict[str, object]) -> None:
    whole = {"judged": True, "live": True, "score": 0.8, "frames": 9, "cues": {"network": 0.8}}
    LivenessData.model_validate(whole)
    with pytest.raises(ValidationError):
        LivenessData.model_validate({**whole, **changes})


def test_a_photo_is_never_recorded(signer: Signer) -> None:
    with pytest.raises(ValidationError, match="a photo or a screen was recorded"):
        attendance(signer, attempt(life=LivenessResult(False, 0.2, 12)))


def test_a_figure_below_its_threshold_never_reads_as_having_met_it(signer: Signer) -> None:
    event = attendance(signer, attempt(smile=49.99, match=Match("x", 0.619999, 0.4)))
    assert event.data.smile == 49.9
    assert event.data.match is not None
    assert event.data.match.similarity == 0.6199


def test_a_similarity_a_hair_beyond_one_is_one(signer: Signer) -> None:
    event = attendance(signer, attempt(match=Match("x", 1.0000001, 1.0000002)))
    assert event.data.match is not None
    assert event.data.match.similarity == 1.0
    assert event.data.match.margin == 0.0


def test_the_chain_links_each_event_to_the_one_before(signer: Signer) -> None:
    head = ChainHead()
    for number in range(1, 4):
        token = signer.sealer.event(attempt(), head).token
        event = verify(token, signer.keys, UNIT.topic(TopicKind.EVENT)).event
        assert isinstance(event, AttendanceEvent)
        assert (event.number, event.previous) == (number, head.digest)
        head = head.followed_by(token)
        assert head == ChainHead(number, digest(token))


def test_a_clock_that_steps_back_shows_in_time_and_in_nothing_else(
    signer: Signer, clock: SteppedClock
) -> None:
    head, events = ChainHead(), []
    for step in (0.0, 10.0, -86_400.0, 1.0):
        clock.utc += step
        clock.monotonic_ns += 1_000_000_000
        token = signer.sealer.event(attempt(captured_ns=clock.monotonic_ns), head).token
        event = verify(token, signer.keys, UNIT.topic(TopicKind.EVENT)).event
        assert isinstance(event, AttendanceEvent)
        head = head.followed_by(token)
        events.append(event)
    assert events[2].moment < events[1].moment
    for before, after in itertools.pairwise(events):
        assert after.id > before.id
        assert after.number == before.number + 1
        assert int(after.data.clock.monotonic_ns) > int(before.data.clock.monotonic_ns)


def test_an_audit_event(signer: Signer) -> None:
    audit = Audit(ref=1, code=AuditCode.STARTED, captured_ns=1, detail={"frames": 3, "why": None})
    token = signer.sealer.event(audit, ChainHead()).token
    event = verify(token, signer.keys, UNIT.topic(TopicKind.EVENT)).event
    assert isinstance(event, AuditEvent)
    assert event.data.code is AuditCode.STARTED
    assert event.data.detail == {"frames": 3, "why": None}


def test_state_and_health_name_the_head(signer: Signer) -> None:
    head = ChainHead(7, "A" * 43)
    state = verify(
        signer.sealer.state(OnlineStatus.OFFLINE, 2, head), signer.keys, UNIT.topic(TopicKind.STATE)
    ).event
    health = verify(
        signer.sealer.health(
            HealthReport(frame_rate=14.9, last_error=ErrorCode.DISK_FULL), 2, head, 3
        ),
        signer.keys,
        UNIT.topic(TopicKind.HEALTH),
    ).event
    assert isinstance(state, StateEvent)
    assert isinstance(health, HealthEvent)
    assert (state.data.status, state.data.session) == (OnlineStatus.OFFLINE, 2)
    assert (state.data.sequence, state.data.head) == (7, "A" * 43)
    assert (health.data.sequence, health.data.head, health.data.outbox_depth) == (7, "A" * 43, 3)
    assert health.data.last_error == "disk-full"


def test_a_new_context_counts_from_the_next_event(signer: Signer) -> None:
    signer.sealer.context = replace(signer.sealer.context, roster=None)
    assert attendance(signer, attempt()).data.roster is None


def test_time_is_trusted_only_while_it_is_disciplined(signer: Signer, clock: SteppedClock) -> None:
    now = signer.sealer.now_if_synchronized()
    assert now is not None
    assert now.timestamp() == clock.utc
    clock.state = ClockState.HOLDOVER
    assert signer.sealer.now_if_synchronized() is None


def test_the_machines_clock() -> None:
    reading = SystemClock().read()
    assert abs(reading.utc_ns / 1e9 - time.time()) < 5
    assert abs(reading.monotonic_ns - time.monotonic_ns()) < 5e9
    assert len(reading.boot_id) == 36
    assert reading.state in ClockState
