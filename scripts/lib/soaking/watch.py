"""What a process takes of the machine, read from /proc, and whether that grows."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

MEMORY_MIB = 3.0  # either side of the first sample after the warm-up
PART = 4  # threads and descriptors: the last quarter is held against the first


@dataclass(frozen=True, slots=True)
class Sample:
    """One look at a process."""

    at_s: float  # since the watch began
    rss_mib: float
    threads: int
    descriptors: int
    disk_kib: int  # what its state folder holds
    written_kib: int  # to disks, by the kernel's count, since it started


def look(pid: int, state: Path, at_s: float) -> Sample:
    """Look once. Raises OSError where the process has ended."""
    proc = Path(f"/proc/{pid}")
    status = _fields(proc / "status")
    return Sample(
        at_s=at_s,
        rss_mib=int(status["VmRSS"].split()[0]) / 1024,
        threads=int(status["Threads"]),
        descriptors=len(list((proc / "fd").iterdir())),
        disk_kib=sum(file.stat().st_size for file in state.iterdir() if file.is_file()) // 1024,
        written_kib=int(_fields(proc / "io")["write_bytes"]) // 1024,
    )


def _fields(file: Path) -> dict[str, str]:
    lines = file.read_text(encoding="ascii", errors="replace").splitlines()
    return {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was watched: what it was, and whether that is within the bar."""

    name: str
    said: str
    holds: bool


def judge(samples: Sequence[Sample]) -> list[Finding]:
    """Hold the samples after the warm-up against the bars; at least PART of them are needed."""
    if len(samples) < PART:
        return [Finding("samples", f"{len(samples)} after the warm-up: too few", holds=False)]
    first = samples[0].rss_mib
    least = min(sample.rss_mib for sample in samples)
    most = max(sample.rss_mib for sample in samples)
    return [
        Finding(
            "memory",
            f"{first:.1f} MiB after the warm-up, then {least - first:+.1f} to {most - first:+.1f} "
            f"(bar {MEMORY_MIB:.0f} either way)",
            holds=max(most - first, first - least) <= MEMORY_MIB,
        ),
        _steady("threads", samples, lambda sample: sample.threads),
        _steady("descriptors", samples, lambda sample: sample.descriptors),
    ]


def _steady(name: str, samples: Sequence[Sample], of: Callable[[Sample], int]) -> Finding:
    """Compare medians: one that is open for a moment is no growth."""
    part = len(samples) // PART
    before = median(of(sample) for sample in samples[:part])
    after = median(of(sample) for sample in samples[-part:])
    highest = max(of(sample) for sample in samples)
    said = f"{before:g} in the first quarter, {after:g} in the last, {highest} at most"
    return Finding(name, said, holds=after <= before)
