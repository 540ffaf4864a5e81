"""Trains the liveness network and writes liveness.tflite; started by scripts/train_liveness.

Attacks are simulated from photos of living people. People are in five shares: the first is never
touched, for scripts/make_attacks; the second sets the score's line and its threshold; the
network's two towers, whose mean counts, are trained on the rest, each in a process of its own.
"""

import argparse
import hashlib
import sys
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import torch
from model_builder import BuildError
from numpy.typing import NDArray

from edge.errors import ModelError
from edge.inference.liveness import MEASURES, texture_features
from senyum_lab.training.int8.file import write
from senyum_lab.training.int8.processes import follow_parent
from senyum_lab.training.int8.training import log_odds
from senyum_lab.training.liveness import parts
from senyum_lab.training.liveness.line import line_of
from senyum_lab.training.liveness.recapture import KINDS
from senyum_lab.training.liveness.samples import LINE, LIVE, LivenessSamples
from senyum_lab.training.liveness.towers import TOWERS, trained, weights

_MOST_LOST = 0.01  # of the attacks passed at that threshold, by int8 over float
_CHECKED = 300  # faces that the file is asked about


def main() -> int:
    """Train, check, write, and print what the score is worth; return the exit status."""
    parser = argparse.ArgumentParser(prog="scripts/train_liveness", description=__doc__)
    parser.add_argument("--datasets", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True, help="samples, states and the model")
    parser.add_argument("--photos", type=int, default=1_000_000, help="of how many at most")
    parser.add_argument("--processes", type=int, default=2, help="each uses one core; default: 2")
    options = parser.parse_args()
    torch.set_num_threads(1)  # sums are then added in the same order on any machine
    out: Path = options.out
    out.mkdir(parents=True, exist_ok=True)
    rest = _of_line(
        parts.load(options.datasets, out / "samples", options.processes, options.photos)
    )
    with ProcessPoolExecutor(options.processes, get_context("spawn"), follow_parent) as pool:
        told = options.datasets, out, options.photos
        towers = [pool.submit(trained, *told, number) for number in range(TOWERS)]
        both = [tower.result() for tower in towers]
    named = np.array([texture_features(view) for view in rest.views])
    said = {
        form: np.concatenate([log_odds(tower[i], rest.views) for tower in both], 1)
        for i, form in enumerate(("float", "int8"))
    }
    measures = {form: np.c_[answers.mean(1), named] for form, answers in said.items()}
    living = rest.kind == LIVE
    lines = {
        form: line_of(measured, living, weights(rest), rest.untouched)
        for form, measured in measures.items()
    }
    passed = {
        form: _print_figures(form, measured @ lines[form][:-1] + lines[form][-1], rest)
        for form, measured in measures.items()
    }
    try:
        _check_loss(passed)
        quantized = [tower[1] for tower in both]
        content = write(quantized, "liveness", rest.views[:_CHECKED], said["int8"][:_CHECKED])
    except (BuildError, ModelError) as error:
        print(f"train_liveness: {error}", file=sys.stderr)
        return 1
    (out / "liveness.tflite").write_bytes(content)
    print(f"{hashlib.sha256(content).hexdigest()}  {out / 'liveness.tflite'}")
    print("[model.liveness.calibration]")
    for name, value in zip((*MEASURES, "intercept"), lines["int8"], strict=True):
        print(f"{name} = {value:.4g}")
    even = (measures["int8"][living].mean(axis=0) + measures["int8"][~living].mean(axis=0)) / 2
    for name, value in zip(MEASURES, even, strict=True):
        print(f"{name}_even = {value:.4g}")
    return 0


def _of_line(seen: LivenessSamples) -> LivenessSamples:
    kept = seen.share == LINE
    return LivenessSamples(*(getattr(seen, field)[kept] for field in LivenessSamples.__slots__))


def _check_loss(passed: dict[str, float]) -> None:
    """Refuse a quantized network that lets more attacks pass than its float teacher."""
    if passed["int8"] - passed["float"] > _MOST_LOST:
        raise ModelError(
            f"refused: {passed['int8']:.2%} of the attacks pass in int8, {passed['float']:.2%} "
            f"in float; at most {_MOST_LOST:.0%} more may"
        )


def _print_figures(form: str, logits: NDArray[np.float64], rest: LivenessSamples) -> float:
    """Print the figures of one form at its threshold, and return the share of attacks passed."""
    living, plain = rest.kind == LIVE, rest.untouched
    parts = [
        f"{name} {(logits[rest.kind == k] >= 0).mean():.2%}" for k, name in enumerate(KINDS, 1)
    ]
    print(
        f"{form:5} passed: {', '.join(parts)}; refused of the living: "
        f"{(logits[living] < 0).mean():.2%}, of those taken once {(logits[plain] < 0).mean():.2%}"
    )
    return float((logits[~living] >= 0).mean())


if __name__ == "__main__":
    sys.exit(main())
