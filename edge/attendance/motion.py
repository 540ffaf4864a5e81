"""How far a mouth went into a smile beyond what a photo can do: moved, turned or bent.

A flat photo that is moved and turned shows its points through a homography; one that is rolled
bends them along a curve. A polynomial of second degree, fitted to the points that a smile moves
least, follows both well enough (tried: homography alone, homography and bend, third degree;
docs/accuracy.md). What the mouth's corners did beyond it is a face's own motion.
"""

import math

import numpy as np
from numpy.typing import NDArray

from edge.types import ANCHORS, Floats

Doubles = NDArray[np.float64]

_EYES = slice(0, 2)  # rows of the eyes' outer corners, among the anchors
# Fewer pixels between the eyes, or anchors this near to a line, give a fit that rounding decides:
# faces have 0.13 of the largest singular value, a face turned by 80 degrees 0.01.
_LEAST_EYES_PX = 1.0
_LEAST_SINGULAR = 1e-4
# Rows of `FaceObservation.points` after the anchors: corners of the mouth, outside and inside, each
# the person's right and then the left; then the middle of the upper and the lower lip.
_RIGHT, _LEFT, _MIDDLE = (0, 2), (1, 3), (4, 5)


def motion(rest: Floats, now: Floats) -> float:
    """Return how far the mouth's corners went apart and up, in distances between the eyes.

    `rest` and `now` are the `points` of two FaceObservations of one face, in pixels. Narrowing and
    drooping count as 0: speech rounds the lips, and a smile does neither. Points that determine
    no fit, because they coincide or lie on one line, give 0.
    """
    if min(_between_eyes(rest), _between_eyes(now)) < _LEAST_EYES_PX:
        return 0.0
    before, after = _in_eye_distances(rest), _in_eye_distances(now)
    terms = _terms(before)
    fit, _, rank, _ = np.linalg.lstsq(terms[:ANCHORS], after[:ANCHORS], rcond=_LEAST_SINGULAR)
    if rank < terms.shape[1]:
        return 0.0
    beyond = after[ANCHORS:] - terms[ANCHORS:] @ fit
    right, left, middle = (beyond[rows, :].mean(axis=0) for rows in (_RIGHT, _LEFT, _MIDDLE))
    apart = left[0] - right[0]
    up = middle[1] - (left[1] + right[1]) / 2
    return float(max(apart, 0.0) + max(up, 0.0))


def _between_eyes(points: Floats) -> float:
    right, left = points[_EYES].astype(np.float64)
    return math.dist(right, left)


def _in_eye_distances(points: Floats) -> Doubles:
    """Return `points` turned level and scaled by the eyes, which lie at (-0.5, 0) and (0.5, 0)."""
    right, left = points[_EYES].astype(np.float64)
    across = left - right
    unit = math.hypot(*across)
    cosine, sine = across / unit
    turned = (points - (right + left) / 2) @ np.array(((cosine, -sine), (sine, cosine)))
    return np.asarray(turned / unit)


def _terms(points: Doubles) -> Doubles:
    x, y = points.T
    return np.column_stack((np.ones_like(x), x, y, x * x, x * y, y * y))
