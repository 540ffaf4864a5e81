"""A unit that lives through days: who came when, by which clock."""

import io
import json
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from central_parts import Unit, keys_of

from edge.contract.envelope import CTY, TYP
from edge.contract.events import timestamp
from edge.contract.jose import digest, from_b64url
from edge.contract.keys import KeySet, add_registration
from edge.contract.topics import TopicKind
from edge.system.clock import ClockState
from edge.types import Attempt, AuditCode, Direction, Match, Outcome, Reason
from senyum_central.evidence import bundle
from senyum_central.evidence.entries import DefectLog
from senyum_central.evidence.reader import EvidenceReader
from senyum_central.ingest.ingestor import Ingestor
from senyum_central.ingest.message import Message, ReceivedAt
from senyum_central.store.event_store import Store
from senyum_central.store.queries import EventReader, Period

ANI, BUDI = "a" * 32, "b" * 32


class Door(Unit):
    """A unit whose clock shows what the test says."""

    def at(
        self,
        utc: str,
        state: ClockState = ClockState.SYNCHRONIZED,
        monotonic_s: float | None = None,
    ) -> "Door":
        """Be at a moment, as `2026-03-02T00:31:04`, UTC."""
        moment = datetime.fromisoformat(utc).replace(tzinfo=UTC)
        seconds = moment.timestamp() % 1_000_000 if monotonic_s is None else monotonic_s
        self.clock.reading = replace(
            self.clock.reading,
            utc_ns=int(moment.timestamp()) * 1_000_000_000,
            monotonic_ns=int(seconds * 1e9),
            state=state,
        )
        return self

    def passes(
        self,
        person: str | None = ANI,
        *,
        refused: Reason | None = None,
        smile: float | None = 83.4,
        direction: Direction = Direction.UNSPECIFIED,
    ) -> Message:
        """Somebody comes: recorded, or refused for a reason."""
        self.sealer.context = replace(
            self.sealer.context,
            unit=self.sealer.context.unit.model_copy(update={"direction": direction}),
        )
        recorded = refused is None
        return self._next(
            Attempt(
                ref=1,
                outcome=Outcome.RECORDED if recorded else Outcome.REFUSED,
                reason=refused or Reason.ACCEPTED,
                captured_ns=self.clock.reading.monotonic_ns,
                person=person,
                smile=smile if recorded else None,
                smile_threshold=50.0 if recorded and smile is not None else None,
                match=Match(person, 0.71, 0.49) if person else None,
            )
        )

    def anchor(self) -> Message:
        reading = self.clock.reading
        return self.audit(
            AuditCode.CLOCK_ANCHOR,
            boot_id=reading.boot_id,
            monotonic_ns=str(reading.monotonic_ns),
            utc=timestamp(reading.utc_ns),
        )


def key_file(folder: Path, *units: Unit) -> Path:
    """Write the key set of units, in a file of its own; returns it."""
    path = folder / "keys.json"
    for unit in units:
        add_registration(path, unit.key.registration(unit.name))
    return path


def exported(store: Store, period: Period, keys: KeySet) -> bytes:
    """Return the signed events of some days, as `export --raw` writes them of an intact store."""
    out = io.BytesIO()
    shelf = EventReader(store)
    log = DefectLog()
    with shelf.snapshot():
        evidence = EvidenceReader(shelf, keys, period, log)
        written = datetime(2026, 3, 3, tzinfo=UTC)
        bundle.write_bundle(out, shelf, evidence, period, log, written=written)
    return out.getvalue()


def take(store: Store, *messages: Message, units: tuple[Unit, ...], at: str) -> None:
    """Receive and store messages at a moment, UTC."""
    now = ReceivedAt(datetime.fromisoformat(at).replace(tzinfo=UTC), 0)
    Ingestor(store, keys_of(*units), 60.0, now).ingest(messages, now)


def later_of(unit: Unit, **changes: object) -> Message:
    """Sign an event of a type that nobody knows yet, in the unit's chain."""
    known = json.loads(from_b64url(unit.event().payload.decode().split(".")[1]))
    newer = {"type": "senyum.attendance.left.v2", "data": {"mood": "fine"}}
    token = resigned(unit, {**known, **newer, **changes})
    unit.head = type(unit.head)(unit.head.sequence, digest(token))
    return unit.message(token)


def resigned(unit: Unit, content: dict[str, object]) -> str:
    key = unit.key
    header = {"alg": key.alg, "kid": key.kid, "typ": TYP[TopicKind.EVENT], "cty": CTY}
    return key.sign(header, json.dumps(content).encode())
