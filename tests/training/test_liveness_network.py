"""Runs where torch is: `.venv-train`, which scripts/train_liveness sets up."""

from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from edge.inference.liveness import SIDE  # noqa: E402
from senyum_lab.training.liveness.training import BATCH, Lesson, train, vary  # noqa: E402 - where torch is


def lesson() -> Lesson:
    """Attacks have a pattern that the living lack."""
    rng = np.random.default_rng(3)
    count = 2 * BATCH
    alive = np.arange(count) % 2
    views = rng.integers(90, 160, (count, SIDE, SIDE, 6), np.uint8)
    views[alive == 0, :, ::3, 3] += 60
    return Lesson(torch.from_numpy(views), torch.from_numpy(alive).float(), torch.ones(count))


def test_the_same_lesson_gives_the_same_network_and_each_tower_is_another(tmp_path: Path) -> None:
    torch.set_num_threads(1)
    taught, trained = lesson(), {}
    for run, tower in (("once", 0), ("again", 0), ("other", 1)):
        (tmp_path / run).mkdir()
        _, quantized = train(taught, tmp_path / run, tower)
        trained[run] = torch.cat([weight.detach().flatten() for weight in quantized.weights])
    assert torch.equal(trained["once"], trained["again"])
    assert not torch.equal(trained["once"], trained["other"])


def test_variations_follow_the_seed_and_turn_the_views_apart() -> None:
    views = lesson().views[:16]
    once, again = (vary(views, torch.Generator().manual_seed(3)) for _ in range(2))
    assert once.shape == (16, 6, SIDE, SIDE)
    assert torch.equal(once, again)
    assert float(once.min()) >= 0
    assert float(once.max()) <= 255
    plain = torch.full((1, SIDE, SIDE, 6), 128, dtype=torch.uint8)
    plain[0, 10, 20] = 255
    places: list[set[tuple[int, int]]] = [set(), set()]
    for seed in range(60):
        varied = vary(plain, torch.Generator().manual_seed(seed))[0].numpy()
        for view, found in zip((varied[0], varied[3]), places, strict=True):
            if view.min() < view.max():  # else the view is left out
                found.add(divmod(int(view.argmax()), SIDE))
    assert places[0] == {(10, 20), (10, 75)}
    assert len(places[1]) == 8
