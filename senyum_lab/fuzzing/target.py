"""What one reader is tried with."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from senyum_lab.fuzzing.mutate import Way


@dataclass(frozen=True, slots=True)
class Target:
    """A reader, good input for it, and how that is altered.

    `read` returns whether the input was accepted, and raises only for a fault: what the reader is
    documented to raise it has caught. What was accepted and is none of `good` is a fault where
    the reader is to tell (`strict`); elsewhere `read` judges by itself what may be accepted.
    """

    name: str
    share: float  # of all tries
    good: Sequence[bytes]
    ways: Sequence[Way]
    read: Callable[[bytes], bool]
    strict: bool = True
