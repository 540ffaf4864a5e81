"""Train the liveness network and write liveness.tflite; run by scripts/train_liveness.

Attacks are simulated from photos of live people. The people are in five shares: the first is
reserved for scripts/make_attacks, the second checks the int8 form, and the two towers of the
network, whose mean is used, are trained on the rest, each in its own process.
scripts/train_recapture then trains the network of real attacks and fits the weights of both.
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
from senyum_lab.batch_work import exit_with_parent
from senyum_lab.model_files.builder import BuildError
from senyum_lab.training.calibration import REFUSED
from senyum_lab.training.export import write
from senyum_lab.training.liveness import sample_cache
from senyum_lab.training.liveness.recapture import KINDS
from senyum_lab.training.liveness.samples import LINE, LIVE, LivenessSamples
from senyum_lab.training.liveness.training import TOWERS, train_tower
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
    outputs = {
        form: np.concatenate([log_odds(tower[i], rest.views) for tower in both], 1)
        for i, form in enumerate(("float", "int8"))
    }
    passed = {form: _print_figures(form, each.mean(1), rest) for form, each in outputs.items()}
    try:
        _check_loss(passed)
        quantized = [tower.rounded for tower in both]
        checked, answers = rest.views[:_CHECKED], outputs["int8"][:_CHECKED]
        write(quantized, out / "liveness.tflite", checked, answers)
    except (BuildError, ModelError) as error:
        print(f"train_liveness: {error}", file=sys.stderr)
        return 1
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
    """Print the figures of one form where it refuses the share `REFUSED` of original photos.

    Return the share of accepted attacks.
    """
    living, plain = rest.kind == LIVE, rest.untouched
    logits = logits - np.quantile(logits[plain], REFUSED)
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
