import math
from collections.abc import Callable
from io import BytesIO
from random import Random

import numpy as np
import pytest
from PIL import Image
from scenes import displayed, printed, streamed

from edge.images import from_image
from edge.inference.face_analyzer import FaceAnalyzer
from edge.inference.landmarks import Mesh
from edge.inference.liveness import MEASURES, SIDE, context_crops, surroundings_crop
from edge.inference.models import Models, shipped

Portrait = Callable[[str], Image.Image]
NAMES = ("astronaut", "biden", "obama", "obama2", "obama3")

NO_FEATURES = np.zeros((6, 6, 128), np.float32)


def test_the_close_view_holds_half_of_a_large_face_and_is_unscaled_of_a_small_one() -> None:
    slope = np.broadcast_to(np.arange(1280) // 5, (960, 1280)).astype(np.uint8)
    picture = from_image(Image.fromarray(slope).convert("RGB"))
    for face, step in ((150, 1), (480, 480 / 2 / SIDE)):  # pixels for one of the view
        points = np.full((468, 3), 480, np.float32)
        points[:, 0] = np.linspace(640 - face / 2, 640 + face / 2, 468)
        close = context_crops(picture, Mesh(points, 1.0, NO_FEATURES))[..., 3].astype(int)
        assert np.diff(close, axis=1).mean() == pytest.approx(step / 5, abs=0.02)


@pytest.mark.parametrize("size", [(64, 48), (130, 100), (1280, 960)])
def test_views_are_of_any_face_in_any_picture(size: tuple[int, int]) -> None:
    picture = from_image(Image.effect_noise(size, 50).convert("RGB"))
    for middle in ((0.0, 0.0), (size[0] / 2, size[1] / 2), (2.0 * size[0], -50.0)):
        for width in (0.0, 30.0, 900.0):
            points = np.zeros((468, 3), np.float32)
            points[:, :2] = middle + np.random.default_rng(8).uniform(-width, width, (468, 2))
            view = context_crops(picture, Mesh(points, 1.0, NO_FEATURES))
            assert view.shape == (SIDE, SIDE, 6)
            assert view.dtype == np.uint8


def test_the_crop_for_training_has_what_the_device_sees_in_its_middle() -> None:
    picture = from_image(Image.effect_noise((640, 480), 50).convert("RGB"))
    points = np.zeros((468, 3), np.float32)
    points[:, :2] = np.random.default_rng(8).uniform((270, 190), (370, 290), (468, 2))
    mesh = Mesh(points, 1.0, NO_FEATURES)
    wide = surroundings_crop(picture, mesh, SIDE + 32)[16:-16, 16:-16]
    view = context_crops(picture, mesh)[..., :3]
    assert np.abs(wide.astype(int) - view).mean() < 1


@pytest.mark.parametrize("name", ["liveness", "recapture"])
def test_network_is_int8_throughout_and_small(name: str) -> None:
    network = Models().open(name)
    details = {d["name"]: np.dtype(d["dtype"]) for d in network._interpreter.get_tensor_details()}
    assert {name for name, kind in details.items() if kind == np.float32} == {"log_odds"}
    assert (shipped() / network.spec.file).stat().st_size <= 400_000


def logit(share: float) -> float:
    return math.log(share / (1 - share))


@pytest.mark.parametrize("name", NAMES)
def test_a_portrait_is_alive(examiner: FaceAnalyzer, portrait: Portrait, name: str) -> None:
    (face,) = examiner.analyze(from_image(portrait(name)))
    assert face.liveness is not None
    assert face.liveness.score >= 0.5
    assert set(face.liveness.cues) == set(MEASURES)
    total = sum(logit(vote) for vote in face.liveness.cues.values())
    assert logit(face.liveness.score) == pytest.approx(total, abs=0.01)


# Known to fail: one frame of this one scores 0.39. A session needs the mean of several.
NOISE_OF_BIDEN = "taken for an attack in strong noise and in few colours (models/README.md)"


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(("times", "noise", "quality"), [(2, 0, 95), (2, 8, 60), (1, 4, 40)])
def test_a_portrait_is_alive_close_to_a_worse_camera(
    request: pytest.FixtureRequest,
    examiner: FaceAnalyzer,
    portrait: Portrait,
    name: str,
    times: int,
    noise: float,
    quality: int,
) -> None:
    if (name, noise) == ("biden", 8):
        request.applymarker(pytest.mark.xfail(reason=NOISE_OF_BIDEN, strict=True))
    photo = portrait(name)
    large = photo.resize((photo.width * times, photo.height * times), Image.Resampling.BICUBIC)
    (face,) = examiner.analyze(from_image(worse(large, noise, quality)))
    assert face.liveness is not None
    assert face.liveness.score >= 0.5


@pytest.mark.parametrize("name", NAMES)
def test_a_portrait_in_few_colours_is_alive(
    request: pytest.FixtureRequest, examiner: FaceAnalyzer, portrait: Portrait, name: str
) -> None:
    if name == "biden":
        request.applymarker(pytest.mark.xfail(reason=NOISE_OF_BIDEN, strict=True))
    (face,) = examiner.analyze(from_image(portrait(name).quantize(256).convert("RGB")))
    assert face.liveness is not None
    assert face.liveness.score >= 0.5


def worse(photo: Image.Image, noise: float, quality: int) -> Image.Image:
    """The photo through a sensor's noise, of so many levels, and a codec."""
    rng = np.random.default_rng(1)
    levels = np.asarray(photo, np.float64) + rng.normal(0, noise, (photo.height, photo.width, 1))
    levels += rng.normal(0, noise / 2, levels.shape)
    packed = BytesIO()
    Image.fromarray(levels.clip(0, 255).astype(np.uint8)).save(packed, "JPEG", quality=quality)
    with Image.open(packed) as read:
        return read.convert("RGB")


@pytest.mark.parametrize("kind", ["print", "screen", "video"])
def test_attacks_made_of_the_portraits_are_mostly_refused(
    examiner: FaceAnalyzer, portrait: Portrait, kind: str
) -> None:
    make = {"print": printed, "screen": displayed, "video": streamed}[kind]
    judged, passed = [], 0
    for name in NAMES:
        photo = portrait(name)
        photo = photo.crop((0, 0, photo.width, photo.width)).resize((360, 360))
        for seed in range(2):
            for face in examiner.analyze(from_image(make(photo, Random(f"{name} {seed}")))):
                assert face.liveness is not None
                judged.append(face.liveness.score)
                passed += face.liveness.score >= 0.5
    assert judged  # in some the detector finds no face
    assert passed <= 2  # of ten
