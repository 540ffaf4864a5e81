"""An authority that signs orders for the unit of `wireunit`, for the tests."""

import time
from collections.abc import Iterable
from datetime import datetime
from pathlib import Path
from typing import Any, Self

import uuid6
from paho.mqtt.client import Client
from wireunit import UNIT

from edge.commands.handler import CommandHandler, CommandOutcome, CommandReply
from edge.contract.authority import Authorities, Role, register, sign_order
from edge.contract.events import timestamp
from edge.contract.keys import SigningKey
from edge.contract.topics import COMMAND
from edge.mqtt.connection import connect_client, new_client
from edge.settings import BrokerSettings
from edge.types import CommandReceived

TOPIC = UNIT.subtopic(COMMAND, "ping")
COMMAND_TYP = "senyum-command+jws"


class Commander:
    """One key of an authority, and the last number that it gave."""

    def __init__(
        self,
        folder: Path,
        alg: str = "Ed25519",
        roles: Iterable[Role] = (Role.COMMAND,),
        units: Iterable[str] = (UNIT.source,),
        *,
        not_before: datetime | None = None,
        not_after: datetime | None = None,
    ) -> None:
        self.key = SigningKey.load_or_create(folder / "authority.key", alg)
        self.registration = register(self.key, roles, units, not_before, not_after)
        self.authorities = Authorities.of([self.registration])
        self.number = 0

    def claims(
        self, name: str = "ping", data: object = None, /, **changes: object
    ) -> dict[str, Any]:
        """Return what a command says, with the next number, for a minute from now."""
        self.number += 1
        now_ns = time.time_ns()
        return {
            "id": str(uuid6.uuid7()),
            "aud": UNIT.source,
            "name": name,
            "number": self.number,
            "iat": timestamp(now_ns),
            "exp": timestamp(now_ns + 60_000_000_000),
            "data": {} if data is None else data,
            **changes,
        }

    def command(self, name: str = "ping", data: object = None, /, **changes: object) -> str:
        """Return a signed command."""
        return sign_order(self.key, COMMAND_TYP, self.claims(name, data, **changes))


def execute(
    handler: CommandHandler, message: CommandReceived, *, delivered: int = 0, stored: bool = True
) -> tuple[CommandOutcome, CommandReply]:
    """Execute a command as the main loop does; `stored`: whether its audits can be stored."""
    handler.receive(message)
    outcome = handler.execute_next(delivered)
    assert outcome is not None
    reply = outcome.reply
    for audit in outcome.audits:
        reply = handler.event_stored(audit.ref, stored=stored)
    assert reply is not None
    return outcome, reply


class Voice:
    """Publishes with QoS 1 and waits for the broker to take it."""

    def __init__(self, broker: BrokerSettings) -> None:
        self._client: Client = new_client(broker, "voice")
        connect_client(self._client, broker)
        self._client.loop_start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._client.disconnect()
        self._client.loop_stop()

    def say(
        self,
        payload: bytes,
        topic: str = UNIT.subtopic(COMMAND, "ping"),
        *,
        retain: bool = False,
        qos: int = 1,
    ) -> None:
        self._client.publish(topic, payload, qos, retain).wait_for_publish(10.0)
