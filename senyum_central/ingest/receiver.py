"""Pass batches to the ingestor, and its notices to the outputs."""

import logging
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Protocol

from senyum_central.ingest.ingestor import Ingestor
from senyum_central.ingest.key_set_file import KeySetFile
from senyum_central.ingest.message import Message, ReceiptClock, ReceivedAt
from senyum_central.ingest.notices import Notice
from senyum_central.ingest.store_retry import Stopped, StoreRetry, Waiter

SWEEP_NS = 1_000_000_000  # between two looks for overdue gaps

log = logging.getLogger(__name__)


class NoticeOutput(Protocol):
    """Shows notices to people or programs."""

    def show(self, notice: Notice) -> None: ...

    def flush(self) -> None:
        """End a batch of notices."""


class Receiver:
    """Ingests batches, and checks for gaps and new keys once a second."""

    def __init__(
        self,
        ingestor: Ingestor,
        outputs: Sequence[NoticeOutput],
        clock: ReceiptClock | None = None,
        *,
        key_file: KeySetFile | None = None,
        patiently: StoreRetry | None = None,
    ) -> None:
        """`key_file` is reloaded after changes. `patiently` waits for an unavailable store."""
        self._ingestor = ingestor
        self._outputs = outputs
        self._clock = clock or ReceiptClock()
        self._key_file = key_file
        self._patiently = patiently or StoreRetry(Waiter())
        self._swept_ns = self._clock.now().monotonic_ns
        self._failed: set[str] = set()  # failing work that was logged

    def start(self) -> None:
        """Retry rejections of earlier runs. Raises Stopped."""
        self._report(self._patiently(lambda: self._ingestor.retry_unknown(self._clock.now())))

    def connected(self) -> None:
        self._ingestor.restart_grace(self._clock.now())

    def take(self, messages: Sequence[Message]) -> None:
        """Store a batch; it is durable when this returns.

        Waits for an unavailable store, and nothing is acknowledged meanwhile. Raises Stopped.
        """
        now = self._clock.now()
        self._report(self._patiently(lambda: self._ingestor.ingest(messages, now)))

    def idle(self) -> Sequence[Message]:
        """Check gaps and new keys if due; return the commands to publish.

        Raises Stopped.
        """
        now = self._clock.now()
        if now.monotonic_ns - self._swept_ns < SWEEP_NS:
            return ()
        self._swept_ns = now.monotonic_ns
        commands: list[Message] = []
        self._chore("new keys cannot be used", lambda: self._trust(now))
        self._chore("gaps cannot be checked", lambda: self._sweep(now))
        self._chore("missing events cannot be requested", lambda: commands.extend(self._ask(now)))
        return commands

    def _trust(self, now: ReceivedAt) -> None:
        keys = self._key_file.changed() if self._key_file is not None else None
        if keys is not None:
            self._report(self._patiently(lambda: self._ingestor.set_keys(keys, now)))

    def _sweep(self, now: ReceivedAt) -> None:
        self._report(self._patiently(lambda: self._ingestor.check_gaps(now)))

    def _ask(self, now: ReceivedAt) -> Sequence[Message]:
        commands, notices = self._patiently(lambda: self._ingestor.request_missing(now))
        self._report(notices)
        return commands

    def _chore(self, failed: str, work: Callable[[], None]) -> None:
        """Do periodic work; an error is logged once and does not stop the receiver."""
        try:
            work()
        except (Stopped, BrokenPipeError):
            raise
        except Exception as error:
            level = logging.DEBUG if failed in self._failed else logging.ERROR
            log.log(level, "%s (%s); trying again", failed, type(error).__name__, exc_info=error)
            self._failed.add(failed)
        else:
            self._failed.discard(failed)

    def _report(self, notices: Iterable[Notice]) -> None:
        """Show notices. A failure to show one does not stop the receiver."""
        for notice in notices:
            for output in self._outputs:
                self._attempt(partial(output.show, notice))
        for output in self._outputs:
            self._attempt(output.flush)

    def _attempt(self, show: Callable[[], None]) -> None:
        try:
            show()
        except BrokenPipeError:  # the reader of the output is gone
            raise
        except Exception as error:  # noqa: BLE001 - a full disk or an unexpected text
            log.warning("a notice cannot be shown (%s)", type(error).__name__)
