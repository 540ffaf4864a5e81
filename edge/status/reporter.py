"""Reports the state of the unit: a sentence to systemd, and the status file."""

import os
import time

from edge import __version__
from edge.status.health import HealthState, temperature
from edge.status.status_file import DaemonStatus, StatusFile
from edge.system.clock import Clock
from edge.system.sd_notify import Notifier


class StatusReporter:
    """Reports the health state, about once a second. One thread only."""

    def __init__(
        self,
        health: HealthState,
        notifier: Notifier,
        file: StatusFile,
        clock: Clock,
        source: str,
    ) -> None:
        """`source`: the unit's URN."""
        self._health = health
        self._notifier = notifier
        self._file = file
        self._clock = clock
        self._source = source
        self._boot_id = clock.read().boot_id
        self._started_ns = time.monotonic_ns()

    def update(self, *, frame: bool) -> None:
        """Report; `frame`: whether a frame was just processed.

        The status file waits until there is either a frame or a fault to report.
        """
        health = self._health
        self._notifier.status(health.summary())
        if (frame or health.fault is not None) and self._file.is_due(health.codes):
            self._file.write(self._status())

    def close(self) -> None:
        """Remove the status file."""
        self._file.remove()

    def _status(self) -> DaemonStatus:
        health = self._health
        return DaemonStatus(
            sentence=health.summary(),
            source=self._source,
            software=__version__,
            pid=os.getpid(),
            boot_id=self._boot_id,
            started_ns=self._started_ns,
            codes=health.codes,
            fault=health.fault,
            enrolled=health.enrolled,
            recorded=health.recorded,
            refused=health.refused,
            waiting=health.waiting,
            broker=health.broker,
            link_up=health.link_up,
            clock=self._clock.read().state,
            frame_rate=round(health.frame_rate, 1),
            level=health.level,
            sharpness=health.sharpness,
            temperature_c=temperature(),
        )
