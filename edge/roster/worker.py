"""The thread that receives, loads and installs rosters, because large ones take seconds."""

import logging
import threading
import time
from typing import Any

from edge.errors import SenyumError
from edge.roster.installer import RETRY_SECONDS, RosterInstaller
from edge.roster.messages import (
    LoadRoster,
    ReceiptDue,
    RosterInUse,
    RosterMessageHandled,
    RosterRequest,
)
from edge.roster.receiver import RosterReceiver
from edge.system.event_queue import EventQueue, join_until
from edge.system.log_once import LogOnce
from edge.types import RosterReceived

log = logging.getLogger(__name__)


class RosterWorker:
    """The roster thread: receives and installs rosters, loads the file, gives receipts."""

    def __init__(
        self,
        requests: EventQueue[RosterRequest],
        events: EventQueue[Any],
        installer: RosterInstaller,
        receiver: RosterReceiver,
    ) -> None:
        self.name = "roster"
        self._requests = requests
        self._events = events
        self._installer = installer
        self._receiver = receiver
        self._retry_at = 0.0
        self._about = LogOnce()
        self._thread = threading.Thread(target=self._run, name=self.name, daemon=True)

    def start(self) -> None:
        self._thread.start()

    def _run(self) -> None:
        due = 0.0
        while not self._requests.closed:
            for request in self._requests.get(max(0.0, due - time.monotonic()), limit=1):
                self._handle(request)
            due = min(self._receiver.poll(time.monotonic()), self._retry())

    def close(self, deadline: float | None = None) -> bool:
        """Finish the request in hand and end; return False if `deadline` has passed.

        The broker delivers again what was not acknowledged.
        """
        self._requests.close()
        return join_until(self._thread, deadline)

    def _handle(self, request: RosterRequest) -> None:
        match request:
            case RosterReceived():
                try:
                    self._receiver.heard(request.topic, request.payload, request.retained)
                except Exception as error:  # noqa: BLE001 - a message never ends the thread
                    # Without a traceback, which may quote the message.
                    log.error("a roster message was not understood (%s)", type(error).__name__)  # noqa: TRY400
                self._events.put(RosterMessageHandled(request.delivery))
            case LoadRoster():
                self._events.put(self._installer.load(request))
            case RosterInUse():
                self._installer.in_use(request)
            case ReceiptDue():
                self._installer.give_receipt(request)

    def _retry(self) -> float:
        """Try again what the disk refused; return when next."""
        if time.monotonic() >= self._retry_at:
            self._retry_at = time.monotonic() + RETRY_SECONDS
            try:
                self._installer.retry()
            except SenyumError as error:
                self._about.warn(str(error))
            else:
                self._about.reset()
        return self._retry_at
