"""The duration of a 1:N search, by the number of enrolled people."""

import os
import statistics
import subprocess
import sys
import time

import numpy as np

from edge.gallery import DIMENSION, NEAREST, Gallery

PEOPLE = (300, 7_000, 100_000)
_ROUNDS = 101


def measure() -> dict[str, float]:
    """Return the median milliseconds of one search on one thread, by the number of people.

    Measured in its own process, because BLAS reads the number of threads when NumPy is imported.
    """
    child = subprocess.run(
        [sys.executable, "-m", "senyum_lab.bench.search"],
        env=os.environ | {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"},
        check=True,
        capture_output=True,
        text=True,
        timeout=120,
    )
    medians = (float(word) for word in child.stdout.split())
    return {str(people): median for people, median in zip(PEOPLE, medians, strict=True)}


def _median_ms(people: int) -> float:
    """Search random unit vectors; their content does not affect the duration."""
    generator = np.random.default_rng(people)
    matrix = generator.standard_normal((people, DIMENSION), dtype=np.float32)
    matrix /= np.linalg.norm(matrix, axis=1, keepdims=True)
    nearest = np.zeros((people, NEAREST), np.float32)
    gallery = Gallery([f"{n:032x}" for n in range(people)], matrix, nearest)
    probes = matrix[generator.integers(people, size=_ROUNDS)]
    times = []
    for probe in probes:
        began = time.perf_counter_ns()
        gallery.search(probe)
        times.append(time.perf_counter_ns() - began)
    return statistics.median(times) / 1e6


if __name__ == "__main__":
    sys.stdout.write(" ".join(f"{_median_ms(people):.4f}" for people in PEOPLE))
