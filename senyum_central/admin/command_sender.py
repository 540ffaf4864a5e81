"""Sends one command to one unit: signs it, publishes it and waits for the answer."""

import secrets
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import uuid6

from edge.contract.authority import Role, sign_order, signing_key
from edge.contract.commands import COMMAND_TYP, CommandName, Reply
from edge.contract.envelope import EnvelopeRejected, parse_will, verify
from edge.contract.events import HealthEvent, StateEvent, timestamp
from edge.contract.keys import KeySet
from edge.contract.topics import COMMAND, REPLY, TopicKind, UnitName
from edge.errors import EnvelopeError, LinkError
from edge.settings import BrokerSettings
from edge.system.text import pluralize
from senyum_central.admin.authority_key import next_number
from senyum_central.admin.broker_session import BrokerSession
from senyum_central.replies import verify_reply


@dataclass(frozen=True, slots=True)
class SignedCommand:
    """A signed command."""

    id: str
    number: int
    token: str


def sign(
    key: Path, unit: UnitName, name: CommandName, data: Mapping[str, Any], expires: float
) -> SignedCommand:
    """Sign a command with the next number of the key; it is valid for `expires` seconds.

    Raises SecretError.
    """
    authority = signing_key(key, Role.COMMAND)
    number = next_number(key)
    now_ns = time.time_ns()
    id_ = str(uuid6.uuid7())
    claims = {
        "id": id_,
        "aud": unit.source,
        "name": name.value,
        "number": number,
        "iat": timestamp(now_ns),
        "exp": timestamp(now_ns + round(expires * 1e9)),
        "data": dict(data),
    }
    return SignedCommand(id_, number, sign_order(authority, COMMAND_TYP, claims))


class CommandSender:
    """Waits for a unit's answer to a command, and collects the unit's state meanwhile."""

    def __init__(self, unit: UnitName, keys: KeySet, signed: SignedCommand) -> None:
        self._unit = unit
        self._keys = keys
        self._signed = signed
        self._reply: Reply | None = None
        self._false: str | None = None  # why an answer was not accepted
        self._state = "it was never connected to this broker"
        self._health = ""

    def run(self, broker: BrokerSettings, name: CommandName, seconds: float) -> Reply:
        """Publish and wait. Raises LinkError, with what to check, if no answer arrives in time."""
        topics = (
            self._unit.subtopic(REPLY, self._signed.id),
            self._unit.topic(TopicKind.STATE),
            self._unit.topic(TopicKind.HEALTH),
        )
        with BrokerSession(broker, f"senyum-admin.{secrets.token_hex(8)}") as session:
            session.subscribe(topics)
            session.publish(self._unit.subtopic(COMMAND, name), self._signed.token, retain=False)
            session.wait_acknowledged()
            session.wait(seconds, lambda: self._answered(session))
        if self._reply is None:
            raise LinkError(self._silence(seconds))
        return self._reply

    def _answered(self, session: BrokerSession) -> bool:
        while session.received:
            heard = session.received.popleft()
            self._hear(heard.topic, heard.payload)
        return self._reply is not None

    def _hear(self, topic: str, payload: bytes) -> None:
        try:
            if topic.startswith(self._unit.subtopic(REPLY)):
                now = datetime.now(UTC)
                self._reply = verify_reply(payload, self._keys, self._unit, self._signed.id, now)
            else:
                self._look(topic, payload)
        except EnvelopeError as error:
            self._false = str(error)

    def _look(self, topic: str, payload: bytes) -> None:
        """Keep the unit's reported state, for the message if no answer arrives."""
        if payload.startswith(b"{"):
            parse_will(payload)
            self._state = "the broker has lost it; it gets the command when it is back in time"
            return
        try:
            event = verify(payload, self._keys, topic).event
        except EnvelopeRejected as error:
            self._false = str(error)
            return
        if isinstance(event, StateEvent):
            self._state = f"its last word is that it is {event.data.status} (since {event.time})"
        if isinstance(event, HealthEvent) and event.data.last_refusal is not None:
            self._health = (
                f"; it refused {pluralize(event.data.refused_commands, 'command')}, the last as "
                f"{event.data.last_refusal}: does its file of authorities have this key?"
            )

    def _silence(self, seconds: float) -> str:
        failure = f"{self._unit.source}: no answer in {seconds:g} s; {self._state}{self._health}"
        if self._false is not None:
            return f"{failure}; what came was not proven: {self._false}"
        more = "" if self._health else ", and whether its authorities.json has this key"
        return f"{failure}; look whether the broker lets it read command/+ and write reply/+{more}"
