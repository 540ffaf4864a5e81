"""From a delivered roster to the one that the unit recognises people with.

    roster thread   manifest and chunks ─▶ RosterInstaller.install: the file is durable
                        ─ RosterInstalled ─▶
    main loop       uses it between two attempts; RosterInUse: the roster before is overwritten in
                    memory; then the audits are recorded one after another
                        ─ ReceiptDue, once all of them are stored ─▶
    roster thread   the receipt is noted as given ─ RosterReplies ─▶ main loop: published

The order is what a receipt is worth: it is signed when the person is gone from file and memory.
After a power cut the next start continues, because the roster state remembers the pending receipt.
"""

import logging
from typing import Any

from edge.contract.authority import OrderRejected, OrderRejectReason
from edge.contract.roster_manifest import RosterManifest
from edge.errors import RosterError
from edge.gallery import Gallery, empty
from edge.roster.messages import (
    LoadRoster,
    ReceiptDue,
    RosterInstalled,
    RosterInUse,
    RosterLoaded,
    RosterReplies,
    answer,
)
from edge.roster.store import PendingReceipt, RosterRejected, RosterStore
from edge.roster.thresholds import adaptive_thresholds
from edge.settings import RosterSettings
from edge.system.event_queue import EventQueue
from edge.system.text import pluralize

log = logging.getLogger(__name__)

NOBODY = "nobody is enrolled; run senyum enroll first"
RETRY_SECONDS = 10.0  # between two attempts at what the disk refused


class RosterInstaller:
    """Installs delivered rosters and gives the receipts. The roster thread only.

    After the constructor `gallery` is the roster to start with.
    """

    def __init__(
        self,
        store: RosterStore,
        rule: RosterSettings,
        events: EventQueue[Any],
        *,
        wait_for_delivery: bool,
    ) -> None:
        """Load the roster of the unit; `rule` are the settings of its thresholds.

        With `wait_for_delivery` a roster that cannot be used is not an error but a reason for
        the unit to be out of order. Raises RosterError.
        """
        self._store = store
        self._rule = rule
        self._events = events
        self._unloaded = False  # the file could not be used at the start
        self.why_not: str | None = None  # nobody can be recognised
        try:
            self.gallery = store.load()
            if self.gallery.size == 0:
                self.why_not = f"{store.file}: {NOBODY}"
        except RosterError as error:
            if not wait_for_delivery:
                raise
            self.gallery, self.why_not, self._unloaded = empty(), str(error), True
        if self.why_not is not None:
            if not wait_for_delivery:
                raise RosterError(self.why_not)
            log.error("%s", self.why_not)
        self.thresholds = adaptive_thresholds(self.gallery, rule)
        self._newest = self.gallery  # in use, or soon
        self._newest_thresholds = self.thresholds
        self._also: list[str] = []  # manifests that wait for the same receipt
        self._given = 0  # version whose receipt was given
        self._unremembered = 0  # version whose receipt was given, and the state still owes it

    @property
    def owed(self) -> PendingReceipt | None:
        """What is to be recorded of the newest roster."""
        state = self._store.ledger
        return state.owed if self._newest.version == state.version else None

    def is_current(self, version: int, digest: str) -> bool:
        """Whether this very roster is in use, or about to be."""
        return (self._newest.version, self._newest.digest) == (version, digest)

    def receipt_follows(self, to: str) -> bool:
        """Whether the receipt is still pending; then `to` is answered with it."""
        state = self._store.ledger
        follows = state.owed is not None and self._given < state.version
        if follows and state.owed is not None and to != state.owed.to:
            self._also.append(to)
        return follows

    def check(self, manifest: RosterManifest) -> None:
        """Raise OrderRejected for a roster that need not even be fetched."""
        try:
            self._store.check(manifest.version, manifest.digest, manifest.embedder)
        except RosterRejected as error:
            raise OrderRejected(OrderRejectReason(error.reason), str(error)) from None

    def install(self, content: bytearray, manifest: RosterManifest) -> None:
        """Make a delivered roster durable and have it used.

        Raises OrderRejected, and RosterError if the disk fails.
        """
        try:
            gallery = self._store.install(content, manifest.version, manifest.digest, manifest.id)
        except RosterRejected as error:
            raise OrderRejected(OrderRejectReason(error.reason), str(error)) from None
        log.info(
            "roster version %d is here: %s", manifest.version, pluralize(gallery.size, "person")
        )
        self._use(gallery)

    def load(self, request: LoadRoster) -> RosterLoaded:
        """Load the file; a roster that is in use, or soon, is not loaded twice."""
        try:
            gallery = self._store.load()
        except RosterError as error:
            return RosterLoaded(self._newest, self._newest_thresholds, str(error))
        if gallery.digest == self._newest.digest:
            if gallery is not self._newest:
                gallery.forget()
            gallery = self._newest
        thresholds = self._newest_thresholds
        if gallery is not self._newest or request.rule != self._rule:
            thresholds = adaptive_thresholds(gallery, request.rule)
        state = self._store.ledger
        owed = state.owed if gallery.version == state.version else None
        return RosterLoaded(gallery, thresholds, owed=owed)

    def in_use(self, message: RosterInUse) -> None:
        """Note what the main loop works with."""
        newer = message.gallery.version >= self._newest.version
        if message.rule == self._rule and (message.gallery is self._newest or not newer):
            return
        self._rule = message.rule
        if newer:
            self._newest = message.gallery
        self._newest_thresholds = adaptive_thresholds(self._newest, self._rule)
        if self._newest is not message.gallery:  # on its way, with thresholds by the rule before
            self._events.put(RosterInstalled(self._newest, self._newest_thresholds, self.owed))

    def give_receipt(self, due: ReceiptDue) -> None:
        """Answer the manifests of a roster whose audits are stored."""
        state = self._store.ledger
        if state.owed is None or state.version != due.version:
            return  # a newer one came meanwhile, and owes this one's receipts too
        try:
            self._store.receipt_sent()
        except RosterError as error:
            self._unremembered = due.version
            log.warning("%s; will try again", error)
        self._given = due.version
        asked = dict.fromkeys([state.owed.to, *self._also])
        self._also.clear()
        erased = list(state.owed.erased)
        results = [answer(to, due.version, digest=state.digest, erased=erased) for to in asked]
        # A roster that was copied by hand has nobody to answer.
        self._events.put(RosterReplies([each for each in results if each is not None]))

    def retry(self) -> None:
        """Do what the disk refused before: load the roster, remember the receipt given.

        Raises RosterError.
        """
        if self._unremembered:
            if self._store.ledger.version == self._unremembered:  # else a newer one owes it
                self._store.receipt_sent()
            self._unremembered = 0
        if self._unloaded and self._newest.size == 0:
            gallery = self._store.load()
            self._unloaded = False
            self._use(gallery)

    def _use(self, gallery: Gallery) -> None:
        self._newest = gallery
        self._newest_thresholds = adaptive_thresholds(gallery, self._rule)
        self._events.put(RosterInstalled(gallery, self._newest_thresholds, self.owed))
