"""How well a face can be judged, and the first reason why it cannot."""

import math
from dataclasses import dataclass, replace

import numpy as np

from edge.inference.align import TEMPLATE, layout, similarity
from edge.inference.face_crop import FaceCrop
from edge.inference.landmarks import Mesh
from edge.settings import QualityLimits
from edge.types import Bytes2D, Floats, Quality, QualityProblem

# Mesh points; right and left are the person's. The first six: outer corners of the eyes, cheeks,
# forehead, chin. Then the rest of the outline, every third point.
_RIGHT_CORNER, _LEFT_CORNER = 33, 263
_RIGHT_CHEEK, _LEFT_CHEEK = 234, 454
_FOREHEAD, _CHIN = 10, 152
_OUTLINE = (332, 389, 361, 365, 377, 149, 136, 132, 162, 103)
_PICKED = np.array(
    (_RIGHT_CORNER, _LEFT_CORNER, _RIGHT_CHEEK, _LEFT_CHEEK, _FOREHEAD, _CHIN, *_OUTLINE)
)

# The mesh is flatter than a head: its yaw against the angles of GENKI-4K, and the lean of
# forehead to chin on a face looking straight ahead (median of LFW), in degrees.
_YAW_GAIN = 1.3
_LEVEL_PITCH = -6.5
_MOST_OUTSIDE = 1  # points of the outline that may lie outside the picture
_MIDDLE_GREY = 128
_CROP = 112  # side of the aligned crop
_BROWS, _CHIN_ROW = 28, 108  # rows of the aligned crop; above them may lie the picture's edge

# Light is read off the brightest hundredth of the face: highlights, eye whites and teeth have
# about the same brightness in everybody, skin has not. Every second pixel of an ellipse within the
# face says enough; beyond it a window may shine.
_y, _x = np.mgrid[:_CROP:2, :_CROP:2]
_LIT = (_y * _CROP + _x)[((_x - 56) / 28) ** 2 + ((_y - 68) / 38) ** 2 < 1]
_BRIGHT_SHARE = 0.99

# The surroundings: a coarse picture of 144 pixels of the aligned crop, a head's ellipse and the
# shoulders' rows left out.
_COARSE, _AROUND = 24, 144
_AROUND_TEMPLATE = layout(TEMPLATE, (56, 56), _COARSE / _AROUND, _COARSE)
_rows, _columns = np.mgrid[:_COARSE, :_COARSE] + 0.5
_BEHIND = np.flatnonzero(
    (((_columns - 12) / 8.2) ** 2 + ((_rows - 13) / 11) ** 2 > 1) & (_rows < 17)
)
_GLARE = 240  # of 255: nearly clipped
_GLARING_SHARE = 0.3  # of the surroundings


def surroundings(closeup: FaceCrop, points: Floats) -> Bytes2D:
    """Return a coarse picture of the face and what is around it; `points` are its five."""
    return closeup.nearest(similarity(_AROUND_TEMPLATE, points), _COARSE)


def judge(
    grey: Bytes2D, around: Bytes2D, mesh: Mesh, size: tuple[int, int], limits: QualityLimits
) -> Quality:
    """Judge the face `mesh` of a picture of `size`, width and height.

    `grey` is its aligned 112x112 crop, `around` its `surroundings`.
    """
    picked = mesh.points[_PICKED].tolist()
    yaw, pitch, roll = _pose(picked)
    shades = grey.astype(np.float32)
    luma, variance = _moments(shades)
    quality = Quality(
        face_px=2 * math.dist(picked[0][:2], picked[1][:2]),
        sharpness=sharpness(shades[_BROWS:_CHIN_ROW]),
        luma=luma,
        contrast=math.sqrt(variance),
        yaw=yaw,
        pitch=pitch,
        roll=roll,
        problem=None,
    )
    width, height = size
    outside = sum(not (0 <= x <= width and 0 <= y <= height) for x, y, _ in picked[2:])
    problem: QualityProblem | None
    if outside > _MOST_OUTSIDE:
        problem = QualityProblem.CUT_OFF
    else:
        problem = _misplaced(quality, limits) or _ill_lit(quality, grey, around, limits)
    if problem is None and quality.sharpness < limits.min_sharpness:
        problem = QualityProblem.BLURRED
    return quality if problem is None else replace(quality, problem=problem)


