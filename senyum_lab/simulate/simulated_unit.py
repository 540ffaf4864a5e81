"""A unit without camera and LEDs, with the real key, outbox, recorder and link."""

import time
from pathlib import Path
from typing import Any

from edge import __version__
from edge.contract.keys import SigningKey
from edge.contract.topics import UnitName
from edge.inference.models import liveness_rules
from edge.mqtt.link import ConnectionManager, LinkState
from edge.outbox.event_signer import EventSigner, SigningContext
from edge.outbox.recorder import Recorder
from edge.outbox.store import Outbox
from edge.settings import BrokerSettings, Settings, UnitSettings
from edge.system.clock import SystemClock
from edge.system.event_queue import EventQueue
from edge.types import Attempt, LivenessResult, Match, Outcome, Reason

_NETWORKS = ("detector", "landmarks", "identity", "smile")
_NO_DIGEST = "0" * 64


def attempt(ref: int, person: str) -> Attempt:
    """Return the attempt of a person who is recorded now."""
    return Attempt(
        ref=ref,
        outcome=Outcome.RECORDED,
        reason=Reason.ACCEPTED,
        captured_ns=time.monotonic_ns(),
        person=person,
        smile=77.77,
        smile_threshold=50.0,
        match=Match(person, 0.71239, 0.31239),
        life=LivenessResult(True, 0.87654, 9, {"network": 0.8125, "motion": 0.7, "onset": 1.0}),
    )


class SimulatedUnit:
    """One unit with its files in `folder`. `reports` gets EventStored or StoreFailed per event.

    Raises OutboxError, SecretError.
    """

    def __init__(
        self,
        folder: Path,
        unit: UnitSettings,
        broker: BrokerSettings,
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.name = UnitName.of(unit)
        self.file = folder / "outbox.db"
        self.reports: EventQueue[Any] = EventQueue()
        key_file, clock = folder / "signing.key", SystemClock()
        key = SigningKey.load_or_create(key_file)
        self.registration = key.registration(self.name)
        context = SigningContext(
            unit=unit,
            software=__version__,
            models=dict.fromkeys(_NETWORKS, _NO_DIGEST),
            roster=_NO_DIGEST,
            thresholds=Settings().thresholds(liveness_rules(Settings())),
        )
        sealer = EventSigner(context, key, clock)
        self.outbox = Outbox(self.file, signing_key=key_file, reserve_bytes=1)
        self.link = ConnectionManager(
            broker,
            self.file,
            sealer,
            session=self.outbox.session,
            events=EventQueue(),
        )
        self.recorder = Recorder(self.outbox, sealer, self.reports, self.link.waker, clock)

    @property
    def is_connected(self) -> bool:
        """Whether a broker is connected."""
        return self.link.state is LinkState.UP

    def start(self) -> None:
        """Start both threads."""
        self.recorder.start()
        self.link.start()

    def close(self, seconds: float = 5.0) -> None:
        """Store the submitted attempts, disconnect and close the files."""
        self.recorder.close(time.monotonic() + seconds)
        self.link.close(time.monotonic() + seconds)
        self.outbox.close()
