"""FaceMesh: 468 points of a face.

Kartynnik et al., "Real-time Facial Surface Geometry from Monocular Video on Mobile GPUs", 2019.
The region and the numbering of the points are MediaPipe's.
"""

import math
from dataclasses import dataclass

import numpy as np

from edge.inference.detector import LEFT_EYE, RIGHT_EYE, Detection
from edge.inference.face_crop import Affine, FaceCrop, square_crop, write
from edge.inference.models import ModelRunner
from edge.types import Floats, Yuv

COUNT = 468

SIDE = 192  # input is 192x192 grey
_ROOM = 1.5  # region over the detector's box, as the network was trained
_WIDE = 1.2  # over that region: the detector's box about a turned face may be tight
# The identity crop is coarser than this network's input by a third; between the two, neither is
# read from pixels much finer or much coarser than its own.
_COARSER = 1.15
_LEAST_PRESENCE = 0.5


@dataclass(frozen=True, slots=True)
class Mesh:
    """The points of one face."""

    points: Floats  # (468, 3): x, y in picture pixels; z in the same unit, smaller is nearer
    presence: float  # 0 to 1: how sure the network is that this is a face
    features: Floats  # (6, 6, 128): what the network makes of the face before it places the points

    @property
    def is_face(self) -> bool:
        """False where the detector was mistaken."""
        return self.presence >= _LEAST_PRESENCE


def region(face: Detection, *, wide: bool = False) -> Affine:
    """Return the map from the network's input to the picture that `face` was found in.

    A square about the face, upright by its eyes; `wide`: with more room about it.
    """
    box = face.box
    room = _ROOM * _WIDE if wide else _ROOM
    (right_x, right_y), (left_x, left_y) = face.points[RIGHT_EYE], face.points[LEFT_EYE]
    return square_crop(
        (box.x + box.width / 2, box.y + box.height / 2),
        max(room * max(box.width, box.height), 1.0),
        math.atan2(left_y - right_y, left_x - right_x),
        SIDE,
    )


def crop_region(picture: Yuv, where: Affine) -> FaceCrop:
    """Copy the region `where` out of the picture."""
    return FaceCrop(picture, where, SIDE, max(1, int(where.scale * _COARSER)))


class Landmarks:
    """Finds the mesh of a detected face."""

    def __init__(self, network: ModelRunner) -> None:
        self._network = network

    def find(self, closeup: FaceCrop, where: Affine) -> Mesh:
        """Return the mesh of the face in the region `where`, in pixels of the whole picture."""
        spec = self._network.spec
        # Grey and nearest pixels: on LFW pairs these points serve the identity network as well as
        # those of a smooth colour crop, for a fifth of the time.
        crop = closeup.nearest(where, SIDE)
        write(crop, self._network.input[0, :, :, 0], spec.scale, spec.offset)
        raw, flag, features = self._network.run()
        points = raw.reshape(COUNT, 3) @ np.array(
            ((where.a, where.d, 0), (where.b, where.e, 0), (0, 0, where.scale)), np.float32
        )
        points += np.array((where.c, where.f, 0), np.float32)
        logit = min(max(float(flag.item()), -50.0), 50.0)
        return Mesh(points, 1 / (1 + math.exp(-logit)), features[0])
