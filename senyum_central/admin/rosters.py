"""Delivers a face roster to units through the broker, and reports which of them have it.

Chunks first, manifests last; then every older chunk that no manifest names any more is taken back
from the broker. A unit counts once its signed answer, or the digest in
its `state`, confirms the roster.
"""

import base64
import json
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from types import MappingProxyType

import uuid6

from edge.contract.authority import Audience, Role, sign_order, signing_key
from edge.contract.encryption import Recipient, recipients
from edge.contract.envelope import EnvelopeRejected, verify
from edge.contract.events import OnlineStatus, StateEvent, timestamp
from edge.contract.keys import KeySet, SigningKey
from edge.contract.roster_manifest import (
    LEAF,
    SHARED,
    TYP,
    RosterManifest,
    WrappedKey,
    chunk_topic,
    manifest_topic,
)
from edge.contract.topics import REPLY, ROOT, TopicKind, UnitName
from edge.errors import EnvelopeError, PeopleError, RosterError, SecretError
from edge.roster.chunks import EncryptedChunks, encrypt_chunks
from edge.roster.codec import Roster, pack, stripped, unpack
from edge.roster.file import read, save
from edge.roster.keys import read_key
from senyum_central.admin.broker_session import BrokerSession
from senyum_central.replies import verify_reply

LOOK_SECONDS = 2.0  # without a message: the broker has sent all retained messages


class DeliveryStatus(StrEnum):
    """The delivery status of a unit."""

    CONFIRMED = "confirmed"
    REFUSED = "refused"
    ANOTHER = "has another"  # online: it is fetching, or missed the message
    AWAY = "away"
    SILENT = "not heard"


@dataclass(frozen=True, slots=True)
class UnitStatus:
    """A unit and its delivery status."""

    unit: UnitName
    standing: DeliveryStatus = DeliveryStatus.SILENT
    about: str = ""
    token: str = ""  # its signed receipt or state
    answered: bool = False  # to this delivery; `state` alone may be older


@dataclass(frozen=True, slots=True)
class Source:
    """The roster file, the key to sign with, and the units to deliver to."""

    file: Path
    key: bytes
    authority: SigningKey
    keys: KeySet
    recipients: Mapping[UnitName, Recipient]

    @classmethod
    def open(
        cls, file: Path, key: Path, authority: Path, keys: Path, units: Sequence[str] = ()
    ) -> "Source":
        """Read the files; `units`: URN patterns, or none for all units in `keys`.

        Raises SecretError, which names the file.
        """
        try:
            wanted = [Audience.parse(each) for each in units]
        except ValueError as error:
            raise SecretError(f"--units {error}") from None
        every = recipients(keys)
        chosen = {
            unit: each
            for unit, each in every.items()
            if not wanted or any(pattern.covers(unit) for pattern in wanted)
        }
        if not chosen:
            raise SecretError(
                f"{keys}: names no unit of these with a key to encrypt to; add what `senyum keys` "
                "prints on the unit"
            )
        return cls(
            file,
            read_key(key, "the roster key"),
            signing_key(authority, Role.ROSTER),
            KeySet.load(keys),
            chosen,
        )

    def read(self) -> Roster:
        """Return the current roster. Raises RosterError."""
        return read(self.file, self.key)


def without_person(source: Source, person: str, *, absent: bool = False) -> Roster:
    """Remove a person permanently from the roster file, and return the new roster.

    Somebody who was erased before stays so, and nothing changes. Raises PeopleError for an id
    that is not in it, unless `absent` says that it need not be.
    """
    before = source.read()
    if person in before.tombstones:
        return before
    if not absent and all(one.id != person for one in before.people):
        raise PeopleError(
            f"{source.file}: nobody has the person id {person}; check it, or use --absent if they "
            "were taken out before"
        )
    version = before.version + 1
    after = replace(
        before,
        version=version,
        created=datetime.now(UTC),
        people=tuple(one for one in before.people if one.id != person),
        tombstones={**before.tombstones, person: version},
        readmitted={who: at for who, at in before.readmitted.items() if who != person},
    )
    save(source.file, source.key, after)
    return source.read()


