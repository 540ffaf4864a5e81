"""What the frames of one person, joined, say of a living person."""

from collections import deque
from dataclasses import dataclass, field
from statistics import fmean

from edge.types import LivenessRules, PassiveLivenessScore

SUSPECT = 2  # times as many frames as a living person needs
# Judged frames, of 2 to 4 s at 15 a second: whoever waits long is judged by what is there now.
MEMORY = 30


@dataclass(slots=True)
class LivenessWindow:
    """The judged frames of one person on one track, the newest MEMORY of them."""

    _frames: deque[PassiveLivenessScore] = field(default_factory=lambda: deque(maxlen=MEMORY))

    def add(self, frame: PassiveLivenessScore | None) -> None:
        """Take a frame; None is one in which nothing was judged."""
        if frame is not None:
            self._frames.append(frame)

    @property
    def frames(self) -> int:
        """How many frames are remembered."""
        return len(self._frames)

    def score(self) -> float | None:
        """Return the mean without the highest and the lowest: one odd frame decides nothing.

        None where nothing was judged; of one or two frames, the lower.
        """
        scores = sorted(frame.score for frame in self._frames)
        if not scores:
            return None
        return fmean(scores[1:-1]) if len(scores) > 2 else scores[0]

    def live(self, rules: LivenessRules) -> bool | None:
        """Hold the score against the threshold; None before there are frames enough."""
        score = self.score()
        if score is None or self.frames < rules.frames:
            return None
        return score >= rules.threshold

    def suspicious(self, rules: LivenessRules) -> bool:
        """Whether frames enough, twice as many as to be alive, are below the threshold together."""
        return self.frames >= SUSPECT * rules.frames and not self.live(rules)

    def cues(self) -> dict[str, float]:
        """Return the mean vote of each cue that spoke."""
        votes: dict[str, list[float]] = {}
        for frame in self._frames:
            for name, vote in frame.cues.items():
                votes.setdefault(name, []).append(vote)
        return {name: fmean(each) for name, each in sorted(votes.items())}
