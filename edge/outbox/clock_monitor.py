"""Detects changes of the clock that affect the dates of events. Pure: readings are arguments.

- A step: UTC moved against the monotonic clock between two readings by more than discipline slews.
  It is recorded, with its seconds, before the first event that is dated by the new time.
- An anchor: the clock became synchronized after events of this boot were dated by an
  unsynchronized one. One instant on both clocks lets a reader correct all of them; no event is
  signed again.
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
    """A change of the clock to be recorded in the chain."""

    code: AuditCode
    captured_ns: int  # CLOCK_MONOTONIC
    detail: Mapping[str, Any]


class ClockMonitor:
    """Compares each reading with the one before.

    `undated`: whether an earlier process of this boot stored events that still need an anchor.
    """

    def __init__(self, *, undated: bool = False) -> None:
        self._undated = undated
        self._before: ClockReading | None = None

    def look(self, reading: ClockReading) -> Iterator[ClockChange]:
        """Yield the changes since the previous reading."""
        before, self._before = self._before, reading
        if before is not None:
            moved_ns = (reading.utc_ns - before.utc_ns) - (
                reading.monotonic_ns - before.monotonic_ns
            )
            if abs(moved_ns) >= STEP_SECONDS * 1e9:
                detail = {"seconds": round(moved_ns / 1e9, 3), "state": reading.state}
                yield ClockChange(AuditCode.CLOCK_STEPPED, reading.monotonic_ns, detail)
        synchronized = reading.state is ClockState.SYNCHRONIZED
        # A time at a limit was clamped, so it dates nothing, even if the clock is synchronized.
        if self._undated and synchronized and EARLIEST < as_moment(reading.utc_ns) < LATEST:
            self._undated = False
            detail = {
                "boot_id": reading.boot_id,
                "monotonic_ns": str(reading.monotonic_ns),
                "utc": timestamp(reading.utc_ns),
            }
            yield ClockChange(AuditCode.CLOCK_ANCHOR, reading.monotonic_ns, detail)

    def recorded(self, reading: ClockReading) -> None:
        """Note that events dated by the clock in the state of `reading` were stored."""
        if reading.state is ClockState.UNSYNCHRONIZED:
            self._undated = True
