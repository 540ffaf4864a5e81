"""Face templates: MobileFaceNet's unit vectors in 192 dimensions, averaged over a track's frames.

Of LFW's people with six photos, 5,000 enrolled, three photos that must each match identify 88 in
100 at 1 % false alarms; the same photos averaged identify 99 (docs/accuracy.md).

Chen et al., "MobileFaceNets: Efficient CNNs for Accurate Real-Time Face Verification on Mobile
Devices", 2018.
"""

import math
from collections import deque
from collections.abc import Iterable
from collections.abc import Set as AbstractSet
from dataclasses import dataclass

import numpy as np

from edge.gallery import mean_template
from edge.inference.align import SIDE
from edge.inference.face_crop import Bytes3D, write
from edge.inference.models import ModelRunner
from edge.types import Floats

LENGTH = 192

_MIRRORED = np.arange(SIDE)[::-1].copy()  # columns; a view of pixels from right to left is slow


class Embedder:
    """Computes the template of an aligned crop."""

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


FRAMES = 8  # at most; half a second, so that a turned head has a short effect
# Cosine of a frame to the mean of those before it. Below it the frame shows another person, or a
# view too different to be averaged with the others.
SAME_FACE = 0.5


@dataclass(slots=True)
class _Seen:
    """The last templates of one track and their mean."""

    templates: deque[Floats]
    joined: Floats


class TemplateFusion:
    """Remembers the last templates of each track."""

    def __init__(self, frames: int = FRAMES) -> None:
        """`frames`: how many of a track are joined, 1 or more."""
        self._frames = frames
        self._seen: dict[int, _Seen] = {}

    def add(self, track: int, template: Floats) -> tuple[Floats, int]:
        """Return the mean of `template` and those before it in this track, and their number.

        Templates are (192,) of length 1. A frame that does not resemble those before it starts a
        new sequence, so that nobody is identified as the person who stood there before.
        """
        seen = self._seen.get(track)
        if seen is None or float(seen.joined @ template) < SAME_FACE:
            seen = self._seen[track] = _Seen(deque(maxlen=self._frames), template)
        seen.templates.append(template)
        seen.joined = mean_template(np.array(seen.templates))
        return seen.joined, len(seen.templates)

    def retain(self, tracks: AbstractSet[int]) -> None:
        """Forget every other track."""
        for gone in self._seen.keys() - tracks:
            del self._seen[gone]
