"""Needs torch, which is in `.venv-train` (set up by scripts/train_recapture)."""

import numpy as np
import pytest
from numpy.typing import NDArray

torch = pytest.importorskip("torch")

from edge.inference.liveness import SIDE  # noqa: E402
from senyum_lab.training.recapture.faces import WIDE  # noqa: E402
from senyum_lab.training.recapture.training import (  # noqa: E402
    FaceGroup,
    RecaptureSet,
    seen,
    vary,
)


def faces(count: int, level: int) -> NDArray[np.uint8]:
    return np.full((count, WIDE, WIDE, 3), level, np.uint8)


def test_each_group_has_its_share_of_a_batch_however_many_faces_it_has() -> None:
    groups = [
        FaceGroup(faces(1000, 200), True, 3.0),
        FaceGroup(faces(2, 200), True, 1.0),
        FaceGroup(faces(5, 20), False, 1.0),
    ]
    drawn = RecaptureSet(groups).range_pixels(torch.Generator().manual_seed(1))
    bright = drawn[:, 0].mean(dim=(1, 2)) > 90
    assert abs(float(bright.float().mean()) - 0.5) < 0.02
    assert drawn.shape[1:] == (3, SIDE, SIDE)


def test_variations_follow_the_seed_and_keep_the_middle() -> None:
    face = faces(1, 60)[0]
    face[60:100, 60:100, 0] = 180
    once, again, other = (vary(face, np.random.default_rng(seed)) for seed in (3, 3, 4))
    assert once.shape == (SIDE, SIDE, 3)
    assert once.dtype == np.uint8
    np.testing.assert_array_equal(once, again)
    assert (once != other).any()
    for seed in range(40):
        luma = vary(face, np.random.default_rng(seed))[..., 0].astype(int)
        assert luma[40:56, 40:56].mean() > luma[:8].mean() + 20


def test_what_the_device_sees_is_the_middle() -> None:
    wide = np.zeros((1, WIDE, WIDE, 3), np.uint8)
    margin = (WIDE - SIDE) // 2
    wide[:, margin:-margin, margin:-margin] = 9
    assert (seen(wide) == 9).all()
