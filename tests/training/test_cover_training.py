"""Needs torch, which is in `.venv-train` (set up by scripts/train_cover)."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from edge.errors import ModelError  # noqa: E402
from senyum_lab.training.cover import __main__ as training  # noqa: E402
from senyum_lab.training.cover.augment import vary  # noqa: E402
from senyum_lab.training.cover.crops import BARE, WORN, OcclusionCrops  # noqa: E402

COUNT = 4000


def faces() -> OcclusionCrops:
    """Every fourth face wears a mask; all parts have the same number of people."""
    kind = np.array(["mask" if n % 4 == 0 else BARE for n in range(COUNT)])
    person = np.array([str(n // 2) for n in range(COUNT)])
    crops, wide = np.zeros((COUNT, 64, 64), np.uint8), np.zeros((COUNT, 80, 80), np.uint8)
    reframed = np.zeros(COUNT, bool)
    group, lost = np.full(COUNT, ""), np.array([], str)
    return OcclusionCrops(crops, wide, kind, group, person, reframed, lost)


def test_threshold_is_set_on_uncovered_faces_of_its_own_people() -> None:
    sets = {"lfw": faces(), "utkface": faces()}
    part = training._part(sets["lfw"])
    assert np.array_equal(part[::2], part[1::2])  # a person is in one part
    answers = {}
    for name, some in sets.items():
        mine = (part >= training._TEST[name]) & (part < training._TEST[name] + training._LINE)
        said = np.linspace(-4, -2, COUNT)
        said[some.covered | ~mine] = 5  # must be ignored
        answers[name] = said
    threshold = training._threshold(sets, answers)
    assert -2.1 < threshold < -2
    # 0.3 % of the bare faces are above it.
    above = [(answers[name] > threshold) & (answers[name] < 0) for name in sets]
    bare = sum(int((answers[name] < 0).sum()) for name in sets)
    assert sum(int(some.sum()) for some in above) / bare == pytest.approx(0.003, abs=0.002)


def test_a_network_that_loses_by_quantization_is_refused() -> None:
    training._check_loss({"float": 0.97, "int8": 0.96})
    with pytest.raises(ModelError, match=r"refused: int8 detects 90.0% of the covers"):
        training._check_loss({"float": 0.97, "int8": 0.90})


def test_variations_keep_shape_and_range_and_follow_the_seed() -> None:
    wide = torch.full((16, 1, 80, 80), 128.0)
    once, again = (vary(wide, torch.Generator().manual_seed(3)) for _ in range(2))
    assert once.shape == (16, 1, 64, 64)
    assert torch.equal(once, again)
    assert float(once.min()) >= 0
    assert float(once.max()) <= 255
    assert float(once.std()) > 1


def worn() -> OcclusionCrops:
    """Thirty photos of masks, each framed twice; the last one shows the first."""
    pictures = np.random.default_rng(2).integers(0, 256, (30, 80, 80)).astype(np.uint8)
    pictures[-1] = pictures[0] // 2 + 60
    wide = np.repeat(pictures, 2, 0)
    person = np.repeat([f"{n}.jpg" for n in range(30)], 2)
    reframed = np.arange(60) % 2 == 1
    texts = np.full(60, WORN), np.full(60, ""), person
    return OcclusionCrops(wide[:, :64, :64], wide, *texts, reframed, np.array([], str))


def test_all_pictures_of_a_photo_and_of_its_repetition_are_in_one_fold() -> None:
    fold = training._folds(worn())
    assert np.array_equal(fold[::2], fold[1::2])
    assert fold[0] == fold[-1]
    assert set(fold.tolist()) == {0, 1, 2}


def test_training_repeats_real_masks_and_leaves_out_the_fold() -> None:
    sets = {"lfw": faces(), "utkface": faces(), "masks": worn(), "hijab": worn()}
    part = training._part(sets["lfw"])
    painted = sum(
        int((part >= training._TEST[n] + training._LINE).sum()) for n in ("lfw", "utkface")
    )
    seen = training._folds(sets["masks"]) != 0
    samples = training._training_faces(sets, {"masks": seen, "hijab": np.zeros(60, bool)})
    repeats = training._REPEATS["masks"]
    assert len(samples) == painted + repeats * int(seen.sum())
    assert bool((samples.target[-repeats * int(seen.sum()) :] == 1).all())
