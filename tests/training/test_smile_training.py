"""Needs torch, which is in `.venv-train` (set up by scripts/train_smile)."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from edge.inference.smile import FEATURES  # noqa: E402
from senyum_lab.training.loop import Course, run_course, train  # noqa: E402
from senyum_lab.training.network import TrainableNetwork  # noqa: E402 - only where torch is
from senyum_lab.training.smile.crops import SmileCrops  # noqa: E402
from senyum_lab.training.smile.folds import both_ways, onsets  # noqa: E402
from senyum_lab.training.smile.training import ReadoutSet, SmileSet  # noqa: E402


class TwoEpochs(SmileSet):
    float_course = Course(epochs=2, rate=1e-3, decay=0.0)


class Interrupted(Exception):
    pass


class InterruptedSet(TwoEpochs):
    """Fails in the second epoch."""

    batches = 0

    def loss(self, *arguments: Any) -> Any:
        self.batches += 1
        if self.batches > 3:
            raise Interrupted
        return super().loss(*arguments)


class EightEpochs(SmileSet):
    float_course = Course(epochs=8, rate=4e-3, decay=0.0)


def faces(kind: type[SmileSet]) -> Any:
    generator = torch.Generator().manual_seed(1)
    count = 2 * SmileSet.batch
    wide = torch.randint(0, 256, (count, 1, 96, 96), generator=generator, dtype=torch.uint8)
    target = (torch.rand(count, generator=generator) < 0.5).float()
    onset = torch.randint(0, 256, (3, 2, 96, 96), generator=generator, dtype=torch.uint8)
    return kind(wide, target, torch.ones(count), onset)


def run(samples: SmileSet, path: Path) -> TrainableNetwork:
    torch.manual_seed(3)
    network = TrainableNetwork(SmileSet.design)
    generator = torch.Generator().manual_seed(3)
    run_course(network, samples, path, generator, samples.float_course)
    return network


def test_interrupted_training_continues_with_the_same_result(tmp_path: Path) -> None:
    whole = run(faces(TwoEpochs), tmp_path / "whole.pt")
    with pytest.raises(Interrupted):
        run(faces(InterruptedSet), tmp_path / "cut.pt")
    resumed = run(faces(TwoEpochs), tmp_path / "cut.pt")
    for one, other in zip(whole.parameters(), resumed.parameters(), strict=True):
        assert torch.equal(one, other)


def test_a_later_point_of_an_onset_scores_higher(
    tmp_path: Path,
) -> None:
    samples = faces(EightEpochs)
    samples.onset[:, 0, 60:, :] = 20  # a neutral photo has a dark mouth here
    samples.onset[:, 1, 60:, :] = 230
    network = run(samples, tmp_path / "a.pt").eval()
    ends = samples.onset[:, :, 16:80, 16:80].float()
    way = torch.stack([torch.lerp(ends[:, 0], ends[:, 1], far) for far in (0.0, 0.5, 1.0)], 1)
    with torch.no_grad():
        scores = network(way.reshape(-1, 1, 64, 64)).reshape(-1, 3)
    assert (scores.diff(dim=1) > 0).all()


def test_readout_learns_and_keeps_it_in_int8(tmp_path: Path) -> None:
    generator = torch.Generator().manual_seed(2)
    smiling = torch.rand(1024, generator=generator) < 0.5
    seen = torch.randint(78, 119, (1024, 2, FEATURES), generator=generator)
    seen[..., :400] += 60 * smiling[:, None, None]
    samples = ReadoutSet(seen.to(torch.uint8), smiling.float(), torch.ones(1024))
    for network in train(samples, tmp_path, "test", 5):
        with torch.no_grad():
            answers = network(seen[:, 0, :, None, None].float())[:, 0] > 0
        assert (answers == smiling).float().mean() > 0.95


def test_fold_leaves_out_the_onsets_of_half_of_the_people() -> None:
    people = [f"{number:03}" for number in range(12)]
    wide = np.arange(24, dtype=np.uint8)[:, None, None] * np.ones((1, 96, 96), np.uint8)
    london = SmileCrops(
        crops=wide[:, :64, :64],
        wide=wide,
        features=np.zeros((24, 2, FEATURES), np.uint8),
        smiling=np.arange(24) % 2 == 1,
        person=np.repeat(people, 2),
        listed=24,
    )
    everyone, *folds = ({tuple(one[:, 0, 0]) for one in onsets(london, k)} for k in (None, 0, 1))
    assert everyone == {(2 * i, 2 * i + 1) for i in range(12)}  # neutral first
    assert folds[0] | folds[1] == everyone
    assert not folds[0] & folds[1]
    assert all(folds)


def test_face_and_mirror_image_get_the_same_answer() -> None:
    torch.manual_seed(3)
    network = TrainableNetwork(SmileSet.design)
    crops = np.random.default_rng(1).integers(0, 256, (5, 64, 64), np.uint8)
    np.testing.assert_allclose(
        both_ways(network, crops), both_ways(network, crops[:, :, ::-1].copy()), atol=1e-5
    )
