"""BlazeFace: where faces are, with six key points each.

Bazarevsky et al., "BlazeFace: Sub-millisecond Neural Face Detection on Mobile GPUs", 2019; layout
of anchors and outputs as in MediaPipe's face_detection_short_range graph. The network for distant
faces has twice the input and the same layout (face_detection_back).
"""

import math
from dataclasses import dataclass
from typing import NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from edge.inference.face_crop import write
from edge.inference.models import ModelRunner
from edge.types import Box, Bytes2D, Yuv

Point = tuple[float, float]  # x, y

RIGHT_EYE, LEFT_EYE, NOSE, MOUTH = range(4)  # the person's right and left; ears are 4 and 5

_GRIDS = ((16, 2), (8, 6))  # cells a side and anchors a cell, for an input of any size
_BAR = 0.0  # grey, as the network's own padding
_OVERLAP = 0.3  # boxes that overlap more (intersection over union) are one face
_MOST = 16  # faces judged in one picture; a crowd needs no more to be called a crowd


@dataclass(frozen=True, slots=True)
class Detection:
    """One face, in pixels of the picture it is wanted in."""

    box: Box
    score: float  # 0 to 1
    points: tuple[Point, ...]  # right eye, left eye, nose tip, mouth, right ear, left ear

    def moved(self, right: float, down: float) -> Self:
        """Return the same face in a picture that begins farther to the left and farther up."""
        box = Box(self.box.x + right, self.box.y + down, self.box.width, self.box.height)
        return type(self)(box, self.score, tuple((x + right, y + down) for x, y in self.points))


# A box's corners and the six key points, and a score from 0 to 1.
Candidate = tuple[list[Point], float]


class Detector:
    """Finds all faces of a picture that are large enough for its network.

    That of 128x128 pixels finds faces from about a tenth of the picture's width, that of 256x256
    from about a twenty-fifth.
    """

    def __init__(self, network: ModelRunner, least_score: float) -> None:
        """`least_score`: confidence from 0 to 1 below which nothing is reported."""
        self._network = network
        self._side = network.spec.input_shape[1]  # pixels; the input is square, YCbCr
        share = min(max(least_score, 1e-6), 1 - 1e-6)
        self._least = math.log(share / (1 - share))
        self._anchors = _anchors(self._side)
        self._grid: _Grid | None = None

    def find(self, picture: Yuv, width: int, height: int) -> list[Detection]:
        """Return the faces of `picture`, largest first, in pixels of a `width`x`height` picture.

        Both have the same field of view, so the small stream serves the large one. `picture` is
        best two to three times the network's input: coarser, faces are lost; finer, it is read
        with gaps.
        """
        shape = picture.y.shape
        if self._grid is None or self._grid.shape != shape:
            self._grid = _Grid.over(shape, self._side)
        grid = self._grid
        self._show(picture, grid)
        values, logits = sorted(self._network.run(), key=lambda out: -out.shape[-1])
        found = self._decode(values[0], logits[0, :, 0])
        x_ratio, y_ratio = width / len(grid.x), height / len(grid.y)
        faces = [
            _detection(
                [((x - grid.left) * x_ratio, (y - grid.top) * y_ratio) for x, y in points], score
            )
            for points, score in _merge(found)
        ]
        faces.sort(key=lambda face: face.box.area, reverse=True)
        return faces[:_MOST]

    def _show(self, picture: Yuv, grid: "_Grid") -> None:
        """Write the picture between bars: luma as means of 2x2 pixels, chroma as it lies."""
        spec, view = self._network.spec, self._network.input[0]
        if len(grid.y) < self._side:
            view[: grid.top] = view[grid.top + len(grid.y) :] = _BAR
        if len(grid.x) < self._side:
            view[:, : grid.left] = view[:, grid.left + len(grid.x) :] = _BAR
        inner = view[grid.top : grid.top + len(grid.y), grid.left : grid.left + len(grid.x)]
        rows = _mean(picture.y[grid.y], picture.y[grid.y + 1])
        luma = _mean(rows.take(grid.x, 1), rows.take(grid.x + 1, 1))
        write(luma, inner[..., 0], spec.scale)
        write(picture.u.take(grid.chroma), inner[..., 1], spec.scale)
        write(picture.v.take(grid.chroma), inner[..., 2], spec.scale)
        np.add(inner, np.float32(spec.offset), out=inner)

    def _decode(self, values: NDArray[np.float32], logits: NDArray[np.float32]) -> list[Candidate]:
        """Return what passes the threshold, best first, in input pixels."""
        candidates = []
        for number in np.flatnonzero(logits > self._least).tolist():
            raw, (x, y) = values[number].tolist(), self._anchors[number]
            middle_x, middle_y, half_w, half_h = x + raw[0], y + raw[1], raw[2] / 2, raw[3] / 2
            points = [
                (middle_x - half_w, middle_y - half_h),
                (middle_x + half_w, middle_y + half_h),
                *((x + raw[i], y + raw[i + 1]) for i in range(4, 16, 2)),
            ]
            logit = min(max(float(logits[number]), -50.0), 50.0)
            candidates.append((points, 1 / (1 + math.exp(-logit))))
        candidates.sort(key=lambda candidate: candidate[1], reverse=True)
        return candidates


