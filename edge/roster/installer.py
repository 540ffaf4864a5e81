"""From a roster that was delivered to the one that the unit recognises people with.

    listening thread    install: the file, durable ─▶ `use`, which has it changed at a moment
                        without an attempt, by the way of every Change (edge.commands.actions)
    main loop           used: what was before is overwritten in memory; then what happened is told
                        in the chain, one event after another
    a thread of its own once all of it is stored: the ledger owes nothing more, the manifest is
                        answered

The order is what a receipt is worth: it is signed when the person is gone from file and memory.
What the power cuts short is told after the next start, for the ledger remembers what is owed.
"""

import logging
import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

from edge.commands.refusal_counter import RefusalCounter
from edge.contract.authority import AuthorityFile, OrderRejected, OrderRejectReason
from edge.contract.commands import CommandResult
from edge.contract.encryption import EncryptionKey, encryption_key_path
from edge.contract.roster_manifest import RosterManifest
from edge.contract.topics import REPLY, UnitName
from edge.errors import RosterError
from edge.gallery import Gallery, empty
from edge.mqtt.link import ConnectionManager
from edge.mqtt.subscriber import Subscription
from edge.outbox.event_signer import EventSigner
from edge.outbox.store import MIB
from edge.roster.receiver import RosterReceiver, answer
from edge.roster.store import RosterRejected, RosterStore
from edge.settings import Settings
from edge.system.text import pluralize
from edge.types import AuditCode

log = logging.getLogger(__name__)

AGAIN_NS = 10_000_000_000  # before what could not be stored is told again


@dataclass(frozen=True, slots=True)
class PendingAudit:
    """Something for the chain."""

    code: AuditCode
    detail: Mapping[str, Any]


