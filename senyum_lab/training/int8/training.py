"""Trains one network for a course of epochs. Goes on where it was interrupted."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from senyum_lab.training.int8.progress import Progress

_AT_ONCE = 256  # pictures that are asked about together

# Says how wrong a network is about the samples of these numbers, (batch,); what is random in it
# comes from the generator alone, or from torch's own.
Loss = Callable[[nn.Module, Tensor, torch.Generator], Tensor]


class Course(NamedTuple):
    """How long and how hard: a one-cycle schedule of AdamW (Smith and Topin, 2019)."""

    epochs: int
    rate: float  # the highest
    decay: float


def run(
    network: nn.Module,
    loss: Loss,
    path: Path,
    *,
    samples: int,
    batch: int,
    generator: torch.Generator,
    course: Course,
) -> None:
    """Train `network` on so many samples, less the epochs that `path` holds already.

    `path` is rewritten at the end of each epoch, whole or not at all.
    """
    steps = samples // batch
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
        order = torch.randperm(samples, generator=generator)[: steps * batch]
        what = f"{path.stem}, epoch {epoch + 1} of {course.epochs}"
        for some in Progress(what, order.split(batch)):
            wrong = loss(network, some, generator)
            optimizer.zero_grad()
            wrong.backward()
            optimizer.step()
            schedule.step()
        state = {key: part.state_dict() for key, part in parts.items()}
        state |= {"generator": generator.get_state(), "dropout": torch.get_rng_state()}
        half = path.with_suffix(".half")
        torch.save(state | {"epochs": epoch + 1}, half)
        half.rename(path)


def log_odds(network: nn.Module, pictures: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Return the network's answers, (n, outputs), to (n, side, side, channels) pictures."""
    network.eval()
    with torch.no_grad():
        parts = torch.from_numpy(pictures).permute(0, 3, 1, 2).split(_AT_ONCE)
        answers = torch.cat([network(part.float()) for part in parts])
    return np.asarray(answers.numpy(), np.float64)
