"""Read photos that people supply, and convert between Pillow images and `Yuv` pictures.

Pillow's YCbCr is that of JPEG: BT.601, full range, as `Yuv` is.

A photo can come from any phone or office program, so every defect is reported as one PhotoError
that names the file. Damaged metadata does not matter: only the EXIF orientation is used, it is
parsed here, and the decoder gets a file without the rest. Pillow's own `exif_transpose` writes the
EXIF block back, which fails for values that Pillow can read but not write.
"""

import contextlib
import ctypes
import io
import logging
import struct
import warnings
from collections.abc import Iterator, Sequence
from functools import cache
from importlib import import_module
from math import prod
from pathlib import Path

import numpy as np
from PIL import Image, JpegImagePlugin, UnidentifiedImageError

from edge.errors import PhotoError
from edge.system.supplied_files import read_regular
from edge.system.text import escaped
from edge.types import Bytes2D, Yuv

_SAMPLE_FORMAT, _BITS, _PHOTOMETRIC = 339, 258, 262  # tags of a TIFF
_WHITES = (1.0, 255.0, 65535.0, 2.0**32)
_BLACK = ((1, 0), (2, 128), (2, 128))  # a plane's divisor of the size, and its level where black


def plane_image(plane: Bytes2D) -> Image.Image:
    """Return a plane as a Pillow picture, mode L, without copying if it is contiguous."""
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

    The EXIF orientation is ignored; `read_photo` applies it.
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


FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF")

_MOST_BYTES = 100_000_000
_MOST_PIXELS = 50_000_000  # decoded at once: 200 MB at most
_MOST_PIXELS_REDUCED = 200_000_000  # of a JPEG, which is decoded at up to an eighth of its scale
_LONGEST_SIDE = 2048  # pixels; no face of interest needs more
_SMALLEST_SIDE = 2  # pixels
_SAVE = "save it as JPEG or PNG"

# What people supply by mistake, by its first bytes from an offset on.
_OTHER_KINDS = (
    (4, b"ftyphei", "a HEIC image, as iPhones take them"),
    (4, b"ftyphev", "a HEIC image, as iPhones take them"),
    (4, b"ftypmif1", "a HEIF image"),
    (4, b"ftypmsf1", "a HEIF image"),
    (4, b"ftypavi", "an AVIF image"),
    (4, b"ftypcrx", "a raw image of a camera"),
    (4, b"ftyp", "a video"),
    (0, b"%PDF", "a PDF document"),
    (0, b"PK\3\4", "an archive or an office document"),
    (0, b"8BPS", "a Photoshop document"),
    (4, b"jP  ", "a JPEG 2000 image"),
    (0, b"\xff\x4f\xff\x51", "a JPEG 2000 image"),
    (4, b"JXL ", "a JPEG XL image"),
    (0, b"\xff\x0a", "a JPEG XL image"),
    (0, b"<svg", "a drawing (SVG)"),
    (0, b"<?xml", "a drawing (SVG)"),
    (0, b"II\x2b\0", "a BigTIFF image"),
    (0, b"MM\0\x2b", "a BigTIFF image"),
)

# JFIF and Adobe, which say how the colours are coded, and how long such a segment is at least.
_COLOUR_SEGMENTS = {0xE0: 14, 0xEE: 12}
_ORIENTATION = 0x0112
_BYTE_ORDERS = {b"II*\0": "<", b"MM\0*": ">"}
_INTEGERS = {1: "B", 3: "H", 4: "I", 6: "b", 8: "h", 9: "i"}  # by EXIF's number of the type
# EXIF, GPS and interoperability: Pillow parses them of a TIFF, and fails if they are damaged.
_UNREAD = frozenset({_ORIENTATION, 0x8769, 0x8825, 0xA005})
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}

logging.getLogger("PIL").setLevel(logging.CRITICAL)  # what it finds in a file is reported here


def open_photo(path: Path) -> Yuv:
    """Return a photo, turned upright, its longer side at most 2048 pixels. Raises PhotoError."""
    image = read_photo(path, _LONGEST_SIDE)
    image.thumbnail((_LONGEST_SIDE, _LONGEST_SIDE))
    if min(image.size) < _SMALLEST_SIDE:
        raise PhotoError(f"{escaped(path)}: the image is too small; give a larger one")
    return from_image(image)


def read_photo(path: Path, side: int, mode: str = "RGB") -> Image.Image:
    """Return the image of a file, turned upright, in mode L, RGB or YCbCr.

    It is decoded at a smaller scale if its longer side stays above `side` pixels then, and is never
    longer than twice that. `mode` is what a JPEG is decoded to if possible. Of an animation it is
    the first frame. Raises PhotoError, which names the file and what to do.
    """
    try:
        content = read_regular(path, _MOST_BYTES)
    except OSError as error:
        raise PhotoError(f"{escaped(path)}: cannot be read: {error.strerror}") from None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return _decode(content, side, mode)
    except PhotoError as error:
        raise PhotoError(f"{escaped(path)}: {error}") from None
    except (UnidentifiedImageError, Image.DecompressionBombError) as error:
        bomb = isinstance(error, Image.DecompressionBombError)
        raise PhotoError(f"{escaped(path)}: {_TOO_LARGE if bomb else _kind(content)}") from None
    except Exception as error:  # noqa: BLE001 - decoders raise whatever they like for damaged files
        what = escaped(str(error) or type(error).__name__)[:200]
        raise PhotoError(
            f"{escaped(path)}: cannot be decoded, it may be damaged ({what}); "
            "copy it again, or save it as JPEG or PNG"
        ) from None


_TOO_LARGE = "has too many pixels; scale the image down"


