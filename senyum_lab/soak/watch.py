"""What a process takes of the machine, read from /proc, and whether that grows.

A unit at work takes a few MiB more for some milliseconds at each picture, and a look may or may
not fall into one of them. So memory is judged twice, window by window, each against the first
after the warm-up: by the median of the looks, which is where it rests, and by the median of the
kernel's high-water marks between looks, which miss no moment.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from statistics import median

MEMORY_MIB = 3.0  # either side of the first window
WINDOW_S = 60.0  # or a quarter of the time, where that is less
PART = 4  # windows at least; threads and descriptors: the last quarter is held against the first
_RESET_PEAK = "5"  # proc(5), clear_refs


@dataclass(frozen=True, slots=True)
class Sample:
    """One look at a process."""

    at_s: float  # since the watch began
    rss_mib: float
    peak_mib: float  # of rss, since the look before
    threads: int
    descriptors: int
    disk_kib: int  # what its state folder holds
    written_kib: int  # to disks, by the kernel's count, since it started


def look(pid: int, state: Path, at_s: float) -> Sample:
    """Look once, and begin a new high-water mark. Raises OSError where the process has ended."""
    proc = Path(f"/proc/{pid}")
    status = _fields(proc / "status")
    (proc / "clear_refs").write_text(_RESET_PEAK, encoding="ascii")
    return Sample(
        at_s=at_s,
        rss_mib=_mib(status["VmRSS"]),
        peak_mib=_mib(status["VmHWM"]),
        threads=int(status["Threads"]),
        descriptors=len(list((proc / "fd").iterdir())),
        disk_kib=sum(file.stat().st_size for file in state.iterdir() if file.is_file()) // 1024,
        written_kib=int(_fields(proc / "io")["write_bytes"]) // 1024,
    )


def _fields(file: Path) -> dict[str, str]:
    lines = file.read_text(encoding="ascii", errors="replace").splitlines()
    return {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}


def _mib(kib: str) -> float:
    return int(kib.removesuffix("kB")) / 1024


@dataclass(frozen=True, slots=True)
class GrowthCheck:
    """One thing that was watched: what it was, and whether that is within the bar."""

    name: str
    said: str
    holds: bool


def judge(samples: Sequence[Sample]) -> list[GrowthCheck]:
    """Hold the samples after the warm-up against the bars; at least PART of them are needed."""
    if len(samples) < PART:
        return [GrowthCheck("samples", f"{len(samples)} after the warm-up: too few", holds=False)]
    parts = windows(samples)
    return [
        _level("memory", [median(sample.rss_mib for sample in part) for part in parts]),
        _level("peaks", [median(sample.peak_mib for sample in part) for part in parts]),
        _steady("threads", samples, lambda sample: sample.threads),
        _steady("descriptors", samples, lambda sample: sample.descriptors),
    ]


def windows(samples: Sequence[Sample]) -> list[Sequence[Sample]]:
    """Cut the samples into parts of WINDOW_S, or into PART of them where they last less."""
    seconds = samples[-1].at_s - samples[0].at_s
    count = min(len(samples), max(PART, round(seconds / WINDOW_S)))
    edges = [len(samples) * number // count for number in range(count + 1)]
    return [samples[a:b] for a, b in pairwise(edges)]


def _level(name: str, levels: Sequence[float]) -> GrowthCheck:
    first, *others = levels
    least, most = min(others) - first, max(others) - first
    return GrowthCheck(
        name,
        f"{first:.1f} MiB in the first of {len(levels)} windows after the warm-up, then "
        f"{least:+.1f} to {most:+.1f}, {levels[-1] - first:+.1f} in the last "
        f"(medians; bar +{MEMORY_MIB:.0f})",
        holds=most <= MEMORY_MIB,  # what is given back later than expected is told, and no leak
    )


def _steady(name: str, samples: Sequence[Sample], of: Callable[[Sample], int]) -> GrowthCheck:
    """Compare medians: one that is open for a moment is no growth."""
    part = len(samples) // PART
    before = median(of(sample) for sample in samples[:part])
    after = median(of(sample) for sample in samples[-part:])
    highest = max(of(sample) for sample in samples)
    said = f"{before:g} in the first quarter, {after:g} in the last, {highest} at most"
    return GrowthCheck(name, said, holds=after <= before)
