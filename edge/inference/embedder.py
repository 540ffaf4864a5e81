"""MobileFaceNet: who a face looks like, as a direction in 192 dimensions.

Chen et al., "MobileFaceNets: Efficient CNNs for Accurate Real-Time Face Verification on Mobile
Devices", 2018.
"""

import math
from collections.abc import Iterable

import numpy as np

from edge.inference.align import SIDE
from edge.inference.face_crop import Bytes3D, write
from edge.inference.models import ModelRunner
from edge.roster.search import mean_template
from edge.types import Floats

LENGTH = 192

_MIRRORED = np.arange(SIDE)[::-1].copy()  # columns; a view of pixels from right to left is slow


class Embedder:
    """Turns an aligned crop into a template."""

    def __init__(self, network: ModelRunner) -> None:
        self._network = network

    def embed(self, crop: Bytes3D, *, mirrored: bool = False) -> Floats:
        """Return the template, (192,) of length 1, of an aligned YCbCr crop, (112, 112, 3).

        `mirrored`: of the crop's mirror image, which says a little more of the same person.
        """
        spec = self._network.spec
        shown = crop.take(_MIRRORED, axis=1) if mirrored else crop
        write(shown, self._network.input[0], spec.scale, spec.offset)
        (raw,) = self._network.run()
        template: Floats = raw.reshape(LENGTH)
        template /= max(math.sqrt(float(template @ template)), 1e-9)
        return template

    def embed_still(self, crops: Iterable[Bytes3D]) -> Floats:
        """Return the template of some crops of one face and their mirror images together."""
        ways = [self.embed(crop, mirrored=way) for crop in crops for way in (False, True)]
        return mean_template(np.stack(ways))
