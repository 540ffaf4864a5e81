"""Which broker to try next. Pure: the clock is an argument.

Of the brokers that are due, the first in the settings is tried. After a loss, the lost broker comes
behind the others, because a dying broker may go on accepting connections without answering. A
broker that failed is due again after its own back-off, or after `LinkTiming.operator_retry` if an
operator has to correct something; so the next in the list is tried at once, and each of them as
seldom as a single one.
"""

import random
from collections.abc import Sequence

from edge.mqtt.backoff import Backoff, LinkTiming
from edge.mqtt.connection import Connection, ConnectOptions
from edge.mqtt.credentials import CredentialFiles
from edge.mqtt.reason_codes import Action
from edge.settings import BrokerSettings
from edge.system.event_queue import SelfPipe


class BrokerEndpoint:
    """One broker, its connection, and when it is due."""

    def __init__(
        self, broker: BrokerSettings, timing: LinkTiming, waker: SelfPipe | None = None
    ) -> None:
        self.broker = broker
        self.where = f"{broker.host}:{broker.port}"
        self.connection = Connection(broker, waker)
        self.backoff = Backoff(broker.backoff_min, broker.backoff_max)
        self.files = CredentialFiles(broker)
        self.due_at = 0.0
        self._timing = timing

    def connect(self, options: ConnectOptions) -> None:
        """Open the connection with the files as they are now; raises as `Connection.connect`."""
        self.files.mark_used()
        self.connection.connect(options)

    def failed(self, action: Action, now: float) -> None:
        """Note that there is no connection, or no longer one."""
        if action is Action.RETRY_RARELY:
            wait = self._timing.operator_retry * random.uniform(0.75, 1.25)  # noqa: S311 - spreads load
        else:
            wait = self.backoff.next()
        self.due_at = now + wait


class BrokerPool:
    """All brokers, in order of preference."""

    def __init__(
        self,
        settings: Sequence[BrokerSettings],
        timing: LinkTiming,
        waker: SelfPipe | None = None,
    ) -> None:
        self.endpoints = tuple(BrokerEndpoint(broker, timing, waker) for broker in settings)

    def delay_first_attempt(self, now: float) -> None:
        """Delay the first try at random, because hundreds of units start at the same instant."""
        first = now + self.endpoints[0].backoff.spread()
        for one in self.endpoints:
            one.due_at = first

    def due(self, now: float, lost: BrokerEndpoint | None = None) -> BrokerEndpoint | None:
        """Return the broker to try now, or None until `due_at`. `lost` comes behind all others."""
        ready = [one for one in self.endpoints if one.due_at <= now]
        return next((one for one in ready if one is not lost), ready[0] if ready else None)

    @property
    def due_at(self) -> float:
        """When the next broker is due."""
        return min(one.due_at for one in self.endpoints)

    def preferred_to(self, than: BrokerEndpoint) -> tuple[BrokerEndpoint, ...]:
        """Return the brokers that are preferred to `than`."""
        return self.endpoints[: self.endpoints.index(than)]

    def reset_replaced_credentials(self) -> bool:
        """Make brokers due whose files were replaced since they were last used; True if any."""
        changed = [one for one in self.endpoints if one.files.changed()]
        for one in changed:
            one.due_at = 0.0
        return bool(changed)
