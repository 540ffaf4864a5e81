"""Which face of this frame is which face of the frames before, by place alone."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from edge.types import Box

_LEAST_OVERLAP = 0.2  # intersection over union that two frames of a standing person exceed
_FARTHEST = 0.6  # or the centres lie closer than this many mean widths
_SIZE_RATIO = 1.8  # and the widths differ by no more than this
_MISSED = 2  # frames without the face that a track survives
_GAP_NS = 1_500_000_000  # after so long anybody may stand there


@dataclass(slots=True)
class _Track:
    number: int
    box: Box
    seen_ns: int
    missed: int = 0


class Tracker:
    """Numbers faces; a number is never used again."""

    def __init__(self) -> None:
        self._tracks: list[_Track] = []
        self._next = 1

    @property
    def alive(self) -> frozenset[int]:
        """The tracks that may still be continued."""
        return frozenset(track.number for track in self._tracks)

    def update(self, boxes: Sequence[Box], now_ns: int) -> tuple[int, ...]:
        """Return the track of each box of the frame captured at `now_ns`."""
        tracks = [t for t in self._tracks if 0 <= now_ns - t.seen_ns <= _GAP_NS]
        pairs = sorted(
            (
                (nearness, i, k)
                for i, box in enumerate(boxes)
                for k, track in enumerate(tracks)
                if (nearness := _nearness(box, track.box)) is not None
            ),
            reverse=True,
        )
        taken: dict[int, _Track] = {}
        free = set(range(len(tracks)))
        for _, i, k in pairs:
            if i not in taken and k in free:
                free.remove(k)
                taken[i] = tracks[k]
        for i, box in enumerate(boxes):
            track = taken.get(i)
            if track is None:
                track = taken[i] = _Track(self._next, box, now_ns)
                self._next += 1
            track.box, track.seen_ns, track.missed = box, now_ns, 0
        for k in free:
            tracks[k].missed += 1
        lost = [tracks[k] for k in sorted(free) if tracks[k].missed <= _MISSED]
        self._tracks = [taken[i] for i in range(len(boxes))] + lost
        return tuple(taken[i].number for i in range(len(boxes)))


def _nearness(a: Box, b: Box) -> float | None:
    """Return how well two boxes agree, or None where they cannot be one face."""
    width = (a.width + b.width) / 2
    small, large = sorted((a.width, b.width))
    if small < 1 or large > _SIZE_RATIO * small:  # less than a pixel is not a face
        return None
    common_w = min(a.x + a.width, b.x + b.width) - max(a.x, b.x)
    common_h = min(a.y + a.height, b.y + b.height) - max(a.y, b.y)
    common = max(common_w, 0.0) * max(common_h, 0.0)
    overlap = common / (a.area + b.area - common)
    apart = (
        math.hypot(
            a.x + a.width / 2 - b.x - b.width / 2,
            a.y + a.height / 2 - b.y - b.height / 2,
        )
        / width
    )
    if overlap < _LEAST_OVERLAP and apart > _FARTHEST:
        return None
    return overlap - apart
