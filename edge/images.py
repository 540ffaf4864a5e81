"""Between photos (Pillow) and the pictures that a camera delivers (`Yuv`), in Pillow's C.

Pillow's YCbCr is JPEG's: BT.601, full range, as `Yuv` is.
"""

from collections.abc import Sequence

import numpy as np
from PIL import Image

from edge.types import Bytes2D, Yuv

_SAMPLE_FORMAT, _BITS, _PHOTOMETRIC = 339, 258, 262  # tags of a TIFF
_WHITES = (1.0, 255.0, 65535.0, 2.0**32)
_BLACK = ((1, 0), (2, 128), (2, 128))  # a plane's divisor of the size, and its level where black


def plane_image(plane: Bytes2D) -> Image.Image:
    """Return a plane as a Pillow picture, mode L, without copying where it lies contiguous."""
    height, width = plane.shape
    return Image.frombuffer("L", (width, height), np.ascontiguousarray(plane), "raw", "L", 0, 1)


def eight_bit(image: Image.Image) -> Image.Image:
    """Return a Pillow picture of any mode in mode L, RGB or YCbCr, 8 bits a channel.

    More than 8 bits are scaled, white to 255. What is transparent shows white paper behind it.
    """
    if image.mode in {"I", "F"} or image.mode.startswith("I;16"):
        return Image.fromarray(_scaled(image))
    if image.mode in {"RGBA", "RGBa", "LA", "La", "PA"} or "transparency" in image.info:
        image = image.convert("RGBA")
        paper = Image.new("RGB", image.size, "white")
        paper.paste(image, mask=image)
        return paper
    return image if image.mode in {"L", "RGB", "YCbCr"} else image.convert("RGB")


def _scaled(image: Image.Image) -> Bytes2D:
    """Return the levels of a picture with more than 8 bits, its white at 255."""
    levels = np.asarray(image)
    tags = getattr(image, "tag_v2", {})  # of a TIFF
    if image.mode == "I" and tags and tags.get(_SAMPLE_FORMAT, (1,))[0] == 1:
        levels = levels.view(np.uint32)  # Pillow has no mode for them
    if image.mode.startswith("I;16"):
        white = 4095.0 if tags.get(_BITS, (16,))[0] == 12 else 65535.0
    elif image.format == "PNG":  # of 16 bits, as Pillow before 11 opens it
        white = 65535.0
    else:
        # The file does not say what is white: the least of the usual levels that holds all.
        levels = np.where(np.isfinite(levels), levels, 0)
        usual = _WHITES if image.mode == "F" else _WHITES[1:]
        white = next((white for white in usual if levels.max() <= white), float(levels.max()))
    scaled = np.clip(levels, 0, white) * np.float32(255 / white)
    if tags.get(_PHOTOMETRIC) == 0:  # white is zero
        scaled = 255 - scaled
    pixels: Bytes2D = np.rint(scaled, out=scaled).astype(np.uint8)
    return pixels


def from_image(image: Image.Image) -> Yuv:
    """Return a Pillow picture of any mode as `Yuv`; an odd last row or column is cut off.

    It is not turned by its EXIF orientation; `edge.photos` does that.
    """
    image = eight_bit(image)
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
    size = fit_size(image.width, image.height, width, height)
    image = eight_bit(image)
    if image.size != size:
        image = image.resize(size, Image.Resampling.BICUBIC, reducing_gap=2.0)
    fitted = from_image(image)
    return pad_to((fitted.y, fitted.u, fitted.v), width, height)


def fit_size(columns: int, rows: int, width: int, height: int) -> tuple[int, int]:
    """Return the largest even size of this shape that fits into width x height."""
    scale = min(width / columns, height / rows)
    return max(2, round(columns * scale / 2) * 2), max(2, round(rows * scale / 2) * 2)


def pad_to(planes: Sequence[Bytes2D], width: int, height: int) -> Yuv:
    """Put the Y, U and V planes of a picture in the middle of a black one."""
    rows, columns = planes[0].shape
    if (columns, rows) == (width, height):
        return Yuv(*(np.ascontiguousarray(plane) for plane in planes))
    black = [np.full((height // n, width // n), level, np.uint8) for n, level in _BLACK]
    top, left = (height - rows) // 4 * 2, (width - columns) // 4 * 2
    for (n, _), ground, plane in zip(_BLACK, black, planes, strict=True):
        ground[top // n : (top + rows) // n, left // n : (left + columns) // n] = plane
    return Yuv(*black)
