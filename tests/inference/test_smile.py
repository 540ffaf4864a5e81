import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.inference.examiner import Face
from edge.inference.smile import Smoother


@pytest.mark.parametrize("name", ["obama", "astronaut"])
def test_smile_scores_above_the_threshold(faces: dict[str, Face], name: str) -> None:
    assert faces[name].smile > 90


@pytest.mark.parametrize("name", ["obama2", "obama3", "biden"])
def test_no_smile_scores_below_the_threshold(faces: dict[str, Face], name: str) -> None:
    assert 0 <= faces[name].smile < 50


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
