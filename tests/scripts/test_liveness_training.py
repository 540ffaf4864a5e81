from pathlib import Path
from shutil import copy

import numpy as np
import pytest
from liveness_training import camera, recapture, samples, scenes
from liveness_training.line import REFUSED, line_of
from PIL import Image

from edge.inference.liveness import cues
from edge.types import Floats

FACES = Path(__file__).parents[1] / "faces"


def photo(side: int = 160) -> Floats:
    with Image.open(FACES / "obama.jpg") as image:
        return camera.array_of(image.convert("RGB").resize((side, side)))


def attack(kind: str, seed: int) -> Floats:
    rng = np.random.default_rng(seed)
    scene = scenes.held(recapture.shown(photo(), kind, rng), kind, photo(90), rng)
    return camera.photographed(scene, rng)


@pytest.mark.parametrize("kind", recapture.KINDS)
def test_an_attack_is_a_picture_and_the_same_for_the_same_seed(kind: str) -> None:
    for seed in range(8):
        made = attack(kind, seed)
        assert made.ndim == 3
        assert min(made.shape[:2]) > 90
        assert made.min() >= 0
        assert made.max() <= 1
        np.testing.assert_array_equal(made, attack(kind, seed))
    assert made.shape != attack(kind, 1).shape or np.abs(made - attack(kind, 1)).mean() > 0.01


def test_prints_and_screens_have_patterns_that_the_photo_has_not() -> None:
    def pattern(picture: Floats) -> float:
        grey = np.asarray(camera.image_of(picture).convert("L"))[30:126, 30:126]
        return cues(np.repeat(grey[..., None], 6, 2))[0]

    rng = np.random.default_rng(5)
    for kind in ("print", "screen"):
        found = [pattern(recapture.shown(photo(), kind, rng)) for _ in range(20)]
        assert np.mean(found) > pattern(photo()) + 0.3


def test_blur_is_as_wide_as_it_says() -> None:
    point = np.zeros((41, 41, 1), np.float32)
    point[20, 20] = 1
    for radius in (0.8, 1.5, 4.0):
        blurred = camera.soft(point, radius)[..., 0]
        spread = np.sqrt((blurred.sum(0) * (np.arange(41) - 20) ** 2).sum())
        assert blurred.sum() == pytest.approx(1, abs=1e-3)
        assert spread == pytest.approx(radius, rel=0.35)


def test_line_refuses_its_share_of_the_living_and_drops_a_cue_for_the_wrong_side() -> None:
    rng = np.random.default_rng(6)
    alive = rng.random(4000) < 0.5
    measures = rng.normal(0, 1, (4000, 4))
    measures[:, 0] += 4 * alive  # the network
    measures[:, 1] -= 2 * alive  # a cue of attacks
    measures[:, 2] += 1 * alive  # a cue that misleads
    typical = alive & (rng.random(4000) < 0.5)
    line = line_of(measures, alive, np.ones(4000), typical)
    logits = measures @ line[:-1] + line[-1]
    assert (logits[typical] < 0).mean() == pytest.approx(REFUSED, abs=0.002)
    assert (logits[~alive] >= 0).mean() < 0.05
    assert line[0] > 0 > line[1]
    assert line[2] == 0


def small_datasets(folder: Path) -> Path:
    people = ("Ada", "Ben", "Cem", "Dia", "Eli", "Fay", "Gus")
    for i, person in enumerate(people):
        (folder / "lfw" / person).mkdir(parents=True)
        name = ("obama", "obama2", "biden")[i % 3]
        copy(FACES / f"{name}.jpg", folder / "lfw" / person / f"{person}_0001.jpg")
    (folder / "utkface").mkdir()
    (folder / "london.csv").write_text("file,smile,person,age,gender,ethnicity\n")
    return folder


def test_people_for_evaluation_are_left_out_and_samples_are_kept(tmp_path: Path) -> None:
    datasets = small_datasets(tmp_path)
    listed = samples.photos(datasets)
    assert 0 < len(listed) < 7
    assert all(one.share for one in listed)
    seen = samples.load(datasets, tmp_path / "cache")
    assert set(seen.share.tolist()) <= {1, 2, 3, 4}
    assert (seen.kind == samples.LIVE).sum() >= len(listed) - 1
    assert (seen.kind != samples.LIVE).any()
    assert not seen.untouched[seen.kind != samples.LIVE].any()
    (part,) = (tmp_path / "cache").iterdir()
    written = part.stat().st_mtime_ns
    again = samples.load(datasets, tmp_path / "cache")
    np.testing.assert_array_equal(again.views, seen.views)
    assert part.stat().st_mtime_ns == written
