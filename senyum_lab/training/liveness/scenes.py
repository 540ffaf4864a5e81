"""The scene of an attack: paper or phone with edges, hands, reflections and a background."""

import math

import numpy as np
from numpy.random import Generator
from PIL import Image, ImageDraw, ImageFilter

from edge.types import Floats
from senyum_lab.training.liveness import camera


def held(medium: Floats, kind: str, room: Floats, rng: Generator) -> Floats:
    """Return the scene with an attack in front of the camera; `room` is the background."""
    medium = _lit(_bent(medium, rng) if kind == "print" else medium, kind, rng)
    if rng.random() < 0.35:  # so close that no edge is visible
        return _from_aside(medium, rng, 0.03)
    framed = _edged(medium, kind, rng)
    return _placed(framed, room, kind, rng)


def _lit(medium: Floats, kind: str, rng: Generator) -> Floats:
    """Add reflections and uneven light."""
    height, width = medium.shape[:2]
    down = np.linspace(-1, 1, height, dtype=np.float32)[:, None, None]
    across = np.linspace(-1, 1, width, dtype=np.float32)[None, :, None]
    slope = rng.normal(0, 0.07, 2).astype(np.float32)
    medium = medium * (1 + slope[0] * down + slope[1] * across)
    if rng.random() < (0.3 if kind == "print" else 0.45):
        for _ in range(int(rng.integers(1, 3))):
            y, x = rng.uniform(-1, 1, 2)
            size = rng.uniform(0.08, 0.6, 2)
            far = ((down - y) / size[0]) ** 2 + ((across - x) / size[1]) ** 2
            spot = np.exp(-far) if rng.random() < 0.6 else (far < 1).astype(np.float32)
            medium = medium + rng.uniform(0.05, 0.6) * camera.soft(spot, 1.5)
    return np.asarray(np.clip(medium, 0, 1), np.float32)


def _bent(medium: Floats, rng: Generator) -> Floats:
    """Curl the paper: shift rows or columns, and change their light."""
    if rng.random() < 0.5:
        return medium
    height, width = medium.shape[:2]
    phase, turns = rng.uniform(0, 6), rng.uniform(0.3, 1.2)
    curve = np.cos(np.linspace(0, 2 * math.pi * turns, width) + phase)
    moved = (curve * rng.uniform(0, 0.03) * height).round().astype(int)
    rows = (np.arange(height)[:, None] + moved).clip(0, height - 1)
    bent = medium[rows, np.arange(width)]
    light = 1 + rng.uniform(0, 0.15) * np.gradient(curve) * width / (2 * math.pi * turns)
    bent = bent * light[:, None].astype(np.float32)
    if rng.random() < 0.3:  # a fold
        at = int(rng.integers(0, width))
        bent[:, at:] *= np.float32(rng.uniform(0.88, 1.0))
    return np.asarray(bent.clip(0, 1), np.float32)


def _edged(medium: Floats, kind: str, rng: Generator) -> Floats:
    """Add the edge of the medium: white paper, or a dark bezel with a bright rim."""
    height, width = medium.shape[:2]
    unit = (height + width) / 2
    if kind == "print":
        sides = (rng.uniform(0, 0.14, 4) * (rng.random(4) < 0.75) * unit).astype(int)
        level = np.full(3, rng.uniform(0.7, 1.0)) * rng.uniform(0.94, 1.0, 3)
    else:
        sides = (rng.uniform(0.012, 0.12, 4) * unit).astype(int) + 1
        dark = rng.random() < 0.8
        level = np.full(3, rng.uniform(0.0, 0.15) if dark else rng.uniform(0.5, 0.95))
    top, right, bottom, left = sides.tolist()
    edged = np.empty((height + top + bottom, width + left + right, 3), np.float32)
    edged[:] = level
    edged += np.float32(0.008) * rng.standard_normal(edged.shape, np.float32)
    edged[top : top + height, left : left + width] = medium
    if kind != "print" and rng.random() < 0.5:
        rim = max(1, int(unit * rng.uniform(0.004, 0.02)))
        shine = rng.uniform(0.3, 0.95)
        edged[:rim] = edged[-rim:] = shine
        edged[:, :rim] = edged[:, -rim:] = shine
    return edged


