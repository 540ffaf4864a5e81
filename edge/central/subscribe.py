"""Receives from the broker: session kept, acknowledged only after the store committed.

MQTT 5, or 3.1.1, which has no shared subscriptions and no expiry of sessions.

One thread does all: read what is there, hand it over as a batch, acknowledge the batch. So an
acknowledgement never travels on another connection than its message came by, where the same
packet identifier could mean a message that nobody has stored.
"""

import logging
import select
import ssl
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import paho.mqtt.client as mqtt
from paho.mqtt.enums import LogLevel, MQTTErrorCode
from paho.mqtt.reasoncodes import ReasonCode

from edge.central.handler import Handler
from edge.central.message import Message
from edge.central.subscriptions import Subscriptions
from edge.errors import LinkError, LinkRefused
from edge.mqtt.backoff import Backoff
from edge.mqtt.client import connect, new_client
from edge.mqtt.topics import COMMAND, ROOT
from edge.settings import BrokerSettings

log = logging.getLogger(__name__)

BATCH = 500  # messages in one commit; also how many may be unacknowledged
# Larger ones the broker drops instead of sending: 16 times the largest message of the contract.
PACKET_BYTES = 1024 * 1024
ANSWER_S = 10.0  # for CONNACK and SUBACK
SILENCES = 3  # so many connections without an answer are one
SHORT_S = 5.0  # a connection that ended sooner was hardly the network's fault
GOODBYE_S = 1.0
WAIT_S = 0.25  # the longest that a stop or an idle call waits

# MQTT 5 reason codes, section 2.4.
_UNSUPPORTED_PROTOCOL = 0x84
_TAKEN_OVER = 0x8E
_NO_SUBSCRIBERS = 0x10
_COMMANDS = f"{ROOT}/+/+/+/{COMMAND}/#"
_TRANSIENT = {
    0x88: "server unavailable",
    0x89: "server busy",
    0x97: "quota exceeded",
    0x9C: "use another server",
    0x9D: "server moved",
    0x9F: "connection rate exceeded",
}


class Unreachable(Exception):
    """An attempt to connect failed, and the next may not."""


@dataclass(frozen=True, slots=True)
class _Held:
    """A message and what acknowledges it."""

    message: Message
    mid: int
    qos: int