def _mean(a: Bytes2D, b: Bytes2D) -> Bytes2D:
    """Return the mean, up to a level too dark: bytes are quicker than exact numbers."""
    mean: Bytes2D = (a >> 1) + (b >> 1)
    return mean


class _Grid(NamedTuple):
    """Which pixels of a picture of one shape the network's input is made of."""

    shape: tuple[int, ...]
    left: int  # bars
    top: int
    x: NDArray[np.intp]  # luma columns; each is averaged with the next
    y: NDArray[np.intp]
    chroma: NDArray[np.intp]  # places in the plane as one row

    @classmethod
    def over(cls, shape: tuple[int, ...], side: int) -> Self:
        longest = max(shape)
        height, width = (max(1, round(side * n / longest)) for n in shape)
        # Where the middle of each input pixel lies in the picture.
        y, x = (
            (np.arange(n) + 0.5) * size / n for n, size in zip((height, width), shape, strict=True)
        )
        return cls(
            shape=shape,
            left=(side - width) // 2,
            top=(side - height) // 2,
            x=np.clip(np.rint(x) - 1, 0, shape[1] - 2).astype(np.intp),
            y=np.clip(np.rint(y) - 1, 0, shape[0] - 2).astype(np.intp),
            chroma=(y / 2).astype(np.intp)[:, None] * (shape[1] // 2) + (x / 2).astype(np.intp),
        )


def _anchors(side: int) -> list[Point]:
    """Return the 896 anchors' centres in input pixels."""
    return [
        ((column + 0.5) * side / cells, (row + 0.5) * side / cells)
        for cells, each in _GRIDS
        for row in range(cells)
        for column in range(cells)
        for _ in range(each)
    ]


def _merge(candidates: list[Candidate]) -> list[Candidate]:
    """Join what overlaps into its mean, weighted by score (BlazeFace, section 3.4)."""
    merged = []
    while candidates:
        best, score = candidates[0]
        same = [candidates[0]]
        others: list[Candidate] = []
        for candidate in candidates[1:]:
            (same if _overlap(best, candidate[0]) > _OVERLAP else others).append(candidate)
        total = sum(weight for _, weight in same)
        mean = [
            (
                sum(points[i][0] * weight for points, weight in same) / total,
                sum(points[i][1] * weight for points, weight in same) / total,
            )
            for i in range(len(best))
        ]
        merged.append((mean, score))
        candidates = others
    return merged


def _overlap(one: list[Point], other: list[Point]) -> float:
    """Return intersection over union of two boxes, each given by its first two points."""
    (l1, t1), (r1, b1) = one[:2]
    (l2, t2), (r2, b2) = other[:2]
    common = max(min(r1, r2) - max(l1, l2), 0.0) * max(min(b1, b2) - max(t1, t2), 0.0)
    whole = (r1 - l1) * (b1 - t1) + (r2 - l2) * (b2 - t2) - common
    return common / whole if whole > 0 else 0.0


def _detection(points: list[Point], score: float) -> Detection:
    (left, top), (right, bottom) = points[:2]
    return Detection(Box(left, top, right - left, bottom - top), score, tuple(points[2:]))
