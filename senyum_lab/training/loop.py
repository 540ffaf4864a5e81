"""The training loop of every network: in float first, then on its int8 grids.

An interrupted training continues after the last complete epoch.
"""

from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from senyum_lab.batch_work import Progress
from senyum_lab.training.network import NetworkDesign, QuantizedNetwork, TrainableNetwork

_AT_ONCE = 256  # pictures of one forward pass


class Course(NamedTuple):
    """The one-cycle schedule of AdamW (Smith and Topin, 2019)."""

    epochs: int
    rate: float  # the highest
    decay: float
    # The part of the moving average of the weights that each step keeps; 0: the last weights.
    average: float = 0.0


class TrainingSet(ABC):
    """What a network is trained on: its design, its samples and its loss."""

    design: ClassVar[NetworkDesign]
    batch: ClassVar[int]
    float_course: ClassVar[Course]
    int8_course: ClassVar[Course]
    channels_last: ClassVar[bool] = False

    @abstractmethod
    def __len__(self) -> int:
        """Return the number of samples."""

    @abstractmethod
    def loss(self, network: nn.Module, batch: Tensor, generator: torch.Generator) -> Tensor:
        """Return the loss of the samples with the numbers `batch`, (batch,).

        All randomness comes from `generator` or from the default generator of torch.
        """

    @abstractmethod
    def range_pixels(self, generator: torch.Generator) -> Tensor:
        """Return (n, channels, side, side) pixels whose activations set the int8 ranges."""


class TrainedNetwork(NamedTuple):
    """A network in both forms, in evaluation mode."""

    exact: TrainableNetwork
    rounded: QuantizedNetwork


def train(samples: TrainingSet, out: Path, name: str, seed: int) -> TrainedNetwork:
    """Train a network; its state is stored in `out` after each epoch."""
    torch.manual_seed(seed)
    generator = torch.Generator().manual_seed(seed)
    network = TrainableNetwork(samples.design)
    if samples.channels_last:
        network = network.to(memory_format=torch.channels_last)
    run_course(network, samples, out / f"{name}-float.pt", generator, samples.float_course)
    network.eval()
    quantized = QuantizedNetwork(network, samples.range_pixels(generator))
    run_course(quantized, samples, out / f"{name}-int8.pt", generator, samples.int8_course)
    return TrainedNetwork(network.eval(), quantized.eval())


def run_course(
    network: nn.Module,
    samples: TrainingSet,
    path: Path,
    generator: torch.Generator,
    course: Course,
) -> None:
    """Train `network` for `course`, except for the epochs that are stored in `path`.

    `path` is replaced atomically at the end of each epoch.
    """
    steps = len(samples) // samples.batch
    optimizer = torch.optim.AdamW(network.parameters(), lr=course.rate, weight_decay=course.decay)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, course.rate, course.epochs * steps, pct_start=0.2
    )
    parts: dict[str, Any] = {"network": network, "optimizer": optimizer, "schedule": schedule}
    average = AveragedModel(
        network, multi_avg_fn=get_ema_multi_avg_fn(course.average), use_buffers=True
    )
    if course.average:
        parts["average"] = average
    done = 0
    if path.is_file():
        stored = torch.load(path, weights_only=True)
        for key, part in parts.items():
            part.load_state_dict(stored[key])
        generator.set_state(stored["generator"])
        torch.set_rng_state(stored["dropout"])
        done = stored["epochs"]
    network.train()
    for epoch in range(done, course.epochs):
        order = torch.randperm(len(samples), generator=generator)[: steps * samples.batch]
        what = f"{path.stem}, epoch {epoch + 1} of {course.epochs}"
        for batch in Progress(what, order.split(samples.batch)):
            loss = samples.loss(network, batch, generator)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            if course.average:
                average.update_parameters(network)
        state = {key: part.state_dict() for key, part in parts.items()}
        state |= {"generator": generator.get_state(), "dropout": torch.get_rng_state()}
        incomplete = path.with_suffix(".half")
        torch.save(state | {"epochs": epoch + 1}, incomplete)
        incomplete.rename(path)
    if course.average:
        network.load_state_dict(average.module.state_dict())


def weighted_loss(logits: Tensor, target: Tensor, weight: Tensor, doubt: float) -> Tensor:
    """Return the mean cross-entropy, weighted, if the share `doubt` of the labels is random."""
    total: Tensor = functional.binary_cross_entropy_with_logits(
        logits, target * (1 - doubt) + doubt / 2, weight, reduction="sum"
    )
    return total / weight.sum()


def pick(count: int, most: int, generator: torch.Generator) -> Tensor:
    """Return at most `most` of `count` sample numbers, in random order."""
    return torch.randperm(count, generator=generator)[:most]


def log_odds(network: nn.Module, pictures: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Return the answers, (n, outputs), to (n, side, side, channels) pictures."""
    network.eval()
    with torch.no_grad():
        parts = torch.from_numpy(pictures).permute(0, 3, 1, 2).split(_AT_ONCE)
        answers = torch.cat([network(part.float()) for part in parts])
    return np.asarray(answers.numpy(), np.float64)
