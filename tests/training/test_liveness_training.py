from pathlib import Path
from shutil import copy

import numpy as np
import pytest
from PIL import Image

from edge.inference.face_analyzer import FaceAnalyzer
from edge.settings import InferenceSettings
from edge.types import Floats
from senyum_lab.training.cache import digest
from senyum_lab.training.liveness import (
    backdrops,
    camera,
    portraits,
    recapture,
    sample_cache,
    samples,
    scenes,
)

pytestmark = pytest.mark.slow

FACES = Path(__file__).parents[1] / "faces"


@pytest.fixture(scope="module")
def examiner() -> FaceAnalyzer:
    return FaceAnalyzer(InferenceSettings())


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


def test_blur_is_as_wide_as_it_says() -> None:
    point = np.zeros((41, 41, 1), np.float32)
    point[20, 20] = 1
    for radius in (0.8, 1.5, 4.0):
        blurred = camera.soft(point, radius)[..., 0]
        spread = np.sqrt((blurred.sum(0) * (np.arange(41) - 20) ** 2).sum())
        assert blurred.sum() == pytest.approx(1, abs=1e-3)
        assert spread == pytest.approx(radius, rel=0.35)


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
    seen = sample_cache.load(datasets, tmp_path / "cache", 1, len(listed))
    assert set(seen.share.tolist()) <= {1, 2, 3, 4}
    assert (seen.kind == samples.LIVE).sum() >= len(listed) - 1
    assert (seen.kind != samples.LIVE).any()
    assert not seen.untouched[seen.kind != samples.LIVE].any()
    kept = {part: part.stat().st_mtime_ns for part in (tmp_path / "cache").iterdir()}
    assert len(kept) == 2  # of the photos, and of the portraits made of them
    again = sample_cache.load(datasets, tmp_path / "cache", 1, len(listed))
    np.testing.assert_array_equal(again.views, seen.views)
    assert {part: part.stat().st_mtime_ns for part in (tmp_path / "cache").iterdir()} == kept


def test_samples_made_again_by_another_process_are_the_same_to_the_last_bit(
    tmp_path: Path, examiner: FaceAnalyzer
) -> None:
    datasets = small_datasets(tmp_path)
    seen = sample_cache.load(datasets, tmp_path / "cache", 1, 2)
    listed = samples.photos(datasets)
    here = [make(examiner, listed, range(2)) for make in (samples.made, portraits.made)]
    for field in samples.LivenessSamples.__slots__:
        both = np.concatenate([getattr(part, field) for part in here])
        np.testing.assert_array_equal(both, getattr(seen, field))
    more = sample_cache.load(datasets, tmp_path / "cache", 1, 3)
    assert len(more.views) > len(seen.views)
    photos = len(here[0].views)
    np.testing.assert_array_equal(more.views[:photos], seen.views[:photos])


def test_a_second_look_at_those_who_teach_is_elsewhere_and_those_of_the_line_have_none(
    tmp_path: Path, examiner: FaceAnalyzer
) -> None:
    listed = samples.photos(small_datasets(tmp_path))
    for share in (samples.LINE, samples.LINE + 1):
        seen = samples.made(examiner, [photo._replace(share=share) for photo in listed], [1])
        living = seen.views[seen.untouched | (seen.kind == samples.LIVE)]
        assert len(living) == (1 if share == samples.LINE else 2)
    assert (living[0] != living[1]).mean() > 0.3


def test_a_portrait_is_the_person_before_another_background(examiner: FaceAnalyzer) -> None:
    with Image.open(FACES / "obama.jpg") as image:
        original = image.convert("RGB").resize((256, 320))
    looks = []
    for seed in range(6):
        rng = np.random.default_rng(seed)
        made = portraits.composed(examiner, original.copy(), photo(90), rng)
        assert made is not None
        again = portraits.composed(
            examiner, original.copy(), photo(90), np.random.default_rng(seed)
        )
        assert again == made
        looks.append(np.asarray(made.resize((64, 64)), np.float64))
    corners = [look[:12, :12].mean((0, 1)) for look in looks]
    assert np.std(corners, axis=0).mean() > 15  # levels
    nobody = Image.new("RGB", (256, 320), (90, 120, 60))
    assert portraits.composed(examiner, nobody, photo(90), np.random.default_rng(1)) is None


def test_portraits_are_of_both_classes_and_of_the_people_of_their_photos(
    tmp_path: Path, examiner: FaceAnalyzer
) -> None:
    listed = samples.photos(small_datasets(tmp_path))
    seen = portraits.made(examiner, listed * 6, range(len(listed) * 6))
    assert (seen.kind == samples.LIVE).sum() > 4
    assert (seen.kind != samples.LIVE).sum() > 4
    assert set(seen.share.tolist()) <= {photo.share for photo in listed}
    assert 0 < seen.untouched.sum() < (seen.kind == samples.LIVE).sum()
    assert not seen.untouched[seen.kind != samples.LIVE].any()
    none = portraits.made(examiner, listed, range(0))
    assert none.views.shape == (0, *seen.views.shape[1:])


@pytest.mark.parametrize("seed", range(12))
def test_a_backdrop_is_a_picture(seed: int) -> None:
    made = backdrops.backdrop(120, 90, photo(90), np.random.default_rng(seed))
    assert made.shape == (120, 90, 3)
    assert 0 <= made.min() < made.max() <= 1
    again = backdrops.backdrop(120, 90, photo(90), np.random.default_rng(seed))
    np.testing.assert_array_equal(made, again)


def test_the_caches_name_changes_with_code_and_models(tmp_path: Path) -> None:
    code = tmp_path / "paint.py"
    code.write_text("RED = 1\n")
    name = digest(("detector",), [code])
    assert digest(("detector",), [code]) == name
    assert digest(("landmarks",), [code]) != name
    assert digest(("detector",), [code], "bent") != name
    code.write_text("RED = 2\n")
    assert digest(("detector",), [code]) != name
