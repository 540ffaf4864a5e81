"""How much a face smiles, 0 to 100, where 50 is the calibrated threshold.

Three measures are added up on a straight line of log-odds: what a network of our own says of the
face, how wide the mouth is, and how far its corners are lifted. `scripts/train_smile` trains the
network and fits the line, which stands in the models' manifest.
"""

import math
from collections import deque
from collections.abc import Set as AbstractSet
from statistics import median_low

import numpy as np

from edge.inference.align import TEMPLATE as _IDENTITY_TEMPLATE
from edge.inference.align import laid_out, similarity
from edge.inference.landmarks import Mesh
from edge.inference.models import Network
from edge.inference.pixels import Closeup
from edge.types import Floats

MEASURES = ("network", "width", "lift")  # their names in the manifest, beside "intercept"

SIDE = 64  # input is 64x64 grey
# Eyes and nose alone place the crop: the mouth must not move the frame it is judged in. It is 84
# pixels of the identity network's crop wide, from the brows to the chin.
PLACED_BY = 3
_VIEW, _MIDDLE = 84, (56, 76)
TEMPLATE = laid_out(_IDENTITY_TEMPLATE[:PLACED_BY], _MIDDLE, SIDE / _VIEW, SIDE)

# Mesh points; right and left are the person's.
_RIGHT_EYE, _LEFT_EYE = 33, 263  # outer corners
_RIGHT_MOUTH, _LEFT_MOUTH = 61, 291  # corners
_UPPER_LIP, _LOWER_LIP = 13, 14  # inner edges, middle
_FOREHEAD, _CHIN = 10, 152
_PICKED = np.array(
    (_RIGHT_EYE, _LEFT_EYE, _RIGHT_MOUTH, _LEFT_MOUTH, _UPPER_LIP, _LOWER_LIP, _FOREHEAD, _CHIN)
)


class Smile:
    """Scores one face in one picture."""

    def __init__(self, network: Network) -> None:
        self._network = network
        constants = network.spec.calibration
        self.line = tuple(constants[name] for name in MEASURES), constants["intercept"]

    def score(self, closeup: Closeup, mesh: Mesh, points: Floats) -> float:
        """Return the score, 0 to 100, of one face; `points` are its five."""
        weights, logit = self.line
        for weight, measure in zip(weights, self.measure(closeup, mesh, points), strict=True):
            logit += weight * measure
        return 100 / (1 + math.exp(-min(max(logit, -50.0), 50.0)))

    def measure(self, closeup: Closeup, mesh: Mesh, points: Floats) -> tuple[float, float, float]:
        """Return what the line is fitted to.

        The network's log-odds of a smile (-6 to 6), the mouth's width, and how far its corners lie
        above its middle, both in distances between the eyes' outer corners.
        """
        return (self._log_odds(closeup, points), *mouth(mesh))

    def _log_odds(self, closeup: Closeup, points: Floats) -> float:
        """Return the mean of what is said of the face and of its mirror image.

        A smile has no side, so what differs between the two is error.
        """
        grey = closeup.grey(similarity(TEMPLATE, points[:PLACED_BY]), SIDE)
        total = 0.0
        for way in (grey, grey[:, ::-1]):
            self._network.input[0, :, :, 0] = way  # int8 inside: it takes the pixels as they are
            (logit,) = self._network.run()
            total += float(logit[0, 0])
        return total / 2


def mouth(mesh: Mesh) -> tuple[float, float]:
    """Return the width and the lift that `Smile.measure` returns."""
    right_eye, left_eye, right, left, upper, lower, forehead, chin = mesh.points[_PICKED].tolist()
    unit = math.dist(left_eye, right_eye) or 1.0
    height = math.dist(forehead, chin) or 1.0
    lift = sum(
        (r + w - u - d) / 2 * (f - c)
        for r, w, u, d, f, c in zip(right, left, upper, lower, forehead, chin, strict=True)
    )
    return math.dist(left, right) / unit, lift / height / unit


class Smoother:
    """The median over the last frames of a track.

    Over three frames one odd frame does not count, and a smile that begins shows one frame late.
    """

    def __init__(self, frames: int) -> None:
        self._frames = frames
        self._scores: dict[int, deque[float]] = {}

    def add(self, track: int, score: float) -> float:
        """Return the smoothed score of `track` after this frame's `score`."""
        scores = self._scores.setdefault(track, deque(maxlen=self._frames))
        scores.append(score)
        return median_low(scores)  # of an even number, the doubt goes against the smile

    def keep(self, tracks: AbstractSet[int]) -> None:
        """Forget every other track."""
        for gone in self._scores.keys() - tracks:
            del self._scores[gone]
