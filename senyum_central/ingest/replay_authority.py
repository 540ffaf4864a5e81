"""The key in whose name a receiver asks units to send again what it misses."""

from datetime import UTC, datetime
from pathlib import Path

import uuid6

from edge.contract.authority import Role, sign_order, signing_key
from edge.contract.commands import COMMAND_TYP, CommandName
from edge.contract.keys import SigningKey
from edge.contract.topics import COMMAND, UnitName
from senyum_central.ingest.gap_requests import Request
from senyum_central.ingest.gaps import Gap
from senyum_central.ingest.ingestor import Message


class ReplayAuthority:
    """Signs `replay` commands with a command authority's private key."""

    def __init__(self, key: SigningKey) -> None:
        self._key = key

    @classmethod
    def load(cls, path: Path) -> "ReplayAuthority":
        """Read the key file (a private JWK, mode 0600). Raises SecretError."""
        return cls(signing_key(path, Role.COMMAND))

    @property
    def kid(self) -> str:
        return self._key.kid

    def replay(
        self, unit: UnitName, gap: Gap, number: int, at: datetime, until: datetime
    ) -> Request:
        """Return the command that asks `unit` for the numbers of `gap`."""
        id_ = str(uuid6.uuid7())
        claims = {
            "id": id_,
            "aud": unit.source,
            "name": CommandName.REPLAY,
            "number": number,
            "iat": _moment(at),
            "exp": _moment(until),
            "data": {"first": gap.first, "last": gap.last},
        }
        topic = unit.subtopic(COMMAND, CommandName.REPLAY)
        return Request(
            id_, Message(topic, sign_order(self._key, COMMAND_TYP, claims).encode("ascii"))
        )


def _moment(at: datetime) -> str:
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
