"""The audits and the receipt of the roster that is in use."""

from collections import deque

from edge.gallery import Gallery
from edge.roster.installer import NOBODY
from edge.roster.messages import ReceiptDue, RosterInUse, RosterRequest
from edge.roster.store import PendingReceipt
from edge.settings import RosterSettings
from edge.system.event_queue import EventQueue
from edge.types import Audit, AuditCode

AGAIN_NS = 10_000_000_000  # before an audit that could not be stored is recorded again


class ReceiptTracker:
    """Records that a roster is in use, and then has its receipt given. The main loop only."""

    def __init__(
        self,
        gallery: Gallery,
        owed: PendingReceipt | None,
        fault: str | None,
        requests: EventQueue[RosterRequest],
    ) -> None:
        """`fault`: why nobody can be recognised, or None."""
        self.gallery = gallery
        self.fault = fault
        self._requests = requests
        self._audits = deque(_audits(gallery, owed))
        self._ref: int | None = None  # of the one that is being stored
        self._again_ns = 0

    def use(self, gallery: Gallery, owed: PendingReceipt | None, rule: RosterSettings) -> bool:
        """Note that this roster is used now; False if it was before.

        The templates of the roster before are overwritten.
        """
        self._requests.put(RosterInUse(gallery, rule))
        if gallery is self.gallery:
            return False
        before, self.gallery = self.gallery, gallery
        before.forget()
        self.fault = None if gallery.size else NOBODY
        self._audits = deque(_audits(gallery, owed))
        self._ref = None
        return True

    def poll(self, now_ns: int) -> list[Audit]:
        """Return the next audit to record, once the one before is stored."""
        if not self._audits or self._ref is not None or now_ns < self._again_ns:
            return []
        audit = Audit.now(self._audits[0].code, **self._audits[0].detail)
        self._ref = audit.ref
        return [audit]

    def event_stored(self, ref: int) -> None:
        """Note that an event is durable; the last one of a roster makes its receipt due."""
        if ref != self._ref:
            return
        self._ref = None
        self._audits.popleft()
        if not self._audits:
            self._requests.put(ReceiptDue(self.gallery.version))

    def store_failed(self, ref: int, now_ns: int) -> None:
        """Note that it was not stored: it is recorded again later."""
        if ref == self._ref:
            self._ref = None
            self._again_ns = now_ns + AGAIN_NS


def _audits(gallery: Gallery, owed: PendingReceipt | None) -> list[Audit]:
    if owed is None:
        return []
    about = {"version": gallery.version, "digest": gallery.digest}
    return [
        Audit.now(AuditCode.ROSTER_INSTALLED, **about, people=gallery.size),
        *(Audit.now(AuditCode.PERSON_ERASED, **about, person=person) for person in owed.erased),
    ]
