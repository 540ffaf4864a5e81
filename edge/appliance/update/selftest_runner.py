"""Has a version examine this unit, confined as the daemon will be.

A unit of its own for the service manager, made of the daemon's with all that was added to it, so
that the test has the daemon's user, credentials, devices and limits, and none of root's powers.
"""

import contextlib
import subprocess
from pathlib import Path

from edge.appliance.update.service import UNIT, systemctl
from edge.errors import UpdateError

NAME = "senyum-self-test.service"
RUN = Path("/run")
SECONDS = 120  # for camera and networks
_OTHERWISE = """
[Service]
Type=oneshot
ExecStart=
ExecStart={python} -I -m edge.cli self-test
ExecStopPost=
Restart=no
WatchdogSec=0
TimeoutStartSec={seconds}
StandardOutput=truncate:{told}
StandardError=inherit
"""


def of_the_daemon(daemon: str, environment: Path, told: Path) -> str:
    """Return the test's unit, from what `systemctl cat` says of the daemon's."""
    return daemon + _OTHERWISE.format(
        python=environment / "bin/python3", seconds=SECONDS, told=told
    )


def run_self_test(environment: Path) -> str | None:
    """Have a version examine this unit; returns what it finds wrong. Raises UpdateError."""
    unit, told = RUN / "systemd/system" / NAME, RUN / "senyum-self-test.log"
    told.unlink(missing_ok=True)
    try:
        unit.parent.mkdir(parents=True, exist_ok=True)
        unit.write_text(of_the_daemon(systemctl("cat", UNIT), environment, told), encoding="utf-8")
        systemctl("daemon-reload")
        done = subprocess.run(
            ["systemctl", "start", NAME],
            capture_output=True,
            text=True,
            timeout=SECONDS + 60,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise UpdateError(f"{NAME}: {error}") from None
    finally:
        unit.unlink(missing_ok=True)
        with contextlib.suppress(UpdateError):
            systemctl("stop", NAME, must=False)
            systemctl("reset-failed", NAME, must=False)
            systemctl("daemon-reload")
    if done.returncode == 0:
        return None
    said = told.read_text(encoding="utf-8", errors="replace").strip() if told.exists() else ""
    return said.splitlines()[-1] if said else done.stderr.strip().splitlines()[0]
