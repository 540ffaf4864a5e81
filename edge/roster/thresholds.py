"""Threshold and margin in force, from the similarities between the people of the roster itself.

Everybody enrolled stands for a stranger to all others. The cosines of different people have the
tail of a normal distribution from about the highest hundredth on: against the normal deviate of
their share, they lie on a straight line. The line is carried on to where the whole roster
together resembles one stranger in 10,000, and its uncertainty is taken from leaving out a tenth
of the people at a time (the jackknife). docs/accuracy.md holds it against measured strangers.

Each person enters once, as the roster fuses their photos; people who are in it twice, and twins,
are ignored, because such a pair says nothing about strangers (enrolment reports them).
"""

from dataclasses import dataclass
from statistics import NormalDist
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from edge.gallery import Gallery
from edge.settings import RosterSettings
from edge.types import Floats

FEWEST = 100  # people; fewer have too few pairs to say anything of one in a thousand
_MOST = 2000  # people compared with each other: 2 million pairs, about a second on a Raspberry Pi 4
_BLOCK = 500  # rows at a time: 4 MB
_HIGHEST_SHARE = 2e-2  # of the pairs: the line begins there
_LOWEST_SHARE = 1e-3  # and ends there, or where fewer than _LEAST_PAIRS are left
_LEAST_PAIRS = 20
_POINTS = 12  # of the line
# Cosine for one normal deviate. Strangers' lie at 0.05 to 0.15; below this the people are copies of
# a few, and what spread there is comes from rounding.
_LEAST_SPREAD = 1e-3
_GROUPS = 10  # of people, one of them left out at a time
_LONE = 0.15  # nearest to each other, and so far ahead of the next: not two strangers
# Two people who both resemble a stranger are as a rule closer together than this many scales of
# the tail: nine pairs of ten.
_SCALES = float(np.log(10))


@dataclass(frozen=True, slots=True)
class NormalTail:
    """How the cosines of different people run out: level + spread · normal deviate."""

    level: float
    spread: float

    def cosine(self, share: float) -> float:
        """Return the cosine that a share (0 to 1) of the pairs of strangers reach."""
        return self.level - self.spread * NormalDist().inv_cdf(share)

    def scale(self, share: float) -> float:
        """Return over what cosine the share falls to 1/e there."""
        normal = NormalDist()
        return self.spread * share / normal.pdf(normal.inv_cdf(share))


@dataclass(frozen=True, slots=True)
class Estimate:
    """What the people enrolled say of strangers."""

    threshold: float  # cosine that a stranger reaches with somebody, at the rate aimed at
    error: float  # standard error of it
    margin: float  # cosine between the two nearest people that strangers seldom have


class _Pairs(NamedTuple):
    """The nearest pairs of people, in no order."""

    one: NDArray[np.intp]
    other: NDArray[np.intp]
    cosines: Floats
    people: int  # compared


def adaptive_thresholds(gallery: Gallery, settings: RosterSettings) -> RosterSettings:
    """Return the settings with the threshold and the margin that this roster calls for.

    The threshold is what the roster says and its standard error more, within the settings'
    bounds. A roster of fewer than FEWEST people says nothing, and the settings stand.
    """
    estimated = (
        estimate(gallery.matrix, settings.false_match_rate) if settings.false_match_rate else None
    )
    if estimated is None:
        return settings
    threshold = estimated.threshold + estimated.error
    return settings.model_copy(
        update={
            "threshold": _between(settings.threshold, threshold, settings.max_threshold),
            "margin": _between(settings.margin, estimated.margin, settings.max_margin),
        }
    )


