"""When to look for distant faces: one look takes about six times as long as one for near faces.

While nobody is in view, looks are rationed, so that an idle unit stays idle: one in EARN_NS on
average, and up to SAVED in a row after a quiet time, GAP_NS apart, because somebody who walks up
is within the range of the far network and not yet of the near one for a second or two. A picture
that has not changed since the last look is looked at again only after STILL_NS.
"""

import numpy as np

from edge.images import plane_image
from edge.types import Box, Bytes2D

GAP_NS = 600_000_000
EARN_NS = 5_000_000_000
SAVED = 8
STILL_NS = 20_000_000_000
AGAIN_NS = 500_000_000  # between two looks while a distant face is in view
KEEP_NS = 1_200_000_000  # a distant face counts as in view for so long after a look that found it
FOLLOW_NS = 500_000_000  # after a face that was judged each frame is looked at

_CELL = 8  # pixels of the small picture; noise of the sensor averages out over a cell
_STEP = 8  # of 255 levels: more is a change
_CELLS = 3  # that must have changed: a head of a twenty-fifth of the picture, or a limb, moved


class DistantWatch:
    """Decides in which frames to look for distant faces, and remembers the last one found.

    Times are CLOCK_MONOTONIC nanoseconds of the frames.
    """

    def __init__(self) -> None:
        self._looked_ns: int | None = None
        self._judged_ns: int | None = None
        self._looks = float(SAVED)  # that may be spent
        self._scene: Bytes2D | None = None  # at the last look
        self._box: Box | None = None
        self._seen_ns = 0

    def due(self, luma: Bytes2D, now_ns: int) -> bool:
        """Whether to look now; `luma` is the small picture, in which no near face was found."""
        if self._looked_ns is None or now_ns < self._looked_ns:
            return True
        if self._judged_ns is not None and now_ns - self._judged_ns < FOLLOW_NS:
            return True
        since = now_ns - self._looked_ns
        if self.face(now_ns) is not None:
            return since >= AGAIN_NS
        if since < GAP_NS or self._looks + since / EARN_NS < 1:
            return False
        return since >= STILL_NS or self._changed(luma)

    def looked(self, luma: Bytes2D, now_ns: int, found: Box | None) -> None:
        """Note a look at this frame, and the distant face that it found."""
        if found is not None:
            self._box, self._seen_ns = found, now_ns
        since = SAVED * EARN_NS if self._looked_ns is None else now_ns - self._looked_ns
        spent = self.face(now_ns) is None
        self._looks = max(0.0, min(SAVED, self._looks + max(since, 0) / EARN_NS) - spent)
        self._looked_ns, self._scene = now_ns, _coarse(luma)

    def judged(self, now_ns: int) -> None:
        """Note a frame with a face that is near enough to be judged."""
        self._judged_ns, self._box = now_ns, None

    def face(self, now_ns: int) -> Box | None:
        """Return the distant face in view, where it was last seen."""
        return self._box if 0 <= now_ns - self._seen_ns < KEEP_NS else None

    def _changed(self, luma: Bytes2D) -> bool:
        scene = _coarse(luma)
        if self._scene is None or self._scene.shape != scene.shape:
            return True
        difference = np.abs(scene.astype(np.int16) - self._scene)
        return int(np.count_nonzero(difference > _STEP)) >= _CELLS


def _coarse(luma: Bytes2D) -> Bytes2D:
    return np.asarray(plane_image(luma).reduce(_CELL))
