import math
from collections.abc import Callable

import numpy as np
import pytest
from PIL import Image, ImageEnhance, ImageFilter

from edge.inference.examiner import Examiner, Face
from edge.inference.quality import sharpness
from edge.pictures import from_image
from edge.settings import InferenceSettings, QualityLimits
from edge.types import Problem

Portrait = Callable[[str], Image.Image]


def problem(examiner: Examiner, picture: Image.Image) -> Problem | None:
    return examiner.examine(from_image(picture))[0].quality.problem


def test_ordinary_portraits_have_no_problem(faces: dict[str, Face]) -> None:
    assert {face.quality.problem for face in faces.values()} == {None}


def test_far(examiner: Examiner, portrait: Portrait) -> None:
    small = portrait("obama").resize((200, 250), Image.Resampling.LANCZOS)
    assert problem(examiner, small) is Problem.TOO_FAR


def test_dark(examiner: Examiner, portrait: Portrait) -> None:
    dark = ImageEnhance.Brightness(portrait("obama")).enhance(0.2)
    assert problem(examiner, dark) is Problem.TOO_DARK


def test_bright(examiner: Examiner, portrait: Portrait) -> None:
    bright = portrait("obama").point([min(255, 190 + v // 4) for v in range(256)] * 3)
    assert problem(examiner, bright) is Problem.TOO_BRIGHT


def test_blurred(examiner: Examiner, portrait: Portrait) -> None:
    blurred = portrait("obama").filter(ImageFilter.GaussianBlur(7))
    assert problem(examiner, blurred) is Problem.BLURRED


def test_tilted(examiner: Examiner, portrait: Portrait) -> None:
    for degrees in (40, -40):
        tilted = portrait("obama").rotate(degrees, fillcolor=(90, 90, 90))
        (face,) = examiner.examine(from_image(tilted))
        assert face.quality.problem is Problem.TURNED
        assert face.quality.roll == pytest.approx(-degrees - 1, abs=5)


def test_cut_off(examiner: Examiner, portrait: Portrait) -> None:
    half = portrait("obama").crop((0, 0, 300, 640))
    assert problem(examiner, half) is Problem.CUT_OFF


def test_mirror_turns_yaw_and_roll_round(examiner: Examiner, portrait: Portrait) -> None:
    picture = portrait("obama2")
    (face,) = examiner.examine(from_image(picture))
    (mirrored,) = examiner.examine(from_image(picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT)))
    assert face.quality.yaw < -8  # he looks to his right
    assert mirrored.quality.yaw == pytest.approx(-face.quality.yaw, abs=6)
    assert mirrored.quality.roll == pytest.approx(-face.quality.roll, abs=4)


def test_limits_are_the_settings(portrait: Portrait) -> None:
    strict = Examiner(InferenceSettings(quality=QualityLimits(min_face_px=400)))
    assert problem(strict, portrait("obama")) is Problem.TOO_FAR


def test_sharpness_is_the_variance_of_the_laplacian() -> None:
    grey = np.random.default_rng(1).integers(0, 256, (30, 40)).astype(np.float32)
    inner = grey[1:-1, 1:-1]
    laplacian = grey[:-2, 1:-1] + grey[2:, 1:-1] + grey[1:-1, :-2] + grey[1:-1, 2:] - 4 * inner
    assert sharpness(grey) == pytest.approx(laplacian.var(), rel=1e-3)
    assert sharpness(np.full((30, 40), 7, np.float32)) == 0


def test_figures_are_finite(faces: dict[str, Face]) -> None:
    for face in faces.values():
        q = face.quality
        figures = (q.face_px, q.sharpness, q.luma, q.contrast, q.yaw, q.pitch, q.roll)
        assert all(map(math.isfinite, figures))
