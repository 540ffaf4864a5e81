"""What the unit knows about the time, and how sure it is."""

import ctypes
import logging
import os
import time
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Protocol

log = logging.getLogger(__name__)

_STA_UNSYNC = 0x0040  # linux/timex.h: nobody disciplines the clock


class ClockState(StrEnum):
    """How far `time` can be trusted."""

    SYNCHRONIZED = "synchronized"  # a time service disciplines the clock now
    HOLDOVER = "holdover"  # it did since this process began, and has stopped
    UNSYNCHRONIZED = "unsynchronized"


@dataclass(frozen=True, slots=True)
class ClockReading:
    """Both clocks at one instant."""

    utc_ns: int  # since 1970
    monotonic_ns: int  # CLOCK_MONOTONIC
    state: ClockState
    boot_id: str  # what the monotonic clock counts from


class Clock(Protocol):
    """Gives the time; tests hand in one that steps."""

    def read(self) -> ClockReading: ...


class _Timex(ctypes.Structure):
    """The head of `struct timex` of adjtimex(2), padded to more than its size (208 bytes)."""

    _fields_ = (
        ("modes", ctypes.c_uint),
        ("offset", ctypes.c_long),
        ("freq", ctypes.c_long),
        ("maxerror", ctypes.c_long),
        ("esterror", ctypes.c_long),
        ("status", ctypes.c_int),
        ("rest", ctypes.c_byte * 256),
    )


_LIBC = ctypes.CDLL(None, use_errno=True)


def _kernel_synchronized() -> bool:
    """Ask the kernel, as `timedatectl` does; modes 0 only reads, so it needs no privilege."""
    timex = _Timex()
    if _LIBC.adjtimex(ctypes.byref(timex)) < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return not timex.status & _STA_UNSYNC


class SystemClock:
    """The machine's clocks."""

    def __init__(self) -> None:
        boot_id = Path("/proc/sys/kernel/random/boot_id")
        self._boot_id = boot_id.read_text(encoding="ascii").strip()
        self._was_synchronized = False
        self._readable = True

    def read(self) -> ClockReading:
        return ClockReading(
            utc_ns=time.time_ns(),
            monotonic_ns=time.monotonic_ns(),
            state=self._state(),
            boot_id=self._boot_id,
        )

    def _state(self) -> ClockState:
        try:
            synchronized = self._readable and _kernel_synchronized()
        except OSError as error:  # a sandbox may forbid the call: then nothing is claimed
            log.warning("cannot tell whether the clock is synchronized: %s", error.strerror)
            self._readable = synchronized = False
        if synchronized:
            self._was_synchronized = True
            return ClockState.SYNCHRONIZED
        return ClockState.HOLDOVER if self._was_synchronized else ClockState.UNSYNCHRONIZED
