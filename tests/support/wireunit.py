"""A unit reduced to its wire side, and a listener at the other end, for the tests."""

import json
import os
import sys
import threading
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Self

from kept_events import KeptEvents
from paho.mqtt.client import Client, MQTTMessage

from edge.contract.envelope import verify
from edge.contract.events import HealthEvent
from edge.contract.jose import b64url
from edge.contract.keys import KeySet, SigningKey
from edge.contract.topics import TopicKind, UnitName
from edge.inference.models import liveness_rules
from edge.mqtt.backoff import LinkTiming
from edge.mqtt.connection import connect_client, new_client
from edge.mqtt.link import ConnectionManager
from edge.mqtt.subscriber import Subscription
from edge.outbox.event_signer import (
    ChainHead,
    EventSigner,
    SignedEvent,
    SigningContext,
)
from edge.outbox.recorder import Recorder
from edge.outbox.store import Outbox
from edge.settings import BrokerSettings, PlaceSettings, Settings, UnitSettings
from edge.system.clock import Clock, ClockReading, ClockState, SystemClock
from edge.system.event_queue import EventQueue
from edge.types import (
    Attempt,
    EventStored,
    LinkChanged,
    LivenessResult,
    Match,
    MessageReceived,
    Outcome,
    Reason,
    StoreFailed,
)

UNIT = UnitName("dinas", "balai-kota", "pintu-1")
PERSON = "0123456789abcdef0123456789abcdef"
FAST = LinkTiming(operator_retry=0.4, failback_retry=0.4, quarantine_retry=0.2, credential_poll=0.1)
BOOT_ID = "00000000-0000-4000-8000-000000000000"


def context() -> SigningContext:
    return SigningContext(
        unit=UnitSettings(
            org=UNIT.org,
            site=UNIT.site,
            name=UNIT.name,
            place=PlaceSettings(latitude=-6.2, longitude=106.8),
        ),
        software="0.1.0",
        models={
            name: digit * 64
            for name, digit in (
                ("detector", "a"),
                ("landmarks", "b"),
                ("identity", "c"),
                ("smile", "d"),
            )
        },
        roster="e" * 64,
        thresholds=Settings().thresholds(liveness_rules(Settings())),
    )


def attempt(ref: int = 1, **changes: object) -> Attempt:
    """A person who smiled and was recorded, unless changed."""
    fields = {
        "ref": ref,
        "outcome": Outcome.RECORDED,
        "reason": Reason.ACCEPTED,
        "captured_ns": time.monotonic_ns(),
        "person": PERSON,
        "smile": 77.77,
        "smile_threshold": 50.0,
        "match": Match(PERSON, 0.71239, 0.4),
        "life": LivenessResult(True, 0.87654, 9, {"network": 0.8125, "motion": 0.7, "onset": 1.0}),
    }
    return Attempt(**{**fields, **changes})  # type: ignore[arg-type] # fields are checked in use


def environment() -> dict[str, str]:
    """Return what lets a process of its own import what this one does."""
    return {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}


def unsigned(head: ChainHead, filler: str = "") -> SignedEvent:
    """A link of the chain without the cost of signing it; nobody would accept it."""
    content = json.dumps({"previous": head.digest, "filler": filler}).encode()
    return SignedEvent(f"id-{head.sequence + 1}", f"e30.{b64url(content)}.AA")


class SteppedClock:
    """A clock that the test sets; monotonic time begins at 1000 s."""

    def __init__(self, utc: float = 1_800_000_000.0) -> None:
        self.utc = utc
        self.monotonic_ns = 1_000_000_000_000
        self.state = ClockState.SYNCHRONIZED
        self.boot_id = BOOT_ID

    def read(self) -> ClockReading:
        return ClockReading(int(self.utc * 1e9), self.monotonic_ns, self.state, self.boot_id)


class UnknownTime(SteppedClock):
    """A clock that no time source has confirmed."""

    def __init__(self) -> None:
        super().__init__()
        self.state = ClockState.UNSYNCHRONIZED


class Signer:
    """A unit's key in `folder`, its registration, and a sealer."""

    def __init__(self, folder: Path, clock: Clock | None = None) -> None:
        self.key = SigningKey.load_or_create(folder / "signing.key")
        self.keys = KeySet.of([self.key.registration(UNIT)])
        self.sealer = EventSigner(context(), self.key, clock or SystemClock())


