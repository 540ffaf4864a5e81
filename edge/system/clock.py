"""What the unit knows about the time, and how sure it is.

The kernel tells whether a time service disciplines the clock (adjtimex). Where the daemon's
sandbox keeps the clock out of its reach, a helper (`senyum clock-watch`) asks in its place and
leaves the answer in a file, replaced whole each time, one JSON object:

    {"synchronized": true, "boot_id": "…", "monotonic_ns": "123456789"}

`monotonic_ns` (CLOCK_MONOTONIC of that boot, a decimal string) says when it was asked. An answer
of another boot, or older than the setting allows, counts for nothing, and then nobody vouches for
the clock: the kernel is not asked, for the sandbox might end a process that does.
"""

import ctypes
import json
import logging
import os
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Protocol

from edge.system.boot_id import boot_id

log = logging.getLogger(__name__)

_ANSWER_BYTES = 1024  # a helper's answer is shorter
_STA_UNSYNC = 0x0040  # linux/timex.h: nobody disciplines the clock


class ClockState(StrEnum):
    """How reliable a unit's time is.

    `synchronized`: a time service disciplines the clock now.
    `holdover`: one did since the program started, and has stopped.
    `unsynchronized`: no time source confirms the clock: date the event by its arrival.
    """

    SYNCHRONIZED = "synchronized"
    HOLDOVER = "holdover"
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


def utc_us(clock: Clock) -> int | None:
    """Return UTC in microseconds since 1970, or None while the time is not known."""
    reading = clock.read()
    return None if reading.state is ClockState.UNSYNCHRONIZED else reading.utc_ns // 1000


def utc_if_known(clock: Clock) -> datetime | None:
    """Return UTC, or None while the time is not known."""
    now = utc_us(clock)
    return None if now is None else datetime.fromtimestamp(now / 1e6, UTC)


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


def kernel_synchronized() -> bool:
    """Ask the kernel, as `timedatectl` does; modes 0 only reads, so it needs no privilege.

    Raises OSError where a sandbox forbids the call.
    """
    timex = _Timex()
    if _LIBC.adjtimex(ctypes.byref(timex)) < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return not timex.status & _STA_UNSYNC


class SystemClock:
    """The machine's clocks.

    `state_file` is where a helper leaves its answer, taken while it is at most `stale_seconds` old;
    without one the kernel is asked.
    """

    def __init__(self, state_file: Path | None = None, stale_seconds: float = 60.0) -> None:
        self._boot_id = boot_id()
        self._state_file = state_file
        self._stale_ns = int(stale_seconds * 1e9)
        self._was_synchronized = False
        self._asking = True  # as long as the kernel answers
        self._silent = False  # the helper

    def read(self) -> ClockReading:
        state = self._state()
        return ClockReading(
            utc_ns=time.time_ns(),
            monotonic_ns=time.monotonic_ns(),
            state=state,
            boot_id=self._boot_id,
        )

    def _state(self) -> ClockState:
        if self._asked() if self._state_file is None else self._read_state(self._state_file):
            self._was_synchronized = True
            return ClockState.SYNCHRONIZED
        return ClockState.HOLDOVER if self._was_synchronized else ClockState.UNSYNCHRONIZED

    def _read_state(self, file: Path) -> bool:
        """Return whether the helper vouches for the clock; what does not count is no."""
        try:
            status = json.loads(file.read_bytes()[:_ANSWER_BYTES])
            age_ns = time.monotonic_ns() - int(status["monotonic_ns"])
            of_now = status["boot_id"] == self._boot_id and 0 <= age_ns <= self._stale_ns
            synchronized = status["synchronized"]
            answered = of_now and isinstance(synchronized, bool)
        except (OSError, ArithmeticError, ValueError, KeyError, TypeError, RecursionError):
            answered = False
        if answered == self._silent:
            self._silent = not answered
            if self._silent:
                log.warning("%s: no answer that counts; is senyum-clock.service running?", file)
            else:
                log.info("%s: answers again", file)
        return answered and synchronized is True

    def _asked(self) -> bool:
        try:
            return self._asking and kernel_synchronized()
        except OSError as error:  # a sandbox may forbid the call: then nothing is claimed
            log.warning("cannot tell whether the clock is synchronized: %s", error.strerror)
            self._asking = False
            return False
