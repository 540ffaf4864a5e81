"""A roster that comes by the broker: hears the manifest, gathers the chunks, hands the whole on.

    NOTHING ──manifest, newer, for us──▶ GATHERING ──last chunk──▶ RosterInstaller ──▶ NOTHING
                                          ▲      │
                                          └──────┘ chunk, in any order; a newer manifest starts over

Nothing changes before every digest was checked. What is gathered lies encrypted in a folder, so
that an outage or a restart costs only what had not come: the broker keeps the manifest, sends it
again, and the chunks that are there are not fetched again.
"""

import json
import logging
import math
import shutil
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edge.contract.authority import (
    AuthorityFile,
    OrderRejected,
    OrderRejectReason,
    Role,
    VerifiedOrder,
)
from edge.contract.encryption import EncryptionKey
from edge.contract.refusal_counter import RefusalCounter
from edge.contract.roster_manifest import (
    MANIFEST_BYTES,
    TYP,
    RosterManifest,
    manifest_topic,
    parse_manifest,
)
from edge.contract.topics import UnitName
from edge.errors import SenyumError
from edge.roster.chunks import ChunkStore, clear
from edge.roster.installer import RosterInstaller
from edge.roster.messages import RosterReplies, TopicsWanted, answer
from edge.system.clock import Clock, utc_if_known
from edge.system.event_queue import EventQueue
from edge.system.log_once import LogOnce

log = logging.getLogger(__name__)

AGAIN_S = 60.0  # before what the disk did not take is tried again


@dataclass(frozen=True, slots=True)
class _Download:
    manifest: RosterManifest
    key: bytes
    basket: ChunkStore
    token: bytes  # the manifest as it came

    def topics(self) -> list[str]:
        """Return the topics of what is missing."""
        return [self.manifest.topic(name) for name in self.basket.missing]


