"""A valid unit among the others; all of its events must be stored."""

from pathlib import Path

from edge.contract.keys import SigningKey
from edge.contract.topics import TopicKind, UnitName
from edge.inference.models import liveness_rules
from edge.outbox.event_signer import ChainHead, EventSigner, HealthReport, SigningContext
from edge.settings import PlaceSettings, Settings, UnitSettings
from edge.system.clock import ClockReading, ClockState
from edge.types import Attempt, Match, Outcome, Reason

PERSON = "4f2a1b2c3d4e5f60718293a4b5c6d7e8"
_BEGIN_S = 1_772_411_464  # 2026-03-02 in Jakarta
_EVERY_S = 1


class GoodUnit:
    """Signs valid events."""

    name = UnitName("kota", "depok", "good-1")

    def __init__(self, folder: Path) -> None:
        place = PlaceSettings(latitude=-6.4, longitude=106.8, zone="Asia/Jakarta")
        settings = UnitSettings(org="kota", site="depok", name="good-1", place=place)
        self.key = SigningKey.load_or_create(folder / "good.key")
        self.tokens: list[str] = []
        self._head = ChainHead()
        thresholds = Settings().thresholds(liveness_rules(Settings()))
        context = SigningContext(settings, "1.0.0", {"identity": "ab" * 32}, None, thresholds)
        self._signer = EventSigner(context, self.key, self)

    def read(self) -> ClockReading:
        """Return a time that advances with each event."""
        seconds = len(self.tokens) * _EVERY_S
        return ClockReading(
            utc_ns=(_BEGIN_S + seconds) * 1_000_000_000,
            monotonic_ns=seconds * 1_000_000_000,
            state=ClockState.SYNCHRONIZED,
            boot_id="0b7ac3f1-9f0c-4b2e-a1f5-3a7c1c8d2e4f",
        )

    def event(self) -> tuple[str, bytes]:
        """Return the topic and payload of the next event."""
        attempt = Attempt(
            ref=1,
            outcome=Outcome.RECORDED,
            reason=Reason.ACCEPTED,
            captured_ns=self.read().monotonic_ns,
            person=PERSON,
            smile=83.4,
            smile_threshold=50.0,
            match=Match(PERSON, 0.71, 0.49),
        )
        token = self._signer.event(attempt, self._head).token
        self._head = self._head.followed_by(token)
        self.tokens.append(token)
        return self.name.topic(TopicKind.EVENT), token.encode("ascii")

    def health(self) -> tuple[str, bytes]:
        """Return a health message, which proves the end of the chain."""
        token = self._signer.health(HealthReport(), 1, self._head, 0)
        return self.name.topic(TopicKind.HEALTH), token.encode("ascii")
