"""Reboots the machine if restarting the daemon does not help, and limits how often.

`strike` runs after each exit of the daemon (ExecStopPost=). It counts the exits that systemd had to
force: a missed watchdog, a start or stop that timed out. FAILURES_PER_REBOOT of them within
WITHIN_S request a reboot. `allow` runs as senyum-rescue.service; if it succeeds, systemd reboots.
It counts reboots on disk and refuses more than REBOOTS in DAYS. An error in the settings or a
missing key does not count, because a reboot cannot repair a file.
"""

import os
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from edge.appliance.watchdog import Level, log
from edge.system import run_log
from edge.system.files import replace_file
from edge.system.run_log import FAILURES_PER_REBOOT

WITHIN_S = 15 * 60  # of uptime; with a watchdog of one minute, six failures take seven minutes
REBOOTS = 3
DAYS = 7
RESULTS = {"watchdog", "timeout"}  # $SERVICE_RESULT; systemd.exec(5)
RUNTIME = Path("/run/senyum")  # RuntimeDirectoryPreserve=restart: kept while the daemon restarts
TRIGGER = "rescue"  # the file there that senyum-rescue.path watches


def _numbers(file: Path) -> list[float]:
    try:
        return [float(line) for line in file.read_text(encoding="ascii").splitlines()]
    except (OSError, ValueError):
        return []


def record_failure(result: str, folder: Path, now_s: float) -> bool:
    """Count an exit with `result` at `now_s` of uptime; return whether to request a reboot."""
    if result not in RESULTS:
        return False
    file = folder / "strikes"
    recent = [at for at in _numbers(file) if now_s - WITHIN_S <= at <= now_s + 1] + [now_s]
    if len(recent) >= FAILURES_PER_REBOOT:
        file.unlink(missing_ok=True)
        return True
    file.write_text("".join(f"{at:.0f}\n" for at in recent), encoding="ascii")
    return False


def may_reboot(folder: Path, now_s: float) -> bool:
    """Return whether the machine may reboot at `now_s` (Unix time), and count the reboot if so.

    A recorded reboot in the future counts as recent, so that a clock that was set back does not
    cause a reboot loop.
    """
    file = folder / "reboots"
    recent = [at for at in _numbers(file) if at >= now_s - DAYS * 86_400]
    if len(recent) >= REBOOTS:
        return False
    lines = (f"{at:.0f}\n" for at in [*recent, now_s])
    replace_file(file, "".join(lines).encode(), mode=0o644)
    return True


def main(verb: str, environment: Mapping[str, str] = os.environ) -> int:
    """Run `strike` or `allow` and return the exit status."""
    if verb == "strike":
        runtime = Path(environment.get("RUNTIME_DIRECTORY", RUNTIME))
        result, now_s = environment.get("SERVICE_RESULT", ""), time.monotonic()
        run_log.record(runtime, result, environment.get("EXIT_STATUS", ""))
        if record_failure(result, runtime, now_s):
            log(
                Level.ERROR,
                f"the daemon failed {FAILURES_PER_REBOOT} times in {WITHIN_S // 60} minutes; "
                "requesting a reboot",
            )
            if "STATE_DIRECTORY" in environment:
                with suppress(OSError):  # a failing disk must not prevent the reboot
                    run_log.request_reboot(Path(environment["STATE_DIRECTORY"]), now_s)
            (runtime / TRIGGER).write_text("", encoding="ascii")
        return 0
    if may_reboot(Path(environment["STATE_DIRECTORY"]), time.time()):
        log(Level.ERROR, "rebooting because restarting the daemon did not help")
        return 0
    log(
        Level.ERROR,
        f"no reboot: {REBOOTS} in the last {DAYS} days; check the unit (see senyum doctor)",
    )
    return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