def unmeasured_quality(width: float, limits: QualityLimits) -> Quality:
    """Return the quality of a face of this width in pixels that has no landmarks.

    Only `face_px` and `problem` are known; the rest is 0.
    """
    problem = QualityProblem.TOO_FAR if width < limits.min_face_px else QualityProblem.COVERED
    return Quality(
        face_px=width, sharpness=0, luma=0, contrast=0, yaw=0, pitch=0, roll=0, problem=problem
    )


def brightness(grey: Bytes2D) -> int:
    """Return how bright the brightest hundredth of an aligned 112x112 face is, 0 to 255."""
    values = grey.reshape(-1)[_LIT]
    rank = int(_BRIGHT_SHARE * values.size)
    return int(np.partition(values, rank)[rank])


def _pose(picked: list[list[float]]) -> tuple[float, float, float]:
    """Return yaw, pitch and roll in degrees, with the signs of `Quality`.

    Yaw is how much farther away the left cheek lies than the right one, pitch the same of forehead
    and chin, both of the mesh's own depth; roll is the tilt of the line through the eyes.
    """
    right, left, right_cheek, left_cheek, forehead, chin = picked[:6]
    yaw = math.atan2(left_cheek[2] - right_cheek[2], math.dist(left_cheek[:2], right_cheek[:2]))
    pitch = math.atan2(forehead[2] - chin[2], math.dist(forehead[:2], chin[:2]))
    roll = math.atan2(left[1] - right[1], left[0] - right[0])
    return _YAW_GAIN * math.degrees(yaw), math.degrees(pitch) - _LEVEL_PITCH, math.degrees(roll)


def sharpness(grey: Floats) -> float:
    """Return the variance of the Laplacian (Pech-Pacheco et al., ICPR 2000) over the crop."""
    # As one row, for speed: what runs over a row's end is cut off afterwards.
    side = grey.shape[1]
    row = grey.reshape(-1)
    inner = slice(side, -side)
    ring = row[: -2 * side] + row[2 * side :]
    ring[1:] += row[side : -side - 1]
    ring[:-1] += row[side + 1 : -side]
    ring -= 4 * row[inner]
    return _moments(ring.reshape(-1, side)[:, 1:-1].copy())[1]


def _moments(values: Floats) -> tuple[float, float]:
    """Return mean and variance, a good deal quicker than NumPy's own on so small an array."""
    flat = values.reshape(-1)
    mean = float(flat.sum()) / flat.size
    return mean, max(float(flat @ flat) / flat.size - mean * mean, 0.0)


def _misplaced(quality: Quality, limits: QualityLimits) -> QualityProblem | None:
    """Return the problem that the person can correct by moving: too far, turned."""
    if quality.face_px < limits.min_face_px:
        return QualityProblem.TOO_FAR
    turned = (
        abs(quality.yaw) > limits.max_yaw
        or abs(quality.pitch) > limits.max_pitch
        or abs(quality.roll) > limits.max_roll
    )
    return QualityProblem.TURNED if turned else None


def _ill_lit(
    quality: Quality, grey: Bytes2D, around: Bytes2D, limits: QualityLimits
) -> QualityProblem | None:
    """Return what is wrong with the light."""
    bright = brightness(grey)
    if bright < limits.min_backlit_bright:
        behind = around.reshape(-1)[_BEHIND]
        if np.count_nonzero(behind >= _GLARE) >= _GLARING_SHARE * behind.size:
            return QualityProblem.BACKLIT
    flat = quality.contrast < limits.min_contrast
    if bright < limits.min_bright or (flat and quality.luma < _MIDDLE_GREY):
        return QualityProblem.TOO_DARK
    if quality.luma > limits.max_luma or flat:
        return QualityProblem.TOO_BRIGHT
    return None


@dataclass(frozen=True, slots=True)
class ImageStats:
    """Two figures of a whole picture."""

    level: float  # mean luma, 0 to 255
    sharpness: float  # variance of the Laplacian, 0 and up


def image_stats(luma: Bytes2D) -> ImageStats:
    """Judge the brightness plane of a picture."""
    shades = luma.astype(np.float32)
    return ImageStats(round(float(shades.mean()), 1), round(sharpness(shades), 1))
