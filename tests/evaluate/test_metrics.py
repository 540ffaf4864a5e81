import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from senyum_lab.evaluate import metrics
from senyum_lab.evaluate.metrics import Truths, Values

# Few distinct values, so that ties are common.
SCORES = st.integers(0, 8).map(lambda n: n / 8)


@st.composite
def judged(draw: st.DrawFn) -> tuple[Values, Truths]:
    """Scores of both classes."""
    pairs = draw(st.lists(st.tuples(SCORES, st.booleans()), min_size=0, max_size=30))
    pairs += [(draw(SCORES), True), (draw(SCORES), False)]
    scores, truths = zip(*pairs, strict=True)
    return np.array(scores, np.float64), np.array(truths)


@given(judged())
def test_auc_is_the_share_of_pairs_in_order(case: tuple[Values, Truths]) -> None:
    scores, truths = case
    pairs = [(a > b) + (a == b) / 2 for a in scores[truths] for b in scores[~truths]]
    assert metrics.auc(scores, truths) == pytest.approx(np.mean(pairs))


def test_auc_of_a_textbook() -> None:
    # Scikit-learn's example of roc_auc_score.
    scores, truths = np.array([0.1, 0.4, 0.35, 0.8]), np.array([False, False, True, True])
    assert metrics.auc(scores, truths) == 0.75


@given(judged())
def test_calibration_error_by_hand(case: tuple[Values, Truths]) -> None:
    scores, truths = case
    error = 0.0
    for k in range(10):
        inside = [i for i, s in enumerate(scores) if min(int(s * 10), 9) == k]
        if inside:
            apart = abs(scores[inside].mean() - truths[inside].mean())
            error += apart * len(inside) / len(scores)
    assert metrics.reliability(scores, truths).error == pytest.approx(error)


def test_a_calibrated_score_has_no_error_and_an_overconfident_one_has() -> None:
    truths = np.arange(10) < 8
    assert metrics.reliability(np.full(10, 0.8), truths).error == pytest.approx(0)
    assert metrics.reliability(np.ones(10), truths).error == pytest.approx(0.2)


def test_balanced_accuracy_weighs_both_classes_alike() -> None:
    truths = np.array([True] * 8 + [False] * 2)
    right = np.array([True] * 8 + [True, False])
    assert metrics.balanced_accuracy(right, truths) == 0.75


@given(st.lists(SCORES, min_size=1, max_size=40), st.floats(0, 1))
def test_a_rate_is_kept_by_the_lowest_threshold_that_keeps_it(
    scores: list[float], rate: float
) -> None:
    negatives = np.array(scores)
    threshold = metrics.threshold_at(negatives, rate)
    allowed = math.floor(rate * len(scores) + 1e-9)
    assert (negatives >= threshold).sum() <= allowed
    for lower in (s for s in scores if s < threshold):
        assert (negatives >= lower).sum() > allowed


@given(judged())
def test_no_threshold_is_better_than_the_best(case: tuple[Values, Truths]) -> None:
    scores, truths = case
    right = [((scores >= t) == truths).sum() for t in (*scores, scores.max() + 1)]
    best = metrics.best_threshold(scores, truths)
    assert ((scores >= best) == truths).sum() == max(right)


def test_each_fold_is_judged_with_the_threshold_of_the_others() -> None:
    # Fold b alone would choose 0.8: the others' 0.5 makes one mistake there.
    scores = np.array([0.2, 0.8, 0.2, 0.8, 0.7, 0.9])
    truths = np.array([False, True, False, True, False, True])
    folds = np.array(["a", "a", "c", "c", "b", "b"])
    judged = metrics.across_folds(scores, truths, folds)
    assert judged.right.tolist() == [2, 1, 2]
    assert judged.thresholds[1] == pytest.approx(0.5)
    assert judged.thresholds[0] == pytest.approx(0.75)


@given(judged())
def test_the_trade_off_counts_both_errors(case: tuple[Values, Truths]) -> None:
    scores, truths = case
    curve = metrics.tradeoff(scores[truths], scores[~truths])
    for threshold, accepted, refused in zip(*curve, strict=True):
        assert accepted == pytest.approx((scores[~truths] >= threshold).mean())
        assert refused == pytest.approx((scores[truths] < threshold).mean())
    assert (curve.accepted[0], curve.refused[-1]) == (1, 1)


@pytest.mark.parametrize(
    ("hits", "tries", "low", "high"),
    [(10, 100, 0.05523, 0.17437), (0, 100, 0.0, 0.03699), (20, 20, 0.83887, 1.0)],
)
def test_wilson_s_interval(hits: int, tries: int, low: float, high: float) -> None:
    assert metrics.wilson(hits, tries) == pytest.approx((low, high), abs=1e-5)


@given(st.integers(0, 40), st.integers(1, 60))
def test_at_the_upper_bound_so_few_hits_are_one_in_twenty(hits: int, more: int) -> None:
    tries = hits + more
    bound = metrics.upper_bound(hits, tries)
    chance = math.fsum(
        math.comb(tries, i) * bound**i * (1 - bound) ** (tries - i) for i in range(hits + 1)
    )
    assert chance == pytest.approx(0.05, rel=1e-6)


def test_none_seen_is_the_rule_of_three() -> None:
    assert metrics.upper_bound(0, 10_000) == pytest.approx(1 - 0.05 ** (1 / 10_000), rel=1e-9)
    assert metrics.upper_bound(0, 10_000) == pytest.approx(3 / 10_000, rel=2e-3)
    assert metrics.upper_bound(7, 7) == 1.0
