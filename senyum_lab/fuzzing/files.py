"""Targets that read files: keys, settings, roster, outbox, clock status."""

import contextlib
import json
import shutil
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import numpy as np

from edge.contract.jose import parse
from edge.contract.keys import KeySet, SigningKey
from edge.errors import OutboxError, RosterError, SecretError, SettingsError
from edge.gallery import DIMENSION
from edge.inference.models import liveness_rules
from edge.outbox.event_signer import EventSigner, SigningContext
from edge.outbox.store import Outbox, OutboxReader
from edge.roster.codec import Person, Roster
from edge.roster.file import load as load_roster
from edge.roster.file import save
from edge.settings import Settings, UnitSettings, load
from edge.system.clock import SystemClock
from edge.types import Audit, AuditCode
from senyum_lab.fuzzing.mutate import Target, by_bytes, by_json, by_lines

VECTORS = Path(__file__).parents[2] / "docs" / "contract" / "vectors"
_EVENTS = 12  # in the damaged outbox
_KEY = bytes(32)

SETTINGS = b"""\
[unit]
org = "dinas"
site = "balai-kota"
name = "pintu-1"
direction = "in"

[unit.place]
latitude = -6.2
longitude = 106.8
zone = "Asia/Jakarta"

[broker]
host = "mqtt-1.example.go.id"
port = 8883
tls = true
window = 20
keepalive = 30

[[broker.others]]
host = "192.0.2.7"
port = 1883
tls = false

[attendance]
smile_rise = 15.0

[outbox]
retention_days = 90
"""


def _tried(
    path: Path, read: Callable[[Path], object], *expected: type[Exception]
) -> Callable[[bytes], bool]:
    """Return a function that passes input to a reader as a file; the reader may reject it."""

    def attempt(content: bytes) -> bool:
        path.write_bytes(content)
        with contextlib.suppress(*expected):
            read(path)
        return False

    path.touch(0o600)
    return attempt


def targets(folder: Path) -> list[Target]:
    """Return the targets; `folder` is for their files, preferably in memory."""
    keys = (VECTORS / "keys.json").read_bytes()
    signing = folder / "signing.key"
    kid = SigningKey.load_or_create(signing).kid

    def key(content: bytes) -> bool:
        """Read a key; an accepted key must be able to sign."""
        signing.write_bytes(content)
        try:
            found = SigningKey.load_or_create(signing)
        except SecretError:
            return False
        return found.kid == kid and not found.verifies(parse(found.sign({"alg": found.alg}, b"x")))

    clock_file = folder / "clock.json"
    answer = {"synchronized": True, "boot_id": SystemClock().read().boot_id, "monotonic_ns": "1"}
    return [
        Target(
            "key set",
            0.06,
            [keys],
            (by_json, by_json, by_bytes),
            _tried(folder / "keys.json", KeySet.load, SecretError),
        ),
        Target("signing key", 0.05, [signing.read_bytes()], (by_json, by_bytes), key),
        Target(
            "settings",
            0.05,
            [SETTINGS],
            (by_lines, by_bytes),
            _tried(folder / "senyum.toml", load, SettingsError),
        ),
        Target(
            "clock",
            0.03,
            [json.dumps(answer).encode()],
            (by_json, by_bytes),
            _tried(clock_file, lambda path: SystemClock(path).read()),
        ),
        _roster(folder / "roster"),
        *_outbox(folder / "outbox"),
    ]


def _roster(path: Path) -> Target:
    chance = np.random.default_rng(1)
    templates = chance.normal(size=(2, DIMENSION)).astype(np.float32)
    templates /= np.linalg.norm(templates, axis=1, keepdims=True)
    people = (Person("0" * 32, "199001012020121001", "A", False, templates),)
    save(path, _KEY, Roster(1, datetime(2026, 1, 1, tzinfo=UTC), "a" * 64, people))

    def read(content: bytes) -> bool:
        path.write_bytes(content)
        try:
            load_roster(path, _KEY)
        except RosterError:
            return False
        return True

    return Target("roster", 0.08, [path.read_bytes()], (by_bytes,), read)


def _outbox(folder: Path) -> list[Target]:
    """Damage one file of an outbox. It must open or raise OutboxError, and return no new event."""
    good, tried = folder / "good", folder / "tried"
    good.mkdir(parents=True)
    names = ("outbox.db", "signing.key.begun")
    key = SigningKey.load_or_create(good / "signing.key")
    unit = UnitSettings(name="fuzz")
    context = SigningContext(unit, "0", {}, None, Settings().thresholds(liveness_rules(Settings())))
    sealer = EventSigner(context, key, SystemClock())
    box = Outbox(good / "outbox.db", signing_key=good / "signing.key")
    audit = Audit(ref=0, code=AuditCode.STARTED, captured_ns=1, detail={})
    signed = {row.token for _ in range(_EVENTS) for row in box.append(partial(sealer.event, audit))}
    box.close()

    def start(name: str, content: bytes) -> bool:
        shutil.rmtree(tried, ignore_errors=True)
        shutil.copytree(good, tried)
        (tried / name).write_bytes(content)
        with contextlib.suppress(OutboxError):
            again = Outbox(tried / "outbox.db", signing_key=tried / "signing.key")
            try:
                new = again.append(partial(sealer.event, audit))
                reader = OutboxReader(tried / "outbox.db")
                returned = {row.token for row in reader.after(reader.delivered(), 1000)}
                reader.close()
            finally:
                again.close()
            return not returned <= signed | {row.token for row in new}
        return False

    return [
        Target(
            name,
            0.01,
            [(good / name).read_bytes()],
            (by_bytes,),
            partial(start, name),
            strict=False,
        )
        for name in names
    ]
