"""Remembers what came lately, and only so much of it."""

from typing import Generic, TypeVar

K = TypeVar("K")
V = TypeVar("V")


class LruSet(Generic[K, V]):
    """A value for each of the last `limit` keys that were put.

    For keys that strangers choose: they may make us forget, but never fill the memory.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._values: dict[K, V] = {}  # a dict keeps the order of insertion

    def put(self, key: K, value: V) -> bool:
        """Remember a value; returns whether it is news."""
        news = key not in self._values or self._values.pop(key) != value
        self._values[key] = value
        if len(self._values) > self._limit:
            del self._values[next(iter(self._values))]
        return news

    def forget(self, key: K) -> None:
        """Make the next value of a key news."""
        self._values.pop(key, None)
