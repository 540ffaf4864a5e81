"""Metrics of biometrics, in NumPy.

Higher scores mean more similar or more likely. A score equal to a threshold is accepted, as on the
device.
"""

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Truths = NDArray[np.bool_]
Values = NDArray[np.float64]

BINS = 10  # of a reliability diagram
_Z95 = 1.959963984540054  # normal deviate of a two-sided 95 % interval
_HALVINGS = 60  # of the interval 0 to 1: below the precision of a float


class Reliability(NamedTuple):
    """Predicted probabilities against observed frequencies, in bins of equal width from 0 to 1."""

    counts: NDArray[np.int64]  # (bins,)
    promised: Values  # (bins,), mean probability; NaN if the bin is empty
    observed: Values  # (bins,), share of truths; NaN if the bin is empty

    @property
    def error(self) -> float:
        """Expected calibration error: mean distance of the two, weighted by the counts.

        Guo et al., "On Calibration of Modern Neural Networks", ICML 2017, equation 3, with the
        probability of the positive class.
        """
        full = self.counts > 0
        apart = np.abs(self.promised[full] - self.observed[full])
        return float(apart @ self.counts[full] / self.counts.sum())


class Tradeoff(NamedTuple):
    """Both error rates at every distinct threshold, in ascending order."""

    thresholds: Values
    accepted: Values  # share of the negatives at or above the threshold
    refused: Values  # share of the positives below it


class Folds(NamedTuple):
    """The accuracy and the threshold of each fold, sorted by the names of the folds."""

    right: NDArray[np.int64]
    sizes: NDArray[np.int64]
    thresholds: Values


def _without_last_bits(scores: Values) -> Values:
    """Round, so that scores that differ only by rounding of the CPU are equal."""
    return np.asarray(np.round(scores, 6))


def auc(scores: Values, truths: Truths) -> float:
    """Return the area under the ROC curve; both classes must be present.

    This is the Mann-Whitney statistic from mid-ranks: the probability that a true sample scores
    above a false one, where a tie counts half.
    """
    _, places, counts = np.unique(
        _without_last_bits(scores), return_inverse=True, return_counts=True
    )
    ranks = (np.cumsum(counts) - (counts - 1) / 2)[places.reshape(-1)]
    true = int(truths.sum())
    above = ranks[truths].sum() - true * (true + 1) / 2
    return float(above / (true * (truths.size - true)))


def reliability(probabilities: Values, truths: Truths, bins: int = BINS) -> Reliability:
    """Group `probabilities`, 0 to 1, into bins; an edge belongs to the bin above it."""
    place = np.minimum((probabilities * bins).astype(np.int64), bins - 1)
    counts = np.bincount(place, minlength=bins)
    sums = np.bincount(place, probabilities, bins), np.bincount(place, truths, bins)
    full = counts > 0
    promised, observed = (np.divide(s, counts, out=np.full(bins, np.nan), where=full) for s in sums)
    return Reliability(counts, promised, observed)


def balanced_accuracy(right: Truths, truths: Truths) -> float:
    """Return the mean of the accuracies of the true and of the false samples."""
    return float((right[truths].mean() + right[~truths].mean()) / 2)


def threshold_at(negatives: Values, rate: float) -> float:
    """Return the lowest threshold that at most `rate` of `negatives` reach.

    At most floor(rate * n) are accepted. The threshold is not interpolated between two scores.
    """
    allowed = math.floor(rate * negatives.size + 1e-9)
    if allowed >= negatives.size:
        return -math.inf
    worst_refused = np.sort(negatives)[::-1][allowed]
    return float(np.nextafter(worst_refused, np.inf))


def best_threshold(scores: Values, truths: Truths) -> float:
    """Return the most accurate threshold; of several, the middle one.

    Thresholds are half-way between neighbouring scores, or just beyond the outermost ones.
    """
    scores = _without_last_bits(scores)
    order = np.argsort(scores, kind="stable")
    ordered, true = scores[order], truths[order]
    # right[i]: the i lowest are refused, the others accepted
    right = np.concatenate(([0], np.cumsum(~true))) + true.sum() - np.concatenate(
        ([0], np.cumsum(true))
    )  # fmt: skip
    ends = np.concatenate(([ordered[0] - 1e-6], ordered, [ordered[-1] + 1e-6]))
    possible = np.flatnonzero(ends[1:] > ends[:-1])  # no cut between equal scores
    best = possible[right[possible] == right[possible].max()]
    cut = int(best[(best.size - 1) // 2])
    return float((ends[cut] + ends[cut + 1]) / 2)


def across_folds(scores: Values, truths: Truths, folds: NDArray[np.str_]) -> Folds:
    """Evaluate each fold at the best threshold of the others, as LFW View 2.

    Huang et al., UMass TR 07-49. Needs at least two folds; the others of each must contain both
    classes.
    """
    names = np.unique(folds)
    right, sizes, thresholds = [], [], []
    for name in names:
        inside = folds == name
        threshold = best_threshold(scores[~inside], truths[~inside])
        right.append(int(((scores[inside] >= threshold) == truths[inside]).sum()))
        sizes.append(int(inside.sum()))
        thresholds.append(threshold)
    return Folds(np.array(right), np.array(sizes), np.array(thresholds))


def tradeoff(positives: Values, negatives: Values) -> Tradeoff:
    """Return both error rates at every score, and above the highest one."""
    both = np.unique(np.concatenate((positives, negatives)))
    thresholds = np.append(both, np.nextafter(both[-1], np.inf))
    accepted = 1 - np.searchsorted(np.sort(negatives), thresholds) / negatives.size
    refused = np.searchsorted(np.sort(positives), thresholds) / positives.size
    return Tradeoff(thresholds, accepted, refused)


def wilson(hits: int, tries: int) -> tuple[float, float]:
    """Return the two-sided 95 % interval of a rate (Wilson, JASA 1927)."""
    rate, z2 = hits / tries, _Z95 * _Z95
    middle = rate + z2 / (2 * tries)
    reach = _Z95 * math.sqrt(rate * (1 - rate) / tries + z2 / (4 * tries * tries))
    scale = 1 + z2 / tries
    low, high = (middle - reach) / scale, (middle + reach) / scale
    # Exact at the ends, despite rounding.
    return (low if hits else 0.0), (high if hits < tries else 1.0)


def upper_bound(hits: int, tries: int, confidence: float = 0.95) -> float:
    """Return the one-sided upper bound of a rate (Clopper and Pearson, Biometrika 1934).

    The rate at which at most `hits` occur with a probability of 1 - `confidence`; about 3 / tries
    for no hits. Computed by bisection.
    """
    if hits >= tries:
        return 1.0
    ways = np.array(
        [
            math.lgamma(tries + 1) - math.lgamma(i + 1) - math.lgamma(tries - i + 1)
            for i in range(hits + 1)
        ]
    )
    seen = np.arange(hits + 1)
    low, high = hits / tries, 1.0
    for _ in range(_HALVINGS):
        rate = (low + high) / 2
        if rate in (low, high):
            break
        chance = np.exp(ways + seen * math.log(rate) + (tries - seen) * math.log1p(-rate)).sum()
        low, high = (rate, high) if chance > 1 - confidence else (low, rate)
    return high
