"""Reads files that people supply: regular files only, and never more than is useful."""

import codecs
import contextlib
import errno
import os
import stat
from pathlib import Path
from typing import BinaryIO

from edge.system.text import escaped

_UTF_16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
_SAVE = "save it as UTF-8"


def open_regular(path: Path) -> BinaryIO:
    """Open a regular file for reading; symbolic links are followed.

    A FIFO, a device, a socket or a folder is refused without being opened, because opening one may
    block or have effects. Raises OSError, whose `strerror` says what is wrong.
    """
    try:
        _check(os.stat(path))  # noqa: PTH116 - the same call as fstat below
        # The name may stand for something else by now: nothing here waits for a FIFO's writer.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    except ValueError:  # a NUL in the name
        raise OSError(errno.EINVAL, "the name contains a NUL character") from None
    file = os.fdopen(descriptor, "rb")
    try:
        _check(os.fstat(descriptor))
    except OSError:
        file.close()
        raise
    return file


def read_regular(path: Path, most: int) -> bytes:
    """Return the content of a regular file of at most `most` bytes. Raises OSError, as above."""
    with open_regular(path) as file:
        return read_whole(file, most)


def read_whole(file: BinaryIO, most: int) -> bytes:
    """Return the content of an open file of at most `most` bytes. Raises OSError."""
    # A file may grow, and some file systems do not state sizes.
    stated = os.fstat(file.fileno()).st_size
    content = b"" if stated > most else file.read(most + 1)
    if max(stated, len(content)) > most:
        raise OSError(errno.EFBIG, f"the file is larger than {most / 1e6:g} MB")
    return content


def check_replaceable(path: Path) -> None:
    """Raise OSError, as above, if `path` names something else than a regular file, or nothing.

    A file that takes the place of a device or a pipe would remove it for everybody.
    """
    if not path.name:
        raise OSError(errno.EINVAL, "it is a folder, not a regular file")
    with contextlib.suppress(FileNotFoundError):
        _check(os.stat(path))  # noqa: PTH116 - as above


def as_text(content: bytes) -> str:
    """Return UTF-8 text without the byte order mark that some editors write first.

    Raises ValueError, which names the line of the first byte that is wrong and quotes nothing.
    """
    if content.startswith(_UTF_16):
        raise ValueError(f"the text is UTF-16; {_SAVE}")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise ValueError(
            f"line {line} is not UTF-8 (byte 0x{content[error.start]:02x}); {_SAVE}"
        ) from None
    if "\0" in text:
        line = text.count("\n", 0, text.index("\0")) + 1
        raise ValueError(f"line {line} contains U+0000: not a text file, or UTF-16; {_SAVE}")
    return text


def check_line(text: str) -> str:
    """Return `text` if it is one line that a person can see whole.

    Raises ValueError, which names the first wrong character by its number and place and quotes
    nothing, for text that is empty, begins or ends with a space, or contains control characters,
    line ends, invisible characters or other spaces than U+0020.
    """
    if not text:
        raise ValueError("is empty")
    for place, character in enumerate(text, start=1):
        if escaped(character) != character:
            raise ValueError(
                f"character {place} is U+{ord(character):04X}, which cannot be seen; remove it"
            )
    if text != text.strip(" "):
        raise ValueError("begins or ends with a space; remove it")
    return text


def _check(status: os.stat_result) -> None:
    if not stat.S_ISREG(status.st_mode):
        raise OSError(errno.EINVAL, f"it is {_kind(status.st_mode)}, not a regular file")


def _kind(mode: int) -> str:
    kinds = {
        stat.S_IFDIR: "a folder",
        stat.S_IFIFO: "a pipe (FIFO)",
        stat.S_IFSOCK: "a socket",
        stat.S_IFCHR: "a device",
        stat.S_IFBLK: "a device",
    }
    return kinds.get(stat.S_IFMT(mode), "something else")