class MessageHandler:
    """Handles what is published to some topics, one message after another."""

    def __init__(
        self,
        filters: Sequence[str],
        handle: Callable[[str, bytes, bool], None] | None = None,
        *,
        queue: EventQueue[Any] | None = None,
    ) -> None:
        """With `queue` the messages go there, and the caller handles and acknowledges them."""
        self._own_queue = queue is None
        self.subscription = Subscription(
            tuple(filters), MessageReceived, EventQueue() if queue is None else queue
        )
        self.link: ConnectionManager | None = None
        self._handle = handle
        self._thread = threading.Thread(target=self._run, daemon=True)

    def start(self) -> None:
        self._thread.start()

    def handle(self, topic: str, payload: bytes, retained: bool) -> None:
        """Handle one message, before it is acknowledged."""
        if self._handle is not None:
            self._handle(topic, payload, retained)

    def _run(self) -> None:
        queue = self.subscription.queue
        while self._own_queue and not queue.closed:
            for message in queue.get(limit=1):
                self.handle(message.topic, message.payload, message.retained)
                if self.link is not None:
                    self.link.acknowledge(message.delivery)

    def close(self) -> None:
        """Finish the message in hand, if that takes no longer than a second."""
        self.subscription.queue.close()
        self._thread.join(1.0)


class WireUnit:
    """Outbox, recorder and link of one unit over `folder`, with what they reported."""

    def __init__(
        self,
        folder: Path,
        broker: BrokerSettings,
        *,
        pace: LinkTiming = FAST,
        clock: Clock | None = None,
        replay_rate: float = 100.0,
        handlers: Sequence[MessageHandler] = (),
    ) -> None:
        self.signer = Signer(folder, clock)
        self.file = folder / "outbox.db"
        self.events = KeptEvents()
        self.outbox = Outbox(self.file, signing_key=folder / "signing.key")
        self.link = ConnectionManager(
            broker.model_copy(update={"backoff_min": 0.05, "backoff_max": 0.2}),
            self.file,
            self.signer.sealer,
            session=self.outbox.session,
            events=self.events,
            timing=pace,
            replay_rate=replay_rate,
            subscriptions=[each.subscription for each in handlers],
        )
        self.recorder = Recorder(self.outbox, self.signer.sealer, self.events, self.link.waker)

        for each in handlers:
            each.link = self.link
        self._handlers = handlers

    @property
    def changes(self) -> list[bool]:
        """Whether the broker was connected (True) or lost, in order."""
        return [change.up for change in self.events.of(LinkChanged)]

    @property
    def reports(self) -> list[EventStored | StoreFailed]:
        """The recorder's reports, in order."""
        return self.events.of(EventStored | StoreFailed)

    def record(self, count: int) -> None:
        """Submit so many attempts and wait until each is reported."""
        first = len(self.reports)
        for ref in range(first, first + count):
            self.recorder.submit(attempt(ref))
            until(partial(self._reported, ref + 1), 10.0)

    def health(self, body: bytes) -> HealthEvent:
        """Verify and return what the unit said of its health."""
        event = verify(body, self.signer.keys, UNIT.topic(TopicKind.HEALTH)).event
        assert isinstance(event, HealthEvent)
        return event

    def _reported(self, count: int) -> bool:
        return len(self.reports) >= count

    def __enter__(self) -> Self:
        self.recorder.start()
        self.link.start()
        for each in self._handlers:
            each.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.recorder.close()
        for each in self._handlers:
            each.close()
        self.link.close()
        self.outbox.close()


class Listener:
    """Collects all that units send, as (topic, payload, retained), across broker restarts."""

    def __init__(self, broker: BrokerSettings, pattern: str = "senyum/#") -> None:
        self.messages: list[tuple[str, bytes, bool]] = []
        self._pattern = pattern
        self._subscribed = threading.Event()
        self._client = new_client(broker, "listener")
        self._client.reconnect_delay_set(1, 1)
        self._client.on_connect = self._subscribe
        self._client.on_subscribe = self._ready
        self._client.on_message = self._take
        connect_client(self._client, broker)

    def events(self) -> list[str]:
        """Return the signed events, in order of arrival, doubles included."""
        return [body.decode() for topic, body, _ in self.messages if topic.endswith("/event")]

    def __enter__(self) -> Self:
        self._client.loop_start()
        assert self._subscribed.wait(5.0)
        return self

    def __exit__(self, *_: object) -> None:
        self._client.disconnect()
        self._client.loop_stop()

    def _subscribe(self, client: Client, *_: object) -> None:
        client.subscribe(self._pattern, 1)

    def _ready(self, *_: object) -> None:
        self._subscribed.set()

    def _take(self, _client: Client, _userdata: object, message: MQTTMessage) -> None:
        self.messages.append((message.topic, bytes(message.payload), message.retain))


def until(condition: Callable[[], object], seconds: float) -> None:
    """Wait for something that another thread or process brings about."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "did not come about in time"
        time.sleep(0.005)
