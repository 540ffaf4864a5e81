"""Track a camera that does not come back: one audit event, and retries that become rarer.

Pictures feed systemd's watchdog, so a run without any is ended after a minute and the next begun:
the one cure for a camera library that is stuck. What it does not cure in some runs, or by the
reboot that follows them (edge/appliance/watchdog/reboot_limiter.py), is no longer worth a
restart a minute. The run then
feeds the watchdog itself for a while, twice as long each time, and stays what it can be: heard by
its broker, and out of order in light and words.

A file in the runtime directory, which lasts as long as the boot, counts the runs of one outage.
"""

import logging
import os
import time
from collections.abc import Mapping
from pathlib import Path

from edge.system.run_log import FAILURES_PER_REBOOT
from edge.types import Audit, AuditCode

log = logging.getLogger(__name__)

FILE = "camera-lost"
_FIRST_NS = 60_000_000_000  # of the first run that is patient; doubles with each
_MOST_NS = 3_600_000_000_000
_MOST_RUNS = 1_000  # that are counted
_STEADY_NS = 10_000_000_000  # of pictures before a new run believes that the outage is over


class CameraOutage:
    """Track the outage of one run. Without a runtime directory, each run is the first."""

    def __init__(
        self, environment: Mapping[str, str] = os.environ, now_ns: int | None = None
    ) -> None:
        """`now_ns`: the time on CLOCK_MONOTONIC, as everywhere here; None: now."""
        folder = environment.get("RUNTIME_DIRECTORY")
        self._file = Path(folder) / FILE if folder else None
        self._recorded_runs = runs = self._runs()  # of this outage, that the chain knows of
        self._counted = False  # this run, among them
        beyond = runs - FAILURES_PER_REBOOT
        over = min(_FIRST_NS << min(beyond, 10), _MOST_NS) if beyond >= 0 else 0
        self._until_ns = (time.monotonic_ns() if now_ns is None else now_ns) + over
        self._useful_ns: int | None = None  # since when there are pictures of use

    def record_outage(self, why: str) -> list[Audit]:
        """Note that the camera is lost, or useless: `why`; return what to record."""
        self._useful_ns = None
        audits = [Audit.now(AuditCode.CAMERA_LOST, why=why)] if self._recorded_runs == 0 else []
        if not self._counted:
            self._counted = True
            self._recorded_runs = min(self._recorded_runs + 1, _MOST_RUNS)
            self._write(self._recorded_runs)
        return audits

    def clear(self) -> list[Audit]:
        """Note that the camera works again; return what to record."""
        audits = [Audit.now(AuditCode.CAMERA_BACK)] if self._recorded_runs else []
        self._recorded_runs, self._counted, self._until_ns = 0, False, 0
        if self._file is not None:
            self._file.unlink(missing_ok=True)
        return audits

    def observe_frame(self, now_ns: int, *, useful: bool) -> list[Audit]:
        """Note a frame; return what to record.

        Some seconds of useful frames end an outage that earlier runs have recorded.
        """
        if not useful:
            self._useful_ns = None
        elif self._useful_ns is None:
            self._useful_ns = now_ns
        elif self._recorded_runs and now_ns - self._useful_ns >= _STEADY_NS:
            return self.clear()
        return []

    def keep_alive_without_frames(self, now_ns: int) -> bool:
        """Whether this run is to go on though there are no pictures."""
        return now_ns < self._until_ns

    def _runs(self) -> int:
        try:
            return min(max(int(self._file.read_bytes()[:8]), 0), _MOST_RUNS) if self._file else 0
        except (OSError, ValueError):
            return 0

    def _write(self, runs: int) -> None:
        if self._file is None:
            return
        try:
            self._file.write_text(f"{runs}\n", encoding="ascii")
        except OSError as error:  # then the next run is as impatient as this one
            log.warning("%s cannot be written: %s", self._file, error.strerror)
