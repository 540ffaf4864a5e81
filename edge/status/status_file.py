"""How the daemon is, in a file of its runtime directory (in memory, not on the card).

`senyum status` and `senyum doctor` read it: the camera and the pins are the daemon's while it
runs, so it is the one to ask. The file is replaced whole. Nothing about people is in it.
"""

import json
import os
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Self

from edge.system.boot_id import boot_id
from edge.system.files import replace_file

RUNTIME = Path("/run/senyum")  # RuntimeDirectory= of the service
NAME = "status.json"
EVERY_S = 5.0  # seconds between two writings of figures; what is wrong is written at once
STALE_S = 30.0  # older than this, the daemon hangs or was killed


@dataclass(frozen=True, slots=True, kw_only=True)
class DaemonStatus:
    """What the file holds. `codes` are words of docs/troubleshooting.md, the worst first."""

    sentence: str
    source: str  # the unit's URN
    software: str
    pid: int
    boot_id: str
    started_ns: int  # CLOCK_MONOTONIC
    codes: tuple[str, ...] = ()
    fault: str | None = None  # why the unit is out of order
    enrolled: int = 0
    recorded: int = 0
    refused: int = 0
    waiting: int = 0  # events that no broker has taken
    broker: str = ""  # host and port, connected or tried last
    link_up: bool = False
    clock: str = "unsynchronized"
    frame_rate: float = 0.0  # pictures judged a second
    level: float | None = None  # of the picture: mean luma, 0 to 255
    sharpness: float | None = None  # of the picture: variance of its Laplacian
    temperature_c: float | None = None
    written_ns: int = 0  # CLOCK_MONOTONIC

    @property
    def age_s(self) -> float:
        """Seconds since it was written; of this boot only."""
        return (time.monotonic_ns() - self.written_ns) / 1e9

    @classmethod
    def of(cls, content: Mapping[str, Any]) -> Self:
        """Read what another version may have written: unknown fields are left out."""
        known = {field.name for field in fields(cls)}
        known_fields = {name: value for name, value in content.items() if name in known}
        known_fields["codes"] = tuple(map(str, known_fields.get("codes", ())))
        return cls(**known_fields)


class StatusFile:
    """Writes bulletins, seldom enough; one that cannot be written is left."""

    def __init__(self, environment: Mapping[str, str] = os.environ) -> None:
        folder = environment.get("RUNTIME_DIRECTORY")  # systemd's; without one nobody reads
        self._file = Path(folder.split(":")[0]) / NAME if folder else None
        self._codes: tuple[str, ...] | None = None
        self._due = 0.0

    def is_due(self, codes: tuple[str, ...]) -> bool:
        """Whether it is time for another."""
        if self._file is None:
            return False
        return codes != self._codes or time.monotonic() >= self._due

    def write(self, bulletin: DaemonStatus) -> None:
        """Write it in place of the last."""
        if self._file is None:
            return
        self._codes, self._due = bulletin.codes, time.monotonic() + EVERY_S
        content = {**asdict(bulletin), "written_ns": time.monotonic_ns()}
        try:
            # Mode 0644 so that every user of the machine can read it.
            replace_file(self._file, json.dumps(content).encode(), mode=0o644, durable=False)
        except OSError:
            return

    def remove(self) -> None:
        """Say that the daemon has ended in good order."""
        if self._file is not None:
            self._file.unlink(missing_ok=True)


def read(folder: Path = RUNTIME) -> DaemonStatus | None:
    """Return the status of the daemon of this boot, or None if it wrote none."""
    try:
        content = json.loads((folder / NAME).read_bytes())
        bulletin = DaemonStatus.of(content)
        current = boot_id()
        alive = Path(f"/proc/{bulletin.pid:d}").exists()
    except (OSError, ValueError, TypeError, AttributeError):
        return None
    return bulletin if alive and bulletin.boot_id == current else None
