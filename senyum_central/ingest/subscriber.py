"""Receives from the broker: session kept, acknowledged only after the store committed.

MQTT 5, or 3.1.1, which has no shared subscriptions and no expiry of sessions.

One thread does all: read what is there, hand it over as a batch, acknowledge the batch. So an
acknowledgement never travels on another connection than its message came by, where the same
packet identifier could mean a message that nobody has stored.
"""

import contextlib
import logging
import time
from collections import deque
from collections.abc import Sequence
from typing import Protocol

from edge.contract.topics import COMMAND, ROOT
from edge.errors import ErrorCode, LinkError, LinkRefused
from edge.mqtt.backoff import Backoff
from edge.mqtt.connection import Connection, ConnectOptions
from edge.mqtt.reason_codes import ConnectionEnded, ConnectionRejected
from edge.settings import BrokerSettings
from senyum_central.ingest.message import Message
from senyum_central.ingest.store_retry import Waiter
from senyum_central.ingest.subscriptions import Subscriptions

log = logging.getLogger(__name__)

BATCH = 500  # messages in one commit; also how many may be unacknowledged
# Larger ones the broker drops instead of sending: 16 times the largest message of the contract.
PACKET_BYTES = 1024 * 1024
ANSWER_S = 10.0  # for SUBACK
SILENCES = 3  # TLS connections without an answer that count as a refusal
SHORT_S = 5.0  # a connection that ended sooner was hardly the network's fault
WAIT_S = 0.25  # the longest that an idle call waits
SENDING = 20  # commands on their way

# MQTT 5 reason code, section 2.4.
_NO_SUBSCRIBERS = 0x10
_COMMANDS = f"{ROOT}/+/+/+/{COMMAND}/#"
_ACCESS = "check --username, --password-file and --cert, and the broker's access list"
_DO = dict.fromkeys(
    (ErrorCode.CLIENT_ID, ErrorCode.PASSWORD, ErrorCode.NOT_AUTHORIZED, ErrorCode.BANNED), _ACCESS
)


class MessageSink(Protocol):
    """Receives the messages; each call raises StoreError if nothing could be stored."""

    def connected(self) -> None: ...

    def take(self, messages: Sequence[Message]) -> None: ...

    def idle(self) -> Sequence[Message]:
        """Do periodic work; return the messages to publish with QoS 1."""
        ...


