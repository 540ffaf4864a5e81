"""Reads files that people supply: regular files only, and never more than is useful."""

import errno
import os
import stat
from pathlib import Path


def read_regular(path: Path, most: int) -> bytes:
    """Return the content of a regular file of at most `most` bytes; symbolic links are followed.

    A FIFO, a device, a socket or a folder is refused without being opened, because opening one may
    block or have effects. Raises OSError, whose `strerror` says what is wrong.
    """
    try:
        _check(os.stat(path), most)  # noqa: PTH116 - the same call as fstat below
        # The name may stand for something else by now: nothing here waits for a FIFO's writer.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    except ValueError:  # a NUL in the name
        raise OSError(errno.EINVAL, "the name contains a NUL character") from None
    with os.fdopen(descriptor, "rb") as file:
        _check(os.fstat(descriptor), most)
        content = file.read(most + 1)
    if len(content) > most:  # it grew, or its file system does not state sizes
        raise _too_large(most)
    return content


def _check(status: os.stat_result, most: int) -> None:
    if not stat.S_ISREG(status.st_mode):
        raise OSError(errno.EINVAL, f"it is {_kind(status.st_mode)}, not a regular file")
    if status.st_size > most:
        raise _too_large(most)


def _too_large(most: int) -> OSError:
    return OSError(errno.EFBIG, f"the file is larger than {most / 1e6:g} MB")


def _kind(mode: int) -> str:
    kinds = {
        stat.S_IFDIR: "a folder",
        stat.S_IFIFO: "a pipe (FIFO)",
        stat.S_IFSOCK: "a socket",
        stat.S_IFCHR: "a device",
        stat.S_IFBLK: "a device",
    }
    return kinds.get(stat.S_IFMT(mode), "something else")
