from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageOps

from edge.images import from_image
from edge.inference.face_analyzer import AnalyzedFace, FaceAnalyzer
from edge.inference.models import Models, shipped
from edge.inference.smile import FEATURES, MEASURES, Smoother, as_bytes


@pytest.mark.parametrize("name", ["obama", "astronaut"])
def test_smile_scores_above_the_threshold(faces: dict[str, AnalyzedFace], name: str) -> None:
    assert faces[name].smile > 90


@pytest.mark.parametrize("name", ["obama2", "obama3", "biden"])
def test_no_smile_scores_below_the_threshold(faces: dict[str, AnalyzedFace], name: str) -> None:
    assert 0 <= faces[name].smile < 50


@pytest.mark.parametrize("name", ["smile", "readout"])
def test_network_is_int8_throughout(name: str) -> None:
    network = Models().open(name)
    details = {d["name"]: np.dtype(d["dtype"]) for d in network._interpreter.get_tensor_details()}
    assert {name for name, kind in details.items() if kind == np.float32} == {"log_odds"}
    assert {d for n, d in details.items() if n.startswith("weights")} == {np.dtype(np.int8)}


def test_both_networks_together_are_small() -> None:
    models = Models()
    files = (shipped() / models.spec(name).file for name in ("smile", "readout"))
    assert sum(file.stat().st_size for file in files) <= 300_000


def test_features_are_rounded_and_cut_off() -> None:
    features = np.zeros((6, 6, 128), np.float32)
    features[0, 0, :5] = (0.021, -0.021, 5.08, 9.0, -9.0)
    seen = as_bytes(features)
    assert seen.shape == (FEATURES,)
    assert seen.dtype == np.uint8
    assert seen[:6].tolist() == [129, 127, 255, 255, 0, 128]


def test_line_is_that_of_the_manifest(examiner: FaceAnalyzer) -> None:
    weights, intercept = examiner.smile.line
    constants = Models().spec("smile").calibration
    assert dict(zip(MEASURES, weights, strict=True)) | {"intercept": intercept} == constants
    assert all(weight > 0 for weight in weights)  # each measure argues for a smile


@pytest.mark.parametrize("name", ["obama", "obama3"])
def test_score_of_a_still_face_is_steady(
    examiner: FaceAnalyzer, portrait: Callable[[str], Image.Image], name: str
) -> None:
    pixels = np.asarray(portrait(name)).astype(np.float64)
    rng = np.random.default_rng(7)
    scores = []
    for _ in range(8):  # a sensor's noise
        noisy = (pixels + rng.normal(0, 4, pixels.shape)).clip(0, 255).astype(np.uint8)
        (face,) = examiner.analyze(from_image(Image.fromarray(noisy)))
        scores.append(face.smile)
    assert max(scores) - min(scores) < 10


@pytest.mark.parametrize("name", ["obama", "obama2", "biden"])
def test_mirror_image_smiles_as_much(
    examiner: FaceAnalyzer,
    faces: dict[str, AnalyzedFace],
    portrait: Callable[[str], Image.Image],
    name: str,
) -> None:
    (face,) = examiner.analyze(from_image(ImageOps.mirror(portrait(name))))
    assert abs(face.smile - faces[name].smile) < 10


def test_one_odd_frame_does_not_count() -> None:
    smoother = Smoother(3)
    for score in (5, 6, 5):
        smoother.add(1, score)
    assert smoother.add(1, 99) < 10
    assert smoother.add(1, 6) < 10


def test_smile_that_begins_shows_one_frame_late() -> None:
    smoother = Smoother(3)
    for _ in range(5):
        smoother.add(1, 5)
    assert smoother.add(1, 90) == 5
    assert smoother.add(1, 91) == 90


def test_tracks_are_apart_and_forgotten() -> None:
    smoother = Smoother(3)
    for _ in range(3):
        smoother.add(1, 90)
    assert smoother.add(2, 10) == 10
    smoother.keep({2})
    assert smoother.add(1, 20) == 20


@given(st.lists(st.floats(0, 100), min_size=1, max_size=20), st.integers(1, 5))
def test_smoothed_score_is_one_of_the_last(scores: list[float], frames: int) -> None:
    smoother = Smoother(frames)
    for number, score in enumerate(scores, start=1):
        assert smoother.add(1, score) in scores[max(0, number - frames) : number]