def estimate(matrix: Floats, rate: float) -> Estimate | None:
    """Judge a roster's rows (people, DIMENSION) of unit length; None where they are too few.

    `rate`: strangers, 0 to 1, that may reach the threshold with anybody at all.
    """
    people = len(matrix)
    if people < FEWEST:
        return None
    pairs = _nearest(matrix)
    if (tail := _fit(pairs)) is None:
        return None
    group = np.arange(pairs.people) % _GROUPS
    without = [_without(pairs, group, number) for number in range(_GROUPS)]
    thresholds = [fit.cosine(rate / people) for part in without if (fit := _fit(part)) is not None]
    if len(thresholds) < _GROUPS:
        return None
    error = np.sqrt((_GROUPS - 1) * np.var(thresholds))
    return Estimate(
        threshold=tail.cosine(rate / people),
        error=float(error),
        margin=_SCALES * tail.scale(1 / people),
    )


def _nearest(matrix: Floats) -> _Pairs:
    """Return all pairs of (some of) the rows that lie in the tail, and some more."""
    some = matrix[:: -(-len(matrix) // _MOST)]
    # The first rows say about where the tail begins; twice its share is kept.
    first = (some[:_BLOCK] @ some[:_BLOCK].T)[np.triu_indices(min(_BLOCK, len(some)), 1)]
    low = np.quantile(first, 1 - 2 * _HIGHEST_SHARE)
    ones, others, cosines = [], [], []
    for start in range(0, len(some), _BLOCK):
        block = some[start : start + _BLOCK] @ some[start:].T
        row, column = np.nonzero(block >= low)
        upper = column > row
        row, column = row[upper], column[upper]
        ones.append(row + start)
        others.append(column + start)
        cosines.append(block[row, column])
    pairs = _Pairs(np.concatenate(ones), np.concatenate(others), np.concatenate(cosines), len(some))
    return _strangers(pairs)


def _strangers(pairs: _Pairs) -> _Pairs:
    """Leave aside who is nearest to each other by far: one person enrolled twice, or twins."""
    ends = np.concatenate((pairs.one, pairs.other))
    cosines = np.concatenate((pairs.cosines, pairs.cosines))
    order = np.lexsort((cosines, ends))
    ends, cosines = ends[order], cosines[order]
    # The last of each person's is their nearest, and the one before it, if theirs, the second.
    last = np.flatnonzero(np.append(ends[1:] != ends[:-1], True))
    nearest, second = np.full((2, pairs.people), -1.0, np.float32)
    nearest[ends[last]] = cosines[last]
    before = last[(last > 0) & (ends[last - 1] == ends[last])]
    second[ends[before]] = cosines[before - 1]
    next_best = np.maximum(second[pairs.one], second[pairs.other])
    mutual = (pairs.cosines >= nearest[pairs.one]) & (pairs.cosines >= nearest[pairs.other])
    kept = ~(mutual & (pairs.cosines - next_best >= _LONE))
    return _Pairs(pairs.one[kept], pairs.other[kept], pairs.cosines[kept], pairs.people)


def _without(pairs: _Pairs, group: NDArray[np.intp], number: int) -> _Pairs:
    kept = (group[pairs.one] != number) & (group[pairs.other] != number)
    people = int((group != number).sum())
    return _Pairs(pairs.one[kept], pairs.other[kept], pairs.cosines[kept], people)


def _fit(pairs: _Pairs) -> NormalTail | None:
    """Fit the line to the tail; None if there are too few pairs or the people are all alike."""
    count = pairs.people * (pairs.people - 1) // 2
    lowest = max(_LOWEST_SHARE, _LEAST_PAIRS / count)
    ranks = np.unique(np.geomspace(lowest, _HIGHEST_SHARE, _POINTS) * count).astype(np.intp)
    if len(ranks) < 2 or ranks[-1] > len(pairs.cosines):
        return None
    cosines = np.sort(pairs.cosines)[::-1][ranks - 1]
    normal = NormalDist()
    deviates = [-normal.inv_cdf((rank - 0.5) / count) for rank in ranks.tolist()]
    spread, level = np.polyfit(deviates, cosines.astype(np.float64), 1)
    return NormalTail(float(level), float(spread)) if spread >= _LEAST_SPREAD else None


def _between(least: float, value: float, most: float) -> float:
    return max(least, min(value, most))
