import math

import numpy as np
import pytest

from edge.inference.face_crop import Affine, FaceCrop, square_crop, write
from edge.types import Yuv


def slopes(width: int = 200, height: int = 160) -> Yuv:
    """A picture whose luma is x and whose chroma are 80 + y / 2 and 200 - y / 2."""
    x = np.mgrid[:height, :width][1]
    v, _ = np.mgrid[: height // 2, : width // 2]
    return Yuv(x.astype(np.uint8), (80 + v).astype(np.uint8), (200 - v).astype(np.uint8))


@pytest.mark.parametrize("factor", [1, 2, 3])
def test_grey_reads_where_it_is_told(factor: int) -> None:
    where = square_crop((90.0, 70.0), 60.0, 0.0, 30)
    grey = FaceCrop(slopes(), where, 30, factor).grey(where, 30)
    wanted = 60 + 2 * (np.arange(30) + 0.5) - 0.5
    assert np.abs(grey.astype(float) - wanted).max() <= factor


def test_turned_square_is_read_upright() -> None:
    where = square_crop((90.0, 70.0), 60.0, math.pi / 2, 30)
    grey = FaceCrop(slopes(), where, 30, 1).grey(where, 30).astype(float)
    assert np.abs(np.diff(grey, axis=1)).max() <= 1  # along a row of the output x stays
    assert grey[0, 0] > grey[-1, 0] + 50


def test_colour_reads_chroma_at_the_same_place() -> None:
    where = square_crop((90.0, 70.0), 40.0, 0.0, 20)
    colour = FaceCrop(slopes(), where, 20, 1).colour(where, 20).astype(float)
    rows = 50 + 2 * (np.arange(20) + 0.5)
    assert np.abs(colour[:, 10, 1] - (80 + rows / 2 - 0.5)).max() <= 1
    assert np.abs(colour[:, 10, 2] - (200 - rows / 2 + 0.5)).max() <= 1


@pytest.mark.parametrize("centre", [(0.0, 0.0), (-500.0, 20.0), (90.0, 900.0), (200.0, 160.0)])
@pytest.mark.parametrize("factor", [1, 4])
def test_outside_is_black_and_grey(centre: tuple[float, float], factor: int) -> None:
    where = square_crop(centre, 80.0, 0.3, 40)
    colour = FaceCrop(slopes(), where, 40, factor).colour(where, 40)
    outside = np.zeros((40, 40), bool)
    v, u = np.mgrid[:40, :40] + 0.5
    x = where.a * u + where.b * v + where.c
    y = where.d * u + where.e * v + where.f
    outside = (x < -8) | (x > 208) | (y < -8) | (y > 168)
    assert outside.any()
    assert (colour[outside] == (0, 128, 128)).all()


def test_fine_detail_does_not_alias() -> None:
    y = np.zeros((160, 200), np.uint8)
    y[:, ::2] = 255
    chroma = np.full((80, 100), 128, np.uint8)
    where = square_crop((100.0, 80.0), 120.0, 0.0, 40)  # three pixels to one
    grey = FaceCrop(Yuv(y, chroma, chroma), where, 40, 3).grey(where, 40)
    assert grey[5:-5, 5:-5].std() < 50
    assert grey[5:-5, 5:-5].mean() == pytest.approx(127.5, abs=5)


def test_write_normalises_into_the_given_memory() -> None:
    out = np.zeros((2, 2), np.float32)
    write(np.array(((0, 255), (51, 102)), np.uint8), out, 2 / 255, -1.0)
    np.testing.assert_allclose(out, ((-1, 1), (-0.6, -0.2)), atol=1e-6)


def test_scale_is_input_pixels_an_output_pixel() -> None:
    assert Affine(3, -4, 0, 4, 3, 0).scale == 5