class Subscriber:
    """The receiver's side of one broker."""

    def __init__(
        self,
        broker: BrokerSettings,
        client_id: str,
        handler: Handler,
        *,
        group: str | None = None,
        replies: bool = False,
    ) -> None:
        """With `group`, share the events with its other members, else get every one.

        With `replies`, also receive what units answer to commands.
        """
        self._broker = broker
        self._client_id = client_id
        self._handler = handler
        self._five = True  # speak MQTT 5
        self._keep = True  # whether the broker is to keep the session
        self._client = self._make_client()
        self._inbox: list[_Held] = []
        self._stopped = False
        self._connack: ReasonCode | None = None
        self._resumed = False  # whether the broker had kept our session
        self._subscriptions = Subscriptions(group, replies)
        self._farewell: ReasonCode | None = None
        self._detail = ""
        self._let_in = False  # ever
        self._silences = 0  # TLS connections that ended unanswered, one after another

    def stop(self) -> None:
        """End `run` soon. Safe in a signal handler."""
        self._stopped = True

    def run(self) -> None:
        """Receive until `stop`; a broker that cannot be reached is tried again, for ever.

        Raises LinkError where it refuses us and no waiting helps (LinkRefused where it never let
        us in: what we were told of it is wrong), and StoreError as the handler does.
        """
        backoff = Backoff(self._broker.backoff_min, self._broker.backoff_max)
        said = False
        try:
            while not self._stopped:
                since: float | None = None
                try:
                    self._connect()
                    log.info("receiving from broker %s as %s", self._where, self._client_id)
                    self._let_in = True
                    self._handler.connected()
                    since = time.monotonic()
                    said = False
                    self._receive()
                except Unreachable as error:
                    # The first failure is said aloud; the rest would only fill the log.
                    level = logging.DEBUG if said else logging.WARNING
                    lasted = None if since is None else time.monotonic() - since
                    hint = self._hint if lasted is not None and lasted < SHORT_S else ""
                    log.log(level, "broker %s: %s; trying again%s", self._where, error, hint)
                    said = True
                    # A broker that drops us at once, again and again, is not reached either.
                    if lasted is not None and lasted > self._broker.backoff_max:
                        backoff.reset()
                    self.rest(backoff.next())
        finally:
            self._disconnect()

    # --- connecting -------------------------------------------------------------------------

    @property
    def _where(self) -> str:
        return f"{self._broker.host}:{self._broker.port}"

    @property
    def _hint(self) -> str:
        """What a short connection may mean: not every broker says that it was taken over."""
        return f"; does another receiver come as {self._client_id}? Give each its own --client-id"

    def _refusal(self, why: str) -> LinkError:
        """Return the error of a broker that will not have us."""
        kind = LinkError if self._let_in else LinkRefused
        return kind(f"broker {self._where}: {why}")

    def _make_client(self) -> mqtt.Client:
        client = new_client(self._broker, self._client_id, five=self._five, keep=self._keep)
        client.manual_ack_set(True)
        client.on_connect = self._on_connect
        client.on_subscribe = self._on_subscribe
        client.on_message = self._on_message
        client.on_publish = self._on_publish
        client.on_disconnect = self._on_disconnect
        client.on_log = self._on_log
        return client

    def _connect(self) -> None:
        self._inbox.clear()  # of a connection that is gone: the broker sends it again
        self._subscriptions.reset(five=self._five)
        self._connack = self._farewell = None
        self._detail = ""
        try:
            connect(
                self._client,
                self._broker,
                keep=self._keep,
                SessionExpiryInterval=self._subscriptions.expiry_s if self._keep else 0,
                ReceiveMaximum=BATCH,
                MaximumPacketSize=PACKET_BYTES,
            )
        except ssl.SSLCertVerificationError as error:
            raise self._refusal(
                f"its certificate was refused: {error.verify_message}; "
                "name its authority with --ca, and the host as the certificate does"
            ) from None
        except (ssl.SSLEOFError, ssl.SSLZeroReturnError, ConnectionResetError):
            # A proxy whose broker is down does so too: waiting may help.
            raise Unreachable(
                "closed the connection during the TLS handshake, as a port without TLS does "
                "(mqtt://HOST:PORT)"
            ) from None
        except ssl.SSLError as error:
            raise self._refusal(
                f"TLS failed: {error.reason or error}; check the port, --cert and --key"
            ) from None
        except ValueError:  # of the codec that host names go through
            raise self._refusal("its name is no host name") from None
        except OSError as error:
            raise Unreachable(error.strerror or str(error) or type(error).__name__) from None
        self._await(lambda: self._connack is not None, "no CONNACK")
        self._check_connack()
        self._subscribe()

    def _check_connack(self) -> None:
        code = self._connack
        assert code is not None
        if code.value in _TRANSIENT:
            raise Unreachable(f"refused for now: {code}")
        if code.value == _UNSUPPORTED_PROTOCOL and self._five:
            self._five = False
            self._client = self._make_client()
            raise Unreachable("does not speak MQTT 5; going on by 3.1.1")
        if code.is_failure:
            raise self._refusal(
                f"refused client {self._client_id}: {code}; "
                "check --username, --password-file and --cert, and the broker's access list"
            )

    def _subscribe(self) -> None:
        wanted = self._subscriptions
        self._ask(*wanted.others, wanted.events)
        if wanted.disappointed:
            # The session of this connection expires as early as that of a member.
            raise Unreachable("has no shared subscriptions; going on without")
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
        if self._resumed:  # after the new subscription, so that nothing is missed between the two
            self._client.unsubscribe(list(wanted.leftovers))

    def _ask(self, *filters: str) -> None:
        """Subscribe and wait for the answers."""
        if not self._subscriptions.send(self._client, *filters):
            raise Unreachable("the connection was lost while subscribing")
        self._await(lambda: self._subscriptions.answered, "no SUBACK")

    def _await(self, arrived: Callable[[], bool], otherwise: str) -> None:
        """Turn the client's loop until `arrived`, at most ANSWER_S."""
        deadline = time.monotonic() + ANSWER_S
        while not arrived():
            self._turn()
            if self._stopped or time.monotonic() > deadline:
                raise Unreachable(f"{otherwise} within {ANSWER_S:.0f} s")

    def rest(self, seconds: float) -> bool:
        """Wait, unless `stop` comes; returns whether to go on."""
        until = time.monotonic() + seconds
        while not self._stopped and (left := until - time.monotonic()) > 0:
            time.sleep(min(left, WAIT_S))
        return not self._stopped

    def _disconnect(self) -> None:
        """Say goodbye; the broker keeps the session, and what was not acknowledged."""
        self._client.disconnect()
        deadline = time.monotonic() + GOODBYE_S
        while self._client.want_write() and time.monotonic() < deadline:
            try:
                self._turn(deadline - time.monotonic())
            except (Unreachable, LinkError):
                return

    # --- receiving --------------------------------------------------------------------------

    def _receive(self) -> None:
        while not self._stopped:
            if not self._inbox:
                self._turn()
            self._read_on()
            batch, self._inbox = self._inbox, []
            if batch:
                self._handler.take([held.message for held in batch])
                for held in batch:
                    self._client.ack(held.mid, held.qos)
            for message in self._handler.idle():
                self._publish(message)

    def _publish(self, message: Message) -> None:
        """Queue a message. One that a lost connection swallows is asked for again in time."""
        self._client.publish(message.topic, message.payload, qos=1)

    def _turn(self, seconds: float = WAIT_S) -> None:
        """Wait for the network, at most so long; read one packet and write all that is queued."""
        sock = self._client.socket()
        if sock is None:
            self._lost(MQTTErrorCode.MQTT_ERR_NO_CONN)
            return
        poll = select.poll()
        wants = select.POLLOUT if self._client.want_write() else 0
        poll.register(sock.fileno(), select.POLLIN | wants)
        decrypted = isinstance(sock, ssl.SSLSocket) and sock.pending() > 0
        ready = poll.poll(0 if decrypted else seconds * 1000)
        result = MQTTErrorCode.MQTT_ERR_SUCCESS
        if decrypted or any(event & ~select.POLLOUT for _, event in ready):
            result = self._client.loop_read()
        if self._client.want_write():
            self._client.loop_write()
        self._client.loop_misc()
        if result is not MQTTErrorCode.MQTT_ERR_SUCCESS or self._farewell is not None:
            self._lost(result)

    def _read_on(self) -> None:
        """Read what has arrived already, so that one commit holds it all."""
        before = -1
        while before < len(self._inbox) < BATCH:
            before = len(self._inbox)
            result = self._client.loop_read()
            if result is not MQTTErrorCode.MQTT_ERR_SUCCESS:
                self._lost(result)

    def _lost(self, result: MQTTErrorCode) -> None:
        if self._farewell is not None and self._farewell.value == _TAKEN_OVER:
            raise LinkError(
                f"broker {self._where}: another receiver came as {self._client_id}; "
                "give each its own --client-id"
            )
        if self._connack is None:
            raise self._unanswered()
        if not self._connack.is_failure:
            raise Unreachable(f"{self._farewell or mqtt.error_string(result)}{self._detail}")

    def _unanswered(self) -> Exception:
        """Return the error of a connection that ended before its CONNACK."""
        if not self._broker.tls:
            return Unreachable(
                "ended the connection before it answered, as a port with TLS does "
                f"(mqtts://HOST:PORT){self._detail}"
            )
        why = (
            "ended the connection before it answered, as it does where it does not accept our "
            f"certificate or misses one (--cert and --key){self._detail}"
        )
        # In TLS 1.3 a client's certificate is judged after the handshake, and the alert that says
        # so may be lost with the connection: then only repetition shows that waiting is no help.
        self._silences += 1
        told = "alert" in self._detail.lower()
        if not self._let_in and (told or self._silences >= SILENCES):
            return self._refusal(why)
        return Unreachable(why)

    # --- called back by the client, inside its loop -------------------------------------------

    def _on_connect(
        self, _client: Any, _data: Any, flags: Any, code: ReasonCode, properties: Any
    ) -> None:
        self._connack = code
        self._silences = 0
        self._resumed = flags.session_present
        if getattr(properties, "SharedSubscriptionAvailable", 1) == 0:
            self._subscriptions.shared_offered = False

    def _on_subscribe(
        self, _client: Any, _data: Any, mid: int, codes: list[ReasonCode], _properties: Any
    ) -> None:
        self._subscriptions.answer(mid, codes[0])

    def _on_message(self, _client: Any, _data: Any, received: mqtt.MQTTMessage) -> None:
        message = Message(received.topic, bytes(received.payload))
        self._inbox.append(_Held(message, received.mid, received.qos))

    def _on_publish(
        self, _client: Any, _data: Any, _mid: int, code: ReasonCode, _properties: Any
    ) -> None:
        if code.is_failure and code.value != _NO_SUBSCRIBERS:
            log.warning(
                "broker %s refused a command: %s; let client %s write %s in its access list",
                self._where,
                code,
                self._client_id,
                _COMMANDS,
            )

    def _on_disconnect(
        self, _client: Any, _data: Any, _flags: Any, code: ReasonCode, _properties: Any
    ) -> None:
        if self._farewell is None:  # the broker's reason comes before paho's own
            self._farewell = code

    def _on_log(self, _client: Any, _data: Any, level: int, text: str) -> None:
        """Keep what paho says only to its log: why the TLS layer ended a connection."""
        if level == LogLevel.MQTT_LOG_ERR:
            self._detail = f" ({text})"
