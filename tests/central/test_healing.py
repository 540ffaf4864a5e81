"""A broker acknowledges events and forgets them; the receiver finds out and has them sent again.

Real outbox, link and commands of a unit, a real mosquitto behind the one that lies, and a receiver
as an operator starts it.
"""

import json
from contextlib import ExitStack, closing
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from liar import LyingBroker
from places import Place
from processes import Process
from wireunit import FAST, UNIT, WireUnit, until

from edge.bench.broker import PrivateBroker
from edge.commands import Commands, Doors, change_of
from edge.mqtt.authority import Role, register
from edge.mqtt.clock import ClockReading, ClockState, SystemClock
from edge.mqtt.keys import SigningKey, add_registration
from edge.mqtt.outbox import Reader
from edge.mqtt.seal import Sealer
from edge.roster import Gallery
from edge.roster.search import DIMENSION
from edge.settings import AuthoritySettings, OutboxSettings, Settings

pytestmark = pytest.mark.broker

FORGOTTEN = {4, 5, 6, 12, 30}  # the last is a tail, which only the unit's health shows


class SetClock(SystemClock):
    """This machine's, which the test takes for disciplined."""

    def read(self) -> ClockReading:
        return replace(super().read(), state=ClockState.SYNCHRONIZED)


class Obedient:
    """A unit's wire side that obeys the commands of `authority`."""

    def __init__(self, folder: Path, authority: SigningKey, stack: ExitStack) -> None:
        self.folder = folder
        folder.mkdir()
        registration = register(authority, [Role.COMMAND], [UNIT.source])
        authorities = folder / "authorities.json"
        authorities.write_text(json.dumps({"keys": [registration]}))
        settings = Settings(
            outbox=OutboxSettings(file=folder / "outbox.db", replay_rate=100.0),
            authority=AuthoritySettings(keys=authorities),
        )
        self.commands = Commands(settings, SetClock(), None)
        stack.callback(self.commands.close)

    def start(self, liar: LyingBroker, stack: ExitStack) -> WireUnit:
        made = WireUnit(
            self.folder,
            liar.settings,
            pace=replace(FAST, health=1.0),
            clock=SetClock(),
            archive=self.commands.archive,
            listeners=[_Late(self.commands)],
        )
        nobody = Gallery((), np.empty((0, DIMENSION), np.float32))
        doors = Doors(lambda _: None, lambda _: None, lambda _code, _detail: 0, lambda: None)
        sealer: Sealer = made.signer.sealer
        present = change_of(self.commands.settings, nobody)
        self.commands.attach(sealer, made.outbox, present, lambda: nobody, doors)
        self.commands.link = made.link
        return stack.enter_context(made)


class _Late:
    """The commands' listener, which is made after the outbox that the link is made with."""

    def __init__(self, commands: Commands) -> None:
        self._commands = commands

    def filters(self, unit: object) -> tuple[str, ...]:
        return (UNIT.below("command", "+"),)

    def heard(self, topic: str, payload: bytes, retained: bool) -> None:
        (listener,) = self._commands.listeners
        listener.heard(topic, payload, retained)


def test_what_a_lying_broker_forgot_is_sent_again(
    tmp_path: Path, broker: PrivateBroker, place: Place
) -> None:
    authority = SigningKey.load_or_create(tmp_path / "authority.key")
    with ExitStack() as stack:
        unit = Obedient(tmp_path / "unit", authority, stack)
        add_registration(
            tmp_path / "keys.json",
            SigningKey.load_or_create(unit.folder / "signing.key").registration(UNIT),
        )
        receivers = [
            Process(
                tmp_path,
                broker.port,
                *place.options,
                "--grace=1",
                f"--authority-key={tmp_path / 'authority.key'}",
                name=name,
                store=False,
            )
            for name in ("one", "two")
        ]
        for one in receivers:
            stack.callback(one.kill)
        for one in receivers:
            one.ready()
        liar = stack.enter_context(LyingBroker(broker.port, FORGOTTEN))
        wires = unit.start(liar, stack)
        wires.record(30)
        with closing(Reader(wires.file)) as reader:
            signed = [row.token for row in reader.after(0, 100)]

            def stored() -> list[str]:
                rows = place.rows("SELECT jws FROM event ORDER BY sequence")
                return [jws for (jws,) in rows]

            until(lambda: stored() == signed, 90.0)
        said = [line for one in receivers for line in one.said]
        until(lambda: not place.rows("SELECT unit FROM gap WHERE healed_at IS NULL"), 30.0)
        assert [one.end() for one in receivers] == [0, 0]
    assert sorted(liar.forgotten) == sorted(FORGOTTEN)
    kinds = [line["kind"] for line in said]
    assert "gap" in kinds
    assert "asked" in kinds
    assert kinds.count("event") == 30, "each once, by one of the two"
    assert "given-up" not in kinds
