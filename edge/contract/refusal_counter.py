"""Counts refused orders, so that a flood of them fills neither the journal nor the chain."""

import logging
import math
import threading
from collections import Counter

from edge.contract.authority import OrderRejectReason
from edge.system.text import pluralize

log = logging.getLogger(__name__)

TELL_SECONDS = 3600.0  # between two audit events; the first comes at once


class RefusalCounter:
    """What was refused since the start. For any thread."""

    def __init__(self) -> None:
        self.total = 0
        self.last: OrderRejectReason | None = None
        self._lock = threading.Lock()
        self._unreported: Counter[OrderRejectReason] = Counter()
        self._reported_at = -math.inf

    def add(self, flaw: OrderRejectReason, why: str) -> None:
        """Count one; `why` is for the journal, each reason once until recorded in the chain."""
        with self._lock:
            self.total += 1
            self.last = flaw
            self._unreported[flaw] += 1
            first = self._unreported[flaw] == 1
        log.log(logging.WARNING if first else logging.DEBUG, "order refused (%s): %s", flaw, why)

    def due(self, now: float, *, ending: bool = False) -> dict[str, int] | None:
        """Return what an audit event has to tell now: how many of each, and of all of them.

        `now` is in seconds of a monotonic clock. None where there is nothing, or it is too soon.
        """
        with self._lock:
            early = now < self._reported_at + TELL_SECONDS and not ending
            if not self._unreported or early:
                return None
            self._reported_at = now
            counts = {flaw.value: count for flaw, count in sorted(self._unreported.items())}
            self._unreported.clear()
        log.warning("%s refused: %s", pluralize(sum(counts.values()), "order"), counts)
        return {"count": sum(counts.values()), **counts}