def _placed(framed: Floats, room: Floats, kind: str, rng: Generator) -> Floats:
    """Place the medium in the picture, slightly rotated, sometimes with a hand."""
    height, width = framed.shape[:2]
    space = rng.uniform(1.04, 1.6)
    size = int(width * space), int(height * space)
    ground = camera.image_of(camera.sized(room, *size))
    if rng.random() < 0.5:
        ground = ground.filter(ImageFilter.GaussianBlur(rng.uniform(1, 6)))
    elif rng.random() < 0.5:
        plain = tuple(rng.integers(20, 235, 3).tolist())
        ground = Image.blend(ground, Image.new("RGB", size, plain), rng.uniform(0.7, 1.0))
    left = rng.uniform(0.2, 0.8) * (size[0] - width)
    top = rng.uniform(0.2, 0.8) * (size[1] - height)
    turn = math.radians(rng.normal(0, 4))
    corners = []
    for x, y in ((0, 0), (width, 0), (width, height), (0, height)):
        dx, dy = x - width / 2, y - height / 2
        wobble = rng.normal(0, 0.018, 2) * (width, height)
        corners.append(
            (left + width / 2 + dx * math.cos(turn) - dy * math.sin(turn) + wobble[0],
             top + height / 2 + dx * math.sin(turn) + dy * math.cos(turn) + wobble[1])
        )  # fmt: skip
    data = _perspective(corners, width, height)
    way = Image.Transform.PERSPECTIVE
    item = camera.image_of(framed).transform(size, way, data, Image.Resampling.BICUBIC)
    mask = Image.new("L", (width, height), 255)
    if kind != "print" and rng.random() < 0.5:
        mask = Image.new("L", (width, height), 0)
        radius = int(rng.uniform(0.02, 0.1) * width)
        ImageDraw.Draw(mask).rounded_rectangle((0, 0, width - 1, height - 1), radius, 255)
    mask = mask.transform(size, way, data, Image.Resampling.BILINEAR)
    ground.paste(item, (0, 0), mask)
    if rng.random() < 0.35:
        _finger(ground, corners, rng)
    if rng.random() < 0.6:  # only some edges are visible, as with live faces
        middle = left + width / 2, top + height / 2
        half = rng.uniform(0.4, 0.56, 2)
        ground = ground.crop(
            (
                max(0, int(middle[0] - half[0] * width)),
                max(0, int(middle[1] - half[1] * height)),
                min(size[0], int(middle[0] + half[0] * width)),
                min(size[1], int(middle[1] + half[1] * height)),
            )
        )
    return camera.array_of(ground)


def _finger(scene: Image.Image, corners: list[tuple[float, float]], rng: Generator) -> None:
    """Cover an edge with one or two fingers."""
    mask = Image.new("L", scene.size, 0)
    draw = ImageDraw.Draw(mask)
    wide = scene.width * rng.uniform(0.03, 0.08)
    for _ in range(int(rng.integers(1, 4))):
        side = int(rng.integers(0, 4))
        (x0, y0), (x1, y1) = corners[side], corners[(side + 1) % 4]
        share = rng.uniform(0.1, 0.9)
        x, y = x0 + (x1 - x0) * share, y0 + (y1 - y0) * share
        long = wide * rng.uniform(1, 2.5)
        box = (x - wide, y - long, x + wide, y + long)
        draw.ellipse(box if side % 2 == 0 else (x - long, y - wide, x + long, y + wide), fill=255)
    light = rng.uniform(0.35, 1.0)
    skin = tuple(int(light * c + rng.normal(0, 8)) for c in (230, 180, 150))
    scene.paste(Image.new("RGB", scene.size, skin), (0, 0),
                mask.filter(ImageFilter.GaussianBlur(1.0)))  # fmt: skip


def _from_aside(medium: Floats, rng: Generator, most: float) -> Floats:
    height, width = medium.shape[:2]
    wobble = rng.uniform(-most, most, (4, 2)) * (width, height)
    corners = [
        (x + dx, y + dy)
        for (x, y), (dx, dy) in zip(
            ((0, 0), (width, 0), (width, height), (0, height)), wobble.tolist(), strict=True
        )
    ]
    # Crop the area that the rotated medium does not cover.
    data = _perspective(corners, width, height)
    turned = camera.image_of(medium).transform(
        (width, height), Image.Transform.PERSPECTIVE, data, Image.Resampling.BICUBIC
    )
    x, y = int(most * width) + 1, int(most * height) + 1
    return camera.array_of(turned.crop((x, y, width - x, height - y)))


def _perspective(corners: list[tuple[float, float]], width: int, height: int) -> tuple[float, ...]:
    """Return the eight coefficients that map a width x height picture to `corners`."""
    rows, right = [], []
    places = ((0, 0), (width, 0), (width, height), (0, height))
    for (x, y), (u, v) in zip(corners, places, strict=True):
        rows += [(x, y, 1, 0, 0, 0, -u * x, -u * y), (0, 0, 0, x, y, 1, -v * x, -v * y)]
        right += [u, v]
    return tuple(np.linalg.solve(np.array(rows), np.array(right)).tolist())
