from collections.abc import Callable

import numpy as np
import pytest
from PIL import Image

from edge.images import from_image
from edge.inference.align import landmarks_to_five_points
from edge.inference.face_analyzer import FaceAnalyzer
from edge.inference.face_crop import FaceCrop
from edge.inference.models import Models
from edge.inference.occlusion import SIDE, TEMPLATE, OcclusionClassifier
from edge.types import Floats

Portrait = Callable[[str], Image.Image]


@pytest.fixture(scope="module")
def cover() -> OcclusionClassifier:
    return OcclusionClassifier(Models().open("cover"))


def near(examiner: FaceAnalyzer, picture: Image.Image) -> tuple[FaceCrop, Floats]:
    whole = from_image(picture)
    looked = examiner.locate(whole, examiner.find(whole)[0])
    assert looked is not None
    return looked[0], landmarks_to_five_points(looked[1])


@pytest.mark.parametrize("name", ["astronaut", "biden", "obama", "obama2", "obama3"])
def test_bare_faces_are_far_below_the_threshold(
    examiner: FaceAnalyzer, cover: OcclusionClassifier, portrait: Portrait, name: str
) -> None:
    closeup, points = near(examiner, portrait(name))
    assert -6 <= cover.log_odds(closeup, points) < -1.5
    assert not cover.covers(closeup, points)


def test_a_board_before_the_mouth_counts_by_where_the_eyes_and_the_nose_are(
    examiner: FaceAnalyzer, cover: OcclusionClassifier, portrait: Portrait
) -> None:
    """The points of the bare photo place the crop; those of the mouth are of no account."""
    picture = portrait("obama")
    _, points = near(examiner, picture)
    board = Image.new("RGB", (190, 120), (200, 205, 210))
    picture.paste(board, (180, 165))
    whole = from_image(picture)
    looked = examiner.locate(whole, examiner.find(whole)[0])
    closeup = near(examiner, portrait("obama"))[0] if looked is None else looked[0]
    astray = points.copy()
    astray[3:] += 40
    assert cover.log_odds(closeup, points) == cover.log_odds(closeup, astray) > 0
    assert cover.covers(closeup, points)


def test_crop_shows_the_face_from_forehead_to_chin() -> None:
    assert TEMPLATE.shape == (3, 2)
    assert np.all((TEMPLATE > 0.2 * SIDE) & (TEMPLATE < 0.8 * SIDE))
    assert TEMPLATE[0, 0] + TEMPLATE[1, 0] == pytest.approx(SIDE, abs=1)
