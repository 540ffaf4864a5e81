"""The training set of the liveness network, and its two towers.

Both views of a face are stacked: six channels.
"""

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from edge.inference.liveness import SIDE
from senyum_lab.training.liveness import sample_cache
from senyum_lab.training.liveness.samples import LINE, LIVE, LivenessSamples
from senyum_lab.training.loop import (
    Course,
    TrainedNetwork,
    TrainingSet,
    pick,
    train,
    weighted_loss,
)
from senyum_lab.training.network import NetworkDesign, TrainableNetwork

TOWERS = 2  # of one design; their mean errs less than either, because they err on different faces
# The weight of a photo that a camera took again, against an original photo. It keeps blur, noise
# and JPEG from becoming signs of an attack; but the device takes live faces only once.
_RETAKEN = 0.6
_SEED = 40
_DOUBT = 0.02  # of each label: some attacks have no visible sign
_BLIND = 0.1  # of the faces are shown in one view only, so that the network learns to use each view
_RANGE_FACES = 512  # whose activations set the int8 ranges


class LivenessSet(TrainingSet):
    """The faces that a tower is trained on, n of them."""

    design = NetworkDesign(
        layers=((16, 2), (32, 2), (48, 2), (48, 1), (64, 2), (96, 1)),  # the last map is 6x6
        side=SIDE,
        channels=6,
        outputs=1,
        most_logit=8.0,
    )
    batch = 64
    float_course = Course(epochs=9, rate=3e-3, decay=2e-3)
    int8_course = Course(epochs=1, rate=4e-4, decay=0.0)
    channels_last = True

    def __init__(self, views: Tensor, alive: Tensor, weight: Tensor) -> None:
        self.views = views  # (n, SIDE, SIDE, 6), uint8
        self.alive = alive  # (n,), 0 or 1
        self.weight = weight  # (n,)

    def __len__(self) -> int:
        return len(self.views)

    def range_pixels(self, generator: torch.Generator) -> Tensor:
        return vary(self.views[pick(len(self.views), _RANGE_FACES, generator)], generator)

    def loss(self, network: nn.Module, batch: Tensor, generator: torch.Generator) -> Tensor:
        pictures = vary(self.views[batch], generator)
        # Half precision is enough for gradients, but not for the int8 grids.
        exact = isinstance(network, TrainableNetwork)
        with torch.autocast("cpu", torch.bfloat16, enabled=exact):
            logits = network(pictures)[:, 0].float()
        return weighted_loss(logits, self.alive[batch], self.weight[batch], _DOUBT)


def train_tower(datasets: Path, out: Path, photos: int, number: int) -> TrainedNetwork:
    """Train one tower in a worker process; the samples are already cached in `out`."""
    torch.set_num_threads(1)  # sums are then added in the same order on every machine
    seen = sample_cache.load(datasets, out / "samples", 1, photos)
    trained = seen.share != LINE
    samples = LivenessSet(
        torch.from_numpy(seen.views[trained]),
        torch.from_numpy(seen.kind[trained] == LIVE).float(),
        torch.from_numpy(weights(seen)[trained]).float(),
    )
    return train(samples, out, f"tower{number}", _SEED + number)


def weights(seen: LivenessSamples) -> NDArray[np.float64]:
    """Return the weight of each sample."""
    return np.where((seen.kind == LIVE) & ~seen.untouched, _RETAKEN, 1.0)


def vary(views: Tensor, generator: torch.Generator) -> Tensor:
    """Return random variations of (n, SIDE, SIDE, 6) views: (n, 6, SIDE, SIDE), 0 to 255.

    Mirrored, with other light, and the close view also turned; nothing changes the finest detail.
    """
    count = len(views)
    levels = _light(count, generator).numpy()
    ways = (torch.rand(count, 4, generator=generator) < 0.5).tolist()
    unseen = torch.rand(count, generator=generator).tolist()
    seen = views.numpy()
    varied = np.empty(seen.shape, np.uint8)
    for i, (mirrored, across, down, turned) in enumerate(ways):
        wide, close = seen[i, :, :, :3], seen[i, :, :, 3:]
        wide = wide[:, ::-1] if mirrored else wide
        close = close[:, ::-1] if across else close
        close = close[::-1] if down else close
        close = close.transpose(1, 0, 2) if turned else close
        for c in range(6):
            view = wide if c < 3 else close
            varied[i, :, :, c] = levels[i, c % 3][view[:, :, c % 3]]
        if unseen[i] < _BLIND / 2:
            varied[i, :, :, :3] = 128
        elif unseen[i] > 1 - _BLIND / 2:
            varied[i, :, :, 3:] = 128
    return torch.from_numpy(varied).permute(0, 3, 1, 2).float()


def _light(count: int, generator: torch.Generator) -> Tensor:
    """Return the new level of each level of Y, Cb and Cr in random light, (count, 3, 256)."""

    def spread(width: float) -> Tensor:
        return (torch.rand(count, 1, generator=generator) * 2 - 1) * width

    level = torch.arange(256.0)
    luma = (level / 255).clamp(min=1e-3) ** torch.exp(spread(0.3))
    luma = (luma * torch.exp(spread(0.2)) + spread(0.05)) * 255
    stronger = torch.exp(spread(0.25))
    chroma = [(level - 128) * stronger + spread(6) + 128 for _ in range(2)]
    return torch.stack((luma, *chroma), 1).clamp(0, 255).round().to(torch.uint8)
