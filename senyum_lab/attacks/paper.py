"""Prints for the evaluation: dots of ink on a sheet with margins and creases.

Written apart from what the network is trained with, and to other formulas: dots are cells of a
turned lattice or come of error diffusion, at the resolution of a printer, not of the camera.
"""

import math
from random import Random

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageChops, ImageDraw, ImageEnhance, ImageFilter, ImageOps

_ANGLES = (15.0, 75.0, 0.0, 45.0)  # of cyan, magenta, yellow and black


def printed(photo: Image.Image, random: Random) -> Image.Image:
    """Return a sheet of paper with the photo, with three to six dots per pixel of the camera."""
    way = random.choice((_rosette, _diffused, _newsprint, _inkjet, _laboratory))
    picture = ImageEnhance.Color(photo).enhance(random.uniform(0.6, 1.05))
    picture = ImageEnhance.Contrast(picture).enhance(random.uniform(0.75, 1.1))
    return _sheet(_toned(way(picture, random), random), random)


def _inks(picture: Image.Image) -> list[Image.Image]:
    """Return cyan, magenta, yellow and black, 255 for full ink, half of the grey taken as black."""
    cyan, magenta, yellow = (ImageOps.invert(plane) for plane in picture.split())
    grey = ImageChops.darker(ImageChops.darker(cyan, magenta), yellow)
    black = grey.point([round(level * 0.5) for level in range(256)])
    return [*(ImageChops.subtract(ink, black) for ink in (cyan, magenta, yellow)), black]


def _paper(inks: list[Image.Image]) -> Image.Image:
    light = [
        ImageChops.multiply(ImageOps.invert(ink), ImageOps.invert(inks[3])) for ink in inks[:3]
    ]
    return Image.merge("RGB", light)


def _lattice(ink: Image.Image, cell: float, degrees: float) -> Image.Image:
    """Return round dots, one per cell, whose size depends on the ink at their centre."""
    turn = math.radians(degrees)
    y, x = np.mgrid[0 : ink.height, 0 : ink.width]
    u = (x * math.cos(turn) + y * math.sin(turn)) / cell
    v = (y * math.cos(turn) - x * math.sin(turn)) / cell
    far = np.hypot(u - np.floor(u) - 0.5, v - np.floor(v) - 0.5)
    reach = np.sqrt(np.asarray(ink, np.float64) / 255 / math.pi) * 1.25
    return Image.fromarray(((far < reach) * 255).astype(np.uint8))


def _rosette(picture: Image.Image, random: Random) -> Image.Image:
    finer = random.choice((2, 3))
    large = picture.resize(
        (picture.width * finer, picture.height * finer), Image.Resampling.LANCZOS
    )
    cell = finer * random.uniform(1.9, 4.5)
    dots = [_lattice(ink, cell, a) for ink, a in zip(_inks(large), _ANGLES, strict=True)]
    return _paper(dots).resize(picture.size, Image.Resampling.BOX)


def _newsprint(picture: Image.Image, random: Random) -> Image.Image:
    finer, cell = 3, 3 * random.uniform(2.2, 4.0)
    grey = ImageOps.invert(picture.convert("L"))
    large = grey.resize((picture.width * finer, picture.height * finer), Image.Resampling.BICUBIC)
    dots = ImageOps.invert(_lattice(large, cell, 45)).resize(picture.size, Image.Resampling.BOX)
    return dots.convert("RGB")


def _diffused(picture: Image.Image, random: Random) -> Image.Image:
    """Return each ink after Floyd-Steinberg error diffusion."""
    finer = random.choice((1.0, 1.5, 2.0, 3.0))
    size = round(picture.width * finer), round(picture.height * finer)
    inks = [ink.resize(size).convert("1").convert("L") for ink in _inks(picture)]
    return _paper(inks).resize(picture.size, Image.Resampling.BOX)


def _inkjet(picture: Image.Image, random: Random) -> Image.Image:
    """Return diffused inks with the slightly shifted passes of the print head."""
    sheet = np.asarray(_diffused(picture, random), np.int16).copy()
    tall = random.randint(4, 11)
    for top in range(0, sheet.shape[0], tall):
        sheet[top : top + tall] = np.roll(sheet[top : top + tall], random.choice((0, 0, 1)), axis=1)
        sheet[top : top + 1] += random.randint(4, 22)
    return Image.fromarray(sheet.clip(0, 255).astype(np.uint8))


def _laboratory(picture: Image.Image, random: Random) -> Image.Image:
    """Return a print on photographic paper: no dots, soft, with or without texture."""
    soft = picture.filter(ImageFilter.GaussianBlur(random.uniform(0.3, 0.9)))
    if random.random() < 0.5:
        return soft
    y, x = np.mgrid[0 : soft.height, 0 : soft.width]
    weave = ((x + y) % 4 < 2) ^ ((x - y) % 4 < 2)
    levels = np.asarray(soft, np.float64) * (
        1 + random.uniform(0.02, 0.06) * (weave[..., None] - 0.5)
    )
    return Image.fromarray(levels.clip(0, 255).astype(np.uint8))


def _toned(sheet: Image.Image, random: Random) -> Image.Image:
    """Return the sheet with ink that is not black on paper that is not white."""
    tints = (1.0, random.uniform(0.96, 1.0), random.uniform(0.88, 1.0))
    white = random.uniform(195, 250)
    ends = [(random.uniform(12, 48), white * tint) for tint in tints]
    planes = [
        plane.point([round(dark + (light - dark) * level / 255) for level in range(256)])
        for plane, (dark, light) in zip(sheet.split(), ends, strict=True)
    ]
    return Image.merge("RGB", planes)


def _sheet(picture: Image.Image, random: Random) -> Image.Image:
    """Return the picture on a sheet with margins, creases and the shade of a bend."""
    if random.random() < 0.65:
        margin = round(picture.width * random.uniform(0.03, 0.16))
        white = tuple(random.randint(205, 250) for _ in range(3))
        sheet = ImageOps.expand(picture, margin, white)
        if random.random() < 0.3:
            ImageDraw.Draw(sheet).rectangle(
                (margin - 1, margin - 1, sheet.width - margin, sheet.height - margin),
                outline=(40, 40, 40),
            )
        picture = sheet
    levels = np.asarray(picture, np.float64) * _shade(picture.width, picture.height, random)
    return Image.fromarray(levels.clip(0, 255).astype(np.uint8))


def _shade(width: int, height: int, random: Random) -> NDArray[np.float64]:
    """Return the light on a sheet: flat faces between a few creases, or one smooth roll."""
    y, x = np.mgrid[0:height, 0:width]
    light = np.ones((height, width))
    if random.random() < 0.5:
        for _ in range(random.randint(1, 4)):
            turn, off = random.uniform(0, math.tau), random.uniform(-0.3, 0.3)
            side = (x / width - 0.5) * math.cos(turn) + (y / height - 0.5) * math.sin(turn) > off
            light *= np.where(side, 1.0, random.uniform(0.85, 0.99))
    else:
        where = (x / width - random.uniform(0.2, 0.8)) * random.choice((-1, 1))
        light += random.uniform(0, 0.25) * (np.exp(-(where**2) * 6) - 0.5)
    return light[..., None]
