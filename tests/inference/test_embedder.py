import numpy as np
import pytest

from edge.gallery import mean_template
from edge.inference.embedder import Embedder
from edge.inference.face_crop import Bytes3D
from edge.inference.models import Models


@pytest.fixture
def crop() -> Bytes3D:
    steps = np.linspace(0, 255, 112)
    planes = np.broadcast_arrays(steps[:, None] * steps / 255, steps, steps[:, None])
    painted: Bytes3D = np.stack(planes, -1).astype(np.uint8)
    return painted


@pytest.fixture(scope="module")
def embedder() -> Embedder:
    return Embedder(Models().open("identity"))


def test_a_template_has_length_1(embedder: Embedder, crop: Bytes3D) -> None:
    template = embedder.embed(crop)
    assert template.shape == (192,)
    assert np.linalg.norm(template) == pytest.approx(1, abs=1e-5)


def test_mirrored_is_the_crops_mirror_image(embedder: Embedder, crop: Bytes3D) -> None:
    mirror = np.ascontiguousarray(crop[:, ::-1])
    there = embedder.embed(crop, mirrored=True)
    np.testing.assert_allclose(there, embedder.embed(mirror), atol=1e-6)
    np.testing.assert_allclose(
        embedder.embed(mirror, mirrored=True), embedder.embed(crop), atol=1e-6
    )
    assert float(there @ embedder.embed(crop)) < 0.999


def test_a_still_is_read_both_ways(embedder: Embedder, crop: Bytes3D) -> None:
    other = crop[::-1]
    ways = (crop, crop[:, ::-1], other, other[:, ::-1])
    still = embedder.embed_still((crop, other))
    np.testing.assert_allclose(
        still, mean_template(np.stack([embedder.embed(way) for way in ways])), atol=1e-6
    )
    np.testing.assert_allclose(
        still, embedder.embed_still((other[:, ::-1], crop[:, ::-1])), atol=1e-6
    )
