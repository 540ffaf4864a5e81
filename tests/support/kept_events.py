"""A queue whose messages a test can look at while another thread puts them."""

import time
from types import UnionType
from typing import Any

from edge.system.event_queue import EventQueue


class KeptEvents(EventQueue[Any]):
    """Keeps every message in `all`, and when it came; nothing is taken out."""

    def __init__(self) -> None:
        super().__init__()
        self.all: list[Any] = []
        self.times: list[float] = []  # time.monotonic(), one for each of `all`

    def put(self, item: Any) -> bool:
        self.times.append(time.monotonic())
        self.all.append(item)
        return True

    def put_latest(self, item: Any) -> None:
        self.put(item)

    def of(self, kind: type | UnionType) -> list[Any]:
        """Return the messages of one kind."""
        return [message for message in list(self.all) if isinstance(message, kind)]
