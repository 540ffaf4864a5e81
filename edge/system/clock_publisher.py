"""The helper that asks the kernel about the clock, so that the daemon's sandbox need not allow it.

It imports next to nothing and does one thing; `edge.system.clock` says what its answer looks like.
"""

import json
import time
from collections.abc import Callable
from pathlib import Path

from edge.errors import ClockError
from edge.system.clock import boot_id, kernel_synchronized

ANSWER = Path("/run/senyum-clock/clock.json")
EVERY_SECONDS = 10.0  # a sixth of the age at which an answer counts for nothing


class ClockPublisher:
    """Leaves an answer in `file` each time that `tell` is called."""

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
        draft = self._file.with_name(f".{self._file.name}.new")
        try:
            # In memory (/run): nothing to make durable, only never half an answer.
            draft.write_text(json.dumps(answer), encoding="ascii")
            draft.chmod(0o644)  # whatever the umask: the daemon is another user
            draft.replace(self._file)
        except OSError as error:
            raise ClockError(f"{self._file}: cannot be written: {error.strerror}") from None
        return synchronized
