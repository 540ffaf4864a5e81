"""What a flat photo can do to points, and what only a face can."""

import math

import numpy as np
import pytest
from doorway import mesh
from numpy.typing import NDArray

from edge.attendance.motion import motion
from edge.inference.models import liveness_rules
from edge.settings import Settings
from edge.types import ANCHORS, Floats

Doubles = NDArray[np.float64]

# A face's proportions, eyes 80 pixels apart: anchors on a grid from brow to chin, then a mouth.
ANCHOR_PLACES = [
    (x, y) for y in (-0.6, -0.2, 0.3, 0.8, 1.1) for x in (-0.7, -0.4, -0.1, 0.1, 0.4, 0.7)
]
EYES = [(-0.5, 0.0), (0.5, 0.0)]
MOUTH = [(-0.3, 0.7), (0.3, 0.7), (-0.25, 0.7), (0.25, 0.7), (0.0, 0.66), (0.0, 0.74)]
FLAT = np.array([*EYES, *ANCHOR_PLACES[: ANCHORS - 2], *MOUTH], np.float64)
LEAST = liveness_rules(Settings()).motion


def seen(points: Doubles, **held: float) -> Floats:
    """Return what a camera sees of points on a sheet: rolled, turned, moved, projected."""
    yaw, pitch, roll = (math.radians(held.get(name, 0.0)) for name in ("yaw", "pitch", "roll"))
    bend = math.radians(held.get("bend", 0.0)) or 1e-9
    x, y = points.T
    sheet = np.column_stack((np.sin(bend * x) / bend, y, (1 - np.cos(bend * x)) / bend))
    about_y = np.array(
        ((math.cos(yaw), 0, math.sin(yaw)), (0, 1, 0), (-math.sin(yaw), 0, math.cos(yaw)))
    )
    about_x = np.array(
        ((1, 0, 0), (0, math.cos(pitch), -math.sin(pitch)), (0, math.sin(pitch), math.cos(pitch)))
    )
    about_z = np.array(
        ((math.cos(roll), -math.sin(roll), 0), (math.sin(roll), math.cos(roll), 0), (0, 0, 1))
    )
    away = sheet @ (about_z @ about_y @ about_x).T + (held.get("across", 0.0), 0.0, 8.0)
    zoom = 80 * 8 * held.get("zoom", 1.0)
    return np.asarray(away[:, :2] / away[:, 2:] * zoom + 300, np.float32)


def smiling(widen: float = 0.0, lift: float = 0.0) -> Doubles:
    points = FLAT.copy()
    corners = [ANCHORS + n for n in range(4)]
    points[corners, 0] += widen / 2 * np.sign(points[corners, 0])
    points[corners, 1] -= lift
    return points


@pytest.mark.parametrize(
    "held",
    [
        {},
        {"across": 1.5},
        {"zoom": 1.7},
        {"roll": 40.0},
        {"yaw": 35.0},
        {"yaw": -35.0, "roll": 20.0},
        {"pitch": 30.0},
        {"bend": 35.0},
        {"bend": -35.0},
        {"yaw": 20.0, "pitch": -15.0, "roll": 10.0, "bend": 30.0, "zoom": 0.8},
    ],
)
def test_a_photo_however_it_is_held_does_not_move_its_mouth(held: dict[str, float]) -> None:
    assert motion(seen(FLAT), seen(FLAT, **held)) < LEAST / 2


@pytest.mark.parametrize(("widen", "lift"), [(0.1, 0.0), (0.0, 0.06), (0.15, 0.05)])
@pytest.mark.parametrize("held", [{}, {"roll": 15.0, "yaw": 8.0}, {"zoom": 1.3, "pitch": 6.0}])
def test_a_smile_is_measured_in_distances_between_the_eyes(
    widen: float, lift: float, held: dict[str, float]
) -> None:
    found = motion(seen(FLAT), seen(smiling(widen, lift), **held))
    assert found == pytest.approx(widen + lift, abs=0.025)
    assert found > LEAST


def test_rounded_lips_and_drooping_corners_are_no_smile() -> None:
    assert motion(seen(FLAT), seen(smiling(-0.2, -0.1))) == 0.0


def test_the_same_face_moves_by_nothing_and_one_without_eyes_breaks_nothing() -> None:
    assert motion(mesh(0), mesh(0)) == pytest.approx(0.0, abs=1e-6)
    assert motion(mesh(0), np.zeros_like(mesh(0))) == 0.0
