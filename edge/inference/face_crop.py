"""Crops and warps of YUV pictures, done by Pillow in C, and nothing larger than the crop made.

Coordinates are continuous: a pixel's centre lies at half numbers, the left edge of the picture at
0. An `Affine` maps output coordinates to input coordinates, in Pillow's order:
x = a·u + b·v + c, y = d·u + e·v + f.
"""

import math
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from edge.images import plane_image
from edge.types import Bytes2D, Yuv

Bytes3D = NDArray[np.uint8]

_NEAREST = Image.Resampling.NEAREST
_BLACK, _NO_COLOUR = 0, 128  # what lies outside a luma and a chroma plane
_MARGIN = 1.2  # the identity network's crop reaches above the landmarks network's


class Affine(NamedTuple):
    """Where each output coordinate is read in the input."""

    a: float
    b: float
    c: float
    d: float
    e: float
    f: float

    @property
    def scale(self) -> float:
        """Input pixels an output pixel; a similarity has one for all directions."""
        return math.hypot(self.a, self.d)


def square_crop(centre: tuple[float, float], side: float, angle: float, size: int) -> Affine:
    """Return the map from a `size`² output to a square turned by `angle` (radians, clockwise)."""
    step = side / size
    right, down = step * math.cos(angle), step * math.sin(angle)
    middle = size / 2
    return Affine(
        right, -down, centre[0] - middle * (right - down),
        down, right, centre[1] - middle * (down + right),
    )  # fmt: skip


class FaceCrop:
    """The part of a picture that one face is judged by, ready to be warped.

    It is copied out once, in the order it lies in memory, and then found in the cache by each
    warp. All coordinates are those of the whole picture.
    """

    def __init__(self, picture: Yuv, where: Affine, size: int, factor: int) -> None:
        """Copy what a warp by `where` to `size`² reads, and some more; average `factor`² of luma.

        A warp reads at most 2 by 2 pixels for one, so finer detail than its output has would
        alias.
        """
        self.width = picture.width
        self.height = picture.height
        half = size / 2
        middle_x = where.c + half * (where.a + where.b)
        middle_y = where.f + half * (where.d + where.e)
        reach = half * (abs(where.a) + abs(where.b)) * _MARGIN + 2 * factor
        # Even, for chroma; and never empty, though the face may lie outside the picture.
        left = 2 * _between(0, (middle_x - reach) / 2, picture.width // 2 - 1)
        top = 2 * _between(0, (middle_y - reach) / 2, picture.height // 2 - 1)
        right = 2 * _between(left // 2 + 1, (middle_x + reach) / 2 + 1, picture.width // 2)
        bottom = 2 * _between(top // 2 + 1, (middle_y + reach) / 2 + 1, picture.height // 2)
        y = plane_image(picture.y[top:bottom, left:right])
        part = slice(top // 2, bottom // 2), slice(left // 2, right // 2)
        self._y = _Plane(y.reduce(factor) if factor > 1 else y, left, top, factor, _BLACK)
        self._u = _Plane(plane_image(picture.u[part]), left, top, 2, _NO_COLOUR)
        self._v = _Plane(plane_image(picture.v[part]), left, top, 2, _NO_COLOUR)

    def nearest(self, where: Affine, size: int) -> Bytes2D:
        """Warp luma to (`size`, `size`), the nearest pixel for each; black outside."""
        return _array(self._y.warp(where, size))

    def grey(self, where: Affine, size: int) -> Bytes2D:
        """Warp luma to (`size`, `size`), each pixel the mean of four; black outside."""
        return _array(self._y.warp_fine(where, size))

    def colour(self, where: Affine, size: int) -> Bytes3D:
        """Warp to (`size`, `size`, 3), YCbCr: luma as `grey`, chroma the nearest."""
        return np.stack(self.planes(where, size), axis=2)

    def planes(self, where: Affine, size: int) -> tuple[Bytes2D, Bytes2D, Bytes2D]:
        """Warp as `colour` does, each plane to an array of its own."""
        u, v = self._u.warp(where, size), self._v.warp(where, size)
        return self.grey(where, size), _array(u), _array(v)


class _Plane(NamedTuple):
    image: Image.Image
    left: int  # where the plane begins, in the picture's pixels
    top: int
    step: int  # of the picture's pixels, to each of the plane's
    outside: int  # what a warp reads beyond the edge

    def warp(self, where: Affine, size: int) -> Image.Image:
        a, b, c, d, e, f = where
        step = self.step
        data = (
            a / step, b / step, (c - self.left) / step,
            d / step, e / step, (f - self.top) / step,
        )  # fmt: skip
        return self.image.transform(
            (size, size), Image.Transform.AFFINE, data, _NEAREST, fillcolor=self.outside
        )

    def warp_fine(self, where: Affine, size: int) -> Image.Image:
        """Read at four places a pixel: as smooth as Pillow's bilinear reading, in half its time."""
        a, b, c, d, e, f = where
        return self.warp(Affine(a / 2, b / 2, c, d / 2, e / 2, f), 2 * size).reduce(2)


def _array(image: Image.Image) -> Bytes2D:
    """Return the pixels, as `np.asarray` does, with less ado before it begins."""
    return np.frombuffer(image.tobytes(), np.uint8).reshape(image.height, image.width)


def _between(low: int, value: float, high: int) -> int:
    return max(low, min(int(value), high))


def write(
    pixels: NDArray[Any], out: NDArray[np.float32], scale: float, offset: float = 0.0
) -> None:
    """Write `pixels` · scale + offset into a network's input (or a part of it)."""
    np.multiply(pixels, np.float32(scale), out=out, dtype=np.float32)
    if offset:
        np.add(out, np.float32(offset), out=out)
