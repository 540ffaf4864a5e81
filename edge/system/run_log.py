"""How the runs before this one ended, in words that the next start finds and puts into the chain.

A killed process cannot report it. So what runs after each end of the daemon (rescue.py)
leaves a line in the runtime directory, which lasts as long as the boot, and, where a reboot is
requested, a file in the state directory, which outlasts it.
"""

from dataclasses import dataclass
from pathlib import Path

from edge.system.boot_id import boot_id
from edge.system.files import replace_file

ENDS, ASKED = "ends", "reboot-asked"
KEPT = 64  # lines: the number of restarts in a row that can be reported
_BYTES = 4096  # of a file that is read
FAILURES_PER_REBOOT = 6  # failures of the daemon in a row after which a reboot is requested
GOOD = "success"  # $SERVICE_RESULT; systemd.exec(5)


@dataclass(frozen=True, slots=True)
class RebootRequest:
    """A requested reboot: in which boot, and at which uptime in seconds."""

    boot_id: str
    uptime_s: float


def record(runtime: Path, result: str, status: str) -> None:
    """Add an end that was none in good order: `$SERVICE_RESULT` and `$EXIT_STATUS`."""
    if result in ("", GOOD):
        return
    file = runtime / ENDS
    lines = [*_lines(file), f"{result} {status}"][-KEPT:]
    file.write_text("".join(f"{line}\n" for line in lines), encoding="ascii")


def last_exits(runtime: Path) -> list[str]:
    """Return the ends since the last report, the newest last, as `result status`."""
    return _lines(runtime / ENDS)


def request_reboot(state: Path, uptime_s: float) -> None:
    """Record on disk that a reboot was requested."""
    replace_file(state / ASKED, f"{boot_id()} {uptime_s:.0f}\n".encode(), mode=0o644)


def reboot_requested(state: Path) -> RebootRequest | None:
    """Return the last requested reboot that was not reported yet."""
    try:
        boot, uptime = _lines(state / ASKED)[0].split()
        return RebootRequest(boot, float(uptime))
    except (IndexError, ValueError):
        return None


def _lines(file: Path) -> list[str]:
    try:
        with file.open("rb") as source:
            return source.read(_BYTES).decode("ascii", errors="replace").splitlines()
    except OSError:
        return []
