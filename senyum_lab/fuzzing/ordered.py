"""Targets that read orders: a device accepts only signed commands and rosters."""

import json
from collections.abc import Callable
from pathlib import Path

from pydantic import ValidationError

from edge.contract.authority import Authorities, OrderRejected, Role, register, sign_order
from edge.contract.commands import COMMAND_TYP, DATA, MAX_BYTES, Command, CommandName
from edge.contract.keys import ALGORITHMS, SigningKey
from edge.contract.roster_manifest import (
    MANIFEST_BYTES,
    NONCE_BYTES,
    TAG_BYTES,
    TYP,
    parse_manifest,
)
from edge.contract.topics import UnitName
from senyum_lab.fuzzing.mutate import Target, by_bytes, by_jws

UNIT = UnitName("depok", "balaikota", "lobby-1")
_ID = "01234567-89ab-7cde-8f01-23456789abcd"
_COMMANDS: dict[str, dict[str, object]] = {
    "ping": {},
    "replay": {"first": 1, "last": 9},
    "settings": {"set": {"gpio.volume": 0.5}},
}


def _command(name: str, data: dict[str, object]) -> dict[str, object]:
    begin, end = "2026-08-17T05:00:00.000000Z", "2026-08-17T05:01:00.000000Z"
    dates = {"iat": begin, "exp": end}
    return {"id": _ID, "aud": UNIT.source, "name": name, "number": 7, **dates, "data": data}


def _manifest() -> dict[str, object]:
    digest = "ab" * 32
    return {
        "id": _ID,
        "aud": UNIT.source,
        "version": 3,
        "iat": "2026-08-17T05:00:00.000000Z",
        "digest": digest,
        "size": 1000,
        "embedder": digest,
        "at": "urn:senyum:depok:all:all",
        "chunks": [{"name": "3-0", "sha256": digest, "size": 1000 + NONCE_BYTES + TAG_BYTES}],
        "recipients": [{"kid": "a" * 43, "key": "a.b.c.d.e"}],
    }


def targets(folder: Path) -> list[Target]:
    """Return the targets; `folder` is for their keys."""
    keys = [SigningKey.load_or_create(folder / f"{alg}.key", alg) for alg in ALGORITHMS]
    known = Authorities.of([register(key, list(Role), [UNIT.source]) for key in keys])

    def reader(
        typ: str, role: Role, most_bytes: int, understand: Callable[[dict[str, object]], object]
    ) -> Callable[[bytes], bool]:
        def read(content: bytes) -> bool:
            try:
                order = known.verify(content, typ, role, UNIT, now=None, most_bytes=most_bytes)
                understand(dict(order.claims))
            except (OrderRejected, ValidationError, ValueError):
                return False
            return True

        return read

    def command(claims: dict[str, object]) -> None:
        found = Command.model_validate(claims)
        DATA[CommandName(found.name)].model_validate_json(json.dumps(found.data))

    def signed(typ: str, claims: dict[str, object]) -> list[bytes]:
        return [sign_order(key, typ, claims).encode() for key in keys]

    commands = [
        token
        for name, data in _COMMANDS.items()
        for token in signed(COMMAND_TYP, _command(name, data))
    ]
    ways = (by_jws, by_jws, by_bytes)
    return [
        Target(
            "command", 0.08, commands, ways, reader(COMMAND_TYP, Role.COMMAND, MAX_BYTES, command)
        ),
        Target(
            "roster manifest",
            0.06,
            signed(TYP, _manifest()),
            ways,
            reader(
                TYP, Role.ROSTER, MANIFEST_BYTES, lambda claims: parse_manifest(json.dumps(claims))
            ),
        ),
    ]
