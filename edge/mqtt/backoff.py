"""How long to wait before trying again."""

import random


class Backoff:
    """Doubles from `least` to `most` seconds, each time spread so that units do not march in step.

    Full jitter over the upper half: after a power cut a hundred units come back at once.
    """

    def __init__(self, least: float, most: float) -> None:
        self._least = least
        self._most = max(least, most)
        self._next = least

    def next(self) -> float:
        """Return the seconds to wait now; the next wait is twice as long."""
        now, self._next = self._next, min(self._next * 2, self._most)
        return now * random.uniform(0.5, 1.0)  # noqa: S311 - spreads load, guards nothing

    def reset(self) -> None:
        """Begin again with the shortest wait."""
        self._next = self._least
