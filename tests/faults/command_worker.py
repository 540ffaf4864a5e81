"""One unit's commands as a process that dies at a moment of its own choice.

Arguments: folder, port of the broker, when to die: prepare, act, tell, or never.
"""

import os
import signal
import sys
from dataclasses import astuple
from pathlib import Path

from wireunit import UNIT, MessageHandler, Signer, UnknownTime, WireUnit

from edge.commands.actions import CommandActions, PreparedCommand
from edge.commands.command_log import CommandEffect, CommandLog
from edge.commands.handler import CommandHandler, CommandReply
from edge.contract.authority import AuthorityFile
from edge.contract.commands import AnyData, CommandName
from edge.contract.refusal_counter import RefusalCounter
from edge.contract.topics import COMMAND
from edge.roster.messages import RosterLoaded
from edge.settings import BrokerSettings
from edge.system.event_queue import EventQueue
from edge.types import CommandReceived, Cue, CueName, EventStored


class Worker(CommandActions):
    """Executes commands, writes a line for each effect, and dies as by a power cut."""

    def __init__(self, folder: Path, dies: str) -> None:
        self._file = folder / "effects"
        self._dies = dies

    def prepare(
        self, name: CommandName, data: AnyData, delivered: int, loaded: RosterLoaded | None
    ) -> PreparedCommand:
        self.reached("prepare")
        return PreparedCommand(
            "done",
            effect=CommandEffect({"gpio.volume": 0.25}),
            audit={},
            cue=Cue(CueName.IDENTIFY),
        )

    def act(self) -> None:
        with self._file.open("a") as file:
            file.write("effect\n")
        self.reached("act")

    def reached(self, what: str) -> None:
        if what == self._dies:
            os.kill(os.getpid(), signal.SIGKILL)


def main(folder: Path, port: int, dies: str) -> None:
    """Execute commands as the main loop does, until the parent ends it."""
    worker = Worker(folder, dies)
    events: EventQueue[CommandReceived | EventStored] = EventQueue()
    handler = CommandHandler(
        AuthorityFile(folder / "authorities.json"),
        CommandLog(folder / "commands.sqlite", UnknownTime()),
        Signer(folder).sealer,
        actions=worker,
        refusals=RefusalCounter(),
    )
    broker = BrokerSettings(host="127.0.0.1", port=port)
    commands = MessageHandler([UNIT.subtopic(COMMAND, "+")], queue=events)
    with WireUnit(folder, broker, handlers=[commands]) as unit:
        while True:
            replies: list[CommandReply | None] = []
            for event in events.get():
                if isinstance(event, EventStored):
                    replies.append(handler.event_stored(event.ref, stored=True))
                else:
                    handler.receive(CommandReceived(*astuple(event)))
            while (outcome := handler.execute_next(0)) is not None:
                if outcome.cue is not None:
                    worker.act()
                for audit in outcome.audits:
                    worker.reached("tell")
                    events.put(EventStored(audit.ref))
                replies.append(outcome.reply)
            for reply in replies:
                if reply is not None:
                    unit.link.publish_reply(reply.topic, reply.token)
                    unit.link.acknowledge(reply.delivery)


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3])
