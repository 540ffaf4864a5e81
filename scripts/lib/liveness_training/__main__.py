"""Trains the liveness network and writes liveness.tflite; started by scripts/train_liveness.

Attacks are simulated from photos of living people. People are in five shares: the first is never
touched, for scripts/make_attacks; the second sets the score's line and its threshold; the
network is trained on the rest.
"""

import argparse
import hashlib
import sys
from pathlib import Path

import numpy as np
import torch
from int8_training.file import write
from int8_training.training import log_odds
from model_builder import BuildError
from numpy.typing import NDArray

from edge.errors import ModelError
from edge.inference.liveness import MEASURES, cues
from liveness_training import samples
from liveness_training.line import line_of
from liveness_training.recapture import KINDS
from liveness_training.samples import LIVE, Samples
from liveness_training.training import Lesson, train

_LINE_SHARE = 1
# What a photo taken by a camera once more counts against one as it is. It keeps blur, noise
# and JPEG from being signs of an attack; but a unit takes its living faces once.
_RETAKEN = 0.35
_MOST_LOST = 0.01  # of the attacks passed at that threshold, by int8 over float
_CHECKED = 300  # faces that the file is asked about


def main() -> int:
    """Train, check, write, and print what the score is worth; return the exit status."""
    parser = argparse.ArgumentParser(prog="scripts/train_liveness", description=__doc__)
    parser.add_argument("--datasets", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True, help="samples, states and the model")
    options = parser.parse_args()
    out: Path = options.out
    out.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)  # sums are then added in the same order on any machine
    seen = samples.load(options.datasets, out / "samples")
    learnt, kept = seen.share != _LINE_SHARE, seen.share == _LINE_SHARE
    alive = torch.from_numpy(seen.kind == LIVE).float()
    weight = torch.from_numpy(
        np.where((seen.kind == LIVE) & ~seen.untouched, _RETAKEN, 1.0)
    ).float()
    lesson = Lesson(torch.from_numpy(seen.views[learnt]), alive[learnt], weight[learnt])
    network, quantized = train(lesson, out)
    rest = Samples(*(getattr(seen, field)[kept] for field in Samples.__slots__))
    named = np.array([cues(view) for view in rest.views])
    exact, rounded = (log_odds(one, rest.views) for one in (network, quantized))
    lines = {
        form: line_of(np.c_[said, named], rest.kind == LIVE, weight[kept].numpy(), rest.untouched)
        for form, said in (("float", exact), ("int8", rounded))
    }
    passed = {
        form: _print_figures(form, np.c_[said, named] @ lines[form][:-1] + lines[form][-1], rest)
        for form, said in (("float", exact), ("int8", rounded))
    }
    try:
        _check_loss(passed)
        content = write(quantized, "liveness", rest.views[:_CHECKED], rounded[:_CHECKED])
    except (BuildError, ModelError) as error:
        print(f"train_liveness: {error}", file=sys.stderr)
        return 1
    (out / "liveness.tflite").write_bytes(content)
    print(f"{hashlib.sha256(content).hexdigest()}  {out / 'liveness.tflite'}")
    print("[model.liveness.calibration]")
    for name, value in zip((*MEASURES, "intercept"), lines["int8"], strict=True):
        print(f"{name} = {value:.4g}")
    measures = np.c_[rounded, named]
    living, attacks = (measures[of].mean(axis=0) for of in (rest.kind == LIVE, rest.kind != LIVE))
    for name, value in zip(MEASURES, (living + attacks) / 2, strict=True):
        print(f"{name}_even = {value:.4g}")
    return 0


def _check_loss(passed: dict[str, float]) -> None:
    """Refuse a quantized network that lets more attacks pass than its float teacher."""
    if passed["int8"] - passed["float"] > _MOST_LOST:
        raise ModelError(
            f"refused: {passed['int8']:.2%} of the attacks pass in int8, {passed['float']:.2%} "
            f"in float; at most {_MOST_LOST:.0%} more may"
        )


def _print_figures(form: str, logits: NDArray[np.float64], rest: Samples) -> float:
    """Print the figures of one form at its threshold, and return the share of attacks passed."""
    living, plain = rest.kind == LIVE, rest.untouched
    parts = [
        f"{name} {(logits[rest.kind == k] >= 0).mean():.2%}" for k, name in enumerate(KINDS, 1)
    ]
    print(
        f"{form:5} passed: {', '.join(parts)}; refused of the living: "
        f"{(logits[living] < 0).mean():.2%}, of photos as they are {(logits[plain] < 0).mean():.2%}"
    )
    return float((logits[~living] >= 0).mean())


if __name__ == "__main__":
    sys.exit(main())