class Subscriber:
    """The receiver's side of one broker."""

    def __init__(
        self,
        broker: BrokerSettings,
        client_id: str,
        sink: MessageSink,
        *,
        group: str | None = None,
        replies: bool = False,
        waiter: Waiter | None = None,
    ) -> None:
        """With `group`, share the events with its other members, else get every one.

        With `replies`, also receive what units answer to commands. The status of `waiter` is kept
        up to date, and its waker ends `run`.
        """
        self._waiter = waiter or Waiter()
        self._status, self._waker = self._waiter.status, self._waiter.waker
        self._broker = broker
        self._where = f"{broker.host}:{broker.port}"
        self._client_id = client_id
        self._sink = sink
        self._subscriptions = Subscriptions(group, replies)
        self._connection = Connection(broker, self._waker)
        self._commands: deque[Message] = deque()  # to be sent
        self._flying: set[int] = set()  # packets of those that are on their way
        self._let_in = False  # ever
        self._silences = 0  # TLS connections that ended unanswered, one after another

    def stop(self) -> None:
        """End `run` soon. Safe in a signal handler."""
        self._waker.stop()

    def run(self) -> None:
        """Receive until `stop`; a broker that cannot be reached is tried again, for ever.

        Raises LinkError where it refuses us and no waiting helps (LinkRefused where it never let
        us in, because the configuration is wrong), and StoreError from the sink.
        """
        backoff = Backoff(self._broker.backoff_min, self._broker.backoff_max)
        reported = False
        while not self._waker.stopped:
            since: float | None = None
            try:
                self._connection.connect(self._options)
                with contextlib.closing(self._connection) as connection:
                    self._subscriptions.begin(mqtt5=connection.mqtt5)
                    self._let_in, self._silences = True, 0
                    self._subscribe(connection)
                    log.info("receiving from broker %s as %s", self._where, self._client_id)
                    self._status.connected(self._where, self._client_id)
                    self._sink.connected()
                    since = time.monotonic()
                    reported = False
                    self._receive(connection)
            except ConnectionEnded as error:
                if self._waker.stopped:
                    return
                self._give_up(error)
                lasted = None if since is None else time.monotonic() - since
                hint = self._hint if lasted is not None and lasted < SHORT_S else ""
                # Only the first failure of an outage is a warning, whatever the later ones are.
                level = logging.DEBUG if reported else logging.WARNING
                log.log(level, "%s; trying again%s", error, hint)
                reported = True
                self._status.disconnected(str(error))
                # A broker that drops us at once, again and again, is not reached either.
                if lasted is not None and lasted > self._broker.backoff_max:
                    backoff.reset()
                self._waiter.wait(backoff.next())

    # --- connecting -------------------------------------------------------------------------

    @property
    def _options(self) -> ConnectOptions:
        return ConnectOptions(
            self._client_id,
            session_expiry=self._subscriptions.expiry_s,
            receive_maximum=BATCH,
            maximum_packet_size=PACKET_BYTES,
        )

    @property
    def _hint(self) -> str:
        """What a short connection may mean: not every broker says that it was taken over."""
        return f"; does another receiver come as {self._client_id}? Give each its own --client-id"

    def _refusal(self, why: str) -> LinkError:
        """Return the error of a broker that will not have us."""
        kind = LinkError if self._let_in else LinkRefused
        return kind(f"broker {self._where}: {why}")

    def _give_up(self, error: ConnectionEnded) -> None:
        """Raise LinkError where no waiting helps."""
        if error.error_code is ErrorCode.TAKEN_OVER:
            raise self._refusal(
                f"another receiver came as {self._client_id}; give each its own --client-id"
            ) from None
        if isinstance(error, ConnectionRejected):
            advice = _DO.get(error.error_code)
            raise self._refusal(error.why if advice is None else f"{error.why}; {advice}") from None
        # In TLS 1.3 a client's certificate is judged after the handshake, and the alert that says
        # so may be lost with the connection: then only repetition shows that waiting does not help.
        refused = error.error_code is ErrorCode.CERTIFICATE_REFUSED
        if self._broker.tls and error.error_code is ErrorCode.CLOSED:
            self._silences += 1
            refused = self._silences >= SILENCES
        if refused and not self._let_in:
            raise self._refusal(f"{error.why}; check --cert and --key") from None

    def _subscribe(self, connection: Connection) -> None:
        wanted = self._subscriptions
        wanted.offered &= connection.shared_subscriptions or not connection.mqtt5
        self._ask(connection, *wanted.others, wanted.events)
        if wanted.disappointed:
            # The session of this connection expires as early as that of a member.
            why = "has no shared subscriptions; going on without"
            raise connection.failure(why, ErrorCode.FEATURE)
        if wanted.group is not None and not wanted.shared:
            log.warning(
                "broker %s has no shared subscriptions: every receiver gets every event, "
                "and the store keeps each once",
                self._where,
            )
        for refused, code in wanted.refused.items():
            raise self._refusal(
                f"refused the subscription {refused}: {code}; "
                f"let client {self._client_id} read it in the broker's access list"
            )
        if connection.resumed:  # after the new subscription: nothing is missed between the two
            connection.unsubscribe(wanted.leftovers)

    def _ask(self, connection: Connection, *filters: str) -> None:
        """Subscribe and wait for the answers."""
        self._subscriptions.send(connection, *filters)
        until = time.monotonic() + ANSWER_S
        while not self._subscriptions.answered:
            if self._waker.stopped or time.monotonic() > until:
                raise connection.failure(f"no SUBACK within {ANSWER_S:.0f} s", ErrorCode.SILENT)
            connection.poll(WAIT_S)
            while connection.subacks:
                granted = connection.subacks.popleft()
                self._subscriptions.answer(granted.mid, granted.reasons[0])
            self._take(connection)  # some brokers go on only when that is acknowledged

    # --- receiving --------------------------------------------------------------------------

    def _receive(self, connection: Connection) -> None:
        self._commands.clear()  # those that a lost connection swallows are asked for again in time
        self._flying.clear()
        while not self._waker.stopped:
            if not connection.received:
                connection.poll(WAIT_S)
            self._take(connection)
            self._commands.extend(self._sink.idle())
            self._status.alive()
            self._command(connection)

    def _take(self, connection: Connection) -> None:
        """Hand over what has come, all of it in one commit, and acknowledge it."""
        connection.read_available(BATCH)
        batch = list(connection.received)
        connection.received.clear()
        if batch:
            self._sink.take([Message(heard.topic, heard.payload) for heard in batch])
            for heard in batch:
                connection.acknowledge(heard)

    def _command(self, connection: Connection) -> None:
        """Send what is to be sent, as many at a time as the broker takes."""
        while connection.pubacks:
            ack = connection.pubacks.popleft()
            self._flying.discard(ack.mid)
            if ack.reason.is_failure and ack.reason.value != _NO_SUBSCRIBERS:
                log.warning(
                    "broker %s refused a command: %s; let client %s write %s in its access list",
                    self._where,
                    ack.reason,
                    self._client_id,
                    _COMMANDS,
                )
        most = min(SENDING, connection.receive_maximum)
        while self._commands and len(self._flying) < most:
            message = self._commands.popleft()
            mid = connection.publish(message.topic, message.payload, 1, retain=False)
            self._flying.add(mid)
