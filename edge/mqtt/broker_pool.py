"""Which broker to try next. Pure: the clock is an argument.

The rule: of the brokers that are due, the one that stands first in the settings; but where a
connection was lost, that one behind the others, for what dies may go on taking connections and
answer none. A broker that failed is due again after its own back-off, or after
`LinkTiming.operator_retry` where a person has to mend something; so the next in the
list is tried at once, and all of them as seldom as a single one.
"""

import random
from collections.abc import Sequence

from edge.mqtt.backoff import Backoff
from edge.mqtt.credentials import CredentialFiles
from edge.mqtt.link_timing import LinkTiming
from edge.mqtt.reason_codes import Action
from edge.mqtt.version import VersionNegotiation
from edge.settings import BrokerSettings


class BrokerEndpoint:
    """One broker, and what we know of it."""

    def __init__(self, broker: BrokerSettings, pace: LinkTiming) -> None:
        self.broker = broker
        self.where = f"{broker.host}:{broker.port}"
        self.version = VersionNegotiation(broker)
        self.backoff = Backoff(broker.backoff_min, broker.backoff_max)
        self.files = CredentialFiles(broker)
        self.due_at = 0.0
        self._pace = pace

    def failed(self, remedy: Action, now: float) -> None:
        """Note that there is no connection, or no longer one."""
        if remedy is Action.SLOW:
            wait = self._pace.operator_retry * random.uniform(0.75, 1.25)  # noqa: S311 - spreads load
        else:
            wait = self.backoff.next()
        self.due_at = now + wait

    def mark_stable(self) -> None:
        """Note that the connection has lasted."""
        self.backoff.reset()


class BrokerPool:
    """All of them, in order of preference."""

    def __init__(self, settings: Sequence[BrokerSettings], pace: LinkTiming) -> None:
        self.all = tuple(BrokerEndpoint(broker, pace) for broker in settings)

    def begin(self, now: float) -> None:
        """Put the first try off by chance: hundreds of units get their power in one instant."""
        first = now + self.all[0].backoff.spread()
        for one in self.all:
            one.due_at = first

    def due(self, now: float, lost: BrokerEndpoint | None = None) -> BrokerEndpoint | None:
        """Return the one to try now, or None: see `due_at`. `lost` comes behind all others."""
        ready = [one for one in self.all if one.due_at <= now]
        return next((one for one in ready if one is not lost), ready[0] if ready else None)

    @property
    def due_at(self) -> float:
        """When the next one is due."""
        return min(one.due_at for one in self.all)

    def better(self, than: BrokerEndpoint) -> tuple[BrokerEndpoint, ...]:
        """Return those that are preferred to `than`."""
        return self.all[: self.all.index(than)]

    def renewed(self) -> bool:
        """Let those be due whose files were replaced since they were last used; True if any."""
        changed = [one for one in self.all if one.files.changed()]
        for one in changed:
            one.due_at = 0.0
        return bool(changed)
