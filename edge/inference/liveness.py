"""Whether one picture of a face is of a living person, or of a print, a screen or a video.

Two networks of our own judge it. `liveness` reads the face in its surroundings and, unscaled, the
finest detail of its middle; it was trained on simulated attacks. `recapture` reads the face in its
surroundings alone; it was trained on real ones. Their log-odds are added up with the weights in the
models' manifest, which `scripts/train_recapture` fits. One picture alone proves little:
`attendance` joins many of them with the smile that begins after the prompt.
"""

import math
from statistics import fmean

import numpy as np

from edge.inference.face_crop import Bytes3D, FaceCrop, square_crop
from edge.inference.landmarks import Mesh
from edge.inference.models import ModelRunner
from edge.types import Bytes2D, PassiveLivenessScore, Yuv

Planes = tuple[Bytes2D, Bytes2D, Bytes2D]

# What each network measures, as the event and the manifest name it: log-odds of life.
TEXTURE, RECAPTURE = MEASURES = ("texture", "recapture")

SIDE = 96  # both views are 96x96 YCbCr
_ROOM = 2.2  # the wide view over the longer side of the mesh: shoulders, and a phone's edges
_NEAR = 0.5  # the close view over the longer side of the mesh, at least
_LEAST_SIDE = 8.0  # pixels, so that a mesh gone astray still has a view


class PassiveLiveness:
    """Judges one face in one picture."""

    def __init__(self, network: ModelRunner, recapture: ModelRunner) -> None:
        self._network = network
        self._recapture = recapture
        constant = recapture.spec.constant
        self._weights = tuple(constant(name) for name in MEASURES)
        self._intercept = constant("intercept")
        self._texture_most = constant("texture_most")

    def judge(self, picture: Yuv, mesh: Mesh) -> PassiveLivenessScore:
        """Return how alive the face looks, 0 to 1, and the vote of each network, 0 to 1.

        The log-odds of the votes add up to those of the score.
        """
        seen = context_crops(picture, mesh)
        self._recapture.input[0] = seen[..., :3]
        (recapture,) = self._recapture.run()
        # Fine detail proves no life: a good camera shows it of prints and screens, too.
        measures = min(texture(self._network, seen), self._texture_most), float(recapture[0, 0])
        logits = [
            weight * measure + self._intercept / len(MEASURES)
            for weight, measure in zip(self._weights, measures, strict=True)
        ]
        votes = {name: _share(logit) for name, logit in zip(MEASURES, logits, strict=True)}
        return PassiveLivenessScore(_share(sum(logits)), votes)


def texture(network: ModelRunner, seen: Bytes3D) -> float:
    """Return the log-odds of life, -8 to 8, that `liveness` gives what `context_crops` returned."""
    network.input[0] = seen  # int8 inside: it takes the pixels as they are
    return fmean(float(logit[0, 0]) for logit in network.run())


def _share(logit: float) -> float:
    return 1 / (1 + math.exp(-min(max(logit, -50.0), 50.0)))


def context_crops(picture: Yuv, mesh: Mesh) -> Bytes3D:
    """Return the face in its surroundings, and its middle in finer detail, (96, 96, 6).

    Both are YCbCr. The first is `_ROOM` times as wide as the mesh and shrunk to fit, black and
    grey where the picture ends. The second is not scaled, and lies within the picture; of a face
    of more than `SIDE / _NEAR` pixels it is shrunk to hold `_NEAR`, or it would be skin and noise.
    """
    x, y, face = _extent(mesh)
    wide = _scaled(picture, x, y, max(_ROOM * face, _LEAST_SIDE), SIDE)
    near = _NEAR * face
    close = _unscaled(picture, x, y) if near <= SIDE else _scaled(picture, x, y, near, SIDE)
    return np.stack((*wide, *close), axis=2)


def surroundings_crop(picture: Yuv, mesh: Mesh, size: int) -> Bytes3D:
    """Return the first view of `context_crops` with a margin, at its scale, (size, size, 3)."""
    x, y, face = _extent(mesh)
    side = max(_ROOM * face, _LEAST_SIDE) * size / SIDE
    return np.stack(_scaled(picture, x, y, side, size), axis=2)


def _extent(mesh: Mesh) -> tuple[float, float, float]:
    """Return the middle of the mesh and its longer side, in pixels."""
    places = mesh.points[:, :2]
    low, high = places.min(axis=0), places.max(axis=0)
    x, y = ((low + high) / 2).tolist()
    return x, y, float((high - low).max())


def _scaled(picture: Yuv, x: float, y: float, side: float, size: int) -> Planes:
    where = square_crop((x, y), side, 0.0, size)
    return FaceCrop(picture, where, size, max(1, int(where.scale))).planes(where, size)


def _unscaled(picture: Yuv, x: float, y: float) -> Planes:
    left = _start(x, picture.width)
    top = _start(y, picture.height)
    luma = _cut(picture.y, left, top, SIDE)
    u, v = (
        _cut(plane, left // 2, top // 2, SIDE // 2).repeat(2, axis=0).repeat(2, axis=1)
        for plane in (picture.u, picture.v)
    )
    return luma, u, v


def _cut(plane: Bytes2D, left: int, top: int, side: int) -> Bytes2D:
    part = plane[top : top + side, left : left + side]
    if part.shape != (side, side):  # the picture is smaller than the view
        rows, columns = part.shape
        part = np.pad(part, ((0, side - rows), (0, side - columns)), mode="edge")
    return part


def _start(middle: float, length: int) -> int:
    """Return the even place where the view begins, within the picture where that is possible."""
    return 2 * (max(0, min(int(middle) - SIDE // 2, length - SIDE)) // 2)
