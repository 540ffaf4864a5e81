"""No result depends on the last bits of a float: those differ from one CPU to the next.

Each input is taken as it is and with every number moved by at most one unit in the last place.
"""

from typing import TypeVar

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from numpy.typing import NDArray

from edge.attendance.motion import motion
from edge.attendance.policy import match_is_sure
from edge.gallery import DIMENSION, Gallery, mean_template, nearest_others
from edge.inference.align import PLACES, similarity
from edge.inference.models import liveness_rules
from edge.roster.thresholds import adaptive_thresholds, estimate
from edge.settings import RosterSettings, Settings
from edge.types import ANCHORS, Floats
from senyum_lab.evaluate.metrics import auc, best_threshold, threshold_at

F = TypeVar("F", np.float32, np.float64)

SEEDS = st.integers(0, 2**32 - 1)
TINY = 1e-5  # far above what one unit in the last place does, far below what anybody would notice
MOUTH = [(-0.3, 0.7), (0.3, 0.7), (-0.25, 0.7), (0.25, 0.7), (0.0, 0.66), (0.0, 0.74)]


def nudged(values: NDArray[F], seed: int) -> NDArray[F]:
    """Move each number by one unit in the last place, up, down or not at all."""
    way = np.random.default_rng(seed).integers(-1, 2, values.shape)
    moved = np.nextafter(values, np.where(way > 0, np.inf, -np.inf).astype(values.dtype))
    result: NDArray[F] = np.where(way == 0, values, moved)
    return result


def crowd(people: int, different: int, noise: float, seed: int) -> Floats:
    """`people` rows of unit length that are copies of `different` ones, `noise` apart."""
    generator = np.random.default_rng(seed)
    rows = generator.normal(size=(different, DIMENSION))
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    rows = rows[np.arange(people) % different] + noise * generator.normal(size=(people, DIMENSION))
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    return np.asarray(rows, np.float32)


def gallery(rows: Floats) -> Gallery:
    return Gallery([str(n) for n in range(len(rows))], rows, nearest_others(rows))


@given(
    people=st.integers(100, 400),
    different=st.sampled_from([1, 2, 3, 10, 50, 1000]),
    noise=st.sampled_from([0.0, 1e-8, 1e-7, 1e-6, 1e-5]),
    seed=SEEDS,
)
@example(people=200, different=1, noise=0.0, seed=1)
@example(people=400, different=2, noise=1e-7, seed=1)
def test_a_roster_gives_one_threshold(people: int, different: int, noise: float, seed: int) -> None:
    rows, settings = crowd(people, min(different, people), noise, seed), RosterSettings()
    rules = [
        adaptive_thresholds(gallery(each), settings)
        for each in (rows, nudged(rows, seed), nudged(rows, seed + 1))
    ]
    for rule in rules[1:]:
        assert rule.threshold == pytest.approx(rules[0].threshold, abs=1e-3)
        assert rule.margin == pytest.approx(rules[0].margin, abs=1e-3)


@given(people=st.integers(100, 300), noise=st.sampled_from([0.0, 1e-7, 1e-5]), seed=SEEDS)
def test_copies_of_one_person_give_no_estimate(people: int, noise: float, seed: int) -> None:
    assert estimate(gallery(crowd(people, 1, noise, seed)), 1e-4) is None


@given(people=st.integers(1, 50), copies=st.integers(1, 3), seed=SEEDS)
def test_a_search_decides_the_same(people: int, copies: int, seed: int) -> None:
    rows = np.repeat(crowd(people, people, 0.0, seed), copies, axis=0)
    everybody = gallery(rows)
    found = [everybody.search(face) for face in (rows[0], nudged(rows[0], seed))]
    one, other = found
    assert one is not None
    assert other is not None
    assert one.similarity == pytest.approx(other.similarity, abs=TINY)
    decided = [match_is_sure(each, RosterSettings()) for each in found]
    assert decided[0] == decided[1] == (copies == 1)  # copies are ambiguous: nobody


@given(photos=st.integers(1, 8), seed=SEEDS)
def test_joined_photos_are_the_same(photos: int, seed: int) -> None:
    rows = crowd(photos, 1, 0.02, seed)
    assert np.abs(mean_template(rows) - mean_template(nudged(rows, seed))).max() < TINY


@given(
    flat=st.sampled_from(["face", "line", "point", "eyes together"]),
    size=st.floats(0.0, 200.0),
    seed=SEEDS,
)
def test_motion_is_the_same_or_none(flat: str, size: float, seed: int) -> None:
    """Points that determine no fit must not pass for a living mouth."""
    generator = np.random.default_rng(seed)
    points = generator.uniform(-1, 1, (ANCHORS + 6, 2))
    points[:2] = (-0.5, 0.0), (0.5, 0.0)
    points[ANCHORS:] = MOUTH
    if flat == "line":
        points[:, 1] = 0.0
    elif flat == "point":
        points[:] = 0.0
    elif flat == "eyes together":
        points[1] = points[0]
    rest = np.asarray(points * size + 300, np.float32)
    later = np.asarray(rest + generator.normal(size=rest.shape) * size / 100, np.float32)
    moved = [motion(nudged(rest, seed + n), nudged(later, seed + n + 9)) for n in range(3)]
    if flat != "face" or size < 0.9:
        assert moved == [0.0, 0.0, 0.0]
    elif size > 20:
        assert moved == pytest.approx([moved[0]] * 3, abs=liveness_rules(Settings()).motion / 100)


@given(seed=SEEDS, size=st.floats(0.1, 1000.0))
def test_a_face_is_laid_out_the_same(seed: int, size: float) -> None:
    points = np.asarray(np.random.default_rng(seed).uniform(0, size, (5, 2)), np.float32)
    one, other = similarity(PLACES, points), similarity(PLACES, nudged(points, seed))
    assert np.abs(np.array(one) - np.array(other)).max() < TINY * max(size, 1.0)


@given(
    steps=st.lists(st.integers(0, 255), min_size=4, max_size=60),
    seed=SEEDS,
)
def test_equal_scores_stay_equal(steps: list[int], seed: int) -> None:
    """An int8 network gives one of 256 scores, so ties are the rule."""
    scores: NDArray[np.float64] = np.array(steps) / 255
    truths = np.arange(len(steps)) % 2 == 0
    moved = nudged(scores, seed)
    assert auc(scores, truths) == auc(moved, truths)
    assert best_threshold(scores, truths) == pytest.approx(best_threshold(moved, truths), abs=TINY)
    thresholds = [threshold_at(each, 0.1) for each in (scores, moved)]
    assert thresholds[0] == pytest.approx(thresholds[1], abs=TINY)
