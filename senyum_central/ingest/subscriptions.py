"""What a receiver's session is subscribed to, and how long the broker keeps it.

By default every receiver has a subscription of its own and gets every event; the store keeps
each once. The members of a group share one subscription (`$share/GROUP/…`): each event goes to
one of them, also to one that is away, for as long as the broker keeps its session.
"""

from dataclasses import dataclass, field

from paho.mqtt.reasoncodes import ReasonCode

from edge.contract.topics import REPLY, ROOT, TopicKind, subscription
from edge.mqtt.connection import Connection

# A server that is down over a long weekend finds its events waiting.
OWN_EXPIRY_S = 7 * 24 * 3600
# The broker gives an absent member its share until then, and drops it afterwards: long enough for
# a restart of the service, short enough that a dead member withholds little.
SHARED_EXPIRY_S = 20
# Earlier versions had every receiver in a group, with this name unless another was given.
FORMER_GROUP = "central"

_NO_SHARED = 0x9E  # MQTT 5 reason code, section 2.4


@dataclass(slots=True)
class Subscriptions:
    """The subscriptions of one connection, and what the broker answered so far."""

    group: str | None = None  # None: not shared
    replies: bool = False  # whether to receive what units answer to commands
    offered: bool = True  # whether the broker shares events by MQTT 5, as far as it has stated
    mqtt5: bool = True  # whether the connection is MQTT 5; 3.1.1 has no shared subscriptions
    expected: bool = False  # whether the connection was opened to share events
    refused: dict[str, ReasonCode] = field(default_factory=dict)  # filter -> why
    _waiting: dict[int, str] = field(default_factory=dict)  # packet identifier -> filter

    @property
    def expiry_s(self) -> int:
        """How long an MQTT 5 broker keeps the session of an absent receiver, in seconds."""
        shares = self.group is not None and self.offered
        return SHARED_EXPIRY_S if shares else OWN_EXPIRY_S

    @property
    def shared(self) -> bool:
        """Whether events are shared on this connection."""
        return self.group is not None and self.offered and self.mqtt5

    @property
    def disappointed(self) -> bool:
        """Return whether the broker refused to share events on this connection."""
        return self.expected and not self.shared

    @property
    def answered(self) -> bool:
        """Whether the broker has answered all that was sent."""
        return not self._waiting

    @property
    def events(self) -> str:
        """The filter for events."""
        return subscription(TopicKind.EVENT, self.group if self.shared else None)

    @property
    def others(self) -> tuple[str, ...]:
        """The filters that are never shared: every receiver has to know every chain's end."""
        replies = (f"{ROOT}/+/+/+/{REPLY}/+",) if self.replies else ()
        return (subscription(TopicKind.STATE), subscription(TopicKind.HEALTH), *replies)

    @property
    def leftovers(self) -> tuple[str, ...]:
        """The filters that an earlier start with other options may have left in the session."""
        if self.shared:
            return (subscription(TopicKind.EVENT),)
        return tuple(
            subscription(TopicKind.EVENT, group)
            for group in dict.fromkeys((self.group or FORMER_GROUP, FORMER_GROUP))
        )

    def begin(self, *, mqtt5: bool) -> None:
        """Begin a connection, by MQTT 5 or by 3.1.1."""
        self.refused.clear()
        self._waiting.clear()
        self.mqtt5 = mqtt5
        self.expected = self.shared

    def send(self, connection: Connection, *filters: str) -> None:
        """Subscribe with QoS 1; raises Ended if the connection is lost meanwhile."""
        for wanted in filters:
            self._waiting[connection.subscribe([wanted], retained=True)] = wanted

    def answer(self, mid: int, code: ReasonCode) -> None:
        """Note the broker's answer to a subscription."""
        wanted = self._waiting.pop(mid, None)
        if wanted is None or not code.is_failure:
            return
        if self.shared and code.value == _NO_SHARED:
            self.offered = False
        else:
            self.refused[wanted] = code
