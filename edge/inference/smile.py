"""How much a face smiles, 0 to 100, where 50 is the calibrated threshold.

Two measures are added up on a straight line of log-odds: what a network of our own says of the
face as it looks, and what another one reads from the features of the landmarks network. That one
was trained by others on other faces and for another end, so the errors of the two differ.
`scripts/train_smile` trains both and fits the line, which stands in the models' manifest.
"""

import math
from collections import deque
from collections.abc import Set as AbstractSet
from statistics import fmean, median_low

import numpy as np
from numpy.typing import NDArray

from edge.inference.align import TEMPLATE as _IDENTITY_TEMPLATE
from edge.inference.align import layout, similarity
from edge.inference.face_crop import FaceCrop
from edge.inference.landmarks import Mesh
from edge.inference.models import ModelRunner
from edge.types import Bytes2D, Floats

MEASURES = ("network", "readout")  # their names in the manifest, next to "intercept"

SIDE = 64  # input is 64x64 grey
# Eyes and nose alone place the crop: the mouth must not move the frame it is judged in. It is 84
# pixels of the identity network's crop wide, from the brows to the chin.
PLACED_BY = 3
_VIEW, _MIDDLE = 84, (56, 76)
TEMPLATE = layout(_IDENTITY_TEMPLATE[:PLACED_BY], _MIDDLE, SIDE / _VIEW, SIDE)

FEATURES = 6 * 6 * 128  # of the landmarks network
_STEP = 0.04  # of a feature, in a byte; of seven in a hundred, over 5.1, the rest is cut off


class Smile:
    """Scores one face in one picture."""

    def __init__(self, network: ModelRunner, readout: ModelRunner) -> None:
        """Take the networks of the face's look, which has the line's constants, and features."""
        self._network = network
        self._readout = readout
        constants = network.spec.calibration
        self.line = tuple(constants[name] for name in MEASURES), constants["intercept"]

    def score(self, closeup: FaceCrop, mesh: Mesh, points: Floats) -> float:
        """Return the score, 0 to 100, of one face; `points` are its five."""
        weights, logit = self.line
        for weight, measure in zip(weights, self.measure(closeup, mesh, points), strict=True):
            logit += weight * measure
        return 100 / (1 + math.exp(-min(max(logit, -50.0), 50.0)))

    def measure(self, closeup: FaceCrop, mesh: Mesh, points: Floats) -> tuple[float, float]:
        """Return what the line is fitted to: both networks' log-odds of a smile, -6 to 6."""
        self._readout.input[0, 0, 0] = as_bytes(mesh.features)
        (logit,) = self._readout.run()
        where = similarity(TEMPLATE, points[:PLACED_BY])
        return self._log_odds(closeup.grey(where, SIDE)), float(logit[0, 0])

    def _log_odds(self, grey: Bytes2D) -> float:
        """Return the mean of what each tower says of the face and of its mirror image.

        A smile has no side, so what differs between the two is error.
        """
        outputs: list[float] = []
        for way in (grey, grey[:, ::-1]):
            self._network.input[0, :, :, 0] = way  # int8 inside: it takes the pixels as they are
            outputs += (float(logit[0, 0]) for logit in self._network.run())
        return fmean(outputs)


def as_bytes(features: Floats) -> NDArray[np.uint8]:
    """Return the mesh's features as the readout takes them, (`FEATURES`,), 128 for 0."""
    return np.asarray((features.ravel() / _STEP + 128.5).clip(0, 255), np.uint8)


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
