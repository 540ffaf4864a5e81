"""The unit's service, as the update sees it: stop, start, and how it is."""

import subprocess
from dataclasses import dataclass
from typing import Protocol

from edge.errors import UpdateError

UNIT = "senyum.service"
CLOCK = "senyum-clock.service"  # runs from the version in force too
WATCH = "senyum-update.service"
RETURN = "senyum-update-return"
_RETURN_S = 600
_SECONDS = 90  # a start may wait for the camera, a stop for the last event


@dataclass(frozen=True, slots=True)
class ServiceStatus:
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

    def standing(self) -> ServiceStatus: ...


class Systemd:
    """The service under systemd."""

    def __init__(self, unit: str = UNIT) -> None:
        self._unit = unit

    def stop(self) -> None:
        # Should this program be killed before `start`, nobody else would start the service.
        self._disarm()
        _run(
            *("systemd-run", "--quiet", f"--unit={RETURN}", f"--on-active={_RETURN_S}"),
            *("systemctl", "start", "--no-block", self._unit, WATCH),
            must=False,
        )
        systemctl("stop", self._unit)

    def start(self) -> None:
        systemctl("try-restart", "--no-block", CLOCK, must=False)
        systemctl("reset-failed", self._unit, must=False)
        systemctl("start", self._unit, must=False)  # whether it stays is for the watch to see
        self._disarm()

    def _disarm(self) -> None:
        systemctl("stop", f"{RETURN}.timer", must=False)

    def standing(self) -> ServiceStatus:
        names = "ActiveState,NRestarts,StatusText"
        told = dict(
            line.split("=", 1)
            for line in systemctl("show", self._unit, f"--property={names}").splitlines()
            if "=" in line
        )
        return ServiceStatus(
            active=told.get("ActiveState") == "active",
            restarts=int(told.get("NRestarts") or 0),
            sentence=told.get("StatusText", ""),
        )


def systemctl(*words: str, must: bool = True) -> str:
    """Return what systemctl says; raises UpdateError where it `must` succeed, or hangs."""
    return _run("systemctl", *words, must=must)


def _run(*words: str, must: bool) -> str:
    try:
        done = subprocess.run(words, capture_output=True, text=True, timeout=_SECONDS, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise UpdateError(f"{words[0]}: {error}") from None
    if must and done.returncode != 0:
        raise UpdateError(f"{' '.join(words)}: {done.stderr.strip()}")
    return done.stdout
