"""Which broker to try next. Pure: the clock is an argument.

The rule: of the brokers that are due, the one that stands first in the settings; but where a
connection was lost, that one behind the others, for what dies may go on taking connections and
answer none. A broker that failed is due again after its own back-off, or after `Pace.slow` where
a person has to mend something; so the next in the list is tried at once, and all of them as
seldom as a single one.
"""

import logging
import random
from collections.abc import Sequence

from edge.mqtt.backoff import Backoff
from edge.mqtt.pace import Pace
from edge.mqtt.reasons import Remedy
from edge.mqtt.trust import Files
from edge.settings import BrokerSettings

log = logging.getLogger(__name__)


class Candidate:
    """One broker, and what we know of it.

    Which version it speaks: MQTT 5, until it says that it does not, or ends the connection
    unanswered and lets us in by 3.1.1. It may have done so for another reason (a proxy whose
    broker was down), so then 5 is tried once more before 3.1.1 is believed.
    """

    def __init__(self, broker: BrokerSettings, pace: Pace) -> None:
        self.broker = broker
        self.where = f"{broker.host}:{broker.port}"
        self.backoff = Backoff(broker.backoff_min, broker.backoff_max)
        self.files = Files(broker)
        self.due_at = 0.0
        self.five = True  # speak MQTT 5 to it next
        self._ask_again_at = 0.0  # whether it speaks 5 now
        self._doubt = self._last_doubt = False
        self._pace = pace

    def choose(self, now: float) -> bool:
        """Return whether to speak MQTT 5 to it now."""
        if not self.five and not self._doubt and now >= self._ask_again_at:
            self.five = True
        return self.five

    def failed(self, remedy: Remedy, now: float) -> None:
        """Note that there is no connection, or no longer one."""
        if self.five and (remedy is Remedy.OLDER or (self._last_doubt and remedy is Remedy.DOUBT)):
            log.info("broker %s does not speak MQTT 5: going on by 3.1.1", self.where)
            self.five, self._ask_again_at = False, now + self._pace.newer
            self._doubt = self._last_doubt = False
            return  # at once
        if self._doubt or remedy is Remedy.DOUBT:
            self.five = not self.five
            self._doubt = not self.five
        if remedy in (Remedy.SLOW, Remedy.OLDER):
            wait = self._pace.slow * random.uniform(0.75, 1.25)  # noqa: S311 - spreads load
        else:
            wait = self.backoff.next()
        self.due_at = now + wait

    def reached(self) -> bool:
        """Note that it let us in; False: leave again and ask once more, whether it speaks 5."""
        if self._doubt:
            self.five, self._doubt, self._last_doubt = True, False, True
            return False
        if self.five:
            self._last_doubt = False
        return True

    def settled(self) -> None:
        """Note that the connection has lasted."""
        self.backoff.reset()


class Brokers:
    """All of them, in order of preference."""

    def __init__(self, settings: Sequence[BrokerSettings], pace: Pace) -> None:
        self.all = tuple(Candidate(broker, pace) for broker in settings)

    def begin(self, now: float) -> None:
        """Put the first try off by chance: hundreds of units get their power in one instant."""
        first = now + self.all[0].backoff.spread()
        for one in self.all:
            one.due_at = first

    def due(self, now: float, lost: Candidate | None = None) -> Candidate | None:
        """Return the one to try now, or None: see `due_at`. `lost` comes behind all others."""
        ready = [one for one in self.all if one.due_at <= now]
        return next((one for one in ready if one is not lost), ready[0] if ready else None)

    @property
    def due_at(self) -> float:
        """When the next one is due."""
        return min(one.due_at for one in self.all)

    def better(self, than: Candidate) -> tuple[Candidate, ...]:
        """Return those that are preferred to `than`."""
        return self.all[: self.all.index(than)]

    def renewed(self) -> bool:
        """Let those be due whose files were replaced since they were last used; True if any."""
        changed = [one for one in self.all if one.files.changed()]
        for one in changed:
            one.due_at = 0.0
        return bool(changed)
