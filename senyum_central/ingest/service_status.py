"""The receiver's systemd status text and watchdog notifications."""

from datetime import UTC, datetime

from edge.system.sd_notify import Notifier
from edge.system.text import escaped, pluralize
from senyum_central.ingest.message import ReceiptClock
from senyum_central.ingest.notices import Notice, NoticeKind

EVERY_NS = 1_000_000_000  # between two watchdog notifications
# Before it is subscribed, systemd waits this long for the next one: WatchdogSec= of the service.
START_S = 300


class ReceiverStatus:
    """Status of broker, store and events in one sentence. Use from one thread at a time."""

    def __init__(self, notifier: Notifier, clock: ReceiptClock | None = None) -> None:
        self._notifier = notifier
        self._clock = clock or ReceiptClock()
        self._broker = "not connected yet"
        self._broker_since: datetime | None = None  # since when it is unavailable
        self._store = ""  # why it is unavailable
        self._store_since: datetime | None = None
        self._events = 0
        self._ready = False
        self._due_ns = 0  # monotonic

    def connected(self, where: str, client_id: str) -> None:
        """Record the connection; the service is ready."""
        self._broker, self._broker_since = f"connected to {where} as {client_id}", None
        self._show()
        if not self._ready:
            self._ready = True
            self._notifier.ready()

    def disconnected(self, why: str) -> None:
        """Record that the broker is unavailable."""
        self._broker_since = self._broker_since or self._clock.now().utc
        self._broker = f"broker away since {_clock(self._broker_since)}: {why}"
        self._show()

    def store_is(self, why: str | None) -> None:
        """Record why the store is unavailable, None if it is available."""
        self._store_since = None if why is None else self._store_since or self._clock.now().utc
        self._store = why or ""
        self._show()

    def show(self, notice: Notice) -> None:
        """Count the stored events."""
        self._events += notice.kind is NoticeKind.EVENT

    def flush(self) -> None:
        """Do nothing: `alive` reports the count."""

    def alive(self) -> None:
        """Send a watchdog notification if due; cheap to call."""
        now_ns = self._clock.now().monotonic_ns
        if now_ns < self._due_ns:
            return
        self._due_ns = now_ns + EVERY_NS
        if self._ready:
            self._notifier.watchdog()
        else:
            self._notifier.extend(START_S)
        self._show()

    def _show(self) -> None:
        parts = [self._broker]
        if self._store_since is not None:
            parts.insert(0, f"store away since {_clock(self._store_since)}: {self._store}")
        parts.append(f"{pluralize(self._events, 'event')} stored since the start")
        sentence = "; ".join(parts)
        sentence = escaped(sentence)  # a line break would begin another field
        self._notifier.status(sentence[0].upper() + sentence[1:])


def _clock(at: datetime) -> str:
    return f"{at.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"
