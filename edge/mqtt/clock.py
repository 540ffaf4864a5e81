"""What the unit knows about the time, and how sure it is.

The kernel tells whether a time service disciplines the clock (adjtimex). Where the daemon's
sandbox keeps the clock out of its reach, a helper may ask in its place and leave the answer in a
file, replaced whole each time, one JSON object:

    {"synchronized": true, "boot_id": "…", "monotonic_ns": "123456789"}

`monotonic_ns` (CLOCK_MONOTONIC of that boot, a decimal string) says when it was asked; an answer
of another boot, or older than the setting allows, counts for nothing and the kernel is asked.
"""

import ctypes
import json
import logging
import os
import time
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Protocol

log = logging.getLogger(__name__)

_ANSWER_BYTES = 1024  # a helper's answer is shorter
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
    """The machine's clocks.

    `state_file` is where a helper leaves its answer, taken while it is at most `stale_seconds` old.
    """

    def __init__(self, state_file: Path | None = None, stale_seconds: float = 60.0) -> None:
        boot_id = Path("/proc/sys/kernel/random/boot_id")
        self._boot_id = boot_id.read_text(encoding="ascii").strip()
        self._state_file = state_file
        self._stale_ns = int(stale_seconds * 1e9)
        self._was_synchronized = False
        self._readable = True

    def read(self) -> ClockReading:
        state = self._state()
        return ClockReading(
            utc_ns=time.time_ns(),
            monotonic_ns=time.monotonic_ns(),
            state=state,
            boot_id=self._boot_id,
        )

    def _state(self) -> ClockState:
        synchronized = self._told()
        if synchronized is None:
            synchronized = self._asked()
        if synchronized:
            self._was_synchronized = True
            return ClockState.SYNCHRONIZED
        return ClockState.HOLDOVER if self._was_synchronized else ClockState.UNSYNCHRONIZED

    def _told(self) -> bool | None:
        """Return what the helper says, or None where it says nothing that counts."""
        if self._state_file is None:
            return None
        try:
            said = json.loads(self._state_file.read_bytes()[:_ANSWER_BYTES])
            age_ns = time.monotonic_ns() - int(said["monotonic_ns"])
            of_now = said["boot_id"] == self._boot_id and 0 <= age_ns <= self._stale_ns
            synchronized = said["synchronized"]
        except (OSError, ArithmeticError, ValueError, KeyError, TypeError, RecursionError):
            return None
        return synchronized if of_now and isinstance(synchronized, bool) else None

    def _asked(self) -> bool:
        try:
            return self._readable and _kernel_synchronized()
        except OSError as error:  # a sandbox may forbid the call: then nothing is claimed
            log.warning("cannot tell whether the clock is synchronized: %s", error.strerror)
            self._readable = False
            return False
