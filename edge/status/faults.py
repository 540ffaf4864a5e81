"""What is wrong with the unit: noted, logged once, told to the chain and to who stands there."""

import logging
import time
from collections.abc import Callable
from typing import Protocol

from edge.errors import Trouble
from edge.status.camera_outage import Absence
from edge.status.health import Tally
from edge.system.journald import facts
from edge.types import AuditCode, Fault, Stimulus

log = logging.getLogger(__name__)

PROBE_NS = 10_000_000_000  # between two tries to store, while storing fails


class Audits(Protocol):
    """Puts an audit event into the chain; returns its reference."""

    def __call__(self, code: AuditCode, **detail: str) -> int: ...


class Faults:
    """Keeps the faults of one unit in its `tally`. One thread only."""

    def __init__(
        self, tally: Tally, audit: Audits, step: Callable[[Stimulus], None], absence: Absence
    ) -> None:
        """`step` has the session know whether the unit is out of order."""
        self._tally = tally
        self._audit = audit
        self._absence = absence
        self._step = step
        self._probe_ns = 0  # when next to try whether events can be stored again

    def camera_is(self, why: str | None) -> None:
        """Note what is wrong with the camera, or None."""
        if why == self._tally.camera_fault:
            return
        if why:
            log.error("out of order: %s", why, extra=facts(code=Trouble.CAMERA_LOST))
            self._absence.lost(self._audit, why)
        else:
            log.info("the camera is back")
            self._absence.over(self._audit)
        self._tally.camera_fault = why
        self._tell()

    def pins_are(self, why: str | None) -> None:
        """Note what is wrong with the lights and the buzzer, or None."""
        if why == self._tally.pins_fault:
            return
        if why:
            pins = facts(code=Trouble.PINS_LOST)
            log.error("out of order, nobody can be shown anything: %s", why, extra=pins)
            self._audit(AuditCode.PINS_LOST, why=why)
        else:
            log.info("the lights and the buzzer are back")
            self._audit(AuditCode.PINS_BACK)
        self._tally.pins_fault = why
        self._tell()

    def roster_is(self, why: str | None) -> None:
        """Note why there is no roster that may be used, or None."""
        if why != self._tally.roster_fault:
            self._tally.roster_fault = why
            self._tell()

    def store_is(self, why: str | None, trouble: Trouble = Trouble.STORE_FAILED) -> None:
        """Note whether events can be stored. While not, an audit event tries it now and then."""
        if why:
            self._probe_ns = time.monotonic_ns() + PROBE_NS
        if why == self._tally.store_fault:
            return
        if why:
            log.error("out of order, events cannot be stored: %s", why, extra=facts(code=trouble))
        else:
            log.info("events can be stored again")
        self._tally.store_fault, self._tally.store_trouble = why, trouble
        self._tell()

    def probe_store(self, now: int) -> None:
        """Try, every ten seconds while storing fails, whether it works again."""
        if self._tally.store_fault is not None and now >= self._probe_ns:
            self._probe_ns = now + PROBE_NS
            trouble, why = self._tally.store_trouble, self._tally.store_fault
            self._audit(AuditCode.STORE_FAILED, trouble=trouble, why=why)

    def _tell(self) -> None:
        self._step(Fault(self._tally.fault))
