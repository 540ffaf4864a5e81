"""Logistic regression from measures of a face to the log-odds of a smile or of a live person."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from senyum_lab.evaluate import metrics

Values = NDArray[np.float64]
Truths = NDArray[np.bool_]

_STEPS = 30  # of Newton's method; it converges in about ten
_RIDGE = 1e-6
REFUSED = 0.04  # share of the living people that the liveness threshold refuses


class ScoreQuality(NamedTuple):
    """The quality of a score over n detected faces."""

    faces: int
    balanced: float  # balanced accuracy at 50
    auc: float
    ece: float

    def __str__(self) -> str:
        return (
            f"{self.faces:6,} faces   balanced accuracy {self.balanced:7.2%}   "
            f"AUC {self.auc:.4f}   calibration error {self.ece:.3f}"
        )


def fit(measures: Values, smiling: Truths, weight: Values) -> Values:
    """Return the weights and, last, the intercept of the regression; `measures` is (n, k)."""
    design = np.c_[measures, np.ones(len(measures))]
    scale = np.r_[design[:, :-1].std(axis=0), 1.0]
    design = design / scale
    line = np.zeros(design.shape[1])
    for _ in range(_STEPS):
        share = 1 / (1 + np.exp(-design @ line))
        hessian = (design.T * (weight * share * (1 - share))) @ design
        hessian += _RIDGE * np.eye(line.size)
        line -= np.linalg.solve(hessian, design.T @ (weight * (share - smiling)))
    return np.asarray(line / scale)


def score_quality(measures: Values, smiling: Truths, line: Values) -> ScoreQuality:
    """Return the quality of `line` on (n, k) measures."""
    share = 1 / (1 + np.exp(-(measures @ line[:-1] + line[-1])))
    right = (share >= 0.5) == smiling
    return ScoreQuality(
        len(smiling),
        metrics.balanced_accuracy(right, smiling),
        metrics.auc(share, smiling),
        metrics.reliability(share, smiling).error,
    )
