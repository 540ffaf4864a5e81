"""Liveness of one person, from their judged frames."""

from collections import deque
from dataclasses import dataclass, field
from statistics import fmean

from edge.types import LivenessRules, PassiveLivenessScore

SUSPECT = 2  # times as many frames as a living person needs
# Judged frames, of 2 to 4 s at 15 a second: somebody who waits for long is judged by recent frames.
MEMORY = 30


@dataclass(slots=True)
class LivenessWindow:
    """The judged frames of one person on one track, the newest MEMORY of them."""

    _frames: deque[PassiveLivenessScore] = field(default_factory=lambda: deque(maxlen=MEMORY))

    def add(self, frame: PassiveLivenessScore | None) -> None:
        """Add a frame; None is a frame in which nothing was judged."""
        if frame is not None:
            self._frames.append(frame)

    @property
    def frames(self) -> int:
        """Number of frames in the window."""
        return len(self._frames)

    def score(self) -> float | None:
        """Return the mean without the highest and the lowest, so that no single frame decides.

        None if nothing was judged; of one or two frames, the lower score.
        """
        scores = sorted(frame.score for frame in self._frames)
        if not scores:
            return None
        return fmean(scores[1:-1]) if len(scores) > 2 else scores[0]

    def live(self, rules: LivenessRules) -> bool | None:
        """Return whether the score reaches the threshold; None before there are enough frames."""
        score = self.score()
        if score is None or self.frames < rules.frames:
            return None
        return score >= rules.threshold

    def suspicious(self, rules: LivenessRules) -> bool:
        """Return whether twice the required frames together stay below the threshold."""
        return self.frames >= SUSPECT * rules.frames and not self.live(rules)

    def cues(self) -> dict[str, float]:
        """Return the mean vote of each cue that voted."""
        votes: dict[str, list[float]] = {}
        for frame in self._frames:
            for name, vote in frame.cues.items():
                votes.setdefault(name, []).append(vote)
        return {name: fmean(each) for name, each in sorted(votes.items())}
