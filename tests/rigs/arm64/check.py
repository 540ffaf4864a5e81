"""Run by ./run: holds the answers of the networks on arm64 against those of this machine."""

import sys
from pathlib import Path

import numpy as np

# What a float network may differ by for another order of additions, of its greatest answer; an int8
# one may come to the neighbouring step of its output.
SHARE = 1e-4
STEPS = {"smile": 0.0473, "cover": 0.0473, "liveness": 0.0630}


def main(here: Path, there: Path) -> int:
    """Compare the two files; returns the exit status."""
    failed = 0
    ours, theirs = np.load(here), np.load(there)
    assert ours.files == theirs.files, (ours.files, theirs.files)
    for name in ours.files:
        allowed = STEPS.get(name.split()[0], SHARE * max(1.0, float(np.abs(ours[name]).max())))
        apart = float(np.abs(ours[name] - theirs[name]).max())
        verdict = "passed" if apart <= allowed * 1.01 else "FAILED"
        failed += verdict == "FAILED"
        sys.stdout.write(f"{verdict}  {name}: at most {apart:.2g} apart ({allowed:.2g} allowed)\n")
    sys.stdout.write(f"{len(ours.files) - failed} passed, {failed} failed\n")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), Path(sys.argv[2])))
