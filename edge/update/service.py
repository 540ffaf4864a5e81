"""The unit's service, as the update sees it: stop, start, and how it is."""

import subprocess
from dataclasses import dataclass
from typing import Protocol

from edge.errors import UpdateError

UNIT = "senyum.service"
_SECONDS = 90  # a start may wait for the camera, a stop for the last event


@dataclass(frozen=True, slots=True)
class Standing:
    """How the service is."""

    active: bool  # it says that it is ready
    restarts: int  # by the manager, since somebody started it
    sentence: str  # its own

    @property
    def out_of_order(self) -> bool:
        return self.sentence.startswith("Out of order")


class Service(Protocol):
    """What the update does with the service. Raises UpdateError."""

    def stop(self) -> None: ...
    def start(self) -> None:
        """Start it, and the watch over it; returns when it is ready or has failed."""
        ...

    def standing(self) -> Standing: ...


class Systemd:
    """The service under systemd."""

    def __init__(self, unit: str = UNIT) -> None:
        self._unit = unit

    def stop(self) -> None:
        _systemctl("stop", self._unit)

    def start(self) -> None:
        _systemctl("reset-failed", self._unit, must=False)
        _systemctl("start", self._unit, must=False)  # whether it stays is for the watch to see

    def standing(self) -> Standing:
        names = "ActiveState,NRestarts,StatusText"
        told = dict(
            line.split("=", 1)
            for line in _systemctl("show", self._unit, f"--property={names}").splitlines()
            if "=" in line
        )
        return Standing(
            active=told.get("ActiveState") == "active",
            restarts=int(told.get("NRestarts") or 0),
            sentence=told.get("StatusText", ""),
        )


def _systemctl(*words: str, must: bool = True) -> str:
    try:
        done = subprocess.run(
            ["systemctl", *words], capture_output=True, text=True, timeout=_SECONDS, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise UpdateError(f"systemctl {words[0]}: {error}") from None
    if must and done.returncode != 0:
        raise UpdateError(f"systemctl {' '.join(words)}: {done.stderr.strip()}")
    return done.stdout
