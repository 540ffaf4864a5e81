"""How well a face can be judged, and the first reason why it cannot."""

import math
from dataclasses import replace

import numpy as np

from edge.inference.landmarks import Mesh
from edge.settings import QualityLimits
from edge.types import Bytes2D, Floats, Problem, Quality

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
_BROWS, _CHIN_ROW = 28, 108  # rows of the aligned crop; above them may lie the picture's edge


def judge(grey: Bytes2D, mesh: Mesh, width: int, height: int, limits: QualityLimits) -> Quality:
    """Judge the face `mesh` of a `width`x`height` picture; `grey` is its aligned 112x112 crop."""
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
    outside = sum(not (0 <= x <= width and 0 <= y <= height) for x, y, _ in picked[2:])
    problem = Problem.CUT_OFF if outside > _MOST_OUTSIDE else _problem(quality, limits)
    return quality if problem is None else replace(quality, problem=problem)


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


def _problem(quality: Quality, limits: QualityLimits) -> Problem | None:
    """Return what the person can mend first: come nearer, look here, find light, hold still."""
    if quality.face_px < limits.min_face_px:
        return Problem.TOO_FAR
    turned = (
        abs(quality.yaw) > limits.max_yaw
        or abs(quality.pitch) > limits.max_pitch
        or abs(quality.roll) > limits.max_roll
    )
    if turned:
        return Problem.TURNED
    flat = quality.contrast < limits.min_contrast
    if quality.luma < limits.min_luma or (flat and quality.luma < _MIDDLE_GREY):
        return Problem.TOO_DARK
    if quality.luma > limits.max_luma or flat:
        return Problem.TOO_BRIGHT
    if quality.sharpness < limits.min_sharpness:
        return Problem.BLURRED
    return None
