"""The liveness network: what it is made of, and how it is trained."""

from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
from int8_training.network import Design, Network, Quantized
from int8_training.training import Course, run
from torch import Tensor, nn
from torch.nn import functional

from edge.inference.liveness import SIDE

# Both views, one over the other, are looked at together: six channels.
DESIGN = Design(
    layers=((16, 2), (32, 2), (48, 2), (48, 1), (64, 2), (96, 1)),  # the last map is 6x6
    side=SIDE,
    channels=6,
    outputs=1,
    most_logit=8.0,
)
BATCH = 64
_FLOAT = Course(epochs=9, rate=3e-3, decay=2e-3)
_INT8 = Course(epochs=2, rate=4e-4, decay=0.0)
_SEED = 40
_DOUBT = 0.02  # of each label: some attacks show nothing that a camera could see
_BLIND = 0.1  # of the faces are seen in one view alone, so that each view is learnt to be read
_RANGE_FACES = 512  # whose activations set the int8 ranges


@dataclass(frozen=True, slots=True)
class Lesson:
    """What the network is trained on, n faces."""

    views: Tensor  # (n, SIDE, SIDE, 6), uint8
    alive: Tensor  # (n,), 0 or 1
    weight: Tensor  # (n,)


def train(lesson: Lesson, out: Path) -> tuple[Network, Quantized]:
    """Return the float network and the quantized one; their state is kept in `out` each epoch."""
    torch.manual_seed(_SEED)
    generator = torch.Generator().manual_seed(_SEED)
    network = Network(DESIGN)
    course(network, lesson, out / "float.pt", generator, _FLOAT)
    network.eval()
    picked = torch.randperm(len(lesson.views), generator=generator)[:_RANGE_FACES]
    quantized = Quantized(network, vary(lesson.views[picked], generator))
    course(quantized, lesson, out / "int8.pt", generator, _INT8)
    return network.eval(), quantized.eval()


def course(
    network: nn.Module, lesson: Lesson, path: Path, generator: torch.Generator, how: Course
) -> None:
    """Train `network` for the course `how`, less the epochs that `path` holds already."""
    run(
        network,
        partial(_loss, lesson),
        path,
        samples=len(lesson.views),
        batch=BATCH,
        generator=generator,
        course=how,
    )


def vary(views: Tensor, generator: torch.Generator) -> Tensor:
    """Return other pictures of the same faces, (n, 6, SIDE, SIDE), 0 to 255.

    Mirrored, in other light; nothing that would change the finest detail.
    """
    count = len(views)

    def spread(width: float) -> Tensor:
        drawn = (torch.rand(count, generator=generator) * 2 - 1) * width
        return drawn[:, None, None, None]

    x = views.permute(0, 3, 1, 2).float()
    mirrored = torch.rand(count, generator=generator) < 0.5
    x = torch.where(mirrored[:, None, None, None], x.flip(3), x)
    luma, chroma = x[:, [0, 3]] / 255, x[:, [1, 2, 4, 5]] - 128
    luma = luma.clamp(min=1e-3) ** torch.exp(spread(0.3))
    luma = luma * torch.exp(spread(0.2)) + spread(0.05)
    tint = torch.cat((spread(6), spread(6)), 1).repeat(1, 2, 1, 1)
    chroma = chroma * torch.exp(spread(0.25)) + tint
    luma, chroma = luma * 255, chroma + 128
    x = torch.cat((luma[:, :1], chroma[:, :2], luma[:, 1:], chroma[:, 2:]), 1)
    unseen = torch.rand(count, generator=generator)
    x[unseen < _BLIND / 2, :3] = 128
    x[unseen > 1 - _BLIND / 2, 3:] = 128
    return x.clamp(0, 255).round()


def _loss(lesson: Lesson, network: nn.Module, batch: Tensor, generator: torch.Generator) -> Tensor:
    logits = network(vary(lesson.views[batch], generator))[:, 0]
    wanted = lesson.alive[batch] * (1 - _DOUBT) + _DOUBT / 2
    weight = lesson.weight[batch]
    wrong: Tensor = functional.binary_cross_entropy_with_logits(
        logits, wanted, weight, reduction="sum"
    )
    return wrong / weight.sum()
