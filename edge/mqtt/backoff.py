"""How long to wait before trying again."""

import random


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
