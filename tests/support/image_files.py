"""Image files written byte by byte, so that a test knows each pixel without a decoder."""

import struct
import zlib
from collections.abc import Mapping, Sequence
from io import BytesIO
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Pixels = NDArray[Any]  # (rows, columns, channels)

_CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}  # by PNG's colour type
_TYPE_SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8}


def turned(pixels: Pixels, orientation: int) -> Pixels:
    """Return pixels upright that were stored with an EXIF orientation, by flips alone."""
    if orientation >= 5:
        pixels = pixels.swapaxes(0, 1)
    down = orientation in {3, 4, 7, 8}
    across = orientation in {2, 3, 6, 7}
    return pixels[:: -1 if down else 1, :: -1 if across else 1]


def png(
    pixels: Pixels, colour: int, bits: int, chunks: Sequence[tuple[bytes, bytes]] = ()
) -> bytes:
    """Write a PNG of a colour type and bit depth; `chunks` come before the pixels."""
    rows, columns, channels = pixels.shape
    assert channels == _CHANNELS[colour]
    head = struct.pack(">IIBBBBB", columns, rows, bits, colour, 0, 0, 0)
    lines = b"".join(b"\0" + _packed(row.reshape(-1), bits) for row in pixels)
    parts = [(b"IHDR", head), *chunks, (b"IDAT", zlib.compress(lines, 1)), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(name, content) for name, content in parts)


def _packed(values: Pixels, bits: int) -> bytes:
    if bits == 16:
        return values.astype(">u2").tobytes()
    if bits == 8:
        return values.astype(np.uint8).tobytes()
    each = (values[:, None] >> np.arange(bits - 1, -1, -1)) & 1
    return np.packbits(each.astype(np.uint8).reshape(-1)).tobytes()


def _chunk(name: bytes, content: bytes) -> bytes:
    check = zlib.crc32(name + content)
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", check)


def with_exif(pixels: Pixels, kind: str, exif: bytes) -> bytes:
    """Write 8-bit RGB as JPEG, PNG or WebP (lossless) with an EXIF block as it is given."""
    if kind == "PNG":
        return png(pixels, 2, 8, [(b"eXIf", exif)])
    out = BytesIO()
    more: dict[str, Any] = {"lossless": True, "exact": True} if kind == "WEBP" else {"quality": 95}
    Image.fromarray(pixels).save(out, kind, **more)
    content = out.getvalue()
    if kind == "JPEG":
        segment = b"Exif\0\0" + exif
        return (
            content[:2] + b"\xff\xe1" + struct.pack(">H", len(segment) + 2) + segment + content[2:]
        )
    rows, columns, _ = pixels.shape
    flags = struct.pack("<I", 8) + (columns - 1).to_bytes(3, "little")
    flags += (rows - 1).to_bytes(3, "little")
    body = b"WEBP" + _riff(b"VP8X", flags) + content[12:] + _riff(b"EXIF", exif)
    return _riff(b"RIFF", body)


def _riff(name: bytes, content: bytes) -> bytes:
    return name + struct.pack("<I", len(content)) + content + b"\0" * (len(content) % 2)


def tiff(
    pixels: Pixels,
    order: Literal["<", ">"] = "<",
    more: Mapping[int, tuple[int, int, bytes]] | None = None,
) -> bytes:
    """Write an uncompressed TIFF of 1 or 3 channels of u1, u2 or f4; `more`: raw entries."""
    rows, columns, channels = pixels.shape
    size = pixels.dtype.itemsize
    content = pixels.astype(pixels.dtype.newbyteorder(order)).tobytes()
    short = {
        256: columns,
        257: rows,
        258: 8 * size,
        259: 1,
        262: 2 if channels == 3 else 1,
        273: 8,
        277: channels,
        278: rows,
        339: 3 if pixels.dtype.kind == "f" else 1,
    }
    entries = {tag: (3, 1, struct.pack(order + "HH", value, 0)) for tag, value in short.items()}
    entries[279] = (4, 1, struct.pack(order + "I", len(content)))
    entries.update(more or {})
    place = 8 + len(content)
    after = place + 2 + 12 * len(entries) + 4
    extra = b""
    if channels == 3:  # three depths do not fit into the entry
        entries[258] = (3, 3, struct.pack(order + "I", after))
        extra = struct.pack(order + "HHH", *[8 * size] * 3)
    mark = b"II" if order == "<" else b"MM"
    head = mark + struct.pack(order + "HI", 42, place)
    return head + content + directory(entries, order) + extra


def directory(entries: Mapping[int, tuple[int, int, bytes]], order: str) -> bytes:
    """Write a directory of a TIFF or EXIF: type, count and four bytes of each tag."""
    listed = [
        struct.pack(order + "HHI", tag, *head) + value
        for tag, (*head, value) in sorted(entries.items())
    ]
    return struct.pack(order + "H", len(entries)) + b"".join(listed) + b"\0\0\0\0"


def exif(entries: Mapping[int, tuple[int, int, bytes]], order: str, tail: bytes = b"") -> bytes:
    """Write an EXIF block of one directory, with `tail` behind it for what entries point at."""
    mark = b"II" if order == "<" else b"MM"
    return mark + struct.pack(order + "HI", 42, 8) + directory(entries, order) + tail


def jpeg_of_a_phone(picture: Image.Image, orientation: int) -> bytes:
    """Write a JPEG as a phone south of the equator does: GPS latitude in signed rationals."""
    gps_at = 8 + 2 + 3 * 12 + 4
    gps = {
        1: (2, 2, b"S\0\0\0"),
        2: (10, 3, struct.pack(">I", gps_at + 2 + 2 * 12 + 4)),
    }
    latitude = struct.pack(">iiiiii", -6, 1, -23, 1, -4512, 100)
    block = exif(
        {
            0x0112: (3, 1, struct.pack(">HH", orientation, 0)),
            0x0128: (3, 1, struct.pack(">HH", 2, 0)),
            0x8825: (4, 1, struct.pack(">I", gps_at)),
        },
        ">",
        directory(gps, ">") + latitude,
    )
    return with_exif(np.asarray(picture.convert("RGB")), "JPEG", block)
