"""Run the numeric tests once for each way in which this CPU can compute.

OpenBLAS has a kernel for each family of CPUs, and NumPy code for each vector extension; results
differ in their last bits. A kernel that this CPU cannot run is skipped.
"""

# ruff: noqa: T201 - a script that reports to a terminal
import ctypes
import importlib
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

REPOSITORY = Path(__file__).parents[3]
KERNELS = (
    "Prescott", "Core2", "Nehalem", "Sandybridge", "Bulldozer", "Haswell", "Zen", "SkylakeX",
    "Cooperlake", "Sapphirerapids", "ARMV8", "CORTEXA53", "CORTEXA72", "NEOVERSEN1",
)  # fmt: skip
SHORT = (
    "tests/numeric",
    "tests/roster/test_roster_limits.py",
    "tests/roster/test_roster_search.py",
    "tests/attendance/test_motion.py",
    "tests/evaluate/test_metrics.py",
    "tests/evaluate/test_evaluate_identity.py",
    "tests/inference/test_align.py",
    "tests/inference/test_quality.py",
    "tests/inference/test_fusion.py",
)
LONG = (
    *("tests/numeric", "tests/roster", "tests/attendance", "tests/evaluate", "tests/inference"),
    *("tests/enrolment/test_enrol.py", "tests/bench/test_bench_search.py"),
)
_NAMES = ("scipy_openblas_get_corename64_", "openblas_get_corename64_", "openblas_get_corename")


def loaded_kernel() -> str:
    """Return the name of the kernel that NumPy's OpenBLAS chose in this process."""
    folder = Path(np.__file__).parent.parent / "numpy.libs"
    for path in folder.glob("*openblas*"):
        library = ctypes.CDLL(str(path))
        for name in _NAMES:
            if (function := getattr(library, name, None)) is not None:
                function.restype = ctypes.c_char_p
                return str(function().decode())
    raise SystemExit(f"{folder}: no OpenBLAS that names its kernel; install NumPy from PyPI")


def vector_extensions() -> str:
    """Return the extensions beyond NumPy's baseline that this CPU has, separated by blanks."""
    package = "numpy._core" if np.lib.NumpyVersion(np.__version__) >= "2.0.0" else "numpy.core"
    umath = importlib.import_module(f"{package}._multiarray_umath")
    features: dict[str, bool] = umath.__cpu_features__
    return " ".join(name for name in umath.__cpu_dispatch__ if features[name])


def supported(kernel: str) -> bool:
    """Whether OpenBLAS takes this kernel, and the CPU has all of its instructions."""
    answer = subprocess.run(
        [sys.executable, __file__, "--loaded"],
        env=os.environ | {"OPENBLAS_CORETYPE": kernel},
        capture_output=True,
        text=True,
        check=False,
    )
    return answer.returncode == 0 and answer.stdout.strip().lower() == kernel.lower()


def tested(environment: dict[str, str], tests: Sequence[str]) -> bool:
    """Run the numeric tests; whether all passed."""
    command = [sys.executable, "-m", "pytest", "-q", "-n", "2", "-p", "no:cacheprovider"]
    done = subprocess.run(
        [*command, *tests],
        cwd=REPOSITORY,
        env=os.environ | environment,
        capture_output=True,
        text=True,
        check=False,
    )
    lines = done.stdout.strip().splitlines()
    print("\n".join(lines[-1:] if done.returncode == 0 else lines[-60:]), flush=True)
    return done.returncode == 0


def main(tests: Sequence[str]) -> int:
    """Run `tests` in every configuration; 0 if all passed."""
    ways = {f"OpenBLAS {kernel}": {"OPENBLAS_CORETYPE": kernel} for kernel in KERNELS}
    ways["NumPy's baseline"] = {"NPY_DISABLE_CPU_FEATURES": vector_extensions()}
    passed = failed = skipped = 0
    for name, environment in ways.items():
        kernel = environment.get("OPENBLAS_CORETYPE")
        if kernel is not None and not supported(kernel):
            skipped += 1
            continue
        print(f"-- {name}", flush=True)
        good = tested(environment, tests)
        passed, failed = passed + good, failed + (not good)
    print(f"{passed} passed, {failed} failed, {skipped} skipped")
    return 0 if passed and not failed else 1


if __name__ == "__main__":
    if sys.argv[1:] == ["--loaded"]:
        for kind in (np.float32, np.float64):
            square = np.ones((300, 300)).astype(kind)
            np.linalg.svd(np.outer(square @ square[0], square[0]))
        print(loaded_kernel())
    else:
        sys.exit(main(LONG if sys.argv[1:] == ["--long"] else SHORT))
