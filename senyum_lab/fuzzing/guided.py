"""`scripts/fuzz --guided`: the same targets, guided by code coverage.

atheris keeps inputs that reach a new branch and mutates them further, by itself and with the
mutations of the target. libFuzzer ends its process, so each target runs in its own.
"""

import importlib.util
import logging
import random
import re
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

INSTRUMENTED = ["edge", "senyum_central", "joserfc"]
GRACE_SECONDS = 120.0  # in addition to its share, for a process to start and exit
OWN_SHARE = 0.5  # of the mutations are those of libFuzzer
_DONE = re.compile(r"Done (\d+) runs in (\d+) second")
MISSING = "needs atheris; run: .venv/bin/pip install 'atheris>=3,<4'"


def available() -> bool:
    """Whether atheris is installed."""
    return importlib.util.find_spec("atheris") is not None


def run(names: Sequence[tuple[str, float]], seconds: float, seed: int, keep: Path) -> int:
    """Run each target for its share of the time; return 1 if one of them had a fault."""
    whole = sum(share for _, share in names)
    total = faults = 0
    keep.mkdir(parents=True, exist_ok=True)
    for name, share in names:
        most = max(1, round(seconds * share / whole))
        with tempfile.TemporaryDirectory(
            prefix="senyum-fuzz-"
        ) as folder:  # the child cannot remove it
            options = (name, str(most), str(seed), str(keep), folder)
            output, status = _run(
                [sys.executable, "-m", "senyum_lab.fuzzing.guided", *options], most
            )
        found = _DONE.search(output)
        tries = int(found[1]) if found else 0
        total += tries
        print(f"{name:20} {tries:9,} in {most} s", flush=True)
        if status != 0 or found is None:
            faults += 1
            print(f"FAULT in {name}; input stored in {keep}\n{output[-4000:]}")
    print(f"{total:,} guided tries in {seconds:.0f} s, {faults} faults")
    return int(faults > 0)


def _run(command: list[str], seconds: float) -> tuple[str, int]:
    """Return the output and the exit status, or -1 if the command did not end."""
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=seconds + GRACE_SECONDS, check=False
        )
    except subprocess.TimeoutExpired:
        return "does not end", -1
    return done.stderr + done.stdout, done.returncode  # exceptions are in the latter


def main() -> None:
    """Run one target: NAME SECONDS SEED KEEP FOLDER. Ends the process."""
    import atheris  # noqa: PLC0415 - seldom installed

    name, seconds, seed, keep, place = sys.argv[1:]
    with atheris.instrument_imports(include=INSTRUMENTED):
        from senyum_lab.fuzzing import files, ordered, signed  # noqa: PLC0415
    logging.disable()
    folder, corpus = Path(place), Path(place) / "corpus"
    every = [*signed.targets(folder), *ordered.targets(folder), *files.targets(folder)]
    target = next(each for each in every if each.name == name)
    good = set(target.good)
    corpus.mkdir()
    for number, content in enumerate(target.good):
        (corpus / str(number)).write_bytes(content)

    def one(content: bytes) -> None:
        if target.read(content) and not (target.strict and content in good):
            raise AssertionError("accepted invalid input")

    def mutate(content: bytes, most: int, number: int) -> bytes:
        chance = random.Random(number)  # noqa: S311
        if not content or chance.random() < OWN_SHARE:
            return bytes(atheris.Mutate(content, most))
        return chance.choice(target.mutations)(chance, content, target.good)[:most]

    options = (
        f"-max_total_time={seconds}",
        f"-seed={seed}",
        f"-artifact_prefix={keep}/{name.replace(' ', '-')}-",
        f"-max_len={4 * max(map(len, good))}",
    )
    atheris.Setup([sys.argv[0], *options, str(corpus)], one, custom_mutator=mutate)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
