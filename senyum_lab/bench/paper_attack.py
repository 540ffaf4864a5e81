"""A photo on a sheet of paper in front of the camera: moved, tilted, bent.

A pinhole camera looks at a sheet that is flat or rolled about one line (a cylinder's wall). It is a
simulation for tests, the demo and `scripts/evaluate_motion`, and no recording of a real attack.
"""

import math
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageChops, ImageDraw, ImageEnhance, ImageOps

from senyum_lab.bench.morph import Portrait

_FOCAL = 1.1  # of the camera, in widths of the picture: about 49 degrees
_GRID = 20  # pixels between the nodes where the sheet is looked up; in between it is bilinear
_OUTSIDE = -1e4  # marks points without a sheet
_FLAT = 1e-3  # the smallest bend that is drawn, radians

Doubles = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Pose:
    """The pose of the sheet. Angles in degrees, 0 facing the camera."""

    face: float = 0.28  # the face's width when facing the camera, share of the picture's
    across: float = 0.5  # where the face's middle is, shares of the picture
    down: float = 0.45
    yaw: float = 0.0
    pitch: float = 0.0
    roll: float = 0.0
    bend: float = 0.0  # how far the sheet's normal turns over a face's width; below 0 backwards
    along: float = 90.0  # direction of the line it is rolled about; 90 is upright

    def towards(self, other: "Pose", share: float) -> "Pose":
        """Return the pose at this share of the way to `other`."""
        names = ("face", "across", "down", "yaw", "pitch", "roll", "bend", "along")
        ways = {n: getattr(self, n) + share * (getattr(other, n) - getattr(self, n)) for n in names}
        return replace(self, **ways)


@dataclass(frozen=True, slots=True)
class Ink:
    """The properties of a print; the defaults are those of a cheap one."""

    contrast: float = 0.82  # share of the photo's
    colour: float = 0.8
    dots: float = 14.0  # how far the screen of dots goes from its mean, grey levels


def printed(portrait: Portrait, ink: Ink = Ink()) -> Portrait:
    """Return the photo as a print shows it: less contrast and colour, paper, dots."""
    photo = portrait.picture.convert("RGBA")
    paper = Image.new("RGB", photo.size, (238, 236, 230))
    paper.paste(photo, (0, 0), photo)
    flat = ImageEnhance.Contrast(paper).enhance(ink.contrast)
    sheet = ImageEnhance.Color(flat).enhance(ink.colour)
    x, y = np.meshgrid(np.arange(sheet.width), np.arange(sheet.height))
    dots = 128 + ink.dots * np.sin(2.1 * (x + y)) * np.sin(2.1 * (x - y))
    screen = Image.fromarray(dots.astype(np.uint8)).convert("RGB")
    sheet = ImageChops.overlay(sheet, screen)
    black = sheet.getextrema() == ((0, 0),) * 3
    sheet = ImageOps.autocontrast(sheet, cutoff=1) if black else sheet
    ImageDraw.Draw(sheet).rectangle(
        (0, 0, sheet.width - 1, sheet.height - 1),
        outline=(240, 239, 235),
        width=max(2, round(portrait.face_px * 0.08)),
    )
    return Portrait(sheet.convert("RGBA"), portrait.points)


def hold(sheet: Portrait, pose: Pose, scene: Image.Image) -> Image.Image:
    """Return `scene` (mode RGB) with the sheet in front of it."""
    width, height = scene.size
    columns = np.linspace(0, width, max(2, width // _GRID + 1)).round()
    rows = np.linspace(0, height, max(2, height // _GRID + 1)).round()
    nodes = np.stack(np.meshgrid(columns, rows), axis=-1)
    source = _seen(sheet, pose, (width, height), nodes.reshape(-1, 2)).reshape(nodes.shape)
    cells = [
        (
            (int(columns[x]), int(rows[y]), int(columns[x + 1]), int(rows[y + 1])),
            # upper left, lower left, lower right, upper right
            tuple(source[(y, y + 1, y + 1, y), (x, x, x + 1, x + 1)].ravel().tolist()),
        )
        for y in range(len(rows) - 1)
        for x in range(len(columns) - 1)
        if (source[y : y + 2, x : x + 2] > _OUTSIDE / 2).all()
    ]
    picture = sheet.picture.transform(
        scene.size, Image.Transform.MESH, cells, Image.Resampling.BILINEAR
    )
    shown = scene.copy()
    shown.paste(picture.convert("RGB"), (0, 0), picture.getchannel("A"))
    return shown


def _seen(sheet: Portrait, pose: Pose, size: tuple[int, int], pixels: Doubles) -> Doubles:
    """Return the point of the sheet that each of `pixels` (n, 2) shows."""
    focal = _FOCAL * size[0]
    far = focal * sheet.face_px / (pose.face * size[0])  # camera to face, pixels of the sheet
    middle = np.array((pose.across * size[0], pose.down * size[1]))
    centre = np.array((size[0] / 2, size[1] / 2))
    place = np.append((middle - centre) / focal, 1.0) * far
    turn = _rotation(pose) @ _about_z(pose.along - 90.0)  # columns: across the bend, along, away
    origin = -turn.T @ place
    rays = np.column_stack(((pixels - centre) / focal, np.ones(len(pixels)))) @ turn
    bend = math.copysign(max(abs(math.radians(pose.bend)), _FLAT), pose.bend)
    radius = sheet.face_px / bend
    # x = radius sin t, z = radius (1 - cos t): the wall of a cylinder that touches z = 0.
    a = rays[:, 0] ** 2 + rays[:, 2] ** 2
    b = origin[0] * rays[:, 0] + (origin[2] - radius) * rays[:, 2]
    c = origin[0] ** 2 + (origin[2] - radius) ** 2 - radius**2
    root = np.sqrt(np.where(b * b >= a * c, b * b - a * c, np.nan))
    found = np.full((len(pixels), 2), _OUTSIDE)
    for sign in (1.0, -1.0) if radius > 0 else (-1.0, 1.0):  # the side that touches comes last
        away = (-b + sign * root) / a
        hit = origin + away[:, None] * rays
        # The rolled sheet covers less than a half turn: the far wall is not the sheet.
        ours = (away > 0) & ((hit[:, 2] - radius) * np.sign(radius) < 0)
        along = radius * np.arcsin(np.clip(hit[:, 0] / radius, -1.0, 1.0))
        found[ours] = np.column_stack((along, hit[:, 1]))[ours]
    flat = found @ _about_z(pose.along - 90.0)[:2, :2].T + np.array(sheet.centre)
    return np.where(found > _OUTSIDE / 2, flat, _OUTSIDE)


def _about_z(degrees: float) -> Doubles:
    c, s = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    return np.array(((c, -s, 0.0), (s, c, 0.0), (0.0, 0.0, 1.0)))


def _rotation(pose: Pose) -> Doubles:
    c, s = math.cos(math.radians(pose.yaw)), math.sin(math.radians(pose.yaw))
    yaw = np.array(((c, 0.0, s), (0.0, 1.0, 0.0), (-s, 0.0, c)))
    c, s = math.cos(math.radians(pose.pitch)), math.sin(math.radians(pose.pitch))
    pitch = np.array(((1.0, 0.0, 0.0), (0.0, c, -s), (0.0, s, c)))
    return np.asarray(_about_z(pose.roll) @ yaw @ pitch)
