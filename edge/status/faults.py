"""The faults of the unit: each is noted, logged once and recorded in the event chain."""

import logging
import time

from edge.errors import ErrorCode
from edge.status.camera_outage import CameraOutage
from edge.status.health import HealthState
from edge.system.journald import log_fields
from edge.types import Audit, AuditCode

log = logging.getLogger(__name__)

PROBE_NS = 10_000_000_000  # between two attempts to store an event while storing fails


class FaultMonitor:
    """Keeps the faults in `health`. Its methods return the audits to record. One thread only."""

    def __init__(self, health: HealthState, outage: CameraOutage) -> None:
        self._health = health
        self._outage = outage
        self._probe_ns = 0  # when next to try whether events can be stored again

    def set_camera_fault(self, why: str | None) -> list[Audit]:
        """Note what is wrong with the camera, or None."""
        if why == self._health.camera_fault:
            return []
        self._health.camera_fault = why
        if why:
            log.error("out of order: %s", why, extra=log_fields(code=ErrorCode.CAMERA_LOST))
            return self._outage.record_outage(why)
        log.info("the camera is back")
        return self._outage.clear()

    def set_gpio_fault(self, why: str | None) -> list[Audit]:
        """Note what is wrong with the lights and the buzzer, or None."""
        if why == self._health.pins_fault:
            return []
        self._health.pins_fault = why
        if why:
            code = log_fields(code=ErrorCode.PINS_LOST)
            log.error("out of order, indicator panel unavailable: %s", why, extra=code)
            return [Audit.now(AuditCode.PINS_LOST, why=why)]
        log.info("the lights and the buzzer are back")
        return [Audit.now(AuditCode.PINS_BACK)]

    def set_storage_fault(
        self, why: str | None, trouble: ErrorCode = ErrorCode.STORE_FAILED
    ) -> None:
        """Note whether events can be stored. While not, `poll` returns a test event."""
        if why:
            self._probe_ns = time.monotonic_ns() + PROBE_NS
        if why == self._health.store_fault:
            return
        if why:
            log.error(
                "out of order, events cannot be stored: %s", why, extra=log_fields(code=trouble)
            )
        else:
            log.info("events can be stored again")
        self._health.store_fault, self._health.store_trouble = why, trouble

    def poll(self, now_ns: int) -> list[Audit]:
        """Test every ten seconds, while storing fails, whether it works again."""
        if self._health.store_fault is None or now_ns < self._probe_ns:
            return []
        self._probe_ns = now_ns + PROBE_NS
        trouble, why = self._health.store_trouble, self._health.store_fault
        return [Audit.now(AuditCode.STORE_FAILED, trouble=trouble, why=why)]
