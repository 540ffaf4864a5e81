"""A unit whose ledger of commands could not be opened at the start goes on with it later."""

import json
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import ExitStack, closing
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import numpy as np
import pytest
from orders import Commander
from wireunit import UNIT, Signer, SteppedClock, until

from edge.commands import command_log as ledger
from edge.commands import service as desk
from edge.commands.actions import RuntimeConfig, change_of
from edge.commands.command_log import CommandEffect, CommandLog, CompletedCommand
from edge.commands.service import CommandService, DaemonHooks
from edge.contract.topics import COMMAND
from edge.errors import ErrorCode
from edge.gallery import Gallery
from edge.mqtt.link import ConnectionManager
from edge.outbox.event_signer import HealthReport
from edge.outbox.replay import ReplayRequest
from edge.outbox.store import Outbox, OutboxReader
from edge.settings import Settings

AUDIT = {"command": "settings", "number": 1}
DONE = CompletedCommand("another", 1, "digest", "topic", "reply", AUDIT)
REPLAY = ReplayRequest(0, 1, 2)


class House:
    """What commands reach of a unit."""

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        self.commander = Commander(folder)
        (folder / "keys.json").write_text(json.dumps({"keys": [self.commander.registration]}))
        self.settings = Settings.model_validate(
            {
                "outbox": {"file": folder / "outbox.db"},
                "authority": {"keys": folder / "keys.json"},
            }
        )
        self.changes: list[RuntimeConfig] = []
        self.audits: list[dict[str, object]] = []
        self.commands = CommandService(self.settings, SteppedClock(1e9), None)
        stack.callback(self.commands.close)
        outbox = stack.enter_context(closing(Outbox(folder / "outbox.db")))
        gallery = Gallery((), np.zeros((0, 512), np.float32))
        self.commands.attach(
            Signer(folder, SteppedClock(1e9)).sealer,
            outbox,
            change_of(self.commands.settings, gallery),
            lambda: gallery,
            DaemonHooks(self.changes.append, lambda _: None, self._audit, lambda: None),
        )
        link = SimpleNamespace(publish_reply=lambda *_: None, wake=lambda: None, delivered=0)
        self.commands.link = cast("ConnectionManager", link)
        reader = stack.enter_context(closing(OutboxReader(folder / "outbox.db")))
        self.replay = self.commands.archive(reader)

    def _audit(self, _code: object, detail: object) -> int:
        assert isinstance(detail, dict)
        self.audits.append(detail)
        stored = partial(self.commands.stored, len(self.audits), stored=True)
        threading.Thread(target=stored).start()  # waits until the number is known
        return len(self.audits)

    def hear(self) -> str | None:
        """Order it to answer; return why it does not."""
        handler = self.commands.handler
        assert handler is not None
        token = self.commander.command("identify").encode()
        before = self.commands.refusals.total
        handler.heard(UNIT.subtopic(COMMAND, "identify"), token, False)
        refusals = self.commands.refusals
        return str(refusals.last) if refusals.total > before else None


@pytest.fixture
def house(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[House]:
    """Give one whose ledger holds a setting, a replay and an audit, and cannot be opened."""
    with closing(CommandLog(tmp_path / "commands.sqlite", lambda: 1)) as before:
        before.add(DONE, CommandEffect({"gpio.volume": 0.25}, REPLAY))
    monkeypatch.setattr(desk, "AGAIN_S", 0.05)
    monkeypatch.setattr(ledger, "_open", no_room)
    with ExitStack() as stack:
        yield House(tmp_path, stack)


OPEN = ledger._open


def no_room(file: Path) -> sqlite3.Connection:
    raise sqlite3.OperationalError(f"unable to open database file {file}")


def test_it_recovers_without_a_restart(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    commands = house.commands
    assert commands.trouble is ErrorCode.COMMANDS
    assert commands.vitals(HealthReport()).last_error is ErrorCode.COMMANDS
    assert commands.settings.gpio.volume != 0.25
    tried: list[int] = []
    commands.begin(lambda: tried.append(1))
    until(lambda: len(tried) >= 3, 10.0)
    assert (house.changes, house.audits) == ([], [])
    assert house.hear() == "failed"
    monkeypatch.setattr(ledger, "_open", OPEN)
    until(lambda: commands.trouble is None, 10.0)
    (change,) = house.changes
    assert change.settings.gpio.volume == 0.25
    assert [(ask.first, ask.last) for ask in house.replay.asked] == [(1, 2)]
    until(lambda: house.audits, 10.0)
    assert house.hear() is None
    assert commands.vitals(HealthReport()).last_error is None