class RosterInstaller:
    """The shelf of `edge.roster.receiver`, and what the main loop has to know of it."""

    def __init__(
        self, keeper: RosterStore, use: Callable[[Gallery], None], *, wait_for_delivery: bool
    ) -> None:
        """Load what the unit has. `use` has a roster put in force, and `used` called then.

        With `wait_for_delivery` a roster that cannot be used is no error but the reason why the
        unit is out of order. Raises RosterError.
        """
        self._keeper = keeper
        self._use = use
        self._lock = threading.Lock()  # of the keeper
        self.link: ConnectionManager | None = None
        self.subscription: Subscription | None = None
        self._sealer: EventSigner | None = None
        self.why_not: str | None = None  # nobody can be recognised
        self._unloaded = False  # the file could not be used at the start
        try:
            self.gallery = keeper.load()  # in force
            if self.gallery.size == 0:
                self.why_not = self._nobody()
        except RosterError as error:
            if not wait_for_delivery:
                raise
            self.gallery, self.why_not, self._unloaded = empty(), str(error), True
        if self.why_not is not None:
            if not wait_for_delivery:
                raise RosterError(self.why_not)
            log.error("%s", self.why_not)
        self._newest = self.gallery  # in force, or about to be
        self._tellings: deque[PendingAudit] = deque(self._owed())
        self._ref: int | None = None  # of the one that is being stored
        self._again_ns = 0
        self._also: list[str] = []  # manifests that wait for the same receipt
        self._settled = 0  # version whose receipt was given
        self._unsettled = 0  # version whose receipt was given, and the ledger still owes it

    @classmethod
    def open(
        cls, settings: Settings, key: bytes, embedder: str, use: Callable[[Gallery], None]
    ) -> Self:
        """Return that of a unit; it waits for a delivery where it knows who may order one."""
        keeper = RosterStore(settings.roster.file, key, embedder)
        return cls(keeper, use, wait_for_delivery=settings.authority.keys.exists())

    def listener(
        self, settings: Settings, sealer: EventSigner, refusals: RefusalCounter
    ) -> RosterReceiver:
        """Return the listener that brings rosters; it speaks by `link` once that is there.

        Raises SecretError for an encryption key that cannot be read or made.
        """
        self._sealer = sealer
        return RosterReceiver(
            UnitName.of(settings.unit),
            AuthorityFile(settings.authority.keys),
            EncryptionKey.load_or_create(encryption_key_path(settings.outbox.signing_key)),
            settings.roster.file.with_name(settings.roster.file.name + ".incoming"),
            self,
            fetch=self._fetch,
            say=self._say,
            refusals=refusals,
            now=sealer.now_if_known,
            reserve_bytes=settings.outbox.min_free_mib * MIB,
        )

    # --- for the listening thread --------------------------------------------------------------

    def load(self) -> Gallery:
        """Read the file anew; what is (or soon) in force is not doubled. Raises RosterError."""
        with self._lock:
            gallery = self._keeper.load()
        if gallery.digest != self._newest.digest:
            return gallery
        if gallery is not self._newest:
            gallery.forget()
        return self._newest

    def pending(self, gallery: Gallery) -> None:
        """Note which roster is about to be in force; whoever ordered it, they all come by here."""
        self._newest = gallery

    def is_current(self, version: int, digest: str) -> bool:
        return (self._newest.version, self._newest.digest) == (version, digest)

    def receipt_follows(self, to: str) -> bool:
        with self._lock:
            ledger = self._keeper.ledger
            follows = ledger.owed is not None and self._settled < ledger.version
            if follows and ledger.owed is not None and to != ledger.owed.to:
                self._also.append(to)
            return follows

    def check(self, manifest: RosterManifest) -> None:
        with self._lock:
            try:
                self._keeper.check(manifest.version, manifest.digest, manifest.embedder)
            except RosterRejected as error:
                raise OrderRejected(OrderRejectReason(error.reason), str(error)) from None

    def install(self, content: bytearray, manifest: RosterManifest) -> None:
        with self._lock:
            try:
                gallery = self._keeper.install(
                    content, manifest.version, manifest.digest, manifest.id
                )
            except RosterRejected as error:
                raise OrderRejected(OrderRejectReason(error.reason), str(error)) from None
        log.info(
            "roster version %d is here: %s",
            manifest.version,
            pluralize(gallery.size, "person"),
        )
        self._use(gallery)

    # --- for a thread that tries again ---------------------------------------------------------

    def retry(self) -> None:
        """Do what the disk did not allow before: load the roster, remember the receipt given.

        Raises RosterError.
        """
        if self._unsettled:
            with self._lock:
                if self._keeper.ledger.version == self._unsettled:  # else a newer one owes it
                    self._keeper.receipt_sent()
                self._unsettled = 0
        if self._unloaded and self._newest.size == 0:
            with self._lock:
                gallery = self._keeper.load()
            self._unloaded = False
            if gallery.size:
                self._use(gallery)
            else:
                self.why_not = self._nobody()

    # --- for the main loop ---------------------------------------------------------------------

    def activated(self, gallery: Gallery) -> None:
        """Note that everybody goes by this one now: what was before is gone, and it is told."""
        if gallery is self.gallery:
            return
        before, self.gallery = self.gallery, gallery
        before.forget()
        if self.link is not None:
            self.link.announce()  # on `state`, what is in force
        self.why_not = None if gallery.size else self._nobody()
        self._tellings = deque(self._owed())
        self._ref = None

    def poll(self, now_ns: int, audit: Callable[..., int]) -> None:
        """Have the next thing told, if any; `audit` submits an event and returns its number."""
        if self._tellings and self._ref is None and now_ns >= self._again_ns:
            self._ref = audit(self._tellings[0].code, **self._tellings[0].detail)

    def stored(self, ref: int) -> None:
        """Note that an event is durable; the last one of a roster ends what is owed for it."""
        if ref != self._ref:
            return
        self._ref = None
        self._tellings.popleft()
        if not self._tellings:
            version = self.gallery.version
            threading.Thread(
                target=self._settle, args=(version,), name="receipt", daemon=True
            ).start()

    def store_failed(self, ref: int, now_ns: int) -> None:
        """Note that it was not stored: it is told again."""
        if ref == self._ref:
            self._ref = None
            self._again_ns = now_ns + AGAIN_NS

    def _owed(self) -> list[PendingAudit]:
        ledger, gallery = self._keeper.ledger, self.gallery
        if ledger.owed is None or gallery.version != ledger.version:
            return []
        about = {"version": gallery.version, "digest": gallery.digest}
        return [
            PendingAudit(AuditCode.ROSTER_INSTALLED, {**about, "people": gallery.size}),
            *(
                PendingAudit(AuditCode.PERSON_ERASED, {**about, "person": person})
                for person in ledger.owed.erased
            ),
        ]

    def _settle(self, version: int) -> None:
        with self._lock:
            ledger = self._keeper.ledger
            if ledger.owed is None or ledger.version != version:
                return  # a newer one came meanwhile, and owes this one's receipts too
            try:
                self._keeper.receipt_sent()
            except RosterError as error:
                self._unsettled = version
                log.warning("%s; will try again", error)
            self._settled = version
            asked = dict.fromkeys([ledger.owed.to, *self._also])
            self._also.clear()
        erased = list(ledger.owed.erased)
        for to in asked:
            said = answer(to, version, digest=ledger.digest, erased=erased)
            if said is not None:  # a roster that was brought by hand has nobody to answer
                self._say(said)

    def _say(self, said: CommandResult) -> None:
        if self.link is not None and self._sealer is not None:
            unit = UnitName.of(self._sealer.context.unit)
            self.link.publish_reply(unit.subtopic(REPLY, said.to), self._sealer.reply(said))

    def _fetch(self, topics: Sequence[str]) -> None:
        if self.link is not None and self.subscription is not None:
            self.link.fetch_retained(self.subscription, topics)

    def _nobody(self) -> str:
        return f"{self._keeper.file}: nobody is enrolled; run senyum enroll first"
