"""The session: reads each stimulus as a sign, looks the sign up in the table, does what it says.

The rules are those at the top of `table`; nothing is decided here that is not read from there.
"""

import itertools
from collections.abc import Iterator
from dataclasses import dataclass, replace

from edge.attendance import policy
from edge.attendance.policy import CooldownRegister, SmilePrompt, TrackedFace, seconds_to_ns
from edge.attendance.table import LASTS, State, Transition, Trigger, transition_for
from edge.settings import AttendanceSettings, RosterSettings
from edge.types import (
    Attempt,
    CameraFault,
    Cue,
    CueName,
    EventStored,
    FaceObservation,
    FrameResult,
    LinkChanged,
    LivenessResult,
    LivenessRules,
    Outcome,
    Reason,
    Stimulus,
    StoreFailed,
    TimerTick,
)

_ATTEMPTS = (State.KNOWN, State.ASKED, State.EXEMPT_WAIT)  # a known person, and nothing decided yet


@dataclass(frozen=True, slots=True)
class StepResult:
    """What one stimulus brought about."""

    cues: tuple[Cue, ...] = ()
    events: tuple[Attempt, ...] = ()


class Session:
    """What happens in front of one unit. Not for several threads at once.

    `exempt` holds the opaque ids of the people who need not smile. `refs` gives each
    attempt its number, which Stored and StoreFailed bring back; it must never give one twice, nor
    one that somebody else uses for events of their own. `chance` yields numbers from 0 to 1
    that nobody in front of the unit can predict. `passive` says that a
    network judges liveness: without its word nobody is recorded.
    """

    def __init__(
        self,
        rules: AttendanceSettings,
        roster: RosterSettings,
        exempt: frozenset[str] = frozenset(),
        refs: Iterator[int] | None = None,
        *,
        living: LivenessRules,
        passive: bool,
        chance: Iterator[float],
    ) -> None:
        self._rules = rules
        self._living = living
        self._passive = passive
        self._chance = chance
        self._wait = 0  # nanoseconds of this attempt's random wait
        self._roster = roster
        self._exempt = exempt
        self._refs = itertools.count(1) if refs is None else refs
        self._state = State.NOBODY
        self._entered = 0  # when the state began
        self._now = 0  # nanoseconds of the session's own time, which never steps back
        self._last: int | None = None  # the last `now_ns`
        self._captured: int | None = None  # of the last view
        self._link_up = False
        self._face: TrackedFace | None = None
        self._newcomer: TrackedFace | None = None  # leads, but for one frame only
        self._crowded = 0  # frames in a row with several faces equally near
        self._approached = False  # whether a distant face was in the last view
        self._seen = 0  # when the followed face, or one of several, was last in view
        self._records = CooldownRegister(rules.cool_down)
        self._ref: int | None = None  # of the event that RECORDING waits for
        self._stranger_at: int | None = None  # when the last not-known event was

    @property
    def state(self) -> State:
        return self._state

    def use_exempt(self, exempt: frozenset[str]) -> None:
        """Take the exempt people of a new roster; an attempt under way ends as it began."""
        self._exempt = exempt

    def use_rules(
        self, rules: AttendanceSettings, roster: RosterSettings, living: LivenessRules
    ) -> None:
        """Take other rules; not while `attempting`, for one attempt is judged by one set."""
        self._rules, self._roster, self._living = rules, roster, living
        self._records.use_cool_down(rules.cool_down)

    @property
    def attempting(self) -> bool:
        """Whether a known person's attempt is under way, or waits for the disk.

        A stranger's may last for ever, such as a poster's, and nothing may wait for that.
        """
        return self._state in (*_ATTEMPTS, State.RECORDING)

    def step(self, stimulus: Stimulus, now_ns: int) -> StepResult:
        """Return what to show and what to record. `now_ns` is CLOCK_MONOTONIC."""
        self._now += max(0, now_ns - (now_ns if self._last is None else self._last))
        self._last = now_ns
        self._records.expire(self._now)
        return self._follow(transition_for(self._state, self._read(stimulus)))

    # --- from a stimulus to its sign -----------------------------------------------------------

    def _read(self, stimulus: Stimulus) -> Trigger:
        match stimulus:
            case FrameResult():
                return self._view(stimulus)
            case EventStored(ref):
                self._records.stored(ref)
                if ref == self._ref:
                    return Trigger.STORED if self._link_up else Trigger.STORED_OFFLINE
            case StoreFailed(ref):
                self._records.failed(ref)
                if ref == self._ref:
                    return Trigger.FAILED
            case LinkChanged(up):
                self._link_up = up
            case CameraFault(why):
                return Trigger.RECOVERED if why is None else Trigger.FAULT
            case TimerTick():
                pass
        return self._overdue() or Trigger.NOTHING

    def _overdue(self) -> Trigger | None:
        lasts = LASTS.get(self._state)
        if lasts is None:
            return None
        if self._state is State.REFUSED and self._face and self._face.tries >= policy.TRIES:
            return None
        seconds: float = getattr(self._rules, lasts) if isinstance(lasts, str) else lasts
        return Trigger.TIMEOUT if self._now - self._entered >= seconds_to_ns(seconds) else None

    def _view(self, view: FrameResult) -> Trigger:
        if view.captured_ns == self._captured:  # the same exposure proves nothing twice
            return self._overdue() or Trigger.NOTHING
        self._captured = view.captured_ns
        self._approached = view.distant is not None
        if (overdue := self._overdue()) is not None:
            return overdue
        if self._face is not None and not policy.is_judged_lead(view, self._face.track):
            self._face.looks.lose()
        if policy.has_several_people(view, self._rules.second_face_ratio):
            return self._crowd()
        self._crowded = 0
        if not view.sightings:
            self._newcomer = None
            return self._missed()
        lead = view.sightings[0]
        if self._face is not None and lead.track == self._face.track:
            self._newcomer = None
            self._seen = self._now
            return self._judge(self._face, lead)
        return self._meet(lead)

    def _crowd(self) -> Trigger:
        self._newcomer = None
        self._crowded += 1
        if self._crowded < policy.NOTICE_FRAMES:
            return Trigger.NOTHING
        self._seen = self._now
        return Trigger.CROWD

    def _missed(self) -> Trigger:
        followed = self._face is not None or self._state is State.SEVERAL
        gone = followed and self._now - self._seen >= seconds_to_ns(self._rules.leave_after)
        return Trigger.LEFT if gone else Trigger.EMPTY

    def _meet(self, lead: FaceObservation) -> Trigger:
        """Another face than the followed one leads."""
        if self._newcomer is None or self._newcomer.track != lead.track:
            self._newcomer = TrackedFace(lead.track)
        newcomer = self._newcomer
        newcomer.frames += 1
        if lead.quality is not None and lead.quality.problem is None:
            assert self._captured is not None
            newcomer.look(lead, self._captured, self._roster)
        if newcomer.frames < policy.NOTICE_FRAMES:
            missed = self._missed()
            return missed if missed is Trigger.LEFT else Trigger.NOTHING
        self._face, self._newcomer = newcomer, None
        self._seen = self._now
        return Trigger.FACE

    def _judge(self, face: TrackedFace, sighting: FaceObservation) -> Trigger:
        sign = self._decide(face, sighting)
        waited = self._state is State.KNOWN and self._now - self._entered >= self._wait
        if waited and self._rules.smile and sign in (Trigger.SAME, Trigger.HINT):
            return Trigger.EXEMPT if face.person in self._exempt else Trigger.ASK
        return sign

    def _decide(self, face: TrackedFace, sighting: FaceObservation) -> Trigger:
        if sighting.quality is None:
            return Trigger.SAME
        problem = sighting.quality.problem
        if problem is not None:
            due = face.hints.due(problem, policy.HINT_AFTER_S, self._now)
            return Trigger.HINT if due else Trigger.SAME
        assert self._captured is not None
        if face.person is None:
            face.hints.due(None, policy.HINT_AFTER_S, self._now)
            return self._identify(face, sighting, self._captured)
        if policy.match_is_sure(sighting.match, self._roster):
            assert sighting.match is not None
            if sighting.match.person != face.person:
                return Trigger.ANOTHER
            return self._await(face, sighting, self._captured, sure=True)
        return self._await(face, sighting, self._captured, sure=False)

    def _identify(self, face: TrackedFace, sighting: FaceObservation, captured_ns: int) -> Trigger:
        face.look(sighting, captured_ns, self._roster)
        face.person = face.identity.known(self._rules)
        if face.person is None:
            return self._stranger(face) if face.identity.unknown(self._rules) else Trigger.SAME
        if self._records.in_cooldown(face.person, self._now):
            unanswered = self._records.pending(face.person)
            return Trigger.UNANSWERED if unanswered else Trigger.ALREADY
        return Trigger.KNOWN

    def _stranger(self, face: TrackedFace) -> Trigger:
        gap = seconds_to_ns(policy.STRANGER_GAP_S)
        lately = self._stranger_at is not None and self._now - self._stranger_at < gap
        again = face.reported_unknown or lately
        face.reported_unknown = True
        return Trigger.STRANGER_AGAIN if again else Trigger.STRANGER

    def _await(
        self, face: TrackedFace, sighting: FaceObservation, captured_ns: int, *, sure: bool
    ) -> Trigger:
        """Wait for what a known person still has to do, if anything."""
        score = sighting.smile
        prompt = face.prompt if self._state is State.ASKED else None
        smiles = prompt is not None and (score or 0.0) >= self._rules.smile_threshold
        hint = face.hints.due("smile" if smiles else None, policy.STUCK_S, self._now)
        face.evidence.add(sighting.liveness)
        if prompt is not None:
            prompt.frames += 1
            prompt.sure += sure
        done = False
        if sure:
            face.match, face.smile = sighting.match, score
            face.recall(sighting, captured_ns)
            done = self._done(face, answered=score is not None)
        if self._passive and self._state in _ATTEMPTS:
            if face.evidence.suspicious(self._living):
                return Trigger.SPOOF
            done = done and face.evidence.live(self._living) is True
        if done:
            return Trigger.READY if prompt is None else Trigger.SMILE
        return Trigger.HINT if hint else Trigger.SAME

    def _done(self, face: TrackedFace, *, answered: bool) -> bool:
        """Whether this frame, surely of this person, shows all that is wanted of them."""
        match self._state:
            case State.KNOWN:
                return not self._rules.smile
            case State.EXEMPT_WAIT:
                return self._now - self._entered >= seconds_to_ns(self._rules.exempt_pause)
            case State.ASKED if answered and face.prompt is not None:
                return face.prompt.counts(face.looks, self._rules, self._living)
        return False

    # --- from a rule to what it brings about ----------------------------------------------------

    def _follow(self, rule: Transition) -> StepResult:
        events = () if rule.event is None else (self._attempt(rule.event),)
        before, self._state = self._state, rule.to
        if before is not rule.to:
            self._entered = self._now
            self._enter(rule.to)
        if rule.resets_person and self._face is not None:
            self._face.start_over()
        return StepResult(() if rule.cue is None else (self._lit(rule.cue),), events)

    def _enter(self, state: State) -> None:
        if state is not State.RECORDING:
            self._ref = None
        if state in (State.NOBODY, State.SEVERAL):
            self._face = None
        if state is State.KNOWN and self._face is not None:
            self._face.tries += 1
            self._wait = round(next(self._chance) * seconds_to_ns(self._living.prompt_delay))
        if state is State.ASKED and self._face is not None and self._last is not None:
            self._face.prompt = SmilePrompt(self._last)

    def _lit(self, cue: Cue) -> Cue:
        """Fill in how far the smile is, or an exempt person's seems to be, or who approaches."""
        if cue.name is CueName.IDLE:
            return replace(cue, level=float(self._approached))
        if cue.name is not CueName.SMILE_ASKED:
            return cue
        if self._state is State.EXEMPT_WAIT:
            share = (self._now - self._entered) / seconds_to_ns(self._rules.exempt_pause)
            return replace(cue, level=min(1.0, share) * self._rules.smile_threshold / 100.0)
        smile = self._face.smile if self._face is not None else None
        return replace(cue, level=min(1.0, max(0.0, (smile or 0.0) / 100.0)))

    def _attempt(self, reason: Reason) -> Attempt:
        """Return the event with which the attempt of the followed face ends."""
        assert self._face is not None
        assert self._captured is not None
        face, prompt = self._face, self._face.prompt
        match_threshold = None
        if face.match is not None:
            match_threshold = self._roster.required(face.match.likeness)
        smile = None
        if prompt is not None:
            smile = face.smile if reason is Reason.ACCEPTED else prompt.highest
        attempt = Attempt(
            ref=next(self._refs),
            outcome=Outcome.RECORDED if reason is Reason.ACCEPTED else Outcome.REFUSED,
            reason=reason,
            captured_ns=self._captured,
            person=face.person,
            smile=smile,
            smile_threshold=None if prompt is None else self._rules.smile_threshold,
            match=face.match,
            match_threshold=match_threshold,
            life=self._life(face),
        )
        if reason is Reason.NOT_KNOWN:
            self._stranger_at = self._now
        elif reason is Reason.ACCEPTED and face.person is not None:
            self._records.add(attempt.ref, face.person, self._now)
            self._ref = attempt.ref
        return attempt

    def _life(self, face: TrackedFace) -> LivenessResult:
        """Return what the attempt's frames showed of a living person."""
        active = policy.SILENT if face.prompt is None else face.prompt.votes(self._living)
        evidence = face.evidence
        return LivenessResult(
            live=evidence.live(self._living) if self._passive else None,
            score=evidence.score(),
            frames=evidence.frames,
            cues={**evidence.cues(), **active},
        )
