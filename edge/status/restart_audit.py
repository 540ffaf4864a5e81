"""Records in the event chain that previous runs did not shut down cleanly.

A process that was killed cannot record that the service was restarted, that the machine was
rebooted, or that a requested reboot did not come. Each record is deleted once it is stored.
"""

import os
from collections.abc import Mapping
from pathlib import Path

from edge.system import run_log as ends
from edge.system.boot_id import boot_id
from edge.types import Audit, AuditCode

GRACE_S = 120.0  # of uptime; a reboot that has not begun by then was refused


class RestartAudit:
    """Reports how the previous runs ended. Without systemd's directories it reports nothing."""

    def __init__(self, environment: Mapping[str, str] = os.environ) -> None:
        runtime, state = (environment.get(f"{name}_DIRECTORY") for name in ("RUNTIME", "STATE"))
        self._runtime = Path(runtime) if runtime else None
        self._state = Path(state) if state else None
        self._telling: dict[int, Path] = {}  # by reference, what is forgotten then
        self._asked: ends.RebootRequest | None = (
            None  # in this boot: either it comes, or it was refused
        )

    def report(self) -> list[Audit]:
        """Return what to record at the start."""
        audits = []
        if self._state is not None and (asked := ends.reboot_requested(self._state)) is not None:
            if asked.boot_id == boot_id():
                self._asked = asked
            else:
                audits.append(Audit.now(AuditCode.REBOOTED, why="watchdog"))
                self._telling[audits[-1].ref] = self._state / ends.ASKED
        if self._runtime is not None and (exits := ends.last_exits(self._runtime)):
            why, _, status = exits[-1].partition(" ")
            audits.append(Audit.now(AuditCode.RESTARTED, why=why, status=status, times=len(exits)))
            self._telling[audits[-1].ref] = self._runtime / ends.ENDS
        return audits

    def poll(self, now_ns: int) -> list[Audit]:
        """Return an audit if a requested reboot is overdue at `now_ns` (time.monotonic_ns())."""
        asked = self._asked
        if asked is None or not self._state or now_ns / 1e9 <= asked.uptime_s + GRACE_S:
            return []
        self._asked = None
        audit = Audit.now(AuditCode.REBOOT_REFUSED)
        self._telling[audit.ref] = self._state / ends.ASKED
        return [audit]

    def stored(self, ref: int) -> None:
        """Delete the record of what is now stored in the event chain."""
        if (file := self._telling.pop(ref, None)) is not None:
            file.unlink(missing_ok=True)
