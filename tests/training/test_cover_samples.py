from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from shutil import copy

import numpy as np
import pytest

from senyum_lab.batch_work import exit_with_parent
from senyum_lab.training.cover import crops

FACES = Path(__file__).parents[1] / "faces"


@pytest.mark.slow
def test_faces_painted_again_by_another_process_are_the_same_to_the_last_bit(
    tmp_path: Path,
) -> None:
    rows = ["file,identity"]
    for name in ("obama", "obama2"):
        (tmp_path / "lfw").mkdir(exist_ok=True)
        copy(FACES / f"{name}.jpg", tmp_path / "lfw" / f"{name}.jpg")
        rows.append(f"{name}.jpg,{name}")
    (tmp_path / "lfw-smile.csv").write_text("\n".join(rows) + "\n")
    here = crops.load("lfw", tmp_path, tmp_path / "here")
    with ProcessPoolExecutor(1, get_context("spawn"), exit_with_parent) as pool:
        there = pool.submit(crops.load, "lfw", tmp_path, tmp_path / "there").result()
    assert len(here.crops) > 4
    assert here.covered.any()
    for field in crops.OcclusionCrops.__slots__:
        np.testing.assert_array_equal(getattr(here, field), getattr(there, field))


def test_real_masks_are_not_painted_but_framed_three_times(tmp_path: Path) -> None:
    (tmp_path / "masks").mkdir()
    copy(FACES / "obama.jpg", tmp_path / "masks")
    (tmp_path / "masks.csv").write_text("file\nobama.jpg\n")
    found = crops.load("masks", tmp_path, tmp_path / "cache")
    assert found.kind.tolist() == [crops.WORN] * 3
    assert found.reframed.tolist() == [False, True, True]
    assert found.covered.all()
    assert set(found.person.tolist()) == {"obama.jpg"}


def test_repeated_photos_are_those_that_look_the_same_in_another_light() -> None:
    wide = np.random.default_rng(1).integers(0, 256, (5, 80, 80)).astype(np.uint8)
    wide[3] = wide[1] // 2 + 40
    assert crops.repeated(wide).tolist() == [0, 1, 2, 1, 4]


def test_repetition_passes_from_photo_to_photo() -> None:
    """Of 1, 2 and 3, the first and the last differ, and both resemble the one between."""
    noise = np.random.default_rng(3).normal(0, 1, (2, 16, 16))
    one, other = (128 + 30 * noise[0], 128 + 30 * (noise[0] + 0.62 * noise[1]))
    between = (one + other) / 2
    wide = np.kron(np.array([one, other, between]).clip(0, 255), np.ones((5, 5))).astype(np.uint8)
    assert crops.repeated(wide[:2]).tolist() == [0, 1]
    assert crops.repeated(wide).tolist() == [0, 0, 0]
