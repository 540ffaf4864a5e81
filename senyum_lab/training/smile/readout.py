"""Trains what reads a smile from the landmarks network's features: in float, then in int8."""

from functools import partial
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from edge.inference.smile import FEATURES
from senyum_lab.training.int8.network import Design, Quantized, TrainableNetwork
from senyum_lab.training.int8.training import Course, run
from senyum_lab.training.smile.training import DOUBT

# A straight line: a picture of one pixel with many channels. Layers of 8 to 24 between did no
# better on people that had not been seen.
DESIGN = Design(layers=(), side=1, channels=FEATURES, outputs=1, most_logit=6.0, kernel=1)
_BATCH = 256
_FLOAT = Course(epochs=16, rate=2e-3, decay=1e-1)
_INT8 = Course(epochs=2, rate=2e-4, decay=0.0)
_NOISE = 6.0  # steps of each feature, the deviation


class Features(NamedTuple):
    """What a network is trained on, n faces."""

    features: Tensor  # (n, 2, FEATURES), uint8: of each face and of its mirror image
    target: Tensor  # (n,), 0 or 1
    weight: Tensor  # (n,)


def train(faces: Features, out: Path, name: str, seed: int) -> tuple[TrainableNetwork, Quantized]:
    """Return the float network and the quantized one; their state is kept in `out` each epoch."""
    torch.manual_seed(seed)
    generator = torch.Generator().manual_seed(seed)
    network = TrainableNetwork(DESIGN)
    _course(network, faces, out / f"{name}-float.pt", generator, _FLOAT)
    network.eval()
    some = faces.features[:1, 0, :, None, None].float()  # a line has no ranges to be set
    quantized = Quantized(network, some)
    _course(quantized, faces, out / f"{name}-int8.pt", generator, _INT8)
    return network, quantized.eval()


def _course(
    network: nn.Module, faces: Features, path: Path, generator: torch.Generator, how: Course
) -> None:
    run(
        network,
        partial(_loss, faces),
        path,
        samples=len(faces.target),
        batch=_BATCH,
        generator=generator,
        course=how,
    )


def _loss(faces: Features, network: nn.Module, batch: Tensor, generator: torch.Generator) -> Tensor:
    way = torch.randint(2, batch.shape, generator=generator)
    seen = faces.features[batch, way].float()
    seen = (seen + _NOISE * torch.randn(seen.shape, generator=generator)).round().clamp(0, 255)
    wrong: Tensor = functional.binary_cross_entropy_with_logits(
        network(seen[:, :, None, None])[:, 0],
        faces.target[batch] * (1 - DOUBT) + DOUBT / 2,
        faces.weight[batch],
        reduction="sum",
    )
    return wrong / faces.weight[batch].sum()
