"""Between photos (Pillow) and the pictures that a camera delivers (`Yuv`), in Pillow's C.

Pillow's YCbCr is JPEG's: BT.601, full range, as `Yuv` is.
"""

from collections.abc import Sequence

import numpy as np
from PIL import Image

from edge.types import Bytes2D, Yuv

_BLACK = ((1, 0), (2, 128), (2, 128))  # a plane's divisor of the size, and its level where black


def plane_image(plane: Bytes2D) -> Image.Image:
    """Return a plane as a Pillow picture, mode L, without copying where it lies contiguous."""
    height, width = plane.shape
    return Image.frombuffer("L", (width, height), np.ascontiguousarray(plane), "raw", "L", 0, 1)


def from_image(image: Image.Image) -> Yuv:
    """Return a Pillow picture of any mode as `Yuv`; an odd last row or column is cut off.

    A photo's EXIF rotation is the caller's to apply, with `ImageOps.exif_transpose`.
    """
    if image.mode not in {"L", "RGB", "YCbCr"}:
        image = image.convert("RGB")
    even = image.crop((0, 0, image.width & ~1, image.height & ~1))
    y, u, v = even.convert("YCbCr").split()
    return Yuv(np.asarray(y), np.asarray(u.reduce(2)), np.asarray(v.reduce(2)))


def to_image(picture: Yuv) -> Image.Image:
    """Return the picture as a Pillow picture, mode RGB."""
    size = (picture.width, picture.height)
    u, v = (
        plane_image(plane).resize(size, Image.Resampling.BILINEAR)
        for plane in (picture.u, picture.v)
    )
    return Image.merge("YCbCr", (plane_image(picture.y), u, v)).convert("RGB")


def shrink(picture: Yuv, width: int, height: int) -> Yuv:
    """Return the whole picture at width x height pixels, each the mean of those it covers."""
    planes = zip((picture.y, picture.u, picture.v), _BLACK, strict=True)
    return Yuv(
        *(
            np.asarray(plane_image(plane).resize((width // n, height // n), Image.Resampling.BOX))
            for plane, (n, _) in planes
        )
    )


def letterbox(image: Image.Image, width: int, height: int) -> Yuv:
    """Fit a picture into width x height pixels, its shape kept, black at the sides."""
    size = fitting(image.width, image.height, width, height)
    if image.mode not in {"L", "RGB", "YCbCr"}:
        image = image.convert("RGB")
    if image.size != size:
        image = image.resize(size, Image.Resampling.BICUBIC, reducing_gap=2.0)
    fitted = from_image(image)
    return centred((fitted.y, fitted.u, fitted.v), width, height)


def fitting(columns: int, rows: int, width: int, height: int) -> tuple[int, int]:
    """Return the largest even size of this shape that fits into width x height."""
    scale = min(width / columns, height / rows)
    return max(2, round(columns * scale / 2) * 2), max(2, round(rows * scale / 2) * 2)


def centred(planes: Sequence[Bytes2D], width: int, height: int) -> Yuv:
    """Put the Y, U and V planes of a picture in the middle of a black one."""
    rows, columns = planes[0].shape
    if (columns, rows) == (width, height):
        return Yuv(*(np.ascontiguousarray(plane) for plane in planes))
    black = [np.full((height // n, width // n), level, np.uint8) for n, level in _BLACK]
    top, left = (height - rows) // 4 * 2, (width - columns) // 4 * 2
    for (n, _), ground, plane in zip(_BLACK, black, planes, strict=True):
        ground[top // n : (top + rows) // n, left // n : (left + columns) // n] = plane
    return Yuv(*black)
