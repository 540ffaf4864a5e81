"""The resources that a process uses, read from /proc, and whether they grow.

A daemon needs a few MiB more for some milliseconds at each frame, which a sample may or may not
include. Memory is therefore checked twice, each window against the first one after the warm-up: by
the median of the samples, which is the level at rest, and by the median of the high-water marks of
the kernel between samples, which include every moment.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from statistics import median

MEMORY_MIB = 3.0  # above the first window
WINDOW_S = 60.0  # or a quarter of the time if that is less
PART = 4  # minimum number of windows; threads and descriptors: last quarter against first
_RESET_PEAK = "5"  # proc(5), clear_refs


@dataclass(frozen=True, slots=True)
class ResourceSample:
    """The resources of a process at one moment."""

    at_s: float  # since the measurement began
    rss_mib: float
    peak_mib: float  # of rss since the previous sample
    threads: int
    descriptors: int
    disk_kib: int  # size of its state folder
    written_kib: int  # to disks since it started, counted by the kernel


def take_sample(pid: int, state: Path, at_s: float) -> ResourceSample:
    """Take a sample and reset the high-water mark. Raises OSError if the process has ended."""
    proc = Path(f"/proc/{pid}")
    status = _fields(proc / "status")
    (proc / "clear_refs").write_text(_RESET_PEAK, encoding="ascii")
    return ResourceSample(
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
    """The result of one check."""

    name: str
    text: str
    passed: bool


def check_growth(samples: Sequence[ResourceSample]) -> list[GrowthCheck]:
    """Check the samples after the warm-up against the limits; needs at least PART samples."""
    if len(samples) < PART:
        return [GrowthCheck("samples", f"{len(samples)} after the warm-up, too few", passed=False)]
    parts = windows(samples)
    return [
        _level("memory", [median(sample.rss_mib for sample in part) for part in parts]),
        _level("peaks", [median(sample.peak_mib for sample in part) for part in parts]),
        _steady("threads", samples, lambda sample: sample.threads),
        _steady("descriptors", samples, lambda sample: sample.descriptors),
    ]


def windows(samples: Sequence[ResourceSample]) -> list[Sequence[ResourceSample]]:
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
        f"(medians; limit +{MEMORY_MIB:.0f})",
        passed=most <= MEMORY_MIB,  # memory that is returned late is not a leak
    )


def _steady(
    name: str, samples: Sequence[ResourceSample], count: Callable[[ResourceSample], int]
) -> GrowthCheck:
    """Compare medians, because a descriptor that is open for a moment is not growth."""
    part = len(samples) // PART
    before = median(count(sample) for sample in samples[:part])
    after = median(count(sample) for sample in samples[-part:])
    highest = max(count(sample) for sample in samples)
    text = f"{before:g} in the first quarter, {after:g} in the last, {highest} at most"
    return GrowthCheck(name, text, passed=after <= before)
