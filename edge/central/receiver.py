"""Joins the desk to the screen: what the subscriber hands its batches to."""

from collections.abc import Callable, Iterable, Sequence

from edge.central.desk import Desk, Instant, Message
from edge.central.notice import Notice

SWEEP_NS = 1_000_000_000  # between two looks for overdue gaps


class Receiver:
    """Takes batches, and looks for gaps once a second."""

    def __init__(
        self,
        desk: Desk,
        show: Callable[[Notice], None],
        now: Callable[[], Instant] = Instant.now,
    ) -> None:
        self._desk = desk
        self._show = show
        self._now = now
        self._swept_ns = now().monotonic_ns

    def start(self) -> None:
        """Look again at what was refused in earlier runs. Raises StoreError."""
        self._say(self._desk.revisit(self._now()))

    def connected(self) -> None:
        self._desk.connected(self._now())

    def take(self, messages: Sequence[Message]) -> None:
        """Store a batch; when this returns it is durable. Raises StoreError."""
        self._say(self._desk.take(messages, self._now()))

    def idle(self) -> None:
        """Report gaps when it is time to. Raises StoreError."""
        now = self._now()
        if now.monotonic_ns - self._swept_ns >= SWEEP_NS:
            self._swept_ns = now.monotonic_ns
            self._say(self._desk.sweep(now))

    def _say(self, notices: Iterable[Notice]) -> None:
        for notice in notices:
            self._show(notice)
