"""`scripts/soak`: run a whole unit for a long time and check its resources."""

import argparse
import signal
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from edge.errors import SenyumError
from edge.outbox.summary import summarize
from senyum_lab.soak.resources import GrowthCheck, ResourceSample, check_growth, take_sample
from senyum_lab.soak.soak_site import FASTEST, REAL_S, SoakSite, running_unit, scenes

WARM_UP_S = 300.0  # at most, or a third of the run
DRAIN_S = 30.0  # for the last events to reach the central store
_DESCRIPTION = f"""\
Run the real daemon (networks, outbox, signatures, mock pins) on a replay that produces an event
every {REAL_S:.0f} seconds divided by SPEED, with a real mosquitto and a real `senyum receive`, and
measure the memory, threads, descriptors and disk space of the daemon. The exit status is 0 only if
memory, at rest and at its peaks, stays within 3 MiB of the first minute after the warm-up (median
of each minute, or of each quarter in a run of less than four minutes), threads and descriptors do
not grow, every event arrives, and the daemon exits with status 0.
"""


def options(words: Sequence[str] | None) -> argparse.Namespace:
    """Parse the command line. Exits with status 2 if it is invalid."""
    parser = argparse.ArgumentParser(
        prog="scripts/soak",
        description=_DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--minutes", type=float, default=3.0, metavar="N", help="default: 3")
    parser.add_argument(
        "--speed", type=float, default=FASTEST, help=f"1 to {FASTEST:g}, which is the default"
    )
    parser.add_argument("--every", type=float, default=1.0, metavar="S", help="seconds per sample")
    chosen = parser.parse_args(words)
    if not 1.0 <= chosen.speed <= FASTEST:
        parser.error(f"--speed {chosen.speed:g}: must be 1 to {FASTEST:g}")
    if chosen.minutes < 1.0 or chosen.every <= 0.0:
        parser.error("--minutes must be at least 1, --every more than 0")
    return chosen


def soak(folder: Path, chosen: argparse.Namespace) -> list[GrowthCheck]:
    """Run a unit for the chosen time. Raises SenyumError, OSError."""
    state = folder / "state"
    state.mkdir()
    with running_unit(folder, state, scenes(chosen.speed)) as site:
        samples = measure(site, chosen.minutes * 60, chosen.every)
        status = site.stop()
        findings = arrived(site, chosen.minutes * 60 / REAL_S * chosen.speed)
    warm = min(WARM_UP_S, chosen.minutes * 60 / 3)
    findings.append(GrowthCheck("end", f"exit status {status}", passed=status == 0))
    return [*check_growth([sample for sample in samples if sample.at_s >= warm]), *findings]


def measure(site: SoakSite, seconds: float, every: float) -> list[ResourceSample]:
    """Take samples of the daemon for `seconds`; print one of each minute."""
    began, samples, printed = time.monotonic(), list[ResourceSample](), -1
    print_line("minute    MiB   peak threads  fds disk KiB  written")
    while (at := time.monotonic() - began) < seconds:
        time.sleep(every)
        site.check()
        sample = take_sample(site.daemon.pid, site.unit.folder, at)
        samples.append(sample)
        if int(at // 60) > printed:
            printed = int(at // 60)
            print_line(
                f"{printed:6} {sample.rss_mib:6.1f} {sample.peak_mib:6.1f} {sample.threads:7} "
                f"{sample.descriptors:4} {sample.disk_kib:8} {sample.written_kib:8}"
            )
    return samples


def arrived(site: SoakSite, expected: float) -> list[GrowthCheck]:
    """Wait for the last events; compare the central store with the chain of the unit."""
    deadline = time.monotonic() + DRAIN_S
    made = summarize(site.unit.folder / "outbox.db").newest
    while (kept := site.stored()) < made and time.monotonic() < deadline:
        time.sleep(0.2)
    least = int(expected * 0.8)  # the last person may not be recorded yet
    return [
        GrowthCheck("events", f"{made} made, {kept} stored centrally", passed=kept == made),
        GrowthCheck("rate", f"{made} in the chain, expected {least}", passed=made >= least),
    ]


def print_line(line: str) -> None:
    """Print a line without buffering."""
    print(line, flush=True)


def main(words: Sequence[str] | None = None) -> int:
    """Run the program; return the exit status."""
    chosen = options(words)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with tempfile.TemporaryDirectory() as folder:
        try:
            findings = soak(Path(folder).resolve(), chosen)
        except SenyumError as error:
            print(f"soak: {error}", file=sys.stderr)
            return error.exit_status
    for found in findings:
        print_line(f"{'ok' if found.passed else 'FAILED':6}  {found.name}: {found.text}")
    return 0 if all(found.passed for found in findings) else 1


if __name__ == "__main__":
    sys.exit(main())
