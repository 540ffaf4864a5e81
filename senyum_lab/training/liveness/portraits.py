"""Living people before backgrounds of all sorts, in all sorts of light, and attacks made of them.

The photos show little beside the face, and much the same light on both. Without these, bright and
colourful surroundings, curtains and windows in them, a rim of light about a head and a face paler
than what is behind it would be met in attacks alone.
"""

import math
from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
from numpy.random import Generator
from PIL import Image, ImageDraw

from edge.images import from_image
from edge.inference.face_analyzer import FaceAnalyzer
from edge.types import Floats
from senyum_lab.training.liveness import camera, samples
from senyum_lab.training.liveness.backdrops import backdrop, colour
from senyum_lab.training.liveness.samples import (
    LIVE,
    LivenessPhoto,
    LivenessSamples,
    ObservedFace,
    Row,
)

_EVERY = 2  # photos per portrait and attack made of it
_SEED = 47
_MOST_SIDE = 560  # pixels of a photo that is cut out
_TALLEST = 640  # pixels of a portrait
_FLAT = 0.5  # the middle of all levels


class _Face(NamedTuple):
    """Where a face is: the tip of its chin, and how large its mesh is, in pixels."""

    y: float
    x: float
    high: float
    wide: float


def made(
    examiner: FaceAnalyzer, listed: list[LivenessPhoto], numbers: Iterable[int]
) -> LivenessSamples:
    """Return the samples of the portraits of these photos; the same each time."""
    rows: list[Row] = []
    for number in numbers:
        if number % _EVERY == 0:  # those have a room about them already
            continue
        rng = np.random.default_rng((_SEED, number))
        photo = listed[number]
        portrait = composed(examiner, photo.open(), samples.behind(listed, number), rng)
        if portrait is None:
            continue
        once = rng.random() < 0.6
        living = portrait if once else camera.image_of(samples.alive(portrait, rng))
        rows += samples.look(examiner, living, ObservedFace(LIVE, photo.share, once), rng)
        kind = int(rng.choice(samples.ATTACKS))
        room = samples.behind(listed, number + 1)
        attacked = camera.image_of(samples.attack(portrait, kind, room, rng))
        rows += samples.look(
            examiner, attacked, ObservedFace(kind, photo.share, untouched=False), rng
        )
    return samples.gathered(rows)


def composed(
    examiner: FaceAnalyzer, photo: Image.Image, room: Floats, rng: Generator
) -> Image.Image | None:
    """Return the person of the photo before another background; None if it shows no face."""
    photo.thumbnail((_MOST_SIDE, _MOST_SIDE))
    face = _face(examiner, photo)
    if face is None:
        return None
    bare = photo.height - face.y > face.high  # the photo shows a body, too
    person, face = _on_canvas(camera.array_of(photo), face, rng)
    height, width = person.shape[:2]
    matte = _outline((height, width), face, rng)
    if not bare or rng.random() < 0.5:
        person = _dressed(person, face, rng)
    person = _lit(person, matte, face.high, rng)
    ground = backdrop(height, width, room, rng)
    soft = camera.soft(matte, face.high * rng.uniform(0.004, 0.03))
    portrait = _graded(ground * (1 - soft) + person * soft, rng)
    scale = min(math.exp(rng.uniform(math.log(0.7), math.log(2))), _TALLEST / height)
    portrait = camera.sized(portrait, round(width * scale), round(height * scale))
    if rng.random() < 0.8:
        store = camera.packed if rng.random() < 0.6 else camera.coded
        portrait = store(portrait, int(rng.integers(60, 98)))
    return camera.image_of(portrait)


def _face(examiner: FaceAnalyzer, photo: Image.Image) -> _Face | None:
    """Return the largest face."""
    picture = from_image(photo)
    for found in examiner.find(picture):
        looked = examiner.locate(picture, found)
        if looked is not None:
            points = looked[1].points[:, :2]
            (left, top), (right, bottom) = points.min(axis=0).tolist(), points.max(axis=0).tolist()
            return _Face(bottom, (left + right) / 2, max(bottom - top, 8), max(right - left, 8))
    return None


def _on_canvas(photo: Floats, face: _Face, rng: Generator) -> tuple[Floats, _Face]:
    """Return the photo, its edges drawn out, with room about the face, and where that is then."""
    size = (rng.uniform((1.9, 1.8), (3.4, 4.2)) * face.high).astype(int)
    y, x = (rng.uniform((0.5, 0.35), (0.7, 0.65)) * size).tolist()
    starts = face.y - y, face.x - x
    rows, columns = (
        (np.arange(n) + round(start)).clip(0, length - 1)
        for n, start, length in zip(size.tolist(), starts, photo.shape, strict=False)
    )
    return photo[rows[:, None], columns], face._replace(y=y, x=x)


