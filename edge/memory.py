"""Keeps the process small, where the C library is glibc; elsewhere both calls do nothing."""

import ctypes
from contextlib import suppress

M_MMAP_THRESHOLD = -3  # malloc.h

_LIBC = ctypes.CDLL(None)


def return_large_blocks() -> None:
    """Have blocks from 1 MiB on given back to the kernel as soon as they are freed.

    By itself glibc raises its threshold with each large block that is freed, and soon keeps
    frames, model files and the roster's plaintext after their time.
    """
    with suppress(AttributeError):
        _LIBC.mallopt(M_MMAP_THRESHOLD, 1 << 20)


def trim() -> None:
    """Give back what is free now. With the above, 20 MB of a unit that has just started."""
    with suppress(AttributeError):
        _LIBC.malloc_trim(0)
