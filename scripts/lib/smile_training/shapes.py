"""Trains the network that tells a smile by the face's shape: in float first, then in int8."""

from functools import partial
from pathlib import Path
from typing import NamedTuple

import torch
from int8_training.network import Design, Network, Quantized
from int8_training.training import Course, run
from torch import Tensor, nn
from torch.nn import functional

from edge.inference.smile import SHAPE
from smile_training.training import DOUBT

# A picture of one pixel with many channels: each layer sees all of the shape.
DESIGN = Design(layers=((48, 1),), side=1, channels=SHAPE, outputs=1, most_logit=6.0, kernel=1)
_BATCH = 256
_FLOAT = Course(epochs=30, rate=4e-3, decay=1e-2)
_INT8 = Course(epochs=3, rate=4e-4, decay=0.0)
_NOISE = 1.25  # steps of each coordinate, the deviation
_RANGE_FACES = 1024  # whose activations set the int8 ranges


class Shapes(NamedTuple):
    """What a network is trained on, n faces."""

    shape: Tensor  # (n, SHAPE, 1, 1), uint8
    target: Tensor  # (n,), 0 or 1
    weight: Tensor  # (n,)


def train(shapes: Shapes, out: Path, name: str, seed: int) -> tuple[Network, Quantized]:
    """Return the float network and the quantized one; their state is kept in `out` each epoch."""
    torch.manual_seed(seed)
    generator = torch.Generator().manual_seed(seed)
    network = Network(DESIGN)
    _course(network, shapes, out / f"{name}-shape-float.pt", generator, _FLOAT)
    network.eval()
    picked = torch.randperm(len(shapes.shape), generator=generator)[:_RANGE_FACES]
    quantized = Quantized(network, shapes.shape[picked].float())
    _course(quantized, shapes, out / f"{name}-shape-int8.pt", generator, _INT8)
    return network, quantized.eval()


def _course(
    network: nn.Module, shapes: Shapes, path: Path, generator: torch.Generator, how: Course
) -> None:
    run(
        network,
        partial(_loss, shapes),
        path,
        samples=len(shapes.shape),
        batch=_BATCH,
        generator=generator,
        course=how,
    )


def _loss(shapes: Shapes, network: nn.Module, batch: Tensor, generator: torch.Generator) -> Tensor:
    seen = shapes.shape[batch].float()
    seen = (seen + _NOISE * torch.randn(seen.shape, generator=generator)).round().clamp(0, 255)
    wrong: Tensor = functional.binary_cross_entropy_with_logits(
        network(seen)[:, 0],
        shapes.target[batch] * (1 - DOUBT) + DOUBT / 2,
        shapes.weight[batch],
        reduction="sum",
    )
    return wrong / shapes.weight[batch].sum()
