"""Thresholds and margin in force, from the similarities between the people of the roster itself.

Everybody enrolled stands for a stranger to all others. A face and a person who are near to others
in the roster are of a kind whose members resemble each other, so their match must be nearer: a
score is the cosine less WEIGHT times the likeness of the two (`Match.likeness`). This is adaptive
symmetric score normalisation (Matejka et al., "Analysis of Score Normalization in Multilingual
Speaker Verification", Interspeech 2017), without its division and with the roster as the cohort.

The scores of different people have the tail of a normal distribution from about the highest
hundredth on: against the normal deviate of their share, they lie on a straight line. The line is
carried on to where the whole roster together resembles one stranger in 10,000, and its uncertainty
is taken from leaving out a tenth of the people at a time (the jackknife). docs/accuracy.md holds it
against measured strangers.

Each person enters once, as the roster fuses their photos; people who are in it twice, and twins,
are ignored, because such a pair says nothing about strangers (enrolment reports them).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from edge.gallery import Gallery, second_and_third
from edge.settings import RosterLimits, RosterSettings
from edge.types import Floats

FEWEST = 100  # people; fewer have too few pairs to say anything of one in a thousand
WEIGHT = 1.0  # of a likeness, in the threshold; chosen in docs/research/identity.md
# The cosines of different people, of LFW: what a roster of fewer than FEWEST is compared with.
_ORDINARY = NormalDist(0.01, 0.145)
# By which the likeness may exceed the ordinary one in a small roster before it raises a threshold.
_SLACK = 0.1
_MOST = 2000  # people compared with each other: 2 million pairs, about a second on a Raspberry Pi 4
_BLOCK = 250  # rows at a time: 2 MB
_HIGHEST_SHARE = 2e-2  # of the pairs: the line begins there
_LOWEST_SHARE = 1e-3  # and ends there, or where fewer than _LEAST_PAIRS are left
_LEAST_PAIRS = 20
_POINTS = 12  # of the line
# Cosine for one normal deviate. Strangers' lie at 0.05 to 0.15; below this the people are copies of
# a few, and what spread there is comes from rounding.
_LEAST_SPREAD = 1e-3
_GROUPS = 10  # of people, one of them left out at a time
_LONE = 0.15  # nearest to each other, and so far ahead of the next: not two strangers
_ROUNDING = 1e-5  # of one cosine, computed in two products of matrices
# Two people who both resemble a stranger are as a rule closer together than this many scales of
# the tail: nine pairs of ten.
_SCALES = float(np.log(10))


@dataclass(frozen=True, slots=True)
class NormalTail:
    """How the scores of different people run out: level + spread · normal deviate."""

    level: float
    spread: float

    def score(self, share: float) -> float:
        """Return the score that a share (0 to 1) of the pairs of strangers reach."""
        return self.level - self.spread * NormalDist().inv_cdf(share)

    def scale(self, share: float) -> float:
        """Return over what difference the share falls to 1/e there."""
        normal = NormalDist()
        return self.spread * share / normal.pdf(normal.inv_cdf(share))


@dataclass(frozen=True, slots=True)
class Estimate:
    """What the people enrolled say of strangers."""

    base: float  # score that a stranger reaches with somebody, at the rate aimed at
    error: float  # standard error of it
    likeness: float  # median of a match
    margin: float  # cosine between the two nearest people that strangers seldom have


class _Pairs(NamedTuple):
    """The nearest pairs of people, in no order."""

    one: NDArray[np.intp]
    other: NDArray[np.intp]
    scores: Floats
    people: int  # compared


def adaptive_thresholds(gallery: Gallery, settings: RosterSettings) -> RosterSettings:
    """Return the settings with the thresholds and the margin that this roster calls for.

    A threshold is what the roster says and its standard error more, within the settings' bounds.
    In a roster of fewer than FEWEST people it is the settings' one, and more only for people and
    faces who are nearer to others than ordinary strangers are; of four or fewer, the settings
    stand.
    """
    if not settings.false_match_rate or gallery.nearest is None:
        return settings
    estimated = estimate(gallery, settings.false_match_rate)
    if estimated is None:
        base = settings.threshold - WEIGHT * (_ordinary_likeness(gallery.size) + _SLACK)
        return _limits(settings, base, settings.threshold, settings.margin)
    base = estimated.base + estimated.error
    usual = _between(settings.threshold, base + WEIGHT * estimated.likeness, settings.max_threshold)
    margin = _between(settings.margin, estimated.margin, settings.max_margin)
    return _limits(settings, base, usual, margin)


def _limits(settings: RosterSettings, base: float, threshold: float, margin: float) -> RosterLimits:
    bounds = {"least": settings.threshold, "base": base, "weight": WEIGHT}
    values = dict(settings) | {"threshold": threshold, "margin": margin} | bounds
    return RosterLimits.model_validate(values)


def _ordinary_likeness(people: int) -> float:
    """Return the likeness of a match in a roster of strangers who are not of one kind."""
    others = people - 1
    # Blom, "Statistical Estimates and Transformed Beta-Variables", 1958: expected order statistics.
    near = [_ORDINARY.inv_cdf(1 - (rank - 0.375) / (others + 0.25)) for rank in (1, 2, 3)]
    return 2 * second_and_third(near)


def estimate(gallery: Gallery, rate: float) -> Estimate | None:
    """Judge a roster; None where the people are too few, or copies of a few.

    `rate`: strangers, 0 to 1, that may reach their threshold with anybody at all.
    """
    people = gallery.size
    if people < FEWEST or gallery.nearest is None:
        return None
    cosines, scores = _nearest(gallery.matrix, gallery.nearest)
    tail, raw = _fit(scores), _fit(cosines)
    if tail is None or raw is None:
        return None
    group = np.arange(scores.people) % _GROUPS
    without = [_without(scores, group, number) for number in range(_GROUPS)]
    bases = [fit.score(rate / people) for part in without if (fit := _fit(part)) is not None]
    if len(bases) < _GROUPS:
        return None
    return Estimate(
        base=tail.score(rate / people),
        error=float(np.sqrt((_GROUPS - 1) * np.var(bases))),
        likeness=2 * float(np.median(gallery.nearest[:, 1:3].mean(axis=1))),
        margin=_SCALES * raw.scale(1 / people),
    )


def _nearest(matrix: Floats, nearest: Floats) -> tuple[_Pairs, _Pairs]:
    """Return the pairs of (some of) the people in the tail: of cosines, and of scores."""
    step = -(-len(matrix) // _MOST)
    some, near = matrix[::step], nearest[::step]
    found: tuple[list[_Pairs], list[_Pairs]] = ([], [])
    lows: list[float] = []
    for start in range(0, len(some), _BLOCK):
        rows = near[start : start + _BLOCK]
        cosines = some[start : start + _BLOCK] @ some[start:].T
        scores = cosines - WEIGHT * (_apart(cosines, rows) + _apart(cosines.T, near[start:]).T)
        upper = np.triu(np.ones(cosines.shape, bool), 1)
        strangers = upper & ~_lone(cosines, rows, near[start:])
        values = cosines, scores
        if not lows:  # the first rows say about where the tail begins; twice its share is kept
            lows = [float(np.quantile(each[upper], 1 - 2 * _HIGHEST_SHARE)) for each in values]
        for each, low, pairs in zip(values, lows, found, strict=True):
            row, column = np.nonzero(strangers & (each >= low))
            pairs.append(_Pairs(row + start, column + start, each[row, column], len(some)))
    return _joined(found[0]), _joined(found[1])


def _joined(parts: Sequence[_Pairs]) -> _Pairs:
    one, other, scores = (np.concatenate(each) for each in list(zip(*parts, strict=True))[:3])
    return _Pairs(one, other, scores, parts[0].people)


def _apart(cosines: Floats, near: Floats) -> Floats:
    """Return how near each row's person is to others, each column's person left out.

    `near` (rows, NEAREST): as `Gallery.nearest` has them.
    """
    _, second, third, fourth = (near[:, [place]] - _ROUNDING for place in range(near.shape[1]))
    without_one = np.where(cosines >= third, second + fourth, second + third)
    both: Floats = np.where(cosines >= second, third + fourth, without_one) / 2
    return both


def _lone(cosines: Floats, rows: Floats, columns: Floats) -> NDArray[np.bool_]:
    """Return who is nearest to each other by far: one person enrolled twice, or twins."""
    nearest = np.maximum(rows[:, [0]], columns[:, 0]) - _ROUNDING
    lone: NDArray[np.bool_] = (cosines >= nearest) & (
        cosines - np.maximum(rows[:, [1]], columns[:, 1]) >= _LONE
    )
    return lone


def _without(pairs: _Pairs, group: NDArray[np.intp], number: int) -> _Pairs:
    kept = (group[pairs.one] != number) & (group[pairs.other] != number)
    people = int((group != number).sum())
    return _Pairs(pairs.one[kept], pairs.other[kept], pairs.scores[kept], people)


def _fit(pairs: _Pairs) -> NormalTail | None:
    """Fit the line to the tail; None if there are too few pairs or the people are all alike."""
    count = pairs.people * (pairs.people - 1) // 2
    lowest = max(_LOWEST_SHARE, _LEAST_PAIRS / count)
    ranks = np.unique(np.geomspace(lowest, _HIGHEST_SHARE, _POINTS) * count).astype(np.intp)
    if len(ranks) < 2 or ranks[-1] > len(pairs.scores):
        return None
    scores = np.sort(pairs.scores)[::-1][ranks - 1]
    normal = NormalDist()
    deviates = [-normal.inv_cdf((rank - 0.5) / count) for rank in ranks.tolist()]
    spread, level = np.polyfit(deviates, scores.astype(np.float64), 1)
    return NormalTail(float(level), float(spread)) if spread >= _LEAST_SPREAD else None


def _between(least: float, value: float, most: float) -> float:
    return max(least, min(value, most))