def bump_version(source: Source, version: int) -> Roster:
    """Raise the roster's version to at least this one, for units that have a higher one."""
    before = source.read()
    if before.version >= version:
        return before
    save(source.file, source.key, replace(before, version=version))
    return source.read()


@dataclass(frozen=True, slots=True)
class RosterRelease:
    """The messages to publish."""

    parcel: EncryptedChunks
    version: int
    manifests: Mapping[UnitName, RosterManifest]
    at: Mapping[str, UnitName]  # by organisation: the unit whose topics hold its chunks

    @classmethod
    def of(cls, roster: Roster, recipients: Iterable[Recipient]) -> "RosterRelease":
        """Encrypt the roster. Raises RosterError if it is too large."""
        content = pack(stripped(roster))
        try:
            parcel = encrypt_chunks(content, roster.version)
        except ValueError as error:
            raise RosterError(f"the roster is too large to send: {error}") from None
        manifests: dict[UnitName, RosterManifest] = {}
        at: dict[str, UnitName] = {}
        for each in recipients:
            shared = at.setdefault(each.unit.org, UnitName(each.unit.org, SHARED, SHARED))
            manifests[each.unit] = RosterManifest(
                id=str(uuid6.uuid7()),
                aud=each.unit.source,
                version=roster.version,
                iat=timestamp(time.time_ns()),
                digest=parcel.digest,
                size=parcel.size,
                embedder=roster.embedder,
                at=shared.source,
                chunks=parcel.entries,
                recipients=(WrappedKey(kid=each.kid, key=each.wrap(parcel.key)),),
            )
        return cls(parcel, roster.version, manifests, at)


class DeliveryMonitor:
    """Collects the units' receipts and states, and the retained messages of the broker."""

    def __init__(
        self,
        keys: KeySet,
        units: Iterable[UnitName],
        digest: str,
        manifests: Mapping[UnitName, RosterManifest] = MappingProxyType({}),
    ) -> None:
        """Wait for the roster of this digest, and for answers to these manifests."""
        self._keys = keys
        self._digest = digest
        self._manifests = manifests
        self._reports = {unit: UnitStatus(unit) for unit in units}
        self._heard_at = time.monotonic()
        self.manifests: dict[str, bytes] = {}  # retained, by topic
        self.chunks: set[str] = set()  # topics

    def reports(self) -> list[UnitStatus]:
        """Return the status of each unit, in order."""
        return [self._reports[unit] for unit in sorted(self._reports)]

    def hear(self, topic: str, payload: bytes) -> None:
        """Process a message; ignore it if the unit did not sign it."""
        self._heard_at = time.monotonic()
        levels = topic.split("/")
        if levels[-1] == LEAF:
            self.manifests[topic] = payload
        elif levels[-2] == LEAF:
            self.chunks.add(topic) if payload else self.chunks.discard(topic)
        else:
            self._hear_unit(topic, levels, payload)

    def settle(self, post: BrokerSession) -> None:
        """Wait until the broker has sent its retained messages."""
        while (left := self._heard_at + LOOK_SECONDS - time.monotonic()) > 0:
            post.wait(left, lambda: bool(post.received))
            self._read(post)

    def wait(self, post: BrokerSession, seconds: float, done: Callable[[UnitStatus], None]) -> None:
        """Wait until every unit has answered, or time is up; call `done` for each answer."""
        reported: set[UnitName] = set()

        def tell() -> bool:
            self._read(post)
            for unit, report in self._reports.items():
                if report.answered and unit not in reported:
                    reported.add(unit)
                    done(report)
            return len(reported) == len(self._reports)

        post.wait(seconds, tell)

    def _read(self, post: BrokerSession) -> None:
        while post.received:
            heard = post.received.popleft()
            self.hear(heard.topic, heard.payload)

    def _hear_unit(self, topic: str, levels: Sequence[str], payload: bytes) -> None:
        try:
            unit = UnitName(*levels[2:5])
        except (TypeError, ValueError):
            return
        known = self._reports.get(unit)
        if known is None or known.answered:
            return
        if levels[5] == TopicKind.STATE:
            self._reports[unit] = self._state(known, topic, payload)
        elif unit in self._manifests:
            self._reports[unit] = self._reply(known, payload)

    def _reply(self, known: UnitStatus, payload: bytes) -> UnitStatus:
        to = self._manifests[known.unit].id
        try:
            reply = verify_reply(payload, self._keys, known.unit, to, datetime.now(UTC))
        except EnvelopeError:  # answers another message, or is not genuine
            return known
        token = payload.decode()
        if reply.ok:
            gone = reply.data.get("erased") or ()
            about = f"{reply.time}" + (f", erased {len(gone)}" if gone else "")
            return UnitStatus(known.unit, DeliveryStatus.CONFIRMED, about, token, answered=True)
        about = f"{reply.reason}: {reply.text}"
        return UnitStatus(known.unit, DeliveryStatus.REFUSED, about, token, answered=True)

    def _state(self, known: UnitStatus, topic: str, payload: bytes) -> UnitStatus:
        try:
            event = verify(payload, self._keys, topic).event
        except EnvelopeRejected:  # the Last Will is not signed
            return UnitStatus(known.unit, DeliveryStatus.AWAY)
        if not isinstance(event, StateEvent):
            return known
        if event.data.roster == self._digest:
            about = f"{event.time}, by its state"
            return UnitStatus(known.unit, DeliveryStatus.CONFIRMED, about, payload.decode())
        away = event.data.status is OnlineStatus.OFFLINE
        return UnitStatus(known.unit, DeliveryStatus.AWAY if away else DeliveryStatus.ANOTHER)


