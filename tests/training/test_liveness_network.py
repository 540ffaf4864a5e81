"""Needs torch, which is in `.venv-train` (set up by scripts/train_liveness)."""

from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from edge.inference.liveness import SIDE  # noqa: E402
from senyum_lab.training.liveness.training import LivenessSet, vary  # noqa: E402
from senyum_lab.training.loop import train  # noqa: E402


def samples() -> LivenessSet:
    """Attacks have a pattern that live faces do not have."""
    rng = np.random.default_rng(3)
    count = 2 * LivenessSet.batch
    alive = np.arange(count) % 2
    views = rng.integers(90, 160, (count, SIDE, SIDE, 6), np.uint8)
    views[alive == 0, :, ::3, 3] += 60
    return LivenessSet(torch.from_numpy(views), torch.from_numpy(alive).float(), torch.ones(count))


def test_training_is_reproducible_and_depends_on_the_seed(tmp_path: Path) -> None:
    torch.set_num_threads(1)
    faces, trained = samples(), {}
    for run, tower in (("once", 0), ("again", 0), ("other", 1)):
        (tmp_path / run).mkdir()
        quantized = train(faces, tmp_path / run, "tower", 40 + tower).rounded
        trained[run] = torch.cat([weight.detach().flatten() for weight in quantized.weights])
    assert torch.equal(trained["once"], trained["again"])
    assert not torch.equal(trained["once"], trained["other"])


def test_variations_follow_the_seed_and_turn_the_views_apart() -> None:
    views = samples().views[:16]
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
