"""The towers of the liveness network: the same design, each trained from a seed of its own."""

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from senyum_lab.training.int8.network import Quantized, TrainableNetwork
from senyum_lab.training.liveness import parts
from senyum_lab.training.liveness.samples import LINE, LIVE, LivenessSamples
from senyum_lab.training.liveness.training import Lesson, train

TOWERS = 2  # their mean errs less than either: mistakes on what they have not seen differ
# What a photo taken by a camera once more counts against one as it is. It keeps blur, noise
# and JPEG from being signs of an attack; but a unit takes its living faces once.
_RETAKEN = 0.6


def trained(
    datasets: Path, out: Path, photos: int, number: int
) -> tuple[TrainableNetwork, Quantized]:
    """Train one tower, in a process of its own; the samples are in `out` already."""
    torch.set_num_threads(1)  # sums are then added in the same order on any machine
    seen = parts.load(datasets, out / "samples", 1, photos)
    learnt = seen.share != LINE
    alive = torch.from_numpy(seen.kind[learnt] == LIVE).float()
    weight = torch.from_numpy(weights(seen)[learnt]).float()
    return train(Lesson(torch.from_numpy(seen.views[learnt]), alive, weight), out, number)


def weights(seen: LivenessSamples) -> NDArray[np.float64]:
    """Return what each sample counts."""
    return np.where((seen.kind == LIVE) & ~seen.untouched, _RETAKEN, 1.0)
