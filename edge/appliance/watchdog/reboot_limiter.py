"""The last resort: when starting the daemon anew does not help, process 1 starts the machine anew.

`strike` runs after each end of the daemon (ExecStopPost=) and counts those that process 1 had to
bring about: a watchdog that was not fed, a start or stop that hung. STRIKES of them within
WITHIN_S ask for a reboot. `allow` runs as senyum-rescue.service, whose success makes process 1
reboot; it counts too, on disk, and refuses after REBOOTS in DAYS. An error of the settings or a
missing key is none of this: a reboot mends no file.
"""

import os
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from edge.appliance.watchdog import Level, log
from edge.system import run_log as ends

STRIKES = 6
WITHIN_S = 15 * 60  # of uptime; with a watchdog of a minute, six strikes take seven
REBOOTS = 3
DAYS = 7
RESULTS = {"watchdog", "timeout"}  # $SERVICE_RESULT; systemd.exec(5)
RUNTIME = Path("/run/senyum")  # RuntimeDirectoryPreserve=restart: kept while the daemon restarts
ASKED = "rescue"  # there: what senyum-rescue.path looks at


def _numbers(file: Path) -> list[float]:
    try:
        return [float(line) for line in file.read_text(encoding="ascii").splitlines()]
    except (OSError, ValueError):
        return []


def record_failure(result: str, folder: Path, now_s: float) -> bool:
    """Count an end of the daemon with `result` at `now_s` of uptime; tells whether to reboot."""
    if result not in RESULTS:
        return False
    file = folder / "strikes"
    recent = [at for at in _numbers(file) if now_s - WITHIN_S <= at <= now_s + 1] + [now_s]
    if len(recent) >= STRIKES:
        file.unlink(missing_ok=True)
        return True
    file.write_text("".join(f"{at:.0f}\n" for at in recent), encoding="ascii")
    return False


def may_reboot(folder: Path, now_s: float) -> bool:
    """Tell whether the machine may be rebooted at `now_s` (since 1970), and count it if so.

    A reboot that lies in the future counts as recent: a clock that was set back must not make a
    loop of this.
    """
    file = folder / "reboots"
    recent = [at for at in _numbers(file) if at >= now_s - DAYS * 86_400]
    if len(recent) >= REBOOTS:
        return False
    new = file.with_suffix(".new")
    with new.open("w", encoding="ascii") as out:
        out.writelines(f"{at:.0f}\n" for at in [*recent, now_s])
        out.flush()
        os.fsync(out.fileno())
    new.replace(file)
    return True


def main(verb: str, environment: Mapping[str, str] = os.environ) -> int:
    """`strike` or `allow`; returns the exit status."""
    if verb == "strike":
        runtime = Path(environment.get("RUNTIME_DIRECTORY", RUNTIME))
        result, now_s = environment.get("SERVICE_RESULT", ""), time.monotonic()
        ends.record(runtime, result, environment.get("EXIT_STATUS", ""))
        if record_failure(result, runtime, now_s):
            log(Level.ERROR, f"{STRIKES} times in {WITHIN_S // 60} minutes: asking for a reboot")
            if "STATE_DIRECTORY" in environment:
                with suppress(OSError):  # a disk that is the very fault must not stop the reboot
                    ends.request_reboot(Path(environment["STATE_DIRECTORY"]), now_s)
            (runtime / ASKED).write_text("", encoding="ascii")
        return 0
    if may_reboot(Path(environment["STATE_DIRECTORY"]), time.time()):
        log(Level.ERROR, "rebooting: the daemon did not come to itself by being started anew")
        return 0
    log(Level.ERROR, f"no reboot: there were {REBOOTS} in {DAYS} days; a person must look at it")
    return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
