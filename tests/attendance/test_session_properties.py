"""What must hold whatever happens in front of the unit, in whatever order."""

import random
from typing import ClassVar

import hypothesis.strategies as st
from doorway import LIVING, ROSTER, RULES, face, mesh, quality
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from edge.attendance.liveness_window import MEMORY, SUSPECT
from edge.attendance.motion import motion
from edge.attendance.policy import STORE_WAIT_S, match_is_sure
from edge.attendance.session import Session
from edge.attendance.table import State
from edge.types import (
    Attempt,
    Box,
    CameraFault,
    CueName,
    EventStored,
    FaceObservation,
    FrameResult,
    LinkChanged,
    Match,
    Outcome,
    PassiveLivenessScore,
    QualityProblem,
    Reason,
    Stimulus,
    StoreFailed,
    TimerTick,
)

PEOPLE = ["ani", "budi", "citra"]
EXEMPT = frozenset({"citra"})
LONGEST = {
    State.KNOWN: RULES.smile_timeout,
    State.ASKED: RULES.smile_timeout,
    State.EXEMPT_WAIT: RULES.smile_timeout,
    State.RECORDING: STORE_WAIT_S,
}

similarities = st.sampled_from([0.2, 0.44, 0.6, 0.8])
matches = st.builds(
    Match, st.sampled_from(PEOPLE), similarities, st.sampled_from([None, 0.1, 0.58])
)
smiles = st.sampled_from([None, 0.0, 30.0, 49.0, 50.0, 66.0, 95.0])
widths = st.sampled_from([80.0, 200.0])
alive = st.sampled_from([None, 0.1, 0.4, 0.7, 0.95])
sightings = st.builds(
    lambda track, width, match, smile, problem, score: FaceObservation(
        track,
        Box(0, 0, width, width),
        0.9,
        quality(problem),
        match,
        smile,
        None if score is None else PassiveLivenessScore(score, {"network": score}),
        None if smile is None else mesh(smile),
    ),
    st.integers(1, 4),
    widths,
    st.none() | matches,
    smiles,
    st.sampled_from([None, None, None, *QualityProblem]),
    alive,
)


def is_surely(sighting: FaceObservation, person: str) -> bool:
    match = sighting.match
    return match is not None and match.person == person and match_is_sure(match, ROSTER)


