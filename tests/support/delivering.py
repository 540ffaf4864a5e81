"""A unit's shelf that only notes, and who brings rosters to it, for the tests."""

import json
from collections.abc import Sequence
from pathlib import Path

from orders import Commander
from rosters import EMBEDDER, KEY
from wireunit import UNIT, MessageHandler, Signer, UnknownTime

from edge.contract.authority import AuthorityFile, OrderRejected, OrderRejectReason, Role
from edge.contract.commands import CommandResult
from edge.contract.encryption import EncryptionKey, Recipient
from edge.contract.keys import KeySet, add_registration
from edge.contract.refusal_counter import RefusalCounter
from edge.contract.roster_manifest import RosterManifest, manifest_topic
from edge.roster.codec import Roster
from edge.roster.file import save
from edge.roster.installer import RosterInstaller
from edge.roster.messages import RosterReplies, TopicsWanted
from edge.roster.receiver import RosterReceiver
from edge.roster.store import RosterRejected, RosterStore
from edge.settings import BrokerSettings, RosterSettings
from edge.system.event_queue import EventQueue
from senyum_central.admin.broker_session import BrokerSession
from senyum_central.admin.rosters import (
    DeliveryMonitor,
    PushResult,
    RosterRelease,
    Source,
    digest_of,
    push,
)


class Enroller:
    """Has a roster, a key that signs it, and a key set of one unit."""

    def __init__(self, folder: Path, unit: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.commander = Commander(folder, roles=(Role.ROSTER,))
        self.keys = folder / "keys.json"
        self.authorities = folder / "authorities.json"
        add_registration(self.keys, Signer(unit).key.registration(UNIT))
        self.recipient = Recipient.of(
            EncryptionKey.load_or_create(unit / "encryption.key").registration(UNIT)
        )
        add_registration(
            self.keys,
            EncryptionKey.load_or_create(unit / "encryption.key").registration(UNIT),
        )
        self.file = folder / "roster.senyum"
        entry = {"keys": [self.commander.registration]}
        self.authorities.write_text(json.dumps(entry))

    def source(self) -> Source:
        return Source(
            self.file,
            KEY,
            self.commander.key,
            KeySet.load(self.keys),
            {UNIT: self.recipient},
        )

    def send(
        self, broker: BrokerSettings, roster: Roster, seconds: float = 30.0
    ) -> DeliveryMonitor:
        """Bring a roster and wait for the answer."""
        save(self.file, KEY, roster)
        load = RosterRelease.of(roster, [self.recipient])
        watch = DeliveryMonitor(KeySet.load(self.keys), [UNIT], digest_of(roster), load.manifests)
        with BrokerSession(broker, "admin") as post:
            self.pushed: PushResult = push(post, watch, load, self.commander.key)
            watch.wait(post, seconds, lambda _: None)
        return watch


class Rack(RosterInstaller):
    """An installer that only stores: every roster is in use at once."""

    def __init__(self, folder: Path) -> None:
        self.keeper = RosterStore(folder / "roster.senyum", KEY, EMBEDDER)
        self.events: EventQueue[TopicsWanted | RosterReplies] = EventQueue()
        super().__init__(self.keeper, RosterSettings(), self.events, wait_for_delivery=True)
        self.installed: list[int] = []
        self.answers: list[CommandResult] = []
        self.wanted: Sequence[str] = []  # topics that are being fetched
        self.digest = ""
        self.later: list[str] = []

    def take_events(self) -> None:
        """Do what the receiver asked the main loop to do."""
        for event in self.events.get(0.0):
            if isinstance(event, TopicsWanted):
                self.wanted = event.topics
            else:
                self.answers += event.results

    def handler(self, receiver: RosterReceiver) -> MessageHandler:
        """Return what handles the messages of a link with a receiver."""
        return _Handler(self, receiver)

    def is_current(self, version: int, digest: str) -> bool:
        return (version, digest) == (self.keeper.ledger.version, self.digest)

    def receipt_follows(self, to: str) -> bool:
        return to in self.later

    def check(self, manifest: RosterManifest) -> None:
        try:
            self.keeper.check(manifest.version, manifest.digest, manifest.embedder)
        except RosterRejected as error:
            raise OrderRejected(OrderRejectReason(error.reason), str(error)) from None

    def install(self, content: bytearray, manifest: RosterManifest) -> None:
        try:
            gallery = self.keeper.install(content, manifest.version, manifest.digest, manifest.id)
        except RosterRejected as error:
            raise OrderRejected(OrderRejectReason(error.reason), str(error)) from None
        self.digest = gallery.digest
        self.installed.append(manifest.version)

    def listener(self, folder: Path, authorities: Path, refusals: RefusalCounter) -> RosterReceiver:
        """Return the listener of the unit in `folder`."""
        return RosterReceiver(
            UNIT,
            AuthorityFile(authorities),
            EncryptionKey.load_or_create(folder / "encryption.key"),
            folder / "roster.senyum.incoming",
            self,
            events=self.events,
            refusals=refusals,
            clock=UnknownTime(),
        )


class _Handler(MessageHandler):
    def __init__(self, rack: Rack, receiver: RosterReceiver) -> None:
        super().__init__([manifest_topic(UNIT)], receiver.heard)
        self._rack = rack

    def handle(self, topic: str, payload: bytes, retained: bool) -> None:
        super().handle(topic, payload, retained)
        self._rack.take_events()
        if self.link is not None:
            self.link.fetch_retained(self.subscription, self._rack.wanted)
