"""Trains one network: in float first, then on its int8 grids. Goes on where it was interrupted."""

from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

from senyum_lab.training.int8.network import Quantized, TrainableNetwork
from senyum_lab.training.int8.training import Course, run
from senyum_lab.training.smile.augment import vary
from senyum_lab.training.smile.network import DESIGN

BATCH = 128
DOUBT = 0.06  # of each label: about one in thirty is wrong
# Lifting the corners of a mouth must raise the log-odds by this much for each half crop of lift.
_LIFTS, _LEAST_LIFT, _MOST_LIFT, _RISE = 8, 0.04, 0.14, 8.0
# A person whose two photos are known is seen twice, each time so far on the way from the neutral
# one to the smiling one; the later must lie above the earlier by this much for the whole way.
_ONSETS, _ONSET_RISE = 8, 4.0
_ONSET_WEIGHT = 0.3
_AT_AN_END = 0.7  # of the onsets' ends are a photo as it is
_RANGE_FACES = 1024  # whose activations set the int8 ranges

_FLOAT = Course(epochs=20, rate=4e-3, decay=2e-3)
_INT8 = Course(epochs=3, rate=4e-4, decay=0.0)


@dataclass(frozen=True, slots=True)
class SmileSamples:
    """What a network is trained on, n faces and k people."""

    wide: Tensor  # (n, 1, 96, 96), uint8
    target: Tensor  # (n,), 0 to 1
    weight: Tensor  # (n,)
    onset: Tensor  # (k, 2, 96, 96), uint8: a person's neutral and smiling photo


def train(
    samples: SmileSamples, out: Path, name: str, seed: int
) -> tuple[TrainableNetwork, Quantized]:
    """Return the float network and the quantized one; their state is kept in `out` each epoch."""
    torch.manual_seed(seed)
    generator = torch.Generator().manual_seed(seed)
    network = TrainableNetwork(DESIGN).to(memory_format=torch.channels_last)
    course(network, samples, out / f"{name}-float.pt", generator, _FLOAT)
    network.eval()
    picked = torch.randperm(len(samples.wide), generator=generator)[:_RANGE_FACES]
    faces = samples.wide[picked].float()
    quantized = Quantized(network, vary(faces, torch.zeros(len(faces)), generator))
    course(quantized, samples, out / f"{name}-int8.pt", generator, _INT8)
    return network, quantized.eval()


def course(
    network: nn.Module, samples: SmileSamples, path: Path, generator: torch.Generator, how: Course
) -> None:
    """Train `network` for the course `how`, less the epochs that `path` holds already."""
    run(
        network,
        partial(_loss, samples),
        path,
        samples=len(samples.wide),
        batch=BATCH,
        generator=generator,
        course=how,
    )


def _loss(
    samples: SmileSamples, network: nn.Module, batch: Tensor, generator: torch.Generator
) -> Tensor:
    """Return how wrong the labels are told, and how little more smile scores more."""
    faces = samples.wide[batch].float()
    target, weight = samples.target[batch], samples.weight[batch]
    lift = torch.rand(_LIFTS, generator=generator) * (_MOST_LIFT - _LEAST_LIFT) + _LEAST_LIFT
    some = faces[:_LIFTS]
    still, lifted = _alike(some, some, torch.zeros(_LIFTS), lift, generator)
    early, late = _ways(generator)
    person = torch.randint(len(samples.onset), (_ONSETS,), generator=generator)
    pair = samples.onset[person].float()
    seen = (_between(pair, early), _between(pair, late))
    before, after = _alike(*seen, torch.zeros(_ONSETS), torch.zeros(_ONSETS), generator)
    usual = vary(faces, torch.zeros(BATCH), generator)
    pictures = torch.cat((usual, still, lifted, before, after))
    # Half as many bits are enough for gradients, but not for the int8 grids.
    with torch.autocast("cpu", torch.bfloat16, enabled=isinstance(network, TrainableNetwork)):
        answers = network(pictures.contiguous(memory_format=torch.channels_last))[:, 0]
    logits, low, high, first, second = answers.float().split(
        (BATCH, _LIFTS, _LIFTS, _ONSETS, _ONSETS)
    )
    wrong = functional.binary_cross_entropy_with_logits(
        logits, target * (1 - DOUBT) + DOUBT / 2, weight, reduction="sum"
    )
    untold = functional.binary_cross_entropy_with_logits(
        torch.cat((first, second)), torch.cat((early, late)).clamp(DOUBT / 2, 1 - DOUBT / 2)
    )
    flat = functional.relu(lift * _RISE - (high - low)).mean()
    stuck = functional.relu((late - early) * _ONSET_RISE - (second - first)).mean()
    return wrong / weight.sum() + flat / 4 + _ONSET_WEIGHT * (untold + stuck / 4)


def _alike(
    one: Tensor, other: Tensor, lift: Tensor, other_lift: Tensor, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Return both varied with the same light, place and noise."""
    state = generator.get_state()
    varied = vary(one, lift, generator)
    generator.set_state(state)
    return varied, vary(other, other_lift, generator)


def _ways(generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Return how far on, 0 to 1, each onset is seen first and second."""
    far = torch.rand(2, _ONSETS, generator=generator)
    inside = torch.rand(2, _ONSETS, generator=generator) >= _AT_AN_END
    early, late = far.amin(0), far.amax(0)
    zero, one = torch.zeros(_ONSETS), torch.ones(_ONSETS)
    return torch.where(inside[0], early, zero), torch.where(inside[1], late, one)


def _between(pair: Tensor, far: Tensor) -> Tensor:
    """Return the dissolve between the two photos of each pair, (k, 1, 96, 96)."""
    return torch.lerp(pair[:, :1], pair[:, 1:], far[:, None, None, None])
