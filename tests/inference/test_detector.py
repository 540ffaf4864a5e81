from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from edge.images import from_image, shrink
from edge.inference.detector import NOSE, Detection, _merge
from edge.inference.face_analyzer import FaceAnalyzer
from edge.types import Yuv

Portrait = Callable[[str], Image.Image]


def even(value: int, width: int = 320, height: int = 240) -> Yuv:
    return Yuv(
        np.full((height, width), value, np.uint8),
        *(np.full((height // 2, width // 2), 128, np.uint8) for _ in "uv"),
    )


@pytest.mark.parametrize("value", [0, 128, 255])
@pytest.mark.parametrize("size", [(320, 240), (240, 320), (128, 128), (2, 2)])
def test_nobody_in_an_empty_picture(
    examiner: FaceAnalyzer, value: int, size: tuple[int, int]
) -> None:
    assert examiner.find(even(value, *size)) == []


def test_nobody_in_noise(examiner: FaceAnalyzer) -> None:
    """The detector may see a face there, the landmarks network does not."""
    numbers = np.random.default_rng(1)
    for _ in range(5):
        planes = (numbers.integers(0, 256, (n, m)) for n, m in ((240, 320), (120, 160), (120, 160)))
        assert examiner.analyze(Yuv(*(plane.astype(np.uint8) for plane in planes))) == ()


# Where the nose is, by eye.
@pytest.mark.parametrize(
    ("name", "x", "y"),
    [("astronaut", 223, 140), ("obama", 275, 165), ("obama2", 152, 240), ("biden", 168, 130)],
)
def test_face_is_found_where_it_is(
    examiner: FaceAnalyzer, portrait: Portrait, name: str, x: int, y: int
) -> None:
    (face,) = examiner.find(from_image(portrait(name)))
    assert face.score > 0.75
    assert face.points[NOSE] == pytest.approx((x, y), abs=0.2 * face.box.width)
    assert face.box.x < x < face.box.x + face.box.width
    assert face.box.y < y < face.box.y + face.box.height


def test_small_stream_serves_the_large_one(examiner: FaceAnalyzer, portrait: Portrait) -> None:
    large = from_image(portrait("astronaut"))
    (there,) = examiner.detector.find(shrink(large, 256, 256), large.width, large.height)
    (here,) = examiner.detector.find(shrink(large, 320, 320), large.width, large.height)
    assert there.box.x == pytest.approx(here.box.x, abs=8)
    assert there.box.width == pytest.approx(here.box.width, abs=8)


def two(portrait: Portrait) -> Image.Image:
    picture = Image.new("RGB", (840, 640), (90, 90, 90))
    picture.paste(portrait("obama"), (-20, 0))
    picture.paste(portrait("obama2").resize((300, 575)), (500, 20))
    return picture


def test_two_faces_largest_first(examiner: FaceAnalyzer, portrait: Portrait) -> None:
    first, second = examiner.find(from_image(two(portrait)))
    assert first.box.area > second.box.area
    assert first.box.x < 400 < second.box.x


@given(
    st.lists(
        st.tuples(st.floats(0, 100), st.floats(0, 100), st.floats(1, 40), st.floats(0.5, 1)),
        min_size=1,
        max_size=12,
    )
)
def test_merging_leaves_no_two_of_one_face(raw: list[tuple[float, float, float, float]]) -> None:
    candidates = [([(x, y), (x + w, y + w), (x, y)], s) for x, y, w, s in raw]
    candidates.sort(key=lambda candidate: -candidate[1])
    merged = _merge(candidates)
    assert 1 <= len(merged) <= len(candidates)
    assert merged[0][1] == candidates[0][1]
    low = min(x for x, *_ in raw)
    high = max(x + w for x, _, w, _ in raw)
    for points, _ in merged:
        assert low - 1e-6 <= points[0][0] <= points[1][0] <= high + 1e-6


def test_same_face_twice_is_one() -> None:
    points = [(10.0, 10.0), (50.0, 50.0), (20.0, 20.0)]
    shifted = [(x + 4, y) for x, y in points]
    ((merged, score),) = _merge([(points, 0.9), (shifted, 0.6)])
    assert score == 0.9
    assert merged[0][0] == pytest.approx(10 + 4 * 0.6 / 1.5)


def test_detection_is_immutable(examiner: FaceAnalyzer, portrait: Portrait) -> None:
    (face,) = examiner.find(from_image(portrait("obama")))
    assert isinstance(face, Detection)
    assert len(face.points) == 6
