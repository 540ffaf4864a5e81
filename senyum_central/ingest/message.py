"""One received message, and when it was received."""

import time
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Self


@dataclass(frozen=True, slots=True)
class Message:
    """A PUBLISH packet, without what only the transport needs."""

    topic: str
    payload: bytes


@dataclass(frozen=True, slots=True)
class ReceivedAt:
    """Now, on the clock that people read and on the one that grace periods are measured with."""

    utc: datetime
    monotonic_ns: int

    @classmethod
    def now(cls) -> Self:
        return cls(datetime.now(UTC), time.monotonic_ns())

    def __str__(self) -> str:
        return self.utc.isoformat(timespec="milliseconds")
