from collections.abc import Callable
from io import BytesIO
from random import Random

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from scenes import displayed, printed, streamed

from edge.images import from_image
from edge.inference.face_analyzer import FaceAnalyzer
from edge.inference.landmarks import Mesh
from edge.inference.liveness import MEASURES, SIDE, context_crops, texture_features
from edge.inference.models import Models, shipped

Portrait = Callable[[str], Image.Image]
NAMES = ("astronaut", "biden", "obama", "obama2", "obama3")

NO_FEATURES = np.zeros((6, 6, 128), np.float32)


def seen(luma: NDArray[np.float64]) -> NDArray[np.uint8]:
    """Both views of the same grey picture."""
    view = np.full((SIDE, SIDE, 6), 128, np.uint8)
    view[..., 0] = view[..., 3] = luma.clip(0, 255)
    return view


def smooth(rng: np.random.Generator) -> NDArray[np.float64]:
    """Something without edges or pattern, and a sensor's noise."""
    coarse = Image.fromarray(rng.integers(60, 190, (5, 5), np.uint8))
    soft = np.asarray(coarse.resize((SIDE, SIDE), Image.Resampling.BICUBIC), np.float64)
    return soft + rng.normal(0, 3, soft.shape)


@pytest.mark.parametrize(("period", "degrees"), [(3.1, 45), (4.7, 15), (2.6, 70)])
def test_a_fine_pattern_shows_in_the_spectrum(period: float, degrees: float) -> None:
    plain = smooth(np.random.default_rng(3))
    y, x = np.mgrid[0:SIDE, 0:SIDE]
    turn = np.radians(degrees)
    wave = np.cos(2 * np.pi / period * (x * np.cos(turn) + y * np.sin(turn)))
    assert texture_features(seen(plain + 6 * wave))[0] > texture_features(seen(plain))[0] + 0.5


def test_blocks_of_jpeg_are_no_pattern() -> None:
    plain = smooth(np.random.default_rng(4))
    blocks = np.random.default_rng(5).normal(0, 5, (SIDE // 8, SIDE // 8))
    assert (
        texture_features(seen(plain + np.kron(blocks, np.ones((8, 8)))))[0]
        < texture_features(seen(plain))[0] + 0.3
    )


def test_a_dark_edge_about_the_face_is_a_frame_and_the_pictures_end_is_none() -> None:
    plain = smooth(np.random.default_rng(6)) + 60
    inside = np.zeros((SIDE, SIDE), bool)
    inside[12:84, 14:82] = True
    phone = np.where(inside, plain, 20)
    ended = np.where(inside, plain, 0)
    assert texture_features(seen(phone))[2] > texture_features(seen(plain))[2] + 0.3
    assert texture_features(seen(ended))[2] < texture_features(seen(plain))[2] + 0.1


def test_highlights_that_were_cut_off_are_flat() -> None:
    plain = smooth(np.random.default_rng(7))
    shining = plain.copy()
    shining[44:50, 44:50] += 90
    assert texture_features(seen(np.minimum(plain, 150)))[1] > texture_features(seen(shining))[1]


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


def test_network_is_int8_throughout_and_small() -> None:
    network = Models().open("liveness")
    details = {d["name"]: np.dtype(d["dtype"]) for d in network._interpreter.get_tensor_details()}
    assert {name for name, kind in details.items() if kind == np.float32} == {"log_odds"}
    assert (shipped() / network.spec.file).stat().st_size <= 400_000


@pytest.mark.parametrize("name", NAMES)
def test_a_portrait_is_alive(examiner: FaceAnalyzer, portrait: Portrait, name: str) -> None:
    (face,) = examiner.analyze(from_image(portrait(name)))
    assert face.liveness is not None
    assert face.liveness.score >= 0.5
    assert all(0 <= vote <= 1 for vote in face.liveness.cues.values())
    assert set(face.liveness.cues) <= set(MEASURES)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(("times", "noise", "quality"), [(2, 0, 95), (2, 8, 60), (1, 4, 40)])
def test_a_portrait_is_alive_close_to_a_worse_camera(
    examiner: FaceAnalyzer, portrait: Portrait, name: str, times: int, noise: float, quality: int
) -> None:
    photo = portrait(name)
    large = photo.resize((photo.width * times, photo.height * times), Image.Resampling.BICUBIC)
    (face,) = examiner.analyze(from_image(worse(large, noise, quality)))
    assert face.liveness is not None
    assert face.liveness.score >= 0.5


@pytest.mark.parametrize("name", NAMES)
def test_a_portrait_in_few_colours_is_alive(
    examiner: FaceAnalyzer, portrait: Portrait, name: str
) -> None:
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
