"""Reads photos that people supply: any usual kind of image, upright, 8 bits a channel.

A photo comes from a stranger's phone or from an office program, so whatever is wrong with it ends
as one PhotoError with the file's name. Metadata that is damaged does not matter: of it only the
EXIF orientation is read, here, and the decoder is given a file without the rest. Pillow's own
`exif_transpose` writes the EXIF block back, which fails for values that Pillow can only read.
"""

import io
import logging
import struct
import warnings
from collections.abc import Iterator
from math import prod
from pathlib import Path

from PIL import Image, JpegImagePlugin, UnidentifiedImageError

from edge.errors import PhotoError
from edge.images import eight_bit, from_image
from edge.system.supplied_files import read_regular
from edge.system.text import escaped
from edge.types import Yuv

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
        content = _without_pointers(content)
    return Image.open(io.BytesIO(content), formats=FORMATS)


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
