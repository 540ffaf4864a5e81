"""What a camera does to whatever is before it, alive or not.

Pictures here and beside are (height, width, 3) float32, 0 to 1, gamma-encoded as photos are.
"""

import io
import math

import numpy as np
from numpy.random import Generator
from PIL import Image

from edge.types import Floats


def photographed(scene: Floats, rng: Generator) -> Floats:
    """Return the scene as a camera delivers it: lit, out of focus, noisy, sharpened, packed."""
    seen = scene * rng.normal(1, 0.05, 3).clip(0.85, 1.15).astype(np.float32)
    seen = np.clip(seen, 0, 1) ** math.exp(rng.normal(0, 0.15))
    seen = (seen - 0.5) * math.exp(rng.normal(0, 0.12)) + 0.5 + rng.normal(0, 0.03)
    if rng.random() < 0.6:
        seen = soft(seen, rng.uniform(0.2, 1.4))
    if rng.random() < 0.15:
        seen = dragged(seen, rng)
    if rng.random() < 0.6:
        strength = rng.uniform(0, 0.035) * (0.4 + np.sqrt(np.clip(seen, 0, 1)))
        grain = rng.standard_normal(seen.shape[:2], np.float32)[..., None]
        colour = rng.standard_normal(seen.shape, np.float32)
        seen = seen + strength * (0.8 * grain + 0.4 * colour)
    if rng.random() < 0.4:
        seen = seen + rng.uniform(0.3, 1.5) * (seen - soft(seen, rng.uniform(0.6, 1.5)))
    way = rng.random()
    if way < 0.55:
        seen = packed(seen, int(rng.integers(45, 97)))
    elif way < 0.8:  # a webcam's stream
        seen = coded(seen, int(rng.integers(30, 96)))
    return np.clip(seen, 0, 1)


def packed(picture: Floats, quality: int) -> Floats:
    """Return what JPEG leaves of a picture."""
    return _stored(picture, "JPEG", quality=quality)


def coded(picture: Floats, quality: int) -> Floats:
    """Return what a video's codec leaves of a picture: WebP is a key frame of VP8."""
    return _stored(picture, "WEBP", quality=quality, method=0)  # the quickest


def _stored(picture: Floats, form: str, **how: int) -> Floats:
    buffer = io.BytesIO()
    image_of(picture).save(buffer, form, **how)
    with Image.open(buffer) as image:
        return array_of(image.convert("RGB"))


def soft(picture: Floats, radius: float) -> Floats:
    """Blur as a lens does out of focus; `radius` is about a Gaussian's, in pixels."""
    # Twice a box of fractional width, along each axis: near to a Gaussian, and quick.
    width = radius * math.sqrt(6)
    whole = int((width - 1) // 2) if width > 1 else 0
    rest = max(0.0, (width - 2 * whole - 1) / 2) if width > 1 else width / 6
    for axis in (0, 1):
        for _ in range(2):
            picture = _box(picture, axis, whole, rest)
    return picture


def _box(picture: Floats, axis: int, whole: int, rest: float) -> Floats:
    reach = whole + 1
    edge = [(0, 0)] * picture.ndim
    edge[axis] = (reach, reach)
    padded = np.pad(picture, edge, mode="edge")
    length = picture.shape[axis]

    def at(offset: int) -> Floats:
        where = slice(reach + offset, reach + offset + length)
        part: Floats = padded[where] if axis == 0 else padded[:, where]
        return part

    total = at(0) + rest * (at(-reach) + at(reach))
    for offset in range(1, whole + 1):
        total = total + at(offset) + at(-offset)
    return np.asarray(total / (2 * whole + 1 + 2 * rest), np.float32)


def dragged(picture: Floats, rng: Generator) -> Floats:
    """Blur along one direction."""
    length, angle = rng.uniform(2, 8), rng.uniform(0, math.pi)
    total = np.zeros_like(picture)
    steps = int(length) + 1
    for i in range(steps):
        far = length * (i / max(1, steps - 1) - 0.5)
        moved = round(far * math.sin(angle)), round(far * math.cos(angle))
        total += np.roll(picture, moved, (0, 1))
    return np.asarray(total / steps, np.float32)


def image_of(picture: Floats) -> Image.Image:
    """Return a picture for Pillow."""
    return Image.fromarray((np.clip(picture, 0, 1) * 255 + 0.5).astype(np.uint8))


def array_of(image: Image.Image) -> Floats:
    """Return a picture from Pillow."""
    return np.asarray(image, np.float32) / np.float32(255)


def sized(picture: Floats, width: int, height: int, *, smooth: bool = True) -> Floats:
    """Return a picture at another size."""
    way = Image.Resampling.BICUBIC if smooth else Image.Resampling.NEAREST
    return array_of(image_of(picture).resize((width, height), way))
