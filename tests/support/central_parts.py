"""A unit that signs with a key of its own, and the clock that tests turn."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from edge.contract.events import OnlineStatus
from edge.contract.keys import KeySet, SigningKey
from edge.contract.topics import TopicKind, UnitName
from edge.inference.models import liveness_rules
from edge.outbox.event_signer import ChainHead, EventSigner, HealthReport, SigningContext
from edge.settings import PlaceSettings, Settings, UnitSettings
from edge.system.clock import ClockReading, ClockState
from edge.types import Attempt, Audit, AuditCode, LivenessResult, Match, Outcome, Reason
from senyum_central.ingest.message import Message, ReceiptClock, ReceivedAt
from senyum_central.ingest.notices import Notice
from senyum_central.ingest.service_status import ReceiverStatus
from senyum_central.ingest.store_retry import Waiter

PERSON = "4f2a1b2c3d4e5f60718293a4b5c6d7e8"
START = datetime(2026, 3, 2, 0, 31, 4, tzinfo=UTC)  # 07:31:04 in Jakarta


class FixedClock:
    """The same instant until a test sets another."""

    def __init__(self) -> None:
        self.reading = ClockReading(
            utc_ns=int(START.timestamp()) * 1_000_000_000,
            monotonic_ns=1_000_000_000,
            state=ClockState.SYNCHRONIZED,
            boot_id="0b7ac3f1-9f0c-4b2e-a1f5-3a7c1c8d2e4f",
        )

    def read(self) -> ClockReading:
        return self.reading


@cache
def signing_key(name: str, alg: str = "Ed25519") -> SigningKey:
    with TemporaryDirectory() as folder:
        return SigningKey.load_or_create(Path(folder) / name, alg)


class Unit:
    """Signs events in a chain, without outbox or link."""

    def __init__(
        self,
        name: str = "lobby-1",
        head: ChainHead | None = None,
        key: str | None = None,
        zone: str = "Asia/Jakarta",
    ) -> None:
        # Constructed, for a zone may be unknown here and known on the unit.
        place = PlaceSettings.model_construct(latitude=-6.4, longitude=106.8, zone=zone)
        settings = UnitSettings(org="kota", site="depok", name=name, place=place)
        self.name = UnitName.of(settings)
        self.key = signing_key(key or name)
        self.head = head or ChainHead()
        context = SigningContext(
            unit=settings,
            software="0.1.0",
            models={"identity": "ab" * 32},
            roster=None,
            thresholds=Settings().thresholds(liveness_rules(Settings())),
        )
        self.clock = FixedClock()
        self.sealer = EventSigner(context, self.key, self.clock)

    def fork(self) -> "Unit":
        """Return the same unit as it would go on from a copy of its disk."""
        other = Unit(self.name.name)
        other.head = self.head
        return other

    def event(self, *, known: bool = True) -> Message:
        attempt = Attempt(
            ref=1,
            outcome=Outcome.RECORDED if known else Outcome.REFUSED,
            reason=Reason.ACCEPTED if known else Reason.NOT_KNOWN,
            captured_ns=1_000_000_000,
            person=PERSON if known else None,
            smile=83.4 if known else None,
            smile_threshold=50.0 if known else None,
            match=Match(PERSON, 0.71, 0.49) if known else None,
        )
        return self._next(attempt)

    def suspected(self) -> Message:
        """A photo of the known person was refused."""
        attempt = Attempt(
            ref=1,
            outcome=Outcome.REFUSED,
            reason=Reason.SPOOF,
            captured_ns=1_000_000_000,
            person=PERSON,
            match=Match(PERSON, 0.71, 0.49),
            life=LivenessResult(False, 0.1249, 12, {"network": 0.1}),
        )
        return self._next(attempt)

    def audit(self, code: AuditCode = AuditCode.STARTED, **detail: Any) -> Message:
        return self._next(Audit(ref=1, code=code, captured_ns=1_000_000_000, detail=detail))

    def _next(self, event: Attempt | Audit) -> Message:
        token = self.sealer.event(event, self.head).token
        self.head = self.head.followed_by(token)
        return self.message(token)

    def events(self, count: int) -> list[Message]:
        return [self.event() for _ in range(count)]

    def state(self, status: OnlineStatus = OnlineStatus.ONLINE, session: int = 1) -> Message:
        return self.message(self.sealer.state(status, session, self.head), TopicKind.STATE)

    def health(self) -> Message:
        return self.message(self.sealer.health(HealthReport(), 1, self.head, 0), TopicKind.HEALTH)

    def message(self, content: str | bytes, leaf: TopicKind = TopicKind.EVENT) -> Message:
        payload = content.encode("ascii") if isinstance(content, str) else content
        return Message(self.name.topic(leaf), payload)


def keys_of(*units: Unit) -> KeySet:
    return KeySet.of([unit.key.registration(unit.name) for unit in units])


@dataclass
class Shown:
    """An output that keeps the notices."""

    notices: list[Notice]

    def show(self, notice: Notice) -> None:
        self.notices.append(notice)

    def flush(self) -> None:
        pass


class Resting(Waiter):
    """Calls a function of the test in place of waiting."""

    def __init__(
        self, rest: Callable[[float], bool] = lambda _: True, status: ReceiverStatus | None = None
    ) -> None:
        super().__init__(status)
        self._rest = rest

    def wait(self, seconds: float) -> bool:
        return self._rest(seconds)


@dataclass
class TurnedClock(ReceiptClock):
    """An Instant that moves when it is told to."""

    instant: ReceivedAt

    @classmethod
    def at_start(cls) -> "TurnedClock":
        return cls(ReceivedAt(START, 0))

    def __call__(self) -> ReceivedAt:
        return self.instant

    def now(self) -> ReceivedAt:
        return self.instant

    def turn(self, seconds: float) -> ReceivedAt:
        later = self.instant.monotonic_ns + int(seconds * 1e9)
        self.instant = replace(self.instant, monotonic_ns=later)
        return self.instant
