"""`scripts/soak`: its options, and the run."""

import argparse
import signal
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from edge.errors import SenyumError
from edge.outbox.summary import summarize as look_into
from senyum_lab.soak.stage import FASTEST, REAL_S, SoakSite, at_work, scenes
from senyum_lab.soak.watch import GrowthCheck, Sample, judge, look

WARM_UP_S = 300.0  # at most, or a third of the run
DRAIN_S = 30.0  # for the last events to be stored centrally
_DESCRIPTION = f"""\
A whole unit at work: the real daemon (networks, outbox, signatures, mock pins) on a replay that
makes an event every {REAL_S:.0f} seconds over SPEED, a real mosquitto, a real `senyum receive`.
Watched are memory, threads, descriptors and disk of the daemon. The exit status is 0 only if
memory, at rest and at its peaks, stays within 3 MiB of the first minute after the warm-up (by the
median of each minute; of each quarter in a run of less than four), threads and descriptors do not
grow, every event arrived, and the daemon ended in good order.
"""


def options(words: Sequence[str] | None) -> argparse.Namespace:
    """Parse the command line; ends the program where it is wrong."""
    parser = argparse.ArgumentParser(
        prog="scripts/soak",
        description=_DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--minutes", type=float, default=3.0, metavar="N", help="default: 3")
    parser.add_argument(
        "--speed", type=float, default=FASTEST, help=f"1 to {FASTEST:g}, which is the default"
    )
    parser.add_argument("--every", type=float, default=1.0, metavar="S", help="between two looks")
    chosen = parser.parse_args(words)
    if not 1.0 <= chosen.speed <= FASTEST:
        parser.error(f"--speed {chosen.speed:g}: from 1 to {FASTEST:g}")
    if chosen.minutes < 1.0 or chosen.every <= 0.0:
        parser.error("--minutes: at least 1, with looks between them")
    return chosen


def soak(folder: Path, chosen: argparse.Namespace) -> list[GrowthCheck]:
    """Let a unit work for the time chosen. Raises SenyumError, OSError."""
    state = folder / "state"
    state.mkdir()
    with at_work(folder, state, scenes(chosen.speed)) as stage:
        samples = watch(stage, chosen.minutes * 60, chosen.every)
        status = stage.end()
        findings = arrived(stage, chosen.minutes * 60 / REAL_S * chosen.speed)
    warm = min(WARM_UP_S, chosen.minutes * 60 / 3)
    findings.append(GrowthCheck("end", f"exit status {status}", holds=status == 0))
    return [*judge([sample for sample in samples if sample.at_s >= warm]), *findings]


def watch(stage: SoakSite, seconds: float, every: float) -> list[Sample]:
    """Look at the daemon for so long, and tell of each minute."""
    began, samples, told = time.monotonic(), list[Sample](), -1
    say("minute    MiB   peak threads  fds disk KiB  written")
    while (at := time.monotonic() - began) < seconds:
        time.sleep(every)
        stage.check()
        sample = look(stage.daemon.pid, stage.unit.folder, at)
        samples.append(sample)
        if int(at // 60) > told:
            told = int(at // 60)
            say(
                f"{told:6} {sample.rss_mib:6.1f} {sample.peak_mib:6.1f} {sample.threads:7} "
                f"{sample.descriptors:4} {sample.disk_kib:8} {sample.written_kib:8}"
            )
    return samples


def arrived(stage: SoakSite, expected: float) -> list[GrowthCheck]:
    """Wait for the rest, then hold the central store against the unit's chain."""
    deadline = time.monotonic() + DRAIN_S
    made = look_into(stage.unit.folder / "outbox.db").newest
    while (kept := stage.stored()) < made and time.monotonic() < deadline:
        time.sleep(0.2)
    least = int(expected * 0.8)  # a person who stands there at the very end is not one yet
    return [
        GrowthCheck("events", f"{made} made, {kept} stored centrally", holds=kept == made),
        GrowthCheck("rate", f"{made} in the chain, at least {least} expected", holds=made >= least),
    ]


def say(line: str) -> None:
    """Tell the terminal, or whoever listens at the pipe."""
    print(line, flush=True)


def main(words: Sequence[str] | None = None) -> int:
    """Run it; returns the exit status."""
    chosen = options(words)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with tempfile.TemporaryDirectory() as folder:
        try:
            findings = soak(Path(folder).resolve(), chosen)
        except SenyumError as error:
            print(f"soak: {error}", file=sys.stderr)
            return error.exit_status
    for found in findings:
        say(f"{'fine' if found.holds else 'NOT ':4}  {found.name}: {found.said}")
    return 0 if all(found.holds for found in findings) else 1


if __name__ == "__main__":
    sys.exit(main())
