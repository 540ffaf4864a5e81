"""`scripts/fuzz`: count crashes, and accepted input that was not signed."""

import argparse
import hashlib
import json
import logging
import random
import sys
import tempfile
import time
import traceback
from collections import Counter
from pathlib import Path

from senyum_lab.fuzzing import files, guided, ordered, signed
from senyum_lab.fuzzing.mutate import Target

PROGRESS_SECONDS = 10.0
MEMORY = Path("/dev/shm")  # noqa: S108 - files that are altered in every try need no disk


class FuzzRun:
    """Counts the tries, and stores the inputs that caused a fault."""

    def __init__(self, seed: int, keep: Path) -> None:
        self.done: Counter[str] = Counter()
        self.faults: list[str] = []
        self._seed = seed
        self._keep = keep

    def try_number(self, target: Target, number: int) -> None:
        """Try input `number` of a target; it depends only on the seed."""
        chance = random.Random(f"{self._seed} {target.name} {number}")  # noqa: S311
        good = chance.choice(target.good)
        content = chance.choice(target.mutations)(chance, good, target.good)
        self.done[target.name] += 1
        self.check(target, content, f"--seed {self._seed} --only {target.name!r}:{number}")

    def check(self, target: Target, content: bytes, again: str) -> None:
        try:
            accepted = target.read(content)
        except Exception:  # noqa: BLE001 - which is what is looked for
            self._fault(target, content, again, traceback.format_exc())
            return
        if accepted and not (target.strict and content in target.good):
            self._fault(target, content, again, "accepted invalid input")

    def _fault(self, target: Target, content: bytes, again: str, why: str) -> None:
        self._keep.mkdir(parents=True, exist_ok=True)
        name = f"{target.name.replace(' ', '-')}-{hashlib.sha256(content).hexdigest()[:12]}"
        (self._keep / name).write_bytes(content)
        self.faults.append(f"{target.name}: {why.strip().splitlines()[-1]} ({again})")
        print(f"FAULT in {target.name}, input in {self._keep / name}; repeat with {again}\n{why}")


def main() -> int:
    """Run the fuzzer; return 1 if there was a fault."""
    parser = argparse.ArgumentParser(
        prog="scripts/fuzz", description="Feed malformed, truncated and modified input to readers."
    )
    parser.add_argument("--tries", type=int, default=20_000, help="in total (default: 20,000)")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument(
        "--only", metavar="TARGET[:NUMBER]", help="run one target, or one try of it"
    )
    parser.add_argument("--json", action="store_true", help="print the counts as JSON")
    parser.add_argument(
        "--keep", type=Path, default=Path(".cache/fuzz"), help="folder for inputs that cause faults"
    )
    parser.add_argument(
        "--guided",
        type=float,
        metavar="SECONDS",
        help="run for this time in total, guided by coverage, instead of --tries (needs atheris)",
    )
    options = parser.parse_args()
    if options.guided and not guided.available():
        parser.error(f"--guided {guided.MISSING}")
    logging.disable()  # readers would log a million warnings
    place = MEMORY if MEMORY.is_dir() else None
    with tempfile.TemporaryDirectory(prefix="senyum-fuzz-", dir=place) as name:
        folder = Path(name)
        targets = [*signed.targets(folder), *ordered.targets(folder), *files.targets(folder)]
        only, _, number = (options.only or "").partition(":")
        if only:
            targets = [target for target in targets if target.name == only]
        if not targets:
            parser.error(f"--only {only}: unknown target")
        if options.guided:
            named = [(target.name, target.share) for target in targets]
            return guided.run(named, options.guided, options.seed, options.keep)
        run = FuzzRun(options.seed, options.keep)
        began = time.monotonic()
        if number:
            run.try_number(targets[0], int(number))
        else:
            _run_all(targets, options.tries, run)
        seconds = time.monotonic() - began
    total = run.done.total()
    counts = {"tries": total, "seconds": round(seconds, 1), "faults": run.faults}
    if options.json:
        print(json.dumps({**counts, "targets": dict(run.done)}, indent=2))
    else:
        for target, count in run.done.items():
            print(f"{target:20} {count:9,}")
        rate = total / seconds
        print(
            f"{total:,} tries in {seconds:.0f} s ({rate:,.0f} a second), {len(run.faults)} faults"
        )
    return 1 if run.faults else 0


def _run_all(targets: list[Target], count: int, run: FuzzRun) -> None:
    """Distribute the tries in turns, so that an interrupted run has tried every target."""
    whole = sum(target.share for target in targets)
    reported = time.monotonic()
    for step in range(count):
        behind = max(targets, key=lambda t: (step + 1) * t.share / whole - run.done[t.name])
        run.try_number(behind, run.done[behind.name])
        if time.monotonic() > reported + PROGRESS_SECONDS:
            reported = time.monotonic()
            print(f"{step + 1:,} tries, {len(run.faults)} faults", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
