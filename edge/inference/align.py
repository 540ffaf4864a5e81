"""Five points of a face, laid onto fixed places.

The places are those of the ArcFace recipe (Deng et al., "ArcFace: Additive Angular Margin Loss for
Deep Face Recognition", 2019) that the identity network was trained with.
"""

import math

import numpy as np

from edge.inference.face_crop import Affine
from edge.inference.landmarks import Mesh
from edge.types import Floats

SIDE = 112
# Right eye, left eye (the person's), nose tip, right and left mouth corner, in a 112x112 crop.
TEMPLATE: Floats = np.array(
    ((38.2946, 51.6963), (73.5318, 51.5014), (56.0252, 71.7366), (41.5493, 92.3655),
     (70.7299, 92.2041)),
    np.float32,
)  # fmt: skip

# The mesh's points lie a little farther apart than those that the network was trained with: laid
# out so much smaller, half of LFW's people are distinguished better, and so is the other half.
_SMALLER = 0.96
_MIDDLE = (56.0, 71.5)


def template_points(scale: float, degrees: float = 0.0) -> Floats:
    """Return the recipe's places, scaled and turned clockwise about the face's middle."""
    turn = math.radians(degrees)
    rows = ((math.cos(turn), math.sin(turn)), (-math.sin(turn), math.cos(turn)))
    middle = np.array(_MIDDLE, np.float32)
    matrix = np.float32(scale) * np.array(rows, np.float32)
    return np.asarray((TEMPLATE - middle) @ matrix + middle, np.float32)


PLACES: Floats = template_points(_SMALLER)

# Where a still is laid besides: a little smaller and larger, a little turned each way. Their
# templates together tell people apart better than one (docs/accuracy.md, Identity).
VARIED: tuple[Floats, ...] = (
    template_points(0.95 * _SMALLER),
    template_points(1.05 * _SMALLER),
    template_points(_SMALLER, 5.0),
    template_points(_SMALLER, -5.0),
)

# Mesh points of each of the five: corners and lids' middles of an eye, tip, mouth corners.
_PARTS = ((33, 133, 159, 145), (263, 362, 386, 374), (1,), (61,), (291,))
_PICKED = np.array([point for part in _PARTS for point in part])
_MEAN: Floats = np.array(
    [
        [1 / len(part) if point in part else 0.0 for other in _PARTS for point in other]
        for part in _PARTS
    ],
    np.float32,
)


def landmarks_to_five_points(mesh: Mesh) -> Floats:
    """Return eye centres, nose tip and mouth corners, (5, 2), in the mesh's pixels."""
    five: Floats = _MEAN @ mesh.points[_PICKED, :2]
    return five


def layout(places: Floats, middle: tuple[float, float], scale: float, side: int) -> Floats:
    """Return places of one crop in another: `scale` times as large, `middle` in its middle.

    `places` are (n, 2); `side` is the other crop's, in pixels.
    """
    scaled = (places - np.array(middle, np.float32)) * np.float32(scale) + np.float32(side / 2)
    return np.asarray(scaled, np.float32)


def similarity(template: Floats, points: Floats) -> Affine:
    """Return the map from the template to the points with the least squared error.

    Umeyama's fit ("Least-squares estimation of transformation parameters between two point
    patterns", 1991) of rotation, scale and shift. In the plane it is one complex division: with
    both sets about their means as complex numbers, a = Σ conj(t)·p / Σ |t|². No mirroring.
    `template` and `points` are (n, 2), n at least 2; the template's points are not all the same.
    """
    # So few points that plain numbers are quicker than arrays.
    source = [complex(x, y) for x, y in template.tolist()]
    target = [complex(x, y) for x, y in points.tolist()]
    source_mean, target_mean = sum(source) / len(source), sum(target) / len(target)
    product, size = 0j, 0.0
    for one, other in zip(source, target, strict=True):
        arm = one - source_mean
        product += arm.conjugate() * (other - target_mean)
        size += abs(arm) ** 2
    turn = product / size
    shift = target_mean - turn * source_mean
    return Affine(turn.real, -turn.imag, shift.real, turn.imag, turn.real, shift.imag)
