"""Needs torch, which is in `.venv-train` (set up by scripts/train_cover)."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from edge.errors import ModelError  # noqa: E402
from senyum_lab.training.cover import __main__ as training  # noqa: E402
from senyum_lab.training.cover.augment import vary  # noqa: E402
from senyum_lab.training.cover.crops import BARE, OcclusionCrops  # noqa: E402

COUNT = 4000


def faces() -> OcclusionCrops:
    """Every fourth face wears a mask; all parts have the same number of people."""
    kind = np.array(["mask" if n % 4 == 0 else BARE for n in range(COUNT)])
    person = np.array([str(n // 2) for n in range(COUNT)])
    crops, wide = np.zeros((COUNT, 64, 64), np.uint8), np.zeros((COUNT, 80, 80), np.uint8)
    return OcclusionCrops(crops, wide, kind, np.full(COUNT, ""), person, np.array([], str))


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
