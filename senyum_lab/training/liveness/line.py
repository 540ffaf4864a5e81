"""The straight line from what is measured on a face to the log-odds of life."""

import numpy as np
from numpy.typing import NDArray

from senyum_lab.training.smile.calibration import fit

REFUSED = 0.04  # of the living that the threshold is set by


def line_of(
    measures: NDArray[np.float64],
    alive: NDArray[np.bool_],
    weight: NDArray[np.float64],
    typical: NDArray[np.bool_],
) -> NDArray[np.float64]:
    """Return weights and, last, the intercept that refuses `REFUSED` of the `typical`.

    A cue whose weight would speak for the wrong side is given none.
    """
    classes = np.where(alive, weight[alive].sum(), weight[~alive].sum())
    shares = np.asarray(weight / classes * 1000, np.float64)
    used = list(range(measures.shape[1]))
    while True:
        fitted = fit(measures[:, used], alive, shares)
        wrong = [i for i, w in zip(used[1:], fitted[1:-1], strict=True) if w > 0]
        if not wrong:
            break
        used = [i for i in used if i not in wrong]
    line = np.zeros(measures.shape[1] + 1)
    line[used] = fitted[:-1]
    line[-1] = -np.quantile(measures[typical] @ line[:-1], REFUSED)
    return line
