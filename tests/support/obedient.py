"""A unit's wire side that obeys commands, as the daemon does: replay among them."""

import json
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import numpy as np
from wireunit import FAST, UNIT, MessageHandler, WireUnit

from edge.commands.actions import change_of
from edge.commands.service import CommandService, DaemonHooks
from edge.contract.authority import Role, register
from edge.contract.keys import SigningKey
from edge.contract.topics import COMMAND
from edge.gallery import DIMENSION, Gallery
from edge.outbox.event_signer import EventSigner
from edge.settings import AuthoritySettings, BrokerSettings, OutboxSettings, Settings
from edge.system.clock import ClockReading, ClockState, SystemClock


class SetClock(SystemClock):
    """This machine's, which the test takes for disciplined."""

    def read(self) -> ClockReading:
        return replace(super().read(), state=ClockState.SYNCHRONIZED)


class Obedient:
    """A unit's wire side that obeys the commands of `authority`."""

    def __init__(self, folder: Path, authority: SigningKey, stack: ExitStack) -> None:
        self.folder = folder
        folder.mkdir(exist_ok=True)
        registration = register(authority, [Role.COMMAND], [UNIT.source])
        authorities = folder / "authorities.json"
        authorities.write_text(json.dumps({"keys": [registration]}))
        settings = Settings(
            outbox=OutboxSettings(file=folder / "outbox.db", replay_rate=100.0),
            authority=AuthoritySettings(keys=authorities),
        )
        self.commands = CommandService(settings, SetClock(), None)
        stack.callback(self.commands.close)

    def start(self, broker: BrokerSettings, stack: ExitStack) -> WireUnit:
        made = WireUnit(
            self.folder,
            broker,
            pace=replace(FAST, health_interval=1.0),
            clock=SetClock(),
            archive=self.commands.archive,
            handlers=[MessageHandler([UNIT.subtopic(COMMAND, "+")], self._handle)],
        )
        nobody = Gallery((), np.empty((0, DIMENSION), np.float32))
        doors = DaemonHooks(lambda _: None, lambda _: None, lambda _code, _detail: 0, lambda: None)
        sealer: EventSigner = made.signer.sealer
        present = change_of(self.commands.settings, nobody)
        self.commands.attach(sealer, made.outbox, present, lambda: nobody, doors)
        self.commands.link = made.link
        return stack.enter_context(made)

    def _handle(self, topic: str, payload: bytes, retained: bool) -> None:
        assert self.commands.handler is not None
        self.commands.handler.heard(topic, payload, retained)
