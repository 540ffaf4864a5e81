"""A doorway to stage scenes in: who stands where, frame by frame, and what the unit answers."""

import itertools
import math
from collections.abc import Iterable
from dataclasses import dataclass, field, replace

import numpy as np

from edge.attendance.session import Session
from edge.attendance.table import State
from edge.inference.models import liveness_rules
from edge.settings import AttendanceSettings, RosterSettings, Settings
from edge.types import (
    ANCHORS,
    Attempt,
    Box,
    CameraFault,
    Cue,
    CueName,
    EventStored,
    FaceObservation,
    Floats,
    FrameResult,
    LinkChanged,
    LivenessRules,
    Match,
    PassiveLivenessScore,
    Quality,
    QualityProblem,
    Stimulus,
    StoreFailed,
    TimerTick,
)

FRAME_S = 1 / 15
RULES = AttendanceSettings()
LIVING = liveness_rules(Settings())
ROSTER = RosterSettings(threshold=0.45, margin=0.05)
TO_PROMPT = RULES.agreeing_frames + 1  # frames, where chance adds nothing
FAR = 15.0  # points of the score
ON_THE_WAY = 2  # frames that a mouth takes to go far, so that it does not leap
REACT = math.ceil(LIVING.reaction / FRAME_S)  # frames after the prompt in which no answer counts


def quality(problem: QualityProblem | None = None) -> Quality:
    return Quality(160.0, 100.0, 120.0, 40.0, 0.0, 0.0, 0.0, problem)


_REST = np.random.default_rng(1).uniform(-1, 1, (ANCHORS + 6, 2)).astype(np.float32)
_REST[:2] = (-0.5, 0.0), (0.5, 0.0)  # the eyes, one unit apart
_REST[ANCHORS:] = (-0.3, 0.7), (0.3, 0.7), (-0.2, 0.7), (0.2, 0.7), (0.0, 0.6), (0.0, 0.8)


def mesh(smile: float) -> Floats:
    """Points of a face 80 pixels between the eyes, whose mouth widens with the score."""
    points = _REST.copy()
    points[ANCHORS:, 0] *= 1 + 0.005 * smile
    return (80 * points + 300).astype(np.float32)


def face(
    track: int = 1,
    person: str | None = "ani",
    smile: float | None = 10.0,
    *,
    similarity: float = 0.8,
    runner_up: float | None = 0.2,
    problem: QualityProblem | None = None,
    width: float = 200.0,
    alive: float | None = None,
    stiff: bool = False,
) -> FaceObservation:
    """A judged face; `person` None is a face that the roster is empty for.

    `alive` is what the liveness network says of the frame; of a `stiff` face no point moves.
    """
    judged = person is not None and problem is None
    return FaceObservation(
        track,
        Box(100.0, 100.0, width, width),
        0.9,
        quality(problem),
        Match(person, similarity, runner_up) if judged and person else None,
        smile if problem is None else None,
        None if alive is None or problem else PassiveLivenessScore(alive, {"network": alive}),
        mesh(0.0 if stiff else smile or 0.0) if problem is None else None,
    )


def stranger(track: int = 1) -> FaceObservation:
    return face(track, "ani", similarity=0.2, runner_up=0.1)


def bystander(track: int = 2, width: float = 180.0) -> FaceObservation:
    """A face that is not the leading one: only its place is known."""
    return FaceObservation(track, Box(400.0, 100.0, width, width), 0.9)


@dataclass
class Doorway:
    """Runs one session; keeps what it showed and recorded, with the time of each."""

    session: Session
    now: float = 100.0
    cues: list[tuple[float, Cue]] = field(default_factory=list)
    events: list[Attempt] = field(default_factory=list)
    _last: tuple[FaceObservation, ...] = ()

    @classmethod
    def with_rules(
        cls,
        exempt: frozenset[str] = frozenset(),
        *,
        living: LivenessRules = LIVING,
        passive: bool = False,
        chance: Iterable[float] = itertools.repeat(0.0),
        **changes: object,
    ) -> "Doorway":
        """Build one; with a chance of 0 the prompt comes one frame after the person."""
        rules = RULES.model_validate({**RULES.model_dump(), **changes})
        doorway = cls(
            Session(rules, ROSTER, exempt, living=living, passive=passive, chance=iter(chance))
        )
        doorway.send(LinkChanged(up=True))
        return doorway

    def at(self, state: State) -> bool:
        return self.session.state is state

    @property
    def names(self) -> list[CueName]:
        """The cues so far; one that follows itself counts once."""
        names = [cue.name for _, cue in self.cues]
        return [n for n, before in zip(names, [None, *names], strict=False) if n is not before]

    def send(self, stimulus: Stimulus, after: float = 0.0) -> list[CueName]:
        self.now += after
        step = self.session.step(stimulus, round(self.now * 1e9))
        self.cues += [(self.now, cue) for cue in step.cues]
        self.events += step.events
        return [cue.name for cue in step.cues]

    def see(
        self, *sightings: FaceObservation, frames: int = 1, leap: bool = False
    ) -> list[CueName]:
        """Show the same faces for `frames` frames; returns the cues of the last.

        A mouth that goes far is seen on its way for ON_THE_WAY frames more, in which the score, a
        median, hardly shows it yet; with `leap` it is not.
        """
        shown: list[CueName] = []
        for face in (*([] if leap else self._on_the_way(sightings)), *[None] * frames):
            self.now += FRAME_S
            shown = self.send(FrameResult(round(self.now * 1e9), (face,) if face else sightings))
        self._last = sightings
        return shown

    def _on_the_way(self, sightings: tuple[FaceObservation, ...]) -> list[FaceObservation]:
        if not (self._last and sightings):
            return []
        before, now = self._last[0], sightings[0]
        if before.points is None or now.points is None or before.track != now.track:
            return []
        if before.smile is None or now.smile is None or now.smile - before.smile < FAR:
            return []
        way = now.points - before.points
        return [
            replace(before, smile=before.smile + share, points=before.points + share * way)
            for share in (n / (ON_THE_WAY + 1) for n in range(1, ON_THE_WAY + 1))
        ]

    def see_for(self, seconds: float, *sightings: FaceObservation) -> None:
        self.see(*sightings, frames=round(seconds / FRAME_S))

    def wait(self, seconds: float) -> None:
        """Let time pass without a frame."""
        for _ in range(round(seconds / 0.1)):
            self.send(TimerTick(), after=0.1)

    def store(self) -> list[CueName]:
        return self.send(EventStored(self.events[-1].ref), after=0.01)

    def fail(self) -> list[CueName]:
        return self.send(StoreFailed(self.events[-1].ref, "disk full"), after=0.01)

    def fault(self, why: str | None) -> list[CueName]:
        return self.send(CameraFault(why), after=0.01)

    def ask(self, track: int = 1, person: str = "ani") -> None:
        """Bring a person as far as the prompt, and past the time in which nobody can answer."""
        self.see(face(track, person), frames=TO_PROMPT)
        assert self.at(State.ASKED)
        self.see(face(track, person), frames=REACT)

    def record(self, track: int = 1, person: str = "ani") -> None:
        self.ask(track, person)
        self.see(face(track, person, smile=80.0))
        assert self.at(State.RECORDING)
        self.store()
        assert self.at(State.DONE)

    def leave(self) -> None:
        self.see_for(1.2)
        assert self.at(State.NOBODY)
