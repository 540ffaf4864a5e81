"""What is behind a person in a portrait: painted, draped, a wall with things, a room far away.

The ranges are wide: no single background may be a sign of life, and none one of an attack.
"""

import colorsys
import math

import numpy as np
from numpy.random import Generator
from PIL import Image, ImageDraw, ImageFilter

from edge.types import Floats
from senyum_lab.training.liveness import camera
from senyum_lab.training.liveness.recapture import waves

_SOFTEST = 0.06  # of the height: a lens wide open


def backdrop(height: int, width: int, room: Floats, rng: Generator) -> Floats:
    """Return a background of that size, in focus or not; `room` is a picture to make one of."""
    way = rng.random()
    if way < 0.15:
        ground = _painted(height, width, rng)
    elif way < 0.45:
        ground = _draped(height, width, rng)
    elif way < 0.65:
        ground = _wall(height, width, rng)
    else:
        ground = _distant(height, width, room, rng)
    if rng.random() < 0.5:
        radius = height * math.exp(rng.uniform(math.log(0.003), math.log(_SOFTEST)))
        blur = ImageFilter.GaussianBlur(radius)
        ground = camera.array_of(camera.image_of(ground).filter(blur))
    return np.asarray(ground, np.float32)


def colour(rng: Generator) -> Floats:
    """Return any colour, as often strong as pale."""
    hue, full, bright = rng.random(), rng.random(), rng.uniform(0.05, 1.0)
    return np.array(colorsys.hsv_to_rgb(hue, full, bright), np.float32)


def _painted(height: int, width: int, rng: Generator) -> Floats:
    """Return paper or muslin: from one colour to another, a spot of light, mottled."""
    down = np.linspace(-1, 1, height, dtype=np.float32)[:, None, None]
    across = np.linspace(-1, 1, width, dtype=np.float32)[None, :, None]
    one = colour(rng)
    other = colour(rng) if rng.random() < 0.3 else one * np.float32(rng.uniform(0.2, 1.2))
    angle = rng.uniform(0, 2 * math.pi)
    share = 0.5 + 0.5 * np.clip(down * math.sin(angle) + across * math.cos(angle), -1, 1)
    ground = one * (1 - share) + other * share
    y, x = rng.uniform(-0.6, 0.6, 2)
    far = (down - y) ** 2 + (across - x) ** 2
    ground = ground * (1 + rng.uniform(-0.3, 0.8) * np.exp(-far / rng.uniform(0.1, 1.0)))
    if rng.random() < 0.5:
        cells = rng.integers(3, 14, 2)
        mottle = camera.sized(rng.random((*cells.tolist(), 3), np.float32), width, height)
        ground = ground * (1 + rng.uniform(0.1, 0.6) * (mottle.mean(2, keepdims=True) - 0.5))
    return np.asarray(np.clip(ground, 0, 1), np.float32)


def _draped(height: int, width: int, rng: Generator) -> Floats:
    """Return curtains: folds of one colour, often parted or hung over those of another."""
    ground = _folds(height, width, rng)
    for _ in range(int(rng.integers(0, 3))):
        down = np.linspace(0, 1, height)[:, None]
        across = np.linspace(0, 1, width)[None]
        if rng.random() < 0.5:  # from above
            edge = rng.uniform(0, 0.7) + rng.uniform(0, 0.3) * np.cos(
                across * rng.uniform(2, 12) + rng.uniform(0, 6)
            )
            over = down < edge
        else:  # from a side
            edge = rng.uniform(0.1, 0.9) + rng.uniform(0, 0.15) * np.cos(
                down * rng.uniform(1, 6) + rng.uniform(0, 6)
            )
            over = (across < edge) if rng.random() < 0.5 else (across > edge)
        ground = np.where(over[..., None], _folds(height, width, rng), ground)
    return ground


def _folds(height: int, width: int, rng: Generator) -> Floats:
    period = width * rng.uniform(0.03, 0.25)
    angle = rng.normal(0, 0.12)
    wave = waves(height, width, period, angle, rng.uniform(0, 6))
    other = period * rng.uniform(0.4, 2.5), angle + rng.normal(0, 0.05), rng.uniform(0, 6)
    wave = wave + rng.uniform(0, 0.7) * waves(height, width, *other)
    shade = 1 + rng.uniform(0.1, 0.5) * np.clip(wave, -1, 1)
    return np.asarray(np.clip(colour(rng) * shade[..., None], 0, 1), np.float32)


def _wall(height: int, width: int, rng: Generator) -> Floats:
    """Return a wall with windows, doors, shelves, pictures: long straight lines behind a face."""
    picture = camera.image_of(_painted(height, width, rng))
    draw = ImageDraw.Draw(picture)
    for _ in range(int(rng.integers(1, 9))):
        x, y = rng.uniform(-0.3, 1, 2) * (width, height)
        wide, high = rng.uniform(0.04, 0.7, 2) * (width, height)
        if rng.random() < 0.5:  # as long as the picture
            if rng.random() < 0.6:
                y, high = 0, height
            else:
                x, wide = 0, width
        inside, line = (tuple((255 * colour(rng)).astype(int).tolist()) for _ in range(2))
        draw.rectangle((x, y, x + wide, y + high), inside, line, int(rng.integers(0, 6)))
    turned = picture.rotate(rng.normal(0, 1.5), Image.Resampling.BILINEAR)
    zoomed = turned.resize((width, height), box=_part(turned, 0.92, rng))
    return camera.array_of(zoomed)


def _distant(height: int, width: int, room: Floats, rng: Generator) -> Floats:
    """Return a room, in stronger or paler colours: no face in it may be found."""
    if rng.random() < 0.5:  # much of it, on its side, with its mirror image all around
        turned = np.rot90(room, int(rng.choice((1, 3))))
        most = height * rng.uniform(0.2, 0.45)
        tile = camera.sized(turned, int(most), int(most))
        again = np.concatenate((tile, tile[:, ::-1]), 1)
        again = np.concatenate((again, again[::-1]), 0)
        down, across = np.arange(height)[:, None], np.arange(width)
        start = rng.integers(0, again.shape[:2])
        ground = again[(down + start[0]) % len(again), (across + start[1]) % again.shape[1]]
    else:  # too small a part for a face
        picture = camera.image_of(room)
        part = picture.resize((width, height), box=_part(picture, rng.uniform(0.25, 0.6), rng))
        ground = camera.array_of(part)
    grey = ground.mean(2, keepdims=True)
    ground = grey + (ground - grey) * math.exp(rng.normal(0.2, 0.4))
    return np.asarray(np.clip(ground * math.exp(rng.normal(0, 0.3)), 0, 1), np.float32)


def _part(picture: Image.Image, share: float, rng: Generator) -> tuple[float, float, float, float]:
    left, top = (rng.uniform(0, 1 - share, 2) * picture.size).tolist()
    return left, top, left + share * picture.width, top + share * picture.height