class RosterReceiver:
    """Listens for rosters. Everything but the constructor in the listening thread."""

    def __init__(
        self,
        unit: UnitName,
        authorities: AuthorityFile,
        key: EncryptionKey,
        folder: Path,
        installer: RosterInstaller,
        *,
        events: EventQueue[Any],
        refusals: RefusalCounter,
        clock: Clock,
        reserve_bytes: int = 0,
    ) -> None:
        """Collect the chunks in `folder`. `events` gets TopicsWanted and RosterReplies.

        A roster is not fetched if it would leave less than `reserve_bytes` of the disk free.
        """
        self._unit = unit
        self._topic = manifest_topic(unit)
        self._authorities = authorities
        self._key = key
        self._folder = folder
        self._installer = installer
        self._events = events
        self._refusals = refusals
        self._clock = clock
        self._reserve_bytes = reserve_bytes
        self._retry_at = math.inf  # time.monotonic(); when `_token` is tried again
        self._token = b""  # the manifest that is worked on, as it came
        self._failed_id: str | None = None  # of the manifest that the disk did not take
        self._gathering: _Download | None = None
        self._about = LogOnce()

    def heard(self, topic: str, payload: bytes, retained: bool) -> None:  # noqa: ARG002
        """Take a manifest or a chunk in. Both may come retained or live, and more than once."""
        if topic != self._topic:
            self._take_chunk(topic, payload)
            return
        if not payload:  # the authority took it back from the broker
            return
        manifest: RosterManifest | None = None
        self._token = payload
        try:
            order = self._authorities.current().verify(
                payload,
                TYP,
                Role.ROSTER,
                self._unit,
                now=utc_if_known(self._clock),
                most_bytes=MANIFEST_BYTES,
            )
            manifest = _manifest(order)
            self._take_manifest(manifest)
        except OrderRejected as error:
            self._refuse(error, manifest)
        except (SenyumError, OSError) as error:
            self._failed(error, manifest)

    def poll(self, now: float) -> float:
        """Try again what the disk did not take, if it is time to; return when that is.

        `now` and the returned time are in seconds of `time.monotonic()`; infinity: nothing to do.
        """
        if now >= self._retry_at:
            self._retry_at = math.inf
            self.heard(self._topic, self._token, retained=False)
        return self._retry_at

    def _take_manifest(self, manifest: RosterManifest) -> None:
        if self._installer.is_current(manifest.version, manifest.digest):
            self._drop()
            if not self._installer.receipt_follows(manifest.id):
                self._answer(manifest.id, manifest.version, digest=manifest.digest)
            return
        under_way = self._gathering
        if under_way is not None and manifest.version < under_way.manifest.version:
            raise OrderRejected(
                OrderRejectReason.STALE, "is older than the one that is being fetched"
            )
        self._installer.check(manifest)
        wrapped = manifest.key_for(self._key.kid)
        if wrapped is None:
            raise OrderRejected(
                OrderRejectReason.NO_RECIPIENT,
                f"is not encrypted for this unit's key {self._key.kid}; register it again",
            )
        try:
            key = self._key.unwrap(wrapped)
        except ValueError as error:
            raise OrderRejected(
                OrderRejectReason.NO_RECIPIENT, f"its content key {error}"
            ) from None
        # What is gathered, and the file that is made of it.
        free = shutil.disk_usage(self._folder.parent).free
        if free < 2 * manifest.size + self._reserve_bytes:
            raise OrderRejected(
                OrderRejectReason.FAILED, f"the disk has no room for {manifest.size} bytes of it"
            )
        self._gathering = _Download(manifest, key, ChunkStore(self._folder, manifest), self._token)
        log.info("roster version %d is being fetched", manifest.version)
        self._go_on(self._gathering)

    def _take_chunk(self, topic: str, payload: bytes) -> None:
        gathering = self._gathering
        if gathering is None or not payload:
            return
        self._token = gathering.token
        try:
            if not gathering.basket.add(topic.rpartition("/")[2], payload):
                self._about.warn(
                    "a chunk of the roster is not the one that was signed; asked again"
                )
                return
            self._go_on(gathering)
        except OrderRejected as error:
            self._refuse(error, gathering.manifest)
        except (SenyumError, OSError) as error:
            self._failed(error, gathering.manifest)

    def _go_on(self, gathering: _Download) -> None:
        """Fetch what is missing, or hand the whole on."""
        if gathering.basket.missing:
            self._events.put(TopicsWanted(gathering.topics()))
            return
        try:
            content = gathering.basket.content(gathering.key)
        except ValueError as error:
            if not gathering.basket.missing:
                raise OrderRejected(OrderRejectReason.BAD_DATA, str(error)) from None
            self._events.put(TopicsWanted(gathering.topics()))
            return
        self._events.put(TopicsWanted(()))
        try:
            self._installer.install(content, gathering.manifest)
        finally:
            content[:] = bytes(len(content))
        self._drop()

    def _refuse(self, error: OrderRejected, manifest: RosterManifest | None) -> None:
        """Count a refusal, and answer it, unless nobody known signed what is refused."""
        if (
            error.flaw is OrderRejectReason.FAILED
            and manifest is not None
            and self._tried_again(manifest)
        ):
            return
        self._refusals.add(error.flaw, f"roster: {error}")
        if manifest is not None:
            gathering = self._gathering
            ours = gathering is not None and gathering.manifest.id == manifest.id
            if ours and error.flaw is not OrderRejectReason.FAILED:
                self._drop()
            self._answer(manifest.id, manifest.version, error.flaw, str(error))
        elif error.order is not None:
            claims = error.order.claims
            self._answer(claims.get("id"), claims.get("version"), error.flaw, str(error))

    def _answer(
        self,
        to: object,
        version: object,
        flaw: OrderRejectReason | None = None,
        text: str = "",
        **data: Any,
    ) -> None:
        reply_event = answer(to, version, flaw, text, **data)
        if reply_event is not None:
            self._events.put(RosterReplies((reply_event,)))

    def _failed(self, error: Exception, manifest: RosterManifest | None) -> None:
        """Say that this unit could not, and keep what is gathered for the next time."""
        known = isinstance(error, SenyumError)
        why = str(error) if known else f"the disk does not take the roster: {error}"
        self._about.warn(f"{why}; will try again in {AGAIN_S:.0f} s")
        self._events.put(TopicsWanted(()))
        if manifest is not None and not self._tried_again(manifest):
            self._answer(
                manifest.id, manifest.version, OrderRejectReason.FAILED, "the disk does not take it"
            )

    def _tried_again(self, manifest: RosterManifest) -> bool:
        """Have the manifest heard again later; returns whether it has failed before."""
        before, self._failed_id = self._failed_id, manifest.id
        self._retry_at = time.monotonic() + AGAIN_S
        return before == manifest.id

    def _drop(self) -> None:
        """Want nothing any more."""
        self._gathering = None
        self._failed_id = None
        self._retry_at = math.inf
        self._events.put(TopicsWanted(()))
        try:
            clear(self._folder)
        except OSError as error:
            self._about.warn(f"chunks of the roster cannot be removed: {error.strerror}")


def _manifest(order: VerifiedOrder) -> RosterManifest:
    try:
        return parse_manifest(json.dumps(order.claims))
    except ValueError as error:
        raise OrderRejected(OrderRejectReason.MALFORMED, str(error), order) from None
