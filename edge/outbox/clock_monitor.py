"""Notices what the clock does to the dates of events. Pure: the readings are arguments.

- A step: UTC moved against the monotonic clock between two readings, which discipline never does
  by so much at once. It is told by how many seconds, before the first event dated by the new time.
- An anchor: the clock came to be disciplined, and events of this boot were dated while it was
  not. One moment on both clocks dates them all, for a reader to correct; none is signed again.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from edge.contract.events import timestamp
from edge.contract.limits import EARLIEST, LATEST, as_moment
from edge.system.clock import ClockReading, ClockState
from edge.types import AuditCode

STEP_SECONDS = 0.5  # discipline slews 0.5 ms a second at most; readings are seconds apart


@dataclass(frozen=True, slots=True)
class ClockChange:
    """What is to be told in the chain."""

    code: AuditCode
    captured_ns: int  # CLOCK_MONOTONIC
    detail: Mapping[str, Any]


class ClockMonitor:
    """Compares each reading with the one before.

    `undated` tells whether events of this boot, by an earlier process, wait for an anchor.
    """

    def __init__(self, *, undated: bool = False) -> None:
        self._undated = undated
        self._before: ClockReading | None = None

    def look(self, reading: ClockReading) -> Iterator[ClockChange]:
        """Yield what has happened since the last look."""
        before, self._before = self._before, reading
        if before is not None:
            moved_ns = (reading.utc_ns - before.utc_ns) - (
                reading.monotonic_ns - before.monotonic_ns
            )
            if abs(moved_ns) >= STEP_SECONDS * 1e9:
                detail = {"seconds": round(moved_ns / 1e9, 3), "state": reading.state}
                yield ClockChange(AuditCode.CLOCK_STEPPED, reading.monotonic_ns, detail)
        synchronized = reading.state is ClockState.SYNCHRONIZED
        # At a limit it was cut there: such a clock dates nothing, whoever vouches for it.
        if self._undated and synchronized and EARLIEST < as_moment(reading.utc_ns) < LATEST:
            self._undated = False
            detail = {
                "boot_id": reading.boot_id,
                "monotonic_ns": str(reading.monotonic_ns),
                "utc": timestamp(reading.utc_ns),
            }
            yield ClockChange(AuditCode.CLOCK_ANCHOR, reading.monotonic_ns, detail)

    def recorded(self, reading: ClockReading) -> None:
        """Note that events were stored that were dated by a clock as it was at `reading`."""
        if reading.state is ClockState.UNSYNCHRONIZED:
            self._undated = True
