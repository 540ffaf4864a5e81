"""Store the messages queued for a removed receiver, and end its session."""

import logging
import time
from collections.abc import Sequence

from edge.errors import LinkError
from edge.mqtt.connection import Connection, ConnectOptions
from edge.mqtt.reason_codes import ConnectionEnded
from edge.settings import BrokerSettings
from edge.system.event_queue import SelfPipe
from edge.system.text import pluralize
from senyum_central.ingest.message import Message
from senyum_central.ingest.store_retry import Waiter
from senyum_central.ingest.subscriber import MessageSink, Subscriber

log = logging.getLogger(__name__)

QUIET_S = 3.0  # without a message: the broker has no more for this client
TRIES = 10  # to end the session


class Retirement(Subscriber):
    """Connects as a removed receiver, stores its queued messages and ends its session.

    The broker ends the connection of a receiver that is still running under this client ID.
    """

    def __init__(
        self,
        broker: BrokerSettings,
        client_id: str,
        sink: MessageSink,
        waiter: Waiter,
        *,
        group: str | None = None,
    ) -> None:
        """`group` is the one that the receiver belonged to, None if it shared nothing."""
        self._drain = _Drain(sink, waiter.waker)
        super().__init__(broker, client_id, self._drain, group=group, replies=True, waiter=waiter)
        self._begun = False

    def run(self) -> None:
        """Return once the session has ended.

        Raises LinkError if the broker keeps no such session or refuses us, or if `stop` came
        first; StoreError from the sink. The session stays then, and another try goes on.
        """
        super().run()
        if not self._drain.over:
            raise LinkError(f"client {self._client_id}: interrupted; its session is still there")
        self._end_session()
        stored = pluralize(self._drain.messages, "message")
        log.info("client %s is retired: %s taken over", self._client_id, stored)

    def _subscribe(self, connection: Connection) -> None:
        """Unsubscribe from everything, so that the session receives no new messages."""
        if not connection.resumed and not self._begun:
            self._end_session()
            raise LinkError(
                f"broker {self._where}: keeps no session of client {self._client_id}, so nothing "
                "waits in it; the receiver's log has its client ID"
            )
        self._begun = True
        wanted = self._subscriptions
        connection.unsubscribe([wanted.events, *wanted.others, *wanted.leftovers])

    def _end_session(self) -> None:
        """Connect again without a session, which makes the broker discard the old one."""
        connection = Connection(self._broker)
        for _ in range(TRIES):
            try:
                connection.connect(ConnectOptions(self._client_id, session_expiry=0))
            except ConnectionEnded as error:
                why = str(error)
                time.sleep(self._broker.backoff_min)
            else:
                connection.close()
                return
        raise LinkError(f"{why}; the session of client {self._client_id} is still there")


class _Drain:
    """Passes messages on, and ends the subscriber once none has come for QUIET_S."""

    def __init__(self, sink: MessageSink, waker: SelfPipe) -> None:
        self._sink = sink
        self._waker = waker
        self._since = 0.0  # monotonic
        self.messages = 0
        self.over = False

    def connected(self) -> None:
        self._sink.connected()
        self._since = time.monotonic()

    def take(self, messages: Sequence[Message]) -> None:
        self._sink.take(messages)
        self.messages += len(messages)
        self._since = time.monotonic()

    def idle(self) -> Sequence[Message]:
        if time.monotonic() - self._since > QUIET_S:
            self.over = True
            self._waker.stop()
        return ()
