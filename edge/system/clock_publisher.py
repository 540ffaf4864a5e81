"""The helper that asks the kernel about the clock, so that the daemon's sandbox need not allow it.

It imports next to nothing and does one thing; `edge.system.clock` says what its answer looks like.
"""

import json
import time
from collections.abc import Callable
from pathlib import Path

from edge.errors import ClockError
from edge.system.boot_id import boot_id
from edge.system.clock import kernel_synchronized
from edge.system.files import replace_file

ANSWER = Path("/run/senyum-clock/clock.json")
EVERY_SECONDS = 10.0  # a sixth of the age at which an answer counts for nothing


class ClockPublisher:
    """Writes the clock state to `file` each time `publish` is called."""

    def __init__(self, file: Path, ask: Callable[[], bool] = kernel_synchronized) -> None:
        self._file = file
        self._ask = ask
        self._boot_id = boot_id()

    def publish(self) -> bool:
        """Ask, pass the answer on and return it; raises ClockError."""
        asked_ns = time.monotonic_ns()  # before: it is never thought younger than it is
        try:
            synchronized = self._ask()
        except OSError as error:
            raise ClockError(
                f"the kernel does not say whether the clock is right: {error.strerror}; "
                "let this process call adjtimex"
            ) from None
        answer = {
            "synchronized": synchronized,
            "boot_id": self._boot_id,
            "monotonic_ns": str(asked_ns),
        }
        try:
            # Mode 0644 because the daemon is another user; not durable because /run is in memory.
            replace_file(self._file, json.dumps(answer).encode(), mode=0o644, durable=False)
        except OSError as error:
            raise ClockError(f"{self._file}: cannot be written: {error.strerror}") from None
        return synchronized
