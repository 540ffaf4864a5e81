"""One unit's commands as a process that dies at a moment of its own choice.

Arguments: folder, port of the broker, when to die: prepare, act, tell, or never.
"""

import os
import signal
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from wireunit import UNIT, MessageHandler, Signer, WireUnit

from edge.commands.command_log import CommandEffect, CommandLog
from edge.commands.handler import CommandHandler, PreparedCommand
from edge.commands.refusal_counter import RefusalCounter
from edge.contract.authority import AuthorityFile
from edge.contract.commands import AnyData, CommandName
from edge.contract.topics import COMMAND
from edge.outbox.replay import ReplayRequest
from edge.settings import BrokerSettings


class Hands:
    """Writes a line for each effect, and ends this process as by a power cut."""

    def __init__(self, folder: Path, dies: str) -> None:
        self._file = folder / "effects"
        self._dies = dies

    def prepare(self, name: CommandName, data: AnyData) -> PreparedCommand:
        self._reached(f"prepare {name} {data!r}")
        return PreparedCommand(
            "done", effect=CommandEffect({"gpio.volume": 0.25}), audit={}, act=self._act
        )

    def wait_for_audit(self, detail: Mapping[str, Any]) -> bool:
        self._reached("tell")
        return bool(detail)

    def restart(self) -> None:
        raise AssertionError("nothing here restarts")

    def _act(self, _: ReplayRequest | None) -> None:
        with self._file.open("a") as file:
            file.write("effect\n")
        self._reached("act")

    def _reached(self, what: str) -> None:
        if what.split(maxsplit=1)[0] == self._dies:
            os.kill(os.getpid(), signal.SIGKILL)


def main(folder: Path, port: int, dies: str) -> None:
    units: list[WireUnit] = []

    def say(topic: str, token: str) -> None:
        units[0].link.publish_reply(topic, token)

    signer = Signer(folder)
    orders = CommandHandler(
        AuthorityFile(folder / "authorities.json"),
        CommandLog(folder / "commands.sqlite", lambda: None),
        signer.sealer,
        hands=Hands(folder, dies),
        say=say,
        refusals=RefusalCounter(),
    )
    broker = BrokerSettings(host="127.0.0.1", port=port)
    units.append(
        WireUnit(
            folder, broker, handlers=[MessageHandler([UNIT.subtopic(COMMAND, "+")], orders.heard)]
        )
    )
    with units[0]:
        while True:  # the parent ends it
            time.sleep(1.0)


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3])
