"""One test vector."""

from dataclasses import dataclass
from typing import Final

from contract.unit import NOON

GENUINE: Final = "genuine"
EMPTY: Final = "empty"  # removes a retained message
UNSIGNED: Final = "unsigned"  # a Last Will
RECEIVED: Final = NOON + 60


@dataclass(frozen=True, slots=True, kw_only=True)
class Vector:
    """A message, how it arrived, and the verdict on it.

    The messages of one series come to one store, in this order; each other vector to an empty one.
    """

    name: str
    topic: str
    message: bytes
    verdict: str = GENUINE
    about: str
    series: str = ""
    received: int = RECEIVED  # seconds since 1970
    missing: str = "-"  # the unit's numbers that are missing once the message was judged: 2,4-6
