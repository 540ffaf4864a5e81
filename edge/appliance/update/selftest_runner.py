"""Runs the self-test of a version on this unit, confined like the daemon.

It runs as a systemd unit derived from the daemon's with its drop-ins, so that the test has the
daemon's user, credentials, devices and limits, and no privileges of root.
"""

import contextlib
import subprocess
from pathlib import Path

from edge.appliance.update.service import UNIT, systemctl
from edge.errors import UpdateError

NAME = "senyum-self-test.service"
RUN = Path("/run")
SECONDS = 120  # for camera and models
_OVERRIDES = """
[Service]
Type=oneshot
ExecStart=
ExecStart={python} -I -m edge.cli self-test
ExecStopPost=
Restart=no
WatchdogSec=0
TimeoutStartSec={seconds}
StandardOutput=truncate:{log}
StandardError=inherit
"""


def unit_text(daemon: str, environment: Path, log: Path) -> str:
    """Return the unit file of the self-test; `daemon` is the output of `systemctl cat`."""
    return daemon + _OVERRIDES.format(python=environment / "bin/python3", seconds=SECONDS, log=log)


def run_self_test(environment: Path) -> str | None:
    """Run the self-test of a version; return why it failed, or None. Raises UpdateError."""
    unit, log = RUN / "systemd/system" / NAME, RUN / "senyum-self-test.log"
    log.unlink(missing_ok=True)
    try:
        unit.parent.mkdir(parents=True, exist_ok=True)
        unit.write_text(unit_text(systemctl("cat", UNIT), environment, log), encoding="utf-8")
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
    output = log.read_text(encoding="utf-8", errors="replace").strip() if log.exists() else ""
    return output.splitlines()[-1] if output else done.stderr.strip().splitlines()[0]
