"""How much a face smiles, 0 to 100, where 50 is the calibrated threshold.

Three measures are added up on a straight line of log-odds: how sure the expression network is of
"happy", how wide the mouth is, and how far its corners are lifted. The network alone misses mild,
closed-mouth smiles, which the mouth's shape shows. `scripts/calibrate_smile` fits the line; it
stands in the models' manifest.
"""

import math
from collections import deque
from collections.abc import Set as AbstractSet
from statistics import median_low

import numpy as np

from edge.inference.align import SIDE, TEMPLATE, similarity
from edge.inference.landmarks import Mesh
from edge.inference.models import Network
from edge.inference.pixels import Closeup, write
from edge.types import Floats

MEASURES = ("happy", "width", "lift")  # their names in the manifest, beside "intercept"

_SIDE = 64  # input is 64x64 grey
_HAPPY = 3
# Eyes and nose alone place the crop: the mouth must not move the frame it is judged in. Zoom and
# upward shift over the identity network's crop were chosen on GENKI-4K.
_PLACED_BY = 3
_TEMPLATE: Floats = (TEMPLATE[:_PLACED_BY] - np.float32(SIDE / 2)) * np.float32(
    1.35 * _SIDE / SIDE
) + np.array((_SIDE / 2, _SIDE / 2 - 4), np.float32)

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

        The network's log-odds of "happy" (-14 to 14), the mouth's width, and how far its corners
        lie above its middle, both in distances between the eyes' outer corners.
        """
        return (self._log_odds(closeup, points), *_mouth(mesh))

    def _log_odds(self, closeup: Closeup, points: Floats) -> float:
        crop = closeup.grey(similarity(_TEMPLATE, points[:_PLACED_BY]), _SIDE)
        spec = self._network.spec
        write(crop, self._network.input[0, :, :, 0], spec.scale, spec.offset)
        (shares,) = self._network.run()
        happy = min(max(float(shares[0, _HAPPY]), 1e-6), 1 - 1e-6)
        return math.log(happy / (1 - happy))


def _mouth(mesh: Mesh) -> tuple[float, float]:
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
