"""Train the liveness network and write liveness.tflite; run by scripts/train_liveness.

Attacks are simulated from photos of live people. The people are in five shares: the first is
reserved for scripts/make_attacks, the second calibrates the score and its threshold, and the two
towers of the network, whose mean is used, are trained on the rest, each in its own process.
"""

import argparse
import sys
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from edge.errors import ModelError
from edge.inference.liveness import MEASURES, texture_features
from senyum_lab.batch_work import exit_with_parent
from senyum_lab.model_files.builder import BuildError
from senyum_lab.training.calibration import fit_liveness
from senyum_lab.training.export import write
from senyum_lab.training.liveness import sample_cache
from senyum_lab.training.liveness.recapture import KINDS
from senyum_lab.training.liveness.samples import LINE, LIVE, LivenessSamples
from senyum_lab.training.liveness.training import TOWERS, train_tower, weights
from senyum_lab.training.loop import log_odds

_MOST_LOST = 0.01  # of the attacks accepted at the threshold, int8 above float
_CHECKED = 300  # faces on which the file is compared


def main() -> int:
    """Train, check and write the network; print the figures; return the exit status."""
    parser = argparse.ArgumentParser(prog="scripts/train_liveness", description=__doc__)
    parser.add_argument("--datasets", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True, help="samples, training states, model")
    parser.add_argument("--photos", type=int, default=1_000_000, help="maximum number of photos")
    parser.add_argument("--processes", type=int, default=2, help="each uses one core; default: 2")
    options = parser.parse_args()
    torch.set_num_threads(1)  # sums are then added in the same order on every machine
    out: Path = options.out
    out.mkdir(parents=True, exist_ok=True)
    rest = _of_line(
        sample_cache.load(options.datasets, out / "samples", options.processes, options.photos)
    )
    with ProcessPoolExecutor(options.processes, get_context("spawn"), exit_with_parent) as pool:
        arguments = options.datasets, out, options.photos
        towers = [pool.submit(train_tower, *arguments, number) for number in range(TOWERS)]
        both = [tower.result() for tower in towers]
    named = np.array([texture_features(view) for view in rest.views])
    outputs = {
        form: np.concatenate([log_odds(tower[i], rest.views) for tower in both], 1)
        for i, form in enumerate(("float", "int8"))
    }
    measures = {form: np.c_[answers.mean(1), named] for form, answers in outputs.items()}
    living = rest.kind == LIVE
    lines = {
        form: fit_liveness(measured, living, weights(rest), rest.untouched)
        for form, measured in measures.items()
    }
    passed = {
        form: _print_figures(form, measured @ lines[form][:-1] + lines[form][-1], rest)
        for form, measured in measures.items()
    }
    try:
        _check_loss(passed)
        quantized = [tower.rounded for tower in both]
        checked, answers = rest.views[:_CHECKED], outputs["int8"][:_CHECKED]
        write(quantized, out / "liveness.tflite", checked, answers)
    except (BuildError, ModelError) as error:
        print(f"train_liveness: {error}", file=sys.stderr)
        return 1
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
    """Raise ModelError if int8 accepts more attacks than float, by more than the limit."""
    if passed["int8"] - passed["float"] > _MOST_LOST:
        raise ModelError(
            f"refused: int8 accepts {passed['int8']:.2%} of the attacks, float "
            f"{passed['float']:.2%}; the limit is {_MOST_LOST:.0%} more"
        )


def _print_figures(form: str, logits: NDArray[np.float64], rest: LivenessSamples) -> float:
    """Print the figures of one form at its threshold; return the share of accepted attacks."""
    living, plain = rest.kind == LIVE, rest.untouched
    parts = [
        f"{name} {(logits[rest.kind == k] >= 0).mean():.2%}" for k, name in enumerate(KINDS, 1)
    ]
    print(
        f"{form:5} attacks accepted: {', '.join(parts)}; live people refused: "
        f"{(logits[living] < 0).mean():.2%}, of original photos {(logits[plain] < 0).mean():.2%}"
    )
    return float((logits[~living] >= 0).mean())


if __name__ == "__main__":
    sys.exit(main())