def _kind(content: bytes) -> str:
    """Return what to say of a file that is not one of FORMATS."""
    if not content:
        return "the file is empty; copy it again"
    for offset, start, kind in _OTHER_KINDS:
        if content.startswith(start, offset):
            return f"is {kind}, which cannot be read; {_SAVE}"
    return f"is not an image that can be read; {_SAVE}"


def _decode(content: bytes, side: int, mode: str) -> Image.Image:
    with _open(content) as image:
        full = image.size
        image.draft(mode, (side, side))
        # A progressive JPEG is kept whole while it is decoded.
        decoded = full if image.info.get("progressive") else image.size
        if prod(decoded) > _MOST_PIXELS or prod(full) > _MOST_PIXELS_REDUCED:
            raise PhotoError(_TOO_LARGE)
        image.load()
        turn = _TURNS.get(orientation(_exif(content) or _exif_of_png(image)))
        most = (2 * side, 2 * side)
        if image.mode in {"RGBA", "LA", "CMYK"}:
            image.thumbnail(most)
        upright = eight_bit(image)
    upright.thumbnail(most)
    return upright if turn is None else upright.transpose(turn)


def _open(content: bytes) -> Image.Image:
    """Open an image without the metadata that its decoder could stumble over."""
    if content.startswith(b"\xff\xd8"):
        bare = bytearray(content)
        for start, marker, end in _segments(content):
            if end - start < _COLOUR_SEGMENTS.get(marker, len(content)):
                bare[start : min(start + 4, end)] = b"none"[: end - start]
        return JpegImagePlugin.JpegImageFile(io.BytesIO(bare))
    if content[:4] in _BYTE_ORDERS:
        _silence_libtiff()
        content = _without_pointers(content)
    return Image.open(io.BytesIO(content), formats=FORMATS)


@cache
def _silence_libtiff() -> None:
    """Stop libtiff from writing to stderr; Pillow reports the same errors as exceptions."""
    with contextlib.suppress(OSError, AttributeError):  # a Pillow without libtiff
        library = ctypes.CDLL(import_module("PIL._imaging").__file__)
        for name in ("TIFFSetErrorHandler", "TIFFSetWarningHandler"):
            set_handler = getattr(library, name)
            set_handler.argtypes, set_handler.restype = [ctypes.c_void_p], ctypes.c_void_p
            set_handler(None)


def _exif(content: bytes) -> bytes | None:
    """Return the EXIF block that begins a JPEG, or the TIFF itself, which is one."""
    if content[:4] in _BYTE_ORDERS:
        return content
    if content.startswith(b"\xff\xd8"):
        for start, marker, end in _segments(content):
            if marker == 0xE1 and content.startswith(b"Exif\0", start):
                return content[start:end]
    return None


def _exif_of_png(image: Image.Image) -> bytes:
    """Return the EXIF block of a PNG or WebP whose pixels are loaded, before which it may lie."""
    exif = image.info.get("exif")
    if isinstance(exif, bytes):
        return exif
    # ImageMagick writes it as a text: two empty or descriptive lines, its length, hexadecimal.
    text = str(image.info.get("Raw profile type exif", ""))
    try:
        return bytes.fromhex("".join(text.split("\n")[3:]))
    except ValueError:
        return b""


def _segments(jpeg: bytes) -> Iterator[tuple[int, int, int]]:
    """Yield start, marker and end of the content of each APPn segment before the image."""
    at = 2
    while (at := jpeg.find(b"\xff", at)) >= 0 and at + 4 <= len(jpeg):
        marker = jpeg[at + 1]
        if marker in {0x00, 0xFF} or 0xD0 <= marker <= 0xD8:  # fill, or no content
            at += 1 if marker == 0xFF else 2
            continue
        if marker in {0xD9, 0xDA}:  # the end, or the coded image
            return
        end = at + 2 + int.from_bytes(jpeg[at + 2 : at + 4], "big")
        if 0xE0 <= marker <= 0xEF and end <= len(jpeg):
            yield at + 4, marker, end
        at = max(end, at + 2)


def orientation(exif: bytes) -> int:
    """Return the orientation that an EXIF block states, 1 to 8; 1 if it is missing or damaged.

    Nothing else of the block is looked at, so nothing else in it can be in the way.
    """
    exif = exif.removeprefix(b"Exif\0\0")
    for at, tag, order in _entries(exif):
        if tag != _ORIENTATION:
            continue
        kind, count = struct.unpack_from(f"{order}HI", exif, at + 2)
        if kind in _INTEGERS and count == 1:
            (value,) = struct.unpack_from(order + _INTEGERS[kind], exif, at + 8)
            return value if 1 <= value <= 8 else 1
    return 1


def _entries(exif: bytes) -> Iterator[tuple[int, int, str]]:
    """Yield place, tag and byte order of each whole entry of the first directory."""
    order = _BYTE_ORDERS.get(exif[:4])
    if order is None or len(exif) < 10:
        return
    (directory,) = struct.unpack_from(f"{order}I", exif, 4)
    if directory + 2 > len(exif):
        return
    (count,) = struct.unpack_from(f"{order}H", exif, directory)
    for at in range(directory + 2, min(directory + 2 + 12 * count, len(exif) - 11), 12):
        yield at, struct.unpack_from(f"{order}H", exif, at)[0], order


def _without_pointers(tiff: bytes) -> bytes:
    """Return a TIFF whose decoder neither turns it nor follows it to EXIF and GPS."""
    bare = bytearray(tiff)
    for at, tag, _ in _entries(tiff):
        if tag in _UNREAD:
            bare[at + 2 : at + 4] = b"\0\0"  # a type that does not exist: passed over
    return bytes(bare)