def _outline(size: tuple[int, int], face: _Face, rng: Generator) -> Floats:
    """Return 1 where the head, the neck and the shoulders are, else 0, (height, width, 1)."""
    y, x, high, wide = face
    image = Image.new("L", (size[1], size[0]), 0)
    draw = ImageDraw.Draw(image)
    aside = wide / 2 * rng.uniform(1.05, 1.3)  # ears and hair; at times some of what was behind
    above = high * rng.uniform(1.2, 1.45)
    draw.ellipse((x - aside, y - above, x + aside, y + 0.08 * high), fill=255)
    neck = wide / 2 * rng.uniform(0.65, 0.85)
    draw.rectangle((x - neck, y - 0.4 * high, x + neck, y + 0.8 * high), fill=255)
    half, top = wide * rng.uniform(1.2, 1.8), y + high * rng.uniform(0.12, 0.3)
    draw.ellipse((x - half, top, x + half, top + 2.4 * high), fill=255)
    draw.rectangle((x - half, top + 1.2 * high, x + half, top + 6 * high), fill=255)
    return camera.array_of(image)[..., None]


def _dressed(person: Floats, face: _Face, rng: Generator) -> Floats:
    """Put clothes on: below the chin most photos end."""
    y, x, high, wide = face
    height, width = person.shape[:2]
    cloth = np.broadcast_to(colour(rng) * rng.uniform(0.1, 1), (height, width, 3))
    picture = camera.image_of(cloth * (1 + 0.04 * rng.standard_normal((height, width, 1))))
    draw = ImageDraw.Draw(picture)
    collar, open_to = wide * rng.uniform(0.25, 0.45), y + high * rng.uniform(0.5, 1.3)
    neckline = [(x - collar, y + 0.1 * high), (x + collar, y + 0.1 * high), (x, open_to)]
    shirt = rng.random() < 0.6
    if shirt:
        draw.polygon(neckline, tuple(rng.integers(150, 256, 3).tolist()))
        if rng.random() < 0.6:  # a tie
            tie = wide * rng.uniform(0.05, 0.12)
            ends = [(x - tie, y + 0.3 * high), (x + tie, y + 0.3 * high), (x, y + 2 * high)]
            draw.polygon(ends, tuple((255 * colour(rng)).astype(int).tolist()))
    mask = Image.new("L", (width, height), 0)
    cut = ImageDraw.Draw(mask)
    cut.rectangle((0, y + 0.18 * high, width, y + 6 * high), fill=255)
    throat = neckline if not shirt else [(px, min(py, y + 0.35 * high)) for px, py in neckline]
    cut.polygon(throat, fill=0)
    share = camera.soft(camera.array_of(mask)[..., None], max(0.5, high * 0.006))
    clothes = camera.soft(camera.array_of(picture), max(0.4, high * rng.uniform(0.003, 0.012)))
    return np.asarray(person * (1 - share) + clothes * share, np.float32)


def _lit(person: Floats, matte: Floats, high: float, rng: Generator) -> Floats:
    """Light the person: warm or cool, hard or flat, from a side, from behind; skin retouched."""
    if rng.random() < 0.15:
        share = rng.uniform(0.2, 0.6)
        person = person * (1 - share) + camera.soft(person, high * 0.012) * share
    warm = rng.normal(-0.02, 0.08)  # the white of a flash or of daylight is a cool one
    tint = np.array((1 + warm, 1 + rng.normal(0, 0.03), 1 - warm), np.float32)
    mean = float(person.mean())
    lit = (person - mean) * math.exp(rng.normal(-0.1, 0.22)) + mean * math.exp(rng.normal(0, 0.2))
    across = np.linspace(-1, 1, person.shape[1], dtype=np.float32)[None, :, None]
    lit = lit * tint * (1 + rng.normal(0, 0.2) * across)
    if rng.random() < 0.4:  # from behind: a bright rim at one side
        off = max(1, round(high * rng.uniform(0.01, 0.04)))
        side = (int(rng.integers(0, 2)) * off, int(rng.choice((-off, off))))
        rim = np.clip(matte - np.roll(matte, side, (0, 1)), 0, 1)
        lit = lit + rng.uniform(0.1, 0.6) * camera.soft(rim, max(0.6, off / 3)) * tint[::-1]
    return np.asarray(np.clip(lit, 0, 1), np.float32)


def _graded(portrait: Floats, rng: Generator) -> Floats:
    """Finish a portrait as cameras and studios do: colours, contrast, dark corners."""
    height, width = portrait.shape[:2]
    grey = portrait.mean(2, keepdims=True)
    graded = grey + (portrait - grey) * math.exp(rng.normal(0, 0.2))
    if rng.random() < 0.05:
        graded = np.repeat(grey, 3, axis=2)
    warm = rng.normal(0, 0.04)
    graded = graded * np.array((1 + warm, 1, 1 - warm), np.float32)
    graded = (graded - _FLAT) * math.exp(rng.normal(0, 0.15)) + _FLAT + rng.normal(0, 0.04)
    if rng.random() < 0.3:
        down = np.linspace(-1, 1, height, dtype=np.float32)[:, None, None]
        across = np.linspace(-1, 1, width, dtype=np.float32)[None, :, None]
        graded = graded * (1 - rng.uniform(0.1, 0.6) * (down**2 + across**2) / 2)
    return np.asarray(np.clip(graded, 0, 1), np.float32)
