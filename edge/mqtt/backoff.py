"""How long to wait before trying again, and the other intervals of the link."""

import random
from dataclasses import dataclass


class Backoff:
    """Full jitter: a random time from 0 to a limit in seconds, which doubles at each call.

    Units that lost their broker in the same instant thus reconnect spread over the whole limit:
    with 400 of them a broker sees at most about 400 / `minimum` in the first second, and
    400 / `maximum` a second after a longer outage.
    """

    def __init__(
        self, minimum: float, maximum: float, generator: random.Random | None = None
    ) -> None:
        self._minimum = minimum
        self._maximum = max(minimum, maximum)
        self._limit = minimum
        self._generator = generator or random.Random()  # noqa: S311 - only spreads load

    def next(self) -> float:
        """Return the seconds to wait now; the next limit is twice as high."""
        limit, self._limit = self._limit, min(self._limit * 2, self._maximum)
        return self._generator.uniform(0.0, limit)

    def spread(self) -> float:
        """Return a wait within the shortest limit, without counting a failure."""
        return self._generator.uniform(0.0, self._minimum)

    def reset(self) -> None:
        """Start again with the shortest limit."""
        self._limit = self._minimum


@dataclass(frozen=True, slots=True)
class LinkTiming:
    """The intervals of the link in seconds, apart from the back-off that the settings choose."""

    health_interval: float = 60.0  # between two `health` messages
    puback_timeout: float = 30.0  # a broker that acknowledges nothing for this long is given up
    persist_interval: float = 600.0  # longest time before a delivery is recorded on disk
    stable_after: float = 10.0  # a connection that lasted this long counts as stable
    operator_retry: float = 300.0  # between two tries while an operator has to correct something
    # Between two tries to return to a preferred broker; doubles up to `max_retry`.
    failback_retry: float = 300.0
    max_retry: float = 3600.0
    # Before a quarantined event is tried again; doubles up to `max_retry`.
    quarantine_retry: float = 60.0
    credential_poll: float = 30.0  # between two checks for replaced certificate and password files
    # Before the next part of a roster is requested again; doubles.
    fetch_timeout: float = 10.0