def digest_of(roster: Roster) -> str:
    """Return the digest that a unit reports when it uses this roster."""
    return unpack(pack(stripped(roster))).digest


def listen(post: BrokerSession, units: Iterable[UnitName]) -> None:
    """Subscribe to the units' receipts and states."""
    post.subscribe(
        [
            topic
            for unit in units
            for topic in (unit.topic(TopicKind.STATE), unit.subtopic(REPLY, "+"))
        ]
    )


@dataclass(frozen=True, slots=True)
class PushResult:
    """The result of `push`."""

    chunks: int
    removed: int  # older chunks
    others: tuple[str, ...]  # topics of manifests of units that are not in the key set


def push(
    post: BrokerSession,
    watch: DeliveryMonitor,
    load: RosterRelease,
    authority: SigningKey,
    *,
    remove_others: bool = False,
) -> PushResult:
    """Replace the roster on the broker. Raises LinkError."""
    filters = [
        pattern
        for org, at in load.at.items()
        for pattern in (f"{ROOT}/{org}/+/+/{LEAF}", f"{manifest_topic(at)}/+")
    ]
    post.subscribe(filters)
    watch.settle(post)
    post.unsubscribe(filters)
    listen(post, load.manifests)
    for at in load.at.values():
        for entry, chunk in zip(load.parcel.entries, load.parcel.chunks, strict=True):
            post.publish(chunk_topic(at, entry.name), chunk, retain=True)
    post.wait_acknowledged()
    topics = {manifest_topic(unit): manifest for unit, manifest in load.manifests.items()}
    others = tuple(sorted(t for t, body in watch.manifests.items() if body and t not in topics))
    for topic, manifest in topics.items():
        claims = manifest.model_dump(mode="json")
        post.publish(topic, sign_order(authority, TYP, claims), retain=True)
    for topic in others if remove_others else ():
        post.publish(topic, b"", retain=True)
    post.wait_acknowledged()
    kept = set() if remove_others else {c for t in others for c in _named(watch.manifests[t])}
    old = [topic for topic in watch.chunks if topic not in kept]
    for topic in old:
        post.publish(topic, b"", retain=True)
    post.wait_acknowledged()
    return PushResult(len(load.parcel.chunks), len(old), () if remove_others else others)


def _named(token: bytes) -> set[str]:
    """Return the topics that a retained manifest names; its signature is not checked."""
    try:
        body = token.split(b".")[1]
        claims = json.loads(base64.urlsafe_b64decode(body + b"=" * (-len(body) % 4)))
        at = UnitName.from_source(claims["at"])
        return {chunk_topic(at, str(chunk["name"])) for chunk in claims["chunks"]}
    except (IndexError, KeyError, TypeError, ValueError):
        return set()
