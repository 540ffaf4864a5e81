"""A unit's wire side that obeys commands, as the daemon does: replay among them."""

import json
from contextlib import ExitStack, closing
from dataclasses import replace
from pathlib import Path

from orders import execute
from wireunit import FAST, UNIT, MessageHandler, WireUnit

from edge.commands.actions import CommandActions, RuntimeConfig
from edge.commands.command_log import CommandLog
from edge.commands.handler import CommandHandler
from edge.contract.authority import AuthorityFile, Role, register
from edge.contract.keys import SigningKey
from edge.contract.refusal_counter import RefusalCounter
from edge.contract.topics import COMMAND
from edge.gallery import empty
from edge.outbox.replay import ReplayFinished
from edge.outbox.store import OutboxReader
from edge.settings import BrokerSettings, OutboxSettings, Settings
from edge.system.clock import ClockReading, ClockState, SystemClock
from edge.types import CommandReceived


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
        self.authorities = folder / "authorities.json"
        self.authorities.write_text(json.dumps({"keys": [registration]}))
        self.settings = Settings(outbox=OutboxSettings(file=folder / "outbox.db"))
        self.log = CommandLog(folder / "commands.sqlite", SetClock())
        stack.callback(self.log.close)

    def start(self, broker: BrokerSettings, stack: ExitStack) -> WireUnit:
        commands = MessageHandler([UNIT.subtopic(COMMAND, "+")], self._handle)
        made = WireUnit(
            self.folder,
            broker,
            pace=replace(FAST, health_interval=1.0),
            clock=SetClock(),
            handlers=[commands],
        )
        self.link, self.events = made.link, made.events
        for unfinished in self.log.replays():
            self.link.request_replay(unfinished)
        reader = stack.enter_context(closing(OutboxReader(made.file)))
        self.handler = CommandHandler(
            AuthorityFile(self.authorities),
            self.log,
            made.signer.sealer,
            actions=CommandActions(
                self.settings,
                RuntimeConfig(self.settings, self.settings, empty()),
                self.log,
                reader,
                software="",
                session=made.outbox.session,
            ),
            refusals=RefusalCounter(),
        )
        return stack.enter_context(made)

    def _handle(self, topic: str, payload: bytes, retained: bool) -> None:
        for finished in self.events.of(ReplayFinished):
            self.log.replayed(finished.id)
        message = CommandReceived(topic, payload, retained)
        outcome, reply = execute(self.handler, message, delivered=self.link.delivered)
        if outcome.replay is not None:
            self.link.request_replay(outcome.replay)
        if reply.topic:
            self.link.publish_reply(reply.topic, reply.token)
