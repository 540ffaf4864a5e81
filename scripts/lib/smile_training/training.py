"""Trains one network: in float first, then on its int8 grids. Goes on where it was interrupted."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from smile_training.augment import vary
from smile_training.network import Network, Quantized
from smile_training.progress import Progress

BATCH = 128
_DOUBT = 0.06  # of each label: about one in thirty is wrong
# Lifting the corners of a mouth must raise the log-odds by this much for each half crop of lift.
_PAIRS, _LEAST_LIFT, _MOST_LIFT, _RISE = 16, 0.04, 0.14, 8.0
_RANGE_FACES = 1024  # whose activations set the int8 ranges


class Course(NamedTuple):
    """How long and how hard: a one-cycle schedule of AdamW (Smith and Topin, 2019)."""

    epochs: int
    rate: float  # the highest
    decay: float


_FLOAT = Course(epochs=20, rate=4e-3, decay=2e-3)
_INT8 = Course(epochs=4, rate=4e-4, decay=0.0)


@dataclass(frozen=True, slots=True)
class Samples:
    """What a network is trained on, n faces."""

    wide: Tensor  # (n, 1, 96, 96), uint8
    target: Tensor  # (n,), 0 to 1
    weight: Tensor  # (n,)


def train(samples: Samples, out: Path, name: str, seed: int) -> tuple[Network, Quantized]:
    """Return the float network and the quantized one; their state is kept in `out` each epoch."""
    torch.manual_seed(seed)
    generator = torch.Generator().manual_seed(seed)
    network = Network()
    _run(network, samples, out / f"{name}-float.pt", generator, _FLOAT)
    network.eval()
    picked = torch.randperm(len(samples.wide), generator=generator)[:_RANGE_FACES]
    faces = samples.wide[picked].float()
    quantized = Quantized(network, vary(faces, torch.zeros(len(faces)), generator))
    _run(quantized, samples, out / f"{name}-int8.pt", generator, _INT8)
    return network, quantized.eval()


def log_odds(network: nn.Module, crops: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Return the network's answers, (n,), to (n, 64, 64) crops."""
    network.eval()
    with torch.no_grad():
        parts = torch.from_numpy(crops)[:, None].split(256)
        answers = torch.cat([network(part.float()) for part in parts])
    return np.asarray(answers.numpy(), np.float64)


def _run(
    network: nn.Module,
    samples: Samples,
    path: Path,
    generator: torch.Generator,
    course: Course,
) -> None:
    """Train `network` for the course, less the epochs that `path` holds already."""
    steps = len(samples.wide) // BATCH
    optimizer = torch.optim.AdamW(network.parameters(), lr=course.rate, weight_decay=course.decay)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, course.rate, course.epochs * steps, pct_start=0.2
    )
    parts: dict[str, Any] = {"network": network, "optimizer": optimizer, "schedule": schedule}
    done = 0
    if path.is_file():
        kept = torch.load(path, weights_only=True)
        for key, part in parts.items():
            part.load_state_dict(kept[key])
        generator.set_state(kept["generator"])
        torch.set_rng_state(kept["dropout"])
        done = kept["epochs"]
    network.train()
    for epoch in range(done, course.epochs):
        order = torch.randperm(len(samples.wide), generator=generator)[: steps * BATCH]
        for batch in Progress(
            f"{path.stem}, epoch {epoch + 1} of {course.epochs}", order.split(BATCH)
        ):
            loss = _loss(network, samples, batch, generator)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
        state = {key: part.state_dict() for key, part in parts.items()}
        state |= {"generator": generator.get_state(), "dropout": torch.get_rng_state()}
        half = path.with_suffix(".half")
        torch.save(state | {"epochs": epoch + 1}, half)
        half.rename(path)


def _loss(
    network: nn.Module, samples: Samples, batch: Tensor, generator: torch.Generator
) -> Tensor:
    """Return how wrong the labels are told, and how little lifted mouths score above their own."""
    faces = samples.wide[batch].float()
    target, weight = samples.target[batch], samples.weight[batch]
    logits = network(vary(faces, torch.zeros(BATCH), generator))
    wrong = functional.binary_cross_entropy_with_logits(
        logits, target * (1 - _DOUBT) + _DOUBT / 2, weight, reduction="sum"
    )
    lift = torch.rand(_PAIRS, generator=generator) * (_MOST_LIFT - _LEAST_LIFT) + _LEAST_LIFT
    state = generator.get_state()
    still = vary(faces[:_PAIRS], torch.zeros(_PAIRS), generator)
    generator.set_state(state)  # the same light, place and noise for both
    lifted = vary(faces[:_PAIRS], lift, generator)
    low, high = network(torch.cat((still, lifted))).split(_PAIRS)
    flat = functional.relu(lift * _RISE - (high - low)).mean()
    return wrong / weight.sum() + flat / 2
