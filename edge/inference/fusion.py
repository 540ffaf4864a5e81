"""The judged frames of one track, joined to one template as enrolment photos are.

Of LFW's people with six photos, 5,000 enrolled, three photos that must each agree find 88 in 100 at
1 % false alarms, and joined 99 (docs/accuracy.md).
"""

from collections import deque
from collections.abc import Set as AbstractSet

import numpy as np

from edge.roster import fuse
from edge.types import Floats

FRAMES = 8  # at most; half a second, so that a turned head does not speak for long
# Cosine of a frame to the ones before it, joined. Below it the frame is of somebody else, or of
# so different a view that the others do not speak for it.
SAME_FACE = 0.5


class Fusion:
    """Remembers the last templates of each track."""

    def __init__(self, frames: int = FRAMES) -> None:
        """`frames`: how many of a track are joined, 1 or more."""
        self._frames = frames
        self._seen: dict[int, deque[Floats]] = {}

    def add(self, track: int, template: Floats) -> tuple[Floats, int]:
        """Return this frame's `template` joined with those before it, and how many they are.

        Both are (192,) of length 1. A frame that does not look like those before it begins anew:
        nobody is taken for whoever stood in the same place.
        """
        seen = self._seen.setdefault(track, deque(maxlen=self._frames))
        if seen and float(fuse(np.stack(seen)) @ template) < SAME_FACE:
            seen.clear()
        seen.append(template)
        return fuse(np.stack(seen)), len(seen)

    def keep(self, tracks: AbstractSet[int]) -> None:
        """Forget every other track."""
        for gone in self._seen.keys() - tracks:
            del self._seen[gone]
