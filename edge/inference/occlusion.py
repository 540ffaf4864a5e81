"""Whether mouth or eyes are covered: a mask, a hand, a scarf, a closed visor, dark sunglasses.

A network of our own that `scripts/train_cover` trains. Clear glasses, beards, head scarves and
caps leave a face bare.
"""

from edge.inference.align import TEMPLATE as _IDENTITY_TEMPLATE
from edge.inference.align import layout, similarity
from edge.inference.face_crop import FaceCrop
from edge.inference.models import ModelRunner
from edge.types import Floats

SIDE = 64  # input is 64x64 grey
# Eyes and nose place the crop, for the points of a covered mouth are guesses. It is 104 pixels of
# the identity network's crop wide, from the forehead to under the chin.
PLACED_BY = 3
_VIEW, _MIDDLE = 104, (56, 72)
TEMPLATE = layout(_IDENTITY_TEMPLATE[:PLACED_BY], _MIDDLE, SIDE / _VIEW, SIDE)


class OcclusionClassifier:
    """Looks at one face in one picture."""

    def __init__(self, network: ModelRunner) -> None:
        self._network = network
        self._least = network.spec.constant("threshold")

    def covers(self, closeup: FaceCrop, points: Floats) -> bool:
        """Return whether the face is covered; `points` are its five, (5, 2)."""
        return self.log_odds(closeup, points) > self._least

    def log_odds(self, closeup: FaceCrop, points: Floats) -> float:
        """Return the network's log-odds of a cover, -6 to 6."""
        grey = closeup.grey(similarity(TEMPLATE, points[:PLACED_BY]), SIDE)
        self._network.input[0, :, :, 0] = grey  # int8 inside: it takes the pixels as they are
        (logit,) = self._network.run()
        return float(logit[0, 0])