class Anything(RuleBasedStateMachine):
    """Drives a session with scenes and with noise, and keeps what it needs to judge it."""

    smile_rule: ClassVar[bool] = True
    passive: ClassVar[bool] = False

    def __init__(self) -> None:
        super().__init__()
        rules = RULES.model_copy(update={"smile": self.smile_rule})
        self.chance = random.Random(3)
        self.session = Session(
            rules,
            ROSTER,
            EXEMPT,
            living=LIVING,
            passive=self.passive,
            chance=iter(self.chance.random, None),
        )
        self.now = 10**9
        self.open: list[int] = []  # refs without an answer
        self.stored: set[int] = set()
        self.person_of: dict[int, str] = {}
        self.recorded: dict[str, int] = {}  # person -> when, unless the store failed
        self.led: dict[
            int, list[FaceObservation]
        ] = {}  # track -> its judged frames as the leading face
        self.asked: list[tuple[int, FaceObservation]] = []  # frames of the last attempt, and when
        self.asked_at = 0
        self.lead: FaceObservation | None = None  # of the last frame
        self.since = self.now
        self.was = self.session.state
        self.newest_ref: int | None = None

    def send(self, stimulus: Stimulus) -> None:
        before = self.session.state
        step = self.session.step(stimulus, self.now)
        if self.session.state is not before:
            self.since = self.now
        if before is not State.ASKED and self.session.state is State.ASKED:
            self.asked_at = self.now
        for event in step.events:
            self.judge(event)
        shown = [cue.name for cue in step.cues]
        if {CueName.RECORDED, CueName.RECORDED_OFFLINE} & set(shown):
            assert isinstance(stimulus, EventStored)
            assert stimulus.ref == self.newest_ref

    def judge(self, event: Attempt) -> None:
        self.open.append(event.ref)
        if event.outcome is Outcome.RECORDED:
            assert event.person is not None
            assert self.lead is not None
            self.newest_ref = event.ref
            assert self.agreed(self.lead.track, event.person)
            self.judge_cool_down(event.person)
            self.judge_smile(event, self.lead)
            self.judge_life(event, self.lead, live=True)
            self.recorded[event.person] = self.now
            self.person_of[event.ref] = event.person
        elif event.reason is Reason.SPOOF:
            assert event.person is not None
            assert self.lead is not None
            assert self.passive
            assert self.agreed(self.lead.track, event.person)
            self.judge_life(event, self.lead, live=False)
        elif event.reason is Reason.NO_SMILE:
            assert event.person is not None
            assert any(self.agreed(track, event.person) for track in self.led)
        else:
            assert event.person is None
            assert self.lead is not None
            assert len(self.led[self.lead.track]) >= RULES.unknown_frames

    def agreed(self, track: int, person: str) -> bool:
        """Whether enough frames of `track` in a row were surely `person`."""
        streak = 0
        for sighting in self.led[track]:
            streak = streak + 1 if is_surely(sighting, person) else 0
            if streak == RULES.agreeing_frames:
                return True
        return False

    def judge_cool_down(self, person: str) -> None:
        before = self.recorded.get(person)
        assert before is None or self.now - before >= RULES.cool_down * 1e9

    def judge_smile(self, event: Attempt, lead: FaceObservation) -> None:
        assert event.person is not None
        if not self.smile_rule or event.person in EXEMPT:
            assert event.smile is None
            assert event.smile_threshold is None
            return
        assert is_surely(lead, event.person)
        assert lead.smile is not None
        assert event.smile == lead.smile >= RULES.smile_threshold
        assert lead.points is not None
        before = [
            (at, s.smile, s.points)
            for at, s in self.asked
            if s.track == lead.track
            and is_surely(s, event.person)
            and s.smile is not None
            and self.now - at <= 2e9
        ]
        assert min(smile for _, smile, _ in before) <= lead.smile - RULES.smile_rise
        assert any(
            motion(points, lead.points) >= LIVING.motion
            for _, _, points in before
            if points is not None
        )
        # It began after the prompt: there was a lower frame when nobody could have answered yet.
        soonest = self.asked_at + LIVING.reaction * 1e9
        assert any(at > soonest and smile < lead.smile for at, smile, _ in before)

    def judge_life(self, event: Attempt, lead: FaceObservation, *, live: bool) -> None:
        if not self.passive:
            assert event.life.live is None
            return
        scores = [s.liveness.score for s in self.led[lead.track] if s.liveness is not None]
        assert event.life.live is live
        assert event.life.frames >= LIVING.frames * (1 if live else SUSPECT)
        last = scores[-min(MEMORY, event.life.frames) :]
        assert len(last) == event.life.frames
        trimmed = sorted(last)[1:-1]
        assert (sum(trimmed) / len(trimmed) >= LIVING.threshold) == live

    def see(self, *seen: FaceObservation, seconds: float = 0.066) -> None:
        self.now += round(seconds * 1e9)
        self.lead = seen[0] if seen else None
        if self.lead is not None:
            judged = self.led.setdefault(self.lead.track, [])
            if self.lead.quality is not None and self.lead.quality.problem is None:
                judged.append(self.lead)
                self.asked.append((self.now, self.lead))
        self.send(FrameResult(self.now, seen))

    @initialize(up=st.booleans())
    def connect(self, up: bool) -> None:
        self.send(LinkChanged(up))

    @rule(seen=st.lists(sightings, max_size=3, unique_by=lambda s: s.track))
    def noise(self, seen: list[FaceObservation]) -> None:
        self.see(*sorted(seen, key=lambda s: -s.box.width))

    @rule(
        track=st.integers(1, 4),
        person=st.sampled_from(PEOPLE),
        score=smiles,
        frames=st.integers(1, 12),
        alive=alive,
    )
    def stand(
        self, track: int, person: str, score: float | None, frames: int, alive: float | None
    ) -> None:
        for _ in range(frames):
            self.see(face(track, person, score, alive=alive))

    @precondition(lambda self: self.lead is not None)
    @rule(person=st.sampled_from(PEOPLE), score=smiles, similarity=similarities)
    def smile(self, person: str, score: float | None, similarity: float) -> None:
        assert self.lead is not None
        self.see(face(self.lead.track, person, score, similarity=similarity))

    @rule(
        track=st.integers(1, 4),
        person=st.sampled_from(PEOPLE),
        still=st.integers(4, 16),
        alive=alive,
    )
    def answer(self, track: int, person: str, still: int, alive: float | None) -> None:
        """Somebody who stands still for a while, then smiles: too early, in time, or not judged."""
        for _ in range(still):
            self.see(face(track, person, 5.0, alive=alive))
        for score in (30.0, 60.0, 95.0):
            self.see(face(track, person, score, alive=alive))

    @rule(track=st.integers(1, 4), frames=st.integers(1, 12))
    def pass_by(self, track: int, frames: int) -> None:
        for _ in range(frames):
            self.see(face(track, "ani", 90.0, similarity=0.3))

    @rule(seconds=st.sampled_from([0.1, 1.3, 2.5, 9.0, 310.0]))
    def go(self, seconds: float) -> None:
        self.see(seconds=0.066)
        self.see(seconds=seconds)

    @rule(seconds=st.sampled_from([-5.0, 0.0, 0.1, 1.0, 8.5]))
    def wait(self, seconds: float) -> None:
        latest = self.now
        self.now += round(seconds * 1e9)
        self.send(TimerTick())
        self.now = max(self.now, latest)

    @precondition(lambda self: self.open)
    @rule(data=st.data())
    def store(self, data: st.DataObject) -> None:
        ref = data.draw(st.sampled_from(self.open))
        self.open.remove(ref)
        self.stored.add(ref)
        self.send(EventStored(ref))

    @precondition(lambda self: self.open)
    @rule(data=st.data())
    def fail(self, data: st.DataObject) -> None:
        ref = data.draw(st.sampled_from(self.open))
        self.open.remove(ref)
        if (person := self.person_of.get(ref)) is not None:
            self.recorded.pop(person, None)
        self.send(StoreFailed(ref, "disk full"))

    @rule(ref=st.integers(-3, 0))
    def answer_to_somebody_else(self, ref: int) -> None:
        self.send(EventStored(ref))

    @rule(why=st.sampled_from([None, None, "camera lost"]))
    def fault(self, why: str | None) -> None:
        self.send(CameraFault(why))

    @rule(up=st.booleans())
    def link(self, up: bool) -> None:
        self.send(LinkChanged(up))

    @invariant()
    def waits_are_bounded(self) -> None:
        longest = LONGEST.get(self.session.state)
        if longest is not None:
            self.send(TimerTick())
            longest = LONGEST.get(self.session.state)
            assert longest is None or self.now - self.since <= longest * 1e9


class AnythingWithoutSmiles(Anything):
    """The same where nobody is asked to smile."""

    smile_rule = False


class AnythingJudged(Anything):
    """The same where a network judges liveness."""

    passive = True


class AnythingJudgedWithoutSmiles(Anything):
    """The same where it is all that is judged."""

    smile_rule = False
    passive = True


QUICK = settings(
    max_examples=150,
    stateful_step_count=40,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
    phases=[Phase.explicit, Phase.generate, Phase.shrink],
)
TestAnything = Anything.TestCase
TestAnything.settings = QUICK
TestAnythingWithoutSmiles = AnythingWithoutSmiles.TestCase
TestAnythingWithoutSmiles.settings = QUICK
TestAnythingJudged = AnythingJudged.TestCase
TestAnythingJudged.settings = QUICK
TestAnythingJudgedWithoutSmiles = AnythingJudgedWithoutSmiles.TestCase
TestAnythingJudgedWithoutSmiles.settings = QUICK
