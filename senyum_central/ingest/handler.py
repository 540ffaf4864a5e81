"""What the subscriber needs of whoever the messages are for."""

from collections.abc import Sequence
from typing import Protocol

from senyum_central.ingest.message import Message


class Handler(Protocol):
    """Who the messages are for; each call raises StoreError when nothing could be kept."""

    def connected(self) -> None: ...

    def take(self, messages: Sequence[Message]) -> None: ...

    def idle(self) -> Sequence[Message]:
        """Do what time asks for; returns what is to be published, with QoS 1."""
        ...
