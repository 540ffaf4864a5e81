import numpy as np
import pytest

from edge.inference.embedder import SAME_FACE, TemplateFusion
from edge.types import Floats


def face(angle: float) -> Floats:
    """Return a template so many degrees from the first direction."""
    template = np.zeros(192, np.float32)
    template[:2] = np.cos(np.radians(angle)), np.sin(np.radians(angle))
    return template


def test_frames_of_a_track_are_joined_to_their_mean() -> None:
    fusion = TemplateFusion()
    first, frames = fusion.add(1, face(0))
    np.testing.assert_allclose(first, face(0), atol=1e-6)
    assert frames == 1
    joined, frames = fusion.add(1, face(40))
    np.testing.assert_allclose(joined, face(20), atol=1e-6)
    assert frames == 2


def test_only_the_last_frames_count() -> None:
    fusion = TemplateFusion(frames=2)
    for angle in (0, 20, 40):
        joined, frames = fusion.add(1, face(angle))
    np.testing.assert_allclose(joined, face(30), atol=1e-6)
    assert frames == 2


@pytest.mark.parametrize(("angle", "frames"), [(59, 3), (61, 1)])
def test_a_face_unlike_those_before_it_begins_anew(angle: float, frames: int) -> None:
    assert pytest.approx(np.cos(np.radians(60))) == SAME_FACE
    fusion = TemplateFusion()
    fusion.add(1, face(0))
    fusion.add(1, face(0))
    joined, count = fusion.add(1, face(angle))
    assert count == frames
    if count == 1:
        np.testing.assert_allclose(joined, face(angle), atol=1e-6)


def test_tracks_do_not_mix_and_lost_ones_are_forgotten() -> None:
    fusion = TemplateFusion()
    fusion.add(1, face(0))
    fusion.add(2, face(30))
    assert fusion.add(2, face(30))[1] == 2
    fusion.retain({2})
    assert fusion.add(1, face(0))[1] == 1
    assert fusion.add(2, face(30))[1] == 3


def test_what_was_given_is_not_changed_by_later_frames() -> None:
    fusion = TemplateFusion()
    joined, _ = fusion.add(1, face(0))
    fusion.add(1, face(40))
    np.testing.assert_allclose(joined, face(0), atol=1e-6)
