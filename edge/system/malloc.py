"""Keeps the process small and level, where the C library is glibc; elsewhere nothing is done."""

import ctypes
from contextlib import suppress

M_MMAP_THRESHOLD, M_ARENA_MAX = -3, -8  # malloc.h

_LIBC = ctypes.CDLL(None)


def limit_arenas() -> None:
    """Have what is freed given back to the kernel; before the first thread.

    Blocks from 1 MiB on at once. By itself glibc raises that threshold with each large block that
    is freed, and soon keeps frames, model files and the roster's plaintext after their time.

    Smaller ones from one arena for all threads. By itself each thread gets its own, and a picture
    that one makes and another frees leaves holes in both, some MiB in all.
    """
    with suppress(AttributeError):
        _LIBC.mallopt(M_MMAP_THRESHOLD, 1 << 20)
        _LIBC.mallopt(M_ARENA_MAX, 1)


def trim() -> None:
    """Give back what is free now. With the above, 20 MB of a unit that has just started."""
    with suppress(AttributeError):
        _LIBC.malloc_trim(0)
