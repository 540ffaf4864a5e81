"""From a roster that was delivered to the one that the unit recognises people with.

    listening thread    install: the file, durable ─▶ Change, ready
    main loop           turn: at a quiet moment the Change takes the place of what is in force,
                        then what happened is told in the chain, one event after another
    a thread of its own once all of it is stored: the ledger owes nothing more, the manifest is
                        answered

The order is what a receipt is worth: it is signed when the person is gone from file and memory.
What the power cuts short is told after the next start, for the ledger remembers what is owed.
"""

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from edge.attendance import Session, State
from edge.errors import RosterError
from edge.inference.pipeline import Pipeline
from edge.mqtt.authority import AuthorityFile, Flaw, OrderRefused
from edge.mqtt.delivery import Answer, Delivery
from edge.mqtt.encryption import EncryptionKey, beside
from edge.mqtt.grumble import Grumble
from edge.mqtt.link import Link
from edge.mqtt.manifest import Manifest
from edge.mqtt.seal import Sealer
from edge.mqtt.topics import UnitName
from edge.roster import Gallery, in_force
from edge.roster.keeper import Keeper, RosterRefused
from edge.roster.search import empty
from edge.settings import RosterSettings, Settings
from edge.types import AuditCode

log = logging.getLogger(__name__)

PATIENCE_NS = 30_000_000_000  # to wait for nobody at the door, before any pause will do
_NOBODY = (State.NOBODY, State.FAULTY)
_PAUSE = (State.DONE, State.SEVERAL)
AGAIN_NS = 10_000_000_000  # before what could not be stored is told again


@dataclass(frozen=True, slots=True)
class Change:
    """A roster, and the rule that it calls for."""

    gallery: Gallery
    rule: RosterSettings  # with its own threshold and margin
    why_not: str | None = None  # nobody can be recognised with it

    @classmethod
    def to(cls, gallery: Gallery, settings: RosterSettings) -> "Change":
        """Return the change to a roster; `settings` as they were read."""
        rule = in_force(gallery, settings)
        log.info("match from %.3f, ahead by %.3f, of %d", rule.threshold, rule.margin, gallery.size)
        nobody = f"{settings.file}: nobody is enrolled; run senyum enroll first"
        return cls(gallery, rule, None if gallery.size else nobody)


@dataclass(frozen=True, slots=True)
class Telling:
    """Something for the chain."""

    code: AuditCode
    detail: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class _Parts:
    """Whom a new roster concerns."""

    settings: Settings
    pipeline: Pipeline
    session: Session
    sealer: Sealer
    link: Link
    audit: Callable[..., int]

    def use(self, change: Change) -> None:
        """Go by another roster from the next frame on."""
        self.pipeline.gallery = change.gallery
        self.session.use_roster(change.rule, change.gallery.exempt)
        limits = self.settings.model_copy(update={"roster": change.rule}).thresholds
        self.sealer.context = replace(
            self.sealer.context, roster=change.gallery.digest, thresholds=limits
        )
        self.link.announce()
        self.link.wake()


