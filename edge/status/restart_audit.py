"""Tells the chain how the runs before this one ended, where they did not end in good order.

The rungs of the ladder that a dead process cannot tell of itself: it was started anew, the machine
was, or the reboot that was asked for did not come. Each is forgotten once it is stored.
"""

import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

from edge.system import run_log as ends
from edge.system.boot_id import boot_id
from edge.types import AuditCode

GRACE_S = 120.0  # of uptime; a reboot that has not begun by then was refused


class Audits(Protocol):
    """Puts an audit event into the chain; returns its reference."""

    def __call__(self, code: AuditCode, **detail: str | int) -> int: ...


class RestartAudit:
    """Of one start. Outside systemd there are no such directories, and nothing is told."""

    def __init__(self, environment: Mapping[str, str] = os.environ) -> None:
        runtime, state = (environment.get(f"{name}_DIRECTORY") for name in ("RUNTIME", "STATE"))
        self._runtime = Path(runtime) if runtime else None
        self._state = Path(state) if state else None
        self._telling: dict[int, Path] = {}  # by reference, what is forgotten then
        self._asked: ends.RebootRequest | None = (
            None  # in this boot: either it comes, or it was refused
        )

    def report(self, audit: Audits) -> None:
        """Tell what there is, at the start."""
        if self._state is not None and (asked := ends.reboot_requested(self._state)) is not None:
            if asked.boot_id == boot_id():
                self._asked = asked
            else:
                self._telling[audit(AuditCode.REBOOTED, why="watchdog")] = self._state / ends.ASKED
        if self._runtime is not None and (said := ends.last_exits(self._runtime)):
            why, _, status = said[-1].partition(" ")
            ref = audit(AuditCode.RESTARTED, why=why, status=status, times=len(said))
            self._telling[ref] = self._runtime / ends.ENDS

    def check_refused_reboot(self, audit: Audits) -> None:
        """Tell that a reboot was refused, once it is late; call it now and then."""
        asked = self._asked
        if asked is not None and self._state and time.monotonic() > asked.uptime_s + GRACE_S:
            self._asked = None
            self._telling[audit(AuditCode.REBOOT_REFUSED)] = self._state / ends.ASKED

    def stored(self, ref: int) -> None:
        """Forget what is in the chain now."""
        if (file := self._telling.pop(ref, None)) is not None:
            file.unlink(missing_ok=True)
