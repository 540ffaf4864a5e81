from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from shutil import copy

import numpy as np
import pytest

from senyum_lab.batch_work import exit_with_parent
from senyum_lab.training.cover import crops

pytestmark = pytest.mark.slow

FACES = Path(__file__).parents[1] / "faces"


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
