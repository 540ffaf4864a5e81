"""The liveness network: what each of its towers is made of, and how it is trained."""

from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from edge.inference.liveness import SIDE
from senyum_lab.training.int8.network import Design, Quantized, TrainableNetwork
from senyum_lab.training.int8.training import Course, run

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
_INT8 = Course(epochs=1, rate=4e-4, decay=0.0)
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


def train(lesson: Lesson, out: Path, number: int) -> tuple[TrainableNetwork, Quantized]:
    """Return the float and the quantized network of one tower, which has a seed of its own.

    Their state is kept in `out` each epoch.
    """
    torch.manual_seed(_SEED + number)
    generator = torch.Generator().manual_seed(_SEED + number)
    network = TrainableNetwork(DESIGN).to(memory_format=torch.channels_last)
    course(network, lesson, out / f"float{number}.pt", generator, _FLOAT)
    network.eval()
    picked = torch.randperm(len(lesson.views), generator=generator)[:_RANGE_FACES]
    quantized = Quantized(network, vary(lesson.views[picked], generator))
    course(quantized, lesson, out / f"int8{number}.pt", generator, _INT8)
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

    Mirrored, the close view also turned, in other light; nothing that would change the finest
    detail.
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
    """Return what becomes of each level of Y, Cb and Cr in other light, (count, 3, 256)."""

    def spread(width: float) -> Tensor:
        return (torch.rand(count, 1, generator=generator) * 2 - 1) * width

    level = torch.arange(256.0)
    luma = (level / 255).clamp(min=1e-3) ** torch.exp(spread(0.3))
    luma = (luma * torch.exp(spread(0.2)) + spread(0.05)) * 255
    stronger = torch.exp(spread(0.25))
    chroma = [(level - 128) * stronger + spread(6) + 128 for _ in range(2)]
    return torch.stack((luma, *chroma), 1).clamp(0, 255).round().to(torch.uint8)


def _loss(lesson: Lesson, network: nn.Module, batch: Tensor, generator: torch.Generator) -> Tensor:
    pictures = vary(lesson.views[batch], generator)
    # Half as many bits are enough for gradients, but not for the int8 grids.
    with torch.autocast("cpu", torch.bfloat16, enabled=isinstance(network, TrainableNetwork)):
        logits = network(pictures)[:, 0].float()
    wanted = lesson.alive[batch] * (1 - _DOUBT) + _DOUBT / 2
    weight = lesson.weight[batch]
    wrong: Tensor = functional.binary_cross_entropy_with_logits(
        logits, wanted, weight, reduction="sum"
    )
    return wrong / weight.sum()