class Handover:
    """The shelf of `edge.mqtt.delivery`, and the main loop's way to what lies there."""

    def __init__(
        self,
        keeper: Keeper,
        settings: RosterSettings,
        *,
        wait_for_delivery: bool,
    ) -> None:
        """Load what the unit has.

        With `wait_for_delivery` a roster that cannot be used is no error but the reason why the
        unit is out of order. Raises RosterError.
        """
        self._keeper = keeper
        self._settings = settings
        self._lock = threading.Lock()  # of the keeper
        self._next: Change | None = None
        self._overtaken: deque[Change | None] = (
            deque()
        )  # never in force; the main loop forgets them
        self._since_ns = 0  # when it came to be ready
        try:
            self.now = Change.to(keeper.load(), settings)
            if self.now.why_not and not wait_for_delivery:
                raise RosterError(self.now.why_not)  # noqa: TRY301 - handled like the others
        except RosterError as error:
            if not wait_for_delivery:
                raise
            log.error("%s", error)  # noqa: TRY400 - one line, for a person
            self.now = Change(empty(), settings, str(error))
        self._tellings: deque[Telling] = deque(self._owed())
        self._ref: int | None = None  # of the one that is being stored
        self._again_ns = 0
        self._parts: _Parts
        self.answer: Callable[[Answer], None] = lambda _: None

    # --- for the listening thread --------------------------------------------------------------

    def has(self, version: int, digest: str) -> bool:
        gallery = (self._next or self.now).gallery
        return (gallery.version, gallery.digest) == (version, digest)

    def check(self, manifest: Manifest) -> None:
        with self._lock:
            try:
                self._keeper.check(manifest.version, manifest.digest, manifest.embedder)
            except RosterRefused as error:
                raise OrderRefused(Flaw(error.reason), str(error)) from None

    def install(self, content: bytearray, manifest: Manifest) -> None:
        with self._lock:
            try:
                gallery = self._keeper.install(content, manifest.digest, manifest.id)
            except RosterRefused as error:
                raise OrderRefused(Flaw(error.reason), str(error)) from None
        change = Change.to(gallery, self._settings)
        self._since_ns = time.monotonic_ns()
        self._overtaken.append(self._next)
        self._next = change

    # --- for the main loop ---------------------------------------------------------------------

    def attach(
        self,
        settings: Settings,
        *,
        pipeline: Pipeline,
        session: Session,
        sealer: Sealer,
        link: Link,
        audit: Callable[..., int],
    ) -> None:
        """Say whom a new roster concerns. `audit` submits an event and returns its `ref`."""
        self._parts = _Parts(settings, pipeline, session, sealer, link, audit)

    def turn(self, now_ns: int, *, storing: bool) -> None:
        """Do what is due: once a frame, or in the time of one. `storing`: attempts are not durable.

        Where nobody comes to be away from the door for PATIENCE_NS, a pause between two people
        will do.
        """
        change = self._next
        if change is None:
            if self._tellings and self._ref is None and now_ns >= self._again_ns:
                telling = self._tellings[0]
                self._ref = self._parts.audit(telling.code, **telling.detail)
            return
        state = self._parts.session.state
        late = now_ns > self._since_ns + PATIENCE_NS
        if not storing and (state in _NOBODY or (late and state in _PAUSE)):
            self._parts.use(change)
            self._used(change)

    def _used(self, change: Change) -> None:
        """Note that everybody goes by this one: what was before is gone, and it is told."""
        gone: list[Change | None] = [self.now]
        self.now = change
        if self._next is change:
            self._next = None
        while self._overtaken:
            gone.append(self._overtaken.popleft())
        for each in gone:
            if each is not None and each is not change:
                each.gallery.forget()
        self._tellings = deque(self._owed())
        self._ref = None

    def stored(self, ref: int) -> None:
        """Note that an event is durable; the last one of a roster ends what is owed for it."""
        if ref != self._ref:
            return
        self._ref = None
        self._tellings.popleft()
        if not self._tellings:
            threading.Thread(target=self._settle, name="receipt", daemon=True).start()

    def failed(self, ref: int, now_ns: int) -> None:
        """Note that it was not stored: it is told again."""
        if ref == self._ref:
            self._ref = None
            self._again_ns = now_ns + AGAIN_NS

    def _owed(self) -> list[Telling]:
        owed, gallery = self._keeper.ledger.owed, self.now.gallery
        if owed is None or gallery.version != self._keeper.ledger.version:
            return []
        about = {"version": gallery.version, "digest": gallery.digest}
        return [
            Telling(AuditCode.ROSTER_INSTALLED, {**about, "people": gallery.size}),
            *(Telling(AuditCode.PERSON_ERASED, {**about, "person": who}) for who in owed.erased),
        ]

    def _settle(self) -> None:
        with self._lock:
            owed, ledger = self._keeper.ledger.owed, self._keeper.ledger
            if owed is None or ledger.version != self.now.gallery.version:
                return  # a newer one came meanwhile, and owes this one's receipts too
            try:
                self._keeper.told()
            except RosterError as error:
                log.warning("%s; it is told again after the next start", error)
        if owed.to:
            self.answer(
                Answer(
                    owed.to,
                    ledger.version,
                    data={"digest": ledger.digest, "erased": list(owed.erased)},
                )
            )


def delivery(
    settings: Settings, handover: Handover, sealer: Sealer, link: Callable[[], Link]
) -> Delivery:
    """Return the listener that brings rosters to the shelf; `link` is asked for once it runs."""
    unit = UnitName.of(settings.unit)
    about = Grumble()
    return Delivery(
        unit,
        AuthorityFile(settings.authority.keys),
        EncryptionKey.load_or_create(beside(settings.outbox.signing_key)),
        settings.roster.file.with_name(settings.roster.file.name + ".incoming"),
        handover,
        fetch=lambda listener, topics: link().fetch(listener, topics),
        answer=handover.answer,
        refused=lambda flaw, why: about.about(f"{why} ({flaw})"),
        now=sealer.trusted_now,
    )
