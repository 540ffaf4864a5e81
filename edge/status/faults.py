"""What is wrong with the unit: noted, logged once, told to the chain and to who stands there."""

import logging
import time
from collections.abc import Callable
from typing import Protocol

from edge.errors import ErrorCode
from edge.status.camera_outage import CameraOutage
from edge.status.health import HealthState
from edge.system.journald import log_fields
from edge.types import AuditCode, CameraFault, Stimulus

log = logging.getLogger(__name__)

PROBE_NS = 10_000_000_000  # between two tries to store, while storing fails


class Audits(Protocol):
    """Puts an audit event into the chain; returns its reference."""

    def __call__(self, code: AuditCode, **detail: str) -> int: ...


class FaultMonitor:
    """Keeps the faults of one unit in its `tally`. One thread only."""

    def __init__(
        self,
        tally: HealthState,
        audit: Audits,
        step: Callable[[Stimulus], None],
        absence: CameraOutage,
    ) -> None:
        """`step` has the session know whether the unit is out of order."""
        self._tally = tally
        self._audit = audit
        self._absence = absence
        self._step = step
        self._probe_ns = 0  # when next to try whether events can be stored again

    def set_camera_fault(self, why: str | None) -> None:
        """Note what is wrong with the camera, or None."""
        if why == self._tally.camera_fault:
            return
        if why:
            log.error("out of order: %s", why, extra=log_fields(code=ErrorCode.CAMERA_LOST))
            self._absence.record_outage(self._audit, why)
        else:
            log.info("the camera is back")
            self._absence.clear(self._audit)
        self._tally.camera_fault = why
        self._tell()

    def set_gpio_fault(self, why: str | None) -> None:
        """Note what is wrong with the lights and the buzzer, or None."""
        if why == self._tally.pins_fault:
            return
        if why:
            pins = log_fields(code=ErrorCode.PINS_LOST)
            log.error("out of order, nobody can be shown anything: %s", why, extra=pins)
            self._audit(AuditCode.PINS_LOST, why=why)
        else:
            log.info("the lights and the buzzer are back")
            self._audit(AuditCode.PINS_BACK)
        self._tally.pins_fault = why
        self._tell()

    def set_roster_fault(self, why: str | None) -> None:
        """Note why there is no roster that may be used, or None."""
        if why != self._tally.roster_fault:
            self._tally.roster_fault = why
            self._tell()

    def set_storage_fault(
        self, why: str | None, trouble: ErrorCode = ErrorCode.STORE_FAILED
    ) -> None:
        """Note whether events can be stored. While not, an audit event tries it now and then."""
        if why:
            self._probe_ns = time.monotonic_ns() + PROBE_NS
        if why == self._tally.store_fault:
            return
        if why:
            log.error(
                "out of order, events cannot be stored: %s", why, extra=log_fields(code=trouble)
            )
        else:
            log.info("events can be stored again")
        self._tally.store_fault, self._tally.store_trouble = why, trouble
        self._tell()

    def poll_storage(self, now: int) -> None:
        """Try, every ten seconds while storing fails, whether it works again."""
        if self._tally.store_fault is not None and now >= self._probe_ns:
            self._probe_ns = now + PROBE_NS
            trouble, why = self._tally.store_trouble, self._tally.store_fault
            self._audit(AuditCode.STORE_FAILED, trouble=trouble, why=why)

    def _tell(self) -> None:
        self._step(CameraFault(self._tally.fault))
