"""How long to wait before trying again, and the other intervals of the link."""

import random
from dataclasses import dataclass


class Backoff:
    """Full jitter: anything from 0 to a limit that doubles from `least` to `most` seconds.

    Units that lost their broker in the same instant come back spread over the whole limit, not
    in step: with 400 of them a broker sees at most about 400 / `least` in the first second, and
    400 / `most` a second after a longer outage.
    """

    def __init__(self, least: float, most: float, chance: random.Random | None = None) -> None:
        self._least = least
        self._most = max(least, most)
        self._limit = least
        self._chance = chance or random.Random()  # noqa: S311 - spreads load, guards nothing

    def next(self) -> float:
        """Return the seconds to wait now; the next limit is twice as high."""
        limit, self._limit = self._limit, min(self._limit * 2, self._most)
        return self._chance.uniform(0.0, limit)

    def spread(self) -> float:
        """Return a wait within the shortest limit, which counts as no failure."""
        return self._chance.uniform(0.0, self._least)

    def reset(self) -> None:
        """Begin again with the shortest limit."""
        self._limit = self._least


@dataclass(frozen=True, slots=True)
class LinkTiming:
    """The intervals of the link in seconds, apart from the back-off that the settings choose."""

    health_interval: float = 60.0  # between two `health` messages
    puback_timeout: float = 30.0  # a broker that acknowledges nothing for this long is given up
    persist_interval: float = 600.0  # longest time before a delivery is recorded on disk
    settled: float = 10.0  # a connection that lasted this long counts as stable
    operator_retry: float = 300.0  # between two tries while an operator has to correct something
    # Between two tries to return to a preferred broker; doubles up to `max_retry`.
    failback_retry: float = 300.0
    max_retry: float = 3600.0
    # Before a quarantined event is tried again; doubles up to `max_retry`.
    quarantine_retry: float = 60.0
    credential_poll: float = 30.0  # between two checks for replaced certificate and password files
    # Before the next part of a roster is requested again; doubles.
    fetch_timeout: float = 10.0
