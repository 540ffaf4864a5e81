import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.inference.align import PLACES, TEMPLATE, VARIED, landmarks_to_five_points, similarity
from edge.inference.face_crop import Affine, square_crop
from edge.inference.landmarks import COUNT, Mesh
from edge.types import Floats


def moved(points: Floats, where: Affine) -> Floats:
    x, y = points[:, 0], points[:, 1]
    return np.stack((where.a * x + where.b * y + where.c, where.d * x + where.e * y + where.f), -1)


@given(
    scale=st.floats(0.05, 20),
    angle=st.floats(-math.pi, math.pi),
    x=st.floats(-3000, 3000),
    y=st.floats(-3000, 3000),
)
def test_fit_recovers_a_similarity(scale: float, angle: float, x: float, y: float) -> None:
    a, d = scale * math.cos(angle), scale * math.sin(angle)
    truth = Affine(a, -d, x, d, a, y)
    found = similarity(TEMPLATE, moved(TEMPLATE.astype(np.float64), truth))
    assert found == pytest.approx(truth, rel=1e-4, abs=1e-3)
    assert found.scale == pytest.approx(scale, rel=1e-4)


@given(noise=st.lists(st.floats(-5, 5), min_size=10, max_size=10))
def test_no_near_similarity_fits_better(noise: list[float]) -> None:
    points = TEMPLATE + np.array(noise).reshape(5, 2)
    best = similarity(TEMPLATE, points)

    def error(where: Affine) -> float:
        return float(np.square(moved(TEMPLATE.astype(np.float64), where) - points).sum())

    for step in (1e-3, -1e-3):
        for other in (
            best._replace(a=best.a + step, e=best.e + step),
            best._replace(b=best.b - step, d=best.d + step),
            best._replace(c=best.c + step),
            best._replace(f=best.f + step),
        ):
            assert error(best) <= error(other) + 1e-6


def test_mirrored_points_are_not_mirrored_back() -> None:
    found = similarity(TEMPLATE, TEMPLATE * np.array((-1, 1), np.float32))
    assert found.a * found.e - found.b * found.d > 0


def test_five_points_are_means_of_mesh_points() -> None:
    points = np.random.default_rng(1).normal(size=(COUNT, 3)).astype(np.float32)
    five = landmarks_to_five_points(Mesh(points, 1.0, np.zeros((6, 6, 128), np.float32)))
    assert five[0] == pytest.approx(points[[33, 133, 159, 145], :2].mean(axis=0), abs=1e-6)
    assert five[1] == pytest.approx(points[[263, 362, 386, 374], :2].mean(axis=0), abs=1e-6)
    np.testing.assert_array_equal(five[2:], points[[1, 61, 291], :2])


def test_the_identity_crop_shows_the_face_smaller_and_upright() -> None:
    found = similarity(TEMPLATE, PLACES)
    assert found.scale == pytest.approx(0.96)
    assert (found.b, found.d) == pytest.approx((0, 0), abs=1e-6)
    assert PLACES.mean(axis=0) == pytest.approx(TEMPLATE.mean(axis=0), abs=0.1)


def test_square_maps_its_corners() -> None:
    where = square_crop((100.0, 50.0), 40.0, math.pi / 2, 20)
    corners = moved(np.array(((0, 0), (20, 0), (10, 10)), np.float32), where)
    np.testing.assert_allclose(corners, ((120, 30), (120, 70), (100, 50)), atol=1e-4)
    assert where.scale == pytest.approx(2)


def test_a_still_is_laid_out_smaller_larger_and_turned_each_way() -> None:
    ways = [similarity(PLACES, places) for places in VARIED]
    assert [way.scale for way in ways] == pytest.approx([0.95, 1.05, 1, 1], abs=1e-4)
    turns = [math.degrees(math.atan2(way.d, way.a)) for way in ways]
    assert turns == pytest.approx([0, 0, 5, -5], abs=1e-3)
