"""A unit whose ledger of commands could not be opened at the start goes on with it later."""

import json
import sqlite3
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import pytest
from orders import Commander, execute
from wireunit import UNIT, Signer, SteppedClock

from edge.commands import command_log as ledger
from edge.commands.actions import CommandActions, RuntimeConfig
from edge.commands.command_log import CommandEffect, CommandLog, CompletedCommand
from edge.commands.handler import CommandHandler
from edge.commands.service import RETRY_SECONDS, CommandService, RemoteConfig
from edge.contract.authority import AuthorityFile
from edge.contract.refusal_counter import RefusalCounter
from edge.contract.topics import COMMAND
from edge.errors import ErrorCode
from edge.gallery import empty
from edge.outbox.event_signer import HealthReport
from edge.outbox.replay import ReplayRequest
from edge.outbox.store import Outbox, OutboxReader
from edge.settings import Settings
from edge.types import AuditCode, CommandReceived

AUDIT = {"command": "settings", "number": 1}
DONE = CompletedCommand("another", 1, "digest", "topic", "reply", AUDIT)
REPLAY = ReplayRequest(0, 1, 2)


class House:
    """The commands of a unit."""

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        self.commander = Commander(folder)
        (folder / "keys.json").write_text(json.dumps({"keys": [self.commander.registration]}))
        base = Settings.model_validate({"outbox": {"file": folder / "outbox.db"}})
        command_log = stack.enter_context(
            closing(CommandLog(folder / "commands.sqlite", SteppedClock(1e-6)))
        )
        self.remote = RemoteConfig(base, command_log)
        outbox = stack.enter_context(closing(Outbox(folder / "outbox.db")))
        actions = CommandActions(
            base,
            RuntimeConfig(base, base, empty()),
            command_log,
            stack.enter_context(closing(OutboxReader(folder / "outbox.db"))),
            software="",
            session=outbox.session,
        )
        self.refusals = RefusalCounter()
        self.handler = CommandHandler(
            AuthorityFile(folder / "keys.json"),
            command_log,
            Signer(folder, SteppedClock(1e9)).sealer,
            actions=actions,
            refusals=self.refusals,
        )
        self.commands = CommandService(
            command_log, self.handler, actions, self.refusals, self.remote.trouble
        )

    def order(self) -> str | None:
        """Order it to identify itself; return why it does not."""
        payload = self.commander.command("identify").encode()
        before = self.refusals.total
        execute(self.handler, CommandReceived(UNIT.subtopic(COMMAND, "identify"), payload, False))
        return str(self.refusals.last) if self.refusals.total > before else None


@pytest.fixture
def house(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[House]:
    """Give one whose ledger holds a setting, a replay and an audit, and cannot be opened."""
    with closing(CommandLog(tmp_path / "commands.sqlite", SteppedClock(1e-6))) as before:
        before.add(DONE, CommandEffect({"gpio.volume": 0.25}, REPLAY))
    monkeypatch.setattr(ledger, "_open", no_room)
    with ExitStack() as stack:
        yield House(tmp_path, stack)


OPEN = ledger._open


def no_room(file: Path) -> sqlite3.Connection:
    raise sqlite3.OperationalError(f"unable to open database file {file}")


def test_it_recovers_without_a_restart(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    commands = house.commands
    assert commands.trouble is ErrorCode.COMMANDS
    assert commands.add_to(HealthReport()).last_error is ErrorCode.COMMANDS
    assert house.remote.settings.gpio.volume != 0.25
    assert commands.poll(0.0) == ([], None, [])
    assert house.order() == "failed"
    monkeypatch.setattr(ledger, "_open", OPEN)
    assert commands.poll(RETRY_SECONDS - 1.0)[1:] == (None, [])
    audits, change, replays = commands.poll(RETRY_SECONDS)
    assert commands.trouble is None
    assert change is not None
    assert change.settings.gpio.volume == 0.25
    assert [(replay.first, replay.last) for replay in replays] == [(1, 2)]
    assert [audit.detail for audit in audits if audit.code is AuditCode.COMMAND_DONE] == [AUDIT]
    assert house.order() is None
    assert commands.add_to(HealthReport()).last_error is None
