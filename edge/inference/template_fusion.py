"""The judged frames of one track, joined to one template as enrolment photos are.

Of LFW's people with six photos, 5,000 enrolled, three photos that must each agree find 88 in 100 at
1 % false alarms, and joined 99 (docs/accuracy.md).
"""

from collections import deque
from collections.abc import Set as AbstractSet
from dataclasses import dataclass

import numpy as np

from edge.roster.search import mean_template
from edge.types import Floats

FRAMES = 8  # at most; half a second, so that a turned head does not speak for long
# Cosine of a frame to the ones before it, joined. Below it the frame is of somebody else, or of
# so different a view that the others do not speak for it.
SAME_FACE = 0.5


@dataclass(slots=True)
class _Seen:
    """The last templates of one track."""

    templates: deque[Floats]
    joined: Floats


class TemplateFusion:
    """Remembers the last templates of each track."""

    def __init__(self, frames: int = FRAMES) -> None:
        """`frames`: how many of a track are joined, 1 or more."""
        self._frames = frames
        self._seen: dict[int, _Seen] = {}

    def add(self, track: int, template: Floats) -> tuple[Floats, int]:
        """Return this frame's `template` joined with those before it, and how many they are.

        Both are (192,) of length 1. A frame that does not look like those before it begins anew:
        nobody is taken for whoever stood in the same place.
        """
        seen = self._seen.get(track)
        if seen is None or float(seen.joined @ template) < SAME_FACE:
            seen = self._seen[track] = _Seen(deque(maxlen=self._frames), template)
        seen.templates.append(template)
        seen.joined = mean_template(np.array(seen.templates))
        return seen.joined, len(seen.templates)

    def retain(self, tracks: AbstractSet[int]) -> None:
        """Forget every other track."""
        for gone in self._seen.keys() - tracks:
            del self._seen[gone]
