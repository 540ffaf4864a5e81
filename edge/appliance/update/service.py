"""Stops and starts the unit's systemd service, and reads its status."""

import subprocess
from dataclasses import dataclass
from typing import Protocol

from edge.errors import UpdateError

UNIT = "senyum.service"
CLOCK = "senyum-clock.service"  # also runs from the active version
WATCH = "senyum-update.service"
RETURN = "senyum-update-return"
_RETURN_S = 600
_SECONDS = 90  # a start may wait for the camera, a stop for the last event


@dataclass(frozen=True, slots=True)
class ServiceStatus:
    """The status of the service, as systemd shows it."""

    active: bool  # ready
    restarts: int  # by systemd, since it was last started by hand
    sentence: str  # its STATUS=

    @property
    def out_of_order(self) -> bool:
        return self.sentence.startswith("Out of order")


class Service(Protocol):
    """The service that an update stops and starts. Methods raise UpdateError."""

    def stop(self) -> None: ...
    def start(self) -> None:
        """Start the service; return when it is ready or has failed."""
        ...

    def status(self) -> ServiceStatus: ...


class Systemd:
    """The service as a systemd unit."""

    def __init__(self, unit: str = UNIT) -> None:
        self._unit = unit

    def stop(self) -> None:
        # A timer starts the service if this program is killed before `start`.
        self._cancel_timer()
        _run(
            *("systemd-run", "--quiet", f"--unit={RETURN}", f"--on-active={_RETURN_S}"),
            *("systemctl", "start", "--no-block", self._unit, WATCH),
            must=False,
        )
        systemctl("stop", self._unit)

    def start(self) -> None:
        systemctl("try-restart", "--no-block", CLOCK, must=False)
        systemctl("reset-failed", self._unit, must=False)
        systemctl("start", self._unit, must=False)  # the watch checks whether it stays active
        self._cancel_timer()

    def _cancel_timer(self) -> None:
        systemctl("stop", f"{RETURN}.timer", must=False)

    def status(self) -> ServiceStatus:
        names = "ActiveState,NRestarts,StatusText"
        properties = dict(
            line.split("=", 1)
            for line in systemctl("show", self._unit, f"--property={names}").splitlines()
            if "=" in line
        )
        return ServiceStatus(
            active=properties.get("ActiveState") == "active",
            restarts=int(properties.get("NRestarts") or 0),
            sentence=properties.get("StatusText", ""),
        )


def systemctl(*words: str, must: bool = True) -> str:
    """Return the output of systemctl. Raises UpdateError if it hangs, or `must` and fails."""
    return _run("systemctl", *words, must=must)


def _run(*words: str, must: bool) -> str:
    try:
        done = subprocess.run(words, capture_output=True, text=True, timeout=_SECONDS, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise UpdateError(f"{words[0]}: {error}") from None
    if must and done.returncode != 0:
        raise UpdateError(f"{' '.join(words)}: {done.stderr.strip()}")
    return done.stdout
