"""Presentations of a liveness check: what one living person or one attack showed to the device."""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Self

from edge.attendance.liveness_window import LivenessWindow
from edge.types import FrameResult, LivenessRules, PassiveLivenessScore

LIVING = "living"  # the kind of a presentation of a living person
ANY_ATTACK = "attack"  # the kind of an attack if the list does not name one
NO_FACE = "no-face"


@dataclass(slots=True)
class Presentation:
    """One person or attack before the camera, judged as the device judges an attempt.

    Each track of the face is one attempt, as in a session. The presentation is accepted if one of
    its attempts is.
    """

    kind: str  # LIVING, or the kind of the attack
    person: str | None  # who presents or is shown; None: unknown
    name: str = ""  # file of a recording
    frames: int = 0
    unjudged: Counter[str] = field(default_factory=Counter)  # frames by what prevented it
    attempts: list[list[PassiveLivenessScore]] = field(default_factory=list)  # judged frames
    _track: int | None = None

    def add(self, result: FrameResult) -> None:
        """Add one frame; the leading face counts."""
        self.frames += 1
        lead = next(iter(result.sightings), None)
        if lead is None or (lead.quality is not None and lead.quality.problem is not None):
            problem = lead.quality.problem if lead and lead.quality else None
            self.unjudged[problem or NO_FACE] += 1
            return
        if lead.track != self._track:
            self._track = lead.track
            self.attempts.append([])
        if lead.liveness is not None:
            self.attempts[-1].append(lead.liveness)

    @property
    def living(self) -> bool:
        return self.kind == LIVING

    @property
    def judged_frames(self) -> int:
        return sum(len(attempt) for attempt in self.attempts)

    def accepted(self, rules: LivenessRules) -> bool | None:
        """Return whether an attempt passes for a living person; None if none could be judged."""
        verdicts = [window.live(rules) for window in self._windows()]
        judged = [verdict for verdict in verdicts if verdict is not None]
        return any(judged) if judged else None

    def score(self, rules: LivenessRules) -> float | None:
        """Return the highest score of its judged attempts, 0 to 1; None without one."""
        scores = [
            score
            for window in self._windows()
            if window.live(rules) is not None and (score := window.score()) is not None
        ]
        return max(scores, default=None)

    def _windows(self) -> Iterator[LivenessWindow]:
        for attempt in self.attempts:
            window = LivenessWindow()
            for frame in attempt:
                window.add(frame)
            yield window

    def to_json(self) -> dict[str, Any]:
        """Return it without pictures: counts and scores."""
        return {
            "kind": self.kind,
            "person": self.person,
            "name": self.name,
            "frames": self.frames,
            "unjudged": dict(self.unjudged),
            "attempts": [[asdict(frame) for frame in attempt] for attempt in self.attempts],
        }

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> Self:
        """Return what `to_json` wrote. Raises KeyError, TypeError or ValueError."""
        return cls(
            kind=str(content["kind"]),
            person=None if content["person"] is None else str(content["person"]),
            name=str(content["name"]),
            frames=int(content["frames"]),
            unjudged=Counter(content["unjudged"]),
            attempts=[
                [PassiveLivenessScore(**frame) for frame in attempt]
                for attempt in content["attempts"]
            ],
        )
