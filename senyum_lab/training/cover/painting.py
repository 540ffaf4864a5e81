"""Covers for the training, painted on photos of uncovered faces: flat shapes at mesh points.

`scripts/make_problems` paints covers with other shapes and textures for the evaluation; no code is
shared.
"""

import math
import random
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageChops, ImageDraw, ImageFilter

from edge.types import Floats

Points = Floats  # (468, 2), pixels of the photo
Place = tuple[float, float]
Colour = tuple[int, int, int]
# Paints one kind of cover: photo, points of the face, random generator.
Painter = Callable[[Image.Image, Points, random.Random], Image.Image]

# Mesh points; right and left as seen by the person. The outline runs from the forehead along the
# left side and the chin.
OUTLINE = (
    10, 338, 297, 332, 284, 251, 389, 356, 454, 323, 361, 288, 397, 365, 379, 378, 400, 377, 152,
    148, 176, 149, 150, 136, 172, 58, 132, 93, 234, 127, 162, 21, 54, 103, 67, 109,
)  # fmt: skip
_JAW = OUTLINE[9:28]  # from the left cheek under the chin to the right one
_LIPS = (
    61, 185, 40, 39, 37, 0, 267, 269, 270, 409, 291, 375, 321, 405, 314, 17, 84, 181, 91, 146,
)  # fmt: skip
_EYES = ((33, 133, 159, 145), (263, 362, 386, 374))
_BRIDGE, _TIP, _UNDER_NOSE, _CHIN, _FOREHEAD = 6, 4, 2, 152, 10
_CHEEKS = (50, 280)
_MOUTH = (13, 14)
_FINE = 3  # scale of the shapes while drawing, for smooth edges


class _Layer:
    """A shape that is drawn first and then blended with the photo."""

    def __init__(self, photo: Image.Image) -> None:
        self._photo = photo
        self.shape = Image.new("L", (photo.width * _FINE, photo.height * _FINE))
        self._draw = ImageDraw.Draw(self.shape)

    def polygon(self, places: Sequence[Place], level: int = 255) -> None:
        self._draw.polygon([(x * _FINE, y * _FINE) for x, y in places], fill=level)

    def line(self, places: Sequence[Place], width: float, level: int = 255) -> None:
        fine = [(x * _FINE, y * _FINE) for x, y in places]
        self._draw.line(fine, fill=level, width=max(1, round(width * _FINE)), joint="curve")
        reach = width * _FINE / 2
        for x, y in (fine[0], fine[-1]):
            self._draw.ellipse((x - reach, y - reach, x + reach, y + reach), fill=level)

    def lay(
        self, cloth: Image.Image, opacity: float = 1.0, edge: float = 0.5, *, inside: bool = True
    ) -> Image.Image:
        """Return the photo under `cloth` inside the shape (or outside it)."""
        shape = self.shape.resize(self._photo.size, Image.Resampling.BOX)
        shape = shape.filter(ImageFilter.GaussianBlur(edge))
        if not inside:
            shape = ImageChops.invert(shape)
        shape = shape.point([round(v * opacity) for v in range(256)])
        return Image.composite(cloth, self._photo, shape)


def cloth(
    photo: Image.Image, colour: Colour, chance: random.Random, *, plain: bool = False
) -> Image.Image:
    """Return a cloth as large as the photo: shaded as the photo is, woven, sometimes striped."""
    height, width = photo.height, photo.width
    light = np.asarray(photo.convert("L").filter(ImageFilter.GaussianBlur(width / 12)), np.float32)
    shade = (light / max(float(light.mean()), 1.0)) ** chance.uniform(0.1, 0.8)
    numbers = np.random.default_rng(chance.getrandbits(32))
    weave = numbers.normal(0, chance.uniform(0, 9), (height, width))
    if not plain and chance.random() < 0.4:  # stripes or pleats
        y, x = np.mgrid[:height, :width]
        angle, period = chance.uniform(-0.4, 0.4), chance.uniform(0.03, 0.12) * width
        wave = np.sin((x * math.sin(angle) + y * math.cos(angle)) * math.tau / period)
        weave = weave + chance.uniform(4, 40) * wave
    if not plain and chance.random() < 0.2:  # a print that repeats
        y, x = np.mgrid[:height, :width] * (math.tau / (chance.uniform(0.02, 0.07) * width))
        strong = chance.uniform(15, 70)
        weave = weave + strong * np.sign(np.sin(x) + np.sin(y) - chance.uniform(-1, 1))
    if not plain and chance.random() < 0.3:  # blotches
        coarse = numbers.normal(0, chance.uniform(10, 45), (9, 9)).astype(np.float32)
        weave = weave + np.asarray(
            Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)
        )
    pixels = np.array(colour, np.float32) * shade[..., None] + weave[..., None]
    return Image.fromarray(pixels.clip(0, 255).astype(np.uint8))


def any_colour(chance: random.Random) -> Colour:
    """Return a colour; black, white and pale blue often, as masks and cloths are."""
    usual = ((20, 20, 22), (235, 238, 240), (150, 195, 220), (90, 100, 140))
    if chance.random() < 0.5:
        red, green, blue = chance.choice(usual)
        return red, green, blue
    return chance.randint(5, 250), chance.randint(5, 250), chance.randint(5, 250)


def mask(photo: Image.Image, points: Points, chance: random.Random) -> Image.Image:
    """Cover from the nose to the chin."""
    top = _between(points[_BRIDGE], points[_TIP], chance.uniform(0.1, 0.8))
    middle = points.mean(0)
    grow = chance.uniform(0.97, 1.15)
    jaw = [_away(points[i], middle, grow) for i in _JAW]
    drop = chance.uniform(-0.02, 0.12) * _span(points)
    cheeks = [
        _place(_moved(_between(points[i], top, share), 0, drop * (1 - share)))
        for i, share in ((_JAW[-1], 0.3), (_JAW[-1], 0.65), (_JAW[0], 0.65), (_JAW[0], 0.3))
    ]
    layer = _Layer(photo)
    layer.polygon([*jaw, *cheeks[:2], _place(top), *cheeks[2:]])
    if chance.random() < 0.6:  # bands to the ears
        for ear, corner in ((454, jaw[0]), (234, jaw[-1])):
            layer.line([_place(points[ear]), corner], 0.02 * _span(points), 220)
    return layer.lay(cloth(photo, any_colour(chance), chance), chance.uniform(0.92, 1))


def scarf(photo: Image.Image, points: Points, chance: random.Random) -> Image.Image:
    """Cover from the nose or the lips down to the picture's edge."""
    span = _span(points)
    top = _between(points[_BRIDGE], points[_UNDER_NOSE], chance.uniform(0.2, 1.0))
    left, right = points[454] + (span * 0.2, 0), points[234] - (span * 0.2, 0)
    sag = chance.uniform(-0.1, 0.25) * span
    edge = [
        _place(_moved(right, 0, sag)),
        _place(_moved(_between(right, top, 0.6), 0, sag / 3)),
        _place(top),
        _place(_moved(_between(left, top, 0.6), 0, sag / 3)),
        _place(_moved(left, 0, sag)),
    ]
    layer = _Layer(photo)
    bottom = float(photo.height)
    layer.polygon([*edge, (edge[-1][0] + span * 0.2, bottom), (edge[0][0] - span * 0.2, bottom)])
    if chance.random() < 0.35:  # a veil: the forehead, too
        brow = _between(points[_BRIDGE], points[_FOREHEAD], chance.uniform(0.3, 0.8))
        (x, y), over = _place(brow), chance.uniform(0.6, 1.2) * span
        layer.polygon([(x - over, y), (x + over, y), (x + over, 0.0), (x - over, 0.0)])
        width = chance.uniform(0.5, 0.62) * span
        for side in (-1, 1):
            layer.polygon([(x + side * width, 0.0), (x + side * over, 0.0),
                           (x + side * over, bottom), (x + side * width, bottom)])  # fmt: skip
    return layer.lay(cloth(photo, any_colour(chance), chance))


def hand(photo: Image.Image, points: Points, chance: random.Random) -> Image.Image:
    """Lay fingers, and mostly a palm, over the mouth."""
    span = _span(points)
    off = np.array((chance.uniform(-0.06, 0.06), chance.uniform(-0.06, 0.06)), np.float32)
    mouth = points[list(_MOUTH)].mean(0) + off * np.float32(span)
    side = chance.choice((-1, 1))
    lean = chance.uniform(-1.6, 0.9)
    across = np.array((side * math.cos(lean), math.sin(lean)), np.float32)
    down = np.array((-across[1], across[0]), np.float32) * side
    thick = chance.uniform(0.11, 0.17) * span
    fingers, gaps = _Layer(photo), _Layer(photo)
    count = chance.randint(3, 4)
    for i in range(count):
        base = mouth + down * thick * (i - (count - 1) / 2) * 1.03
        tip = base + across * chance.uniform(0.1, 0.45) * span
        root = base - across * chance.uniform(0.35, 0.6) * span
        fingers.line([_place(root), _place(tip)], thick)
        if i:
            gap = down * thick * -0.5
            gaps.line([_place(root + gap), _place(tip + gap)], thick * 0.09, 170)
    if chance.random() < 0.7:
        fingers.line(
            [_place(mouth - across * 0.5 * span), _place(mouth - across * span)], thick * count
        )
    skin = cloth(photo, _skin(photo, points, chance), chance, plain=True)
    pale = np.asarray(skin, np.float32) * chance.uniform(0.8, 1.15)
    painted = fingers.lay(Image.fromarray(pale.clip(0, 255).astype(np.uint8)))
    gaps = _onto(gaps, painted)
    return gaps.lay(Image.new("RGB", photo.size, (40, 25, 20)), 0.7)


def thing(photo: Image.Image, points: Points, chance: random.Random) -> Image.Image:
    """Hold a board, a telephone or a cup before the mouth and more."""
    span = _span(points)
    centre = _moved(points[list(_MOUTH)].mean(0), 0, chance.uniform(-0.05, 0.22) * span)
    wide, high = chance.uniform(0.17, 0.7) * span, chance.uniform(0.22, 0.45) * span
    turn = chance.uniform(-0.5, 0.5)
    right = np.array((math.cos(turn), math.sin(turn)), np.float32) * wide
    up = np.array((math.sin(turn), -math.cos(turn)), np.float32) * high
    layer = _Layer(photo)
    foot = chance.uniform(0.6, 1.1)  # of its width at the top
    layer.polygon(
        [_place(centre + a * (foot if b < 0 else 1) * right + b * up) for a, b in _CORNERS]
    )
    return layer.lay(cloth(photo, any_colour(chance), chance))


_CORNERS = ((-1, -1), (1, -1), (1, 1), (-1, 1))


def sunglasses(photo: Image.Image, points: Points, chance: random.Random) -> Image.Image:
    """Cover the eyes with dark lenses."""
    lenses = _lenses(photo, points, chance)
    level = chance.randint(3, 80)
    dark = cloth(photo, (level, level, level + chance.randint(0, 12)), chance, plain=True)
    painted = lenses.lay(dark, chance.uniform(0.86, 1))
    rims = _onto(_rims(photo, points, chance), painted)
    return rims.lay(Image.new("RGB", photo.size, any_colour(chance)))


def visor(photo: Image.Image, points: Points, chance: random.Random) -> Image.Image:
    """Close a helmet's visor: dark from the forehead to below the eyes, the nose or the chin."""
    span = _span(points)
    end = points[chance.choice((_TIP, _UNDER_NOSE, _CHIN))] + (0, chance.uniform(0, 0.15) * span)
    left, right = points[454] + (span * 0.15, 0), points[234] - (span * 0.15, 0)
    top = points[_FOREHEAD] - (0, chance.uniform(-0.1, 0.3) * span)
    sag = chance.uniform(-0.1, 0.15) * span
    layer = _Layer(photo)
    layer.polygon([
        (float(right[0]), float(top[1])), (float(left[0]), float(top[1])),
        (float(left[0]), float(end[1]) - sag), _place(end), (float(right[0]), float(end[1]) - sag),
    ])  # fmt: skip
    level = chance.randint(3, 90)
    dark = cloth(photo, (level, level, level + chance.randint(0, 20)), chance)
    return layer.lay(dark, chance.uniform(0.88, 1), chance.uniform(0.5, 2))


def glasses(photo: Image.Image, points: Points, chance: random.Random) -> Image.Image:
    """Put on clear glasses: not a cover."""
    lenses = _lenses(photo, points, chance)
    tint = chance.randint(0, 255)
    painted = lenses.lay(Image.new("RGB", photo.size, (tint, tint, tint)), chance.uniform(0, 0.25))
    rims = _onto(_rims(photo, points, chance), painted)
    return rims.lay(Image.new("RGB", photo.size, any_colour(chance)), chance.uniform(0.6, 1))


def beard(photo: Image.Image, points: Points, chance: random.Random) -> Image.Image:
    """Grow a beard, the lips free: not a cover."""
    middle = points.mean(0)
    grow = chance.uniform(0.95, 1.25)
    height = chance.uniform(0.2, 0.9)
    under = points[_UNDER_NOSE]
    layer = _Layer(photo)
    start = int(len(_JAW) * (0.28 - 0.28 * height))
    jaw = [_away(points[i], middle, grow) for i in _JAW[start : len(_JAW) - start]]
    inner = [_place(_between(points[i], under, 0.35)) for i in (132, 361)]
    layer.polygon([*jaw, inner[0], _place(_moved(under, 0, 0.02 * _span(points))), inner[1]])
    layer.polygon([_away(points[i], points[13], 0.95) for i in _LIPS], 0)
    numbers = np.random.default_rng(chance.getrandbits(32))
    hair = np.array(chance.choice(((25, 20, 18), (60, 45, 35), (120, 110, 105), (190, 188, 185))))
    strands = numbers.normal(0, 22, (photo.height, photo.width, 1))
    texture = Image.fromarray((hair + strands).clip(0, 255).astype(np.uint8))
    return layer.lay(texture, chance.uniform(0.4, 0.95), chance.uniform(0.8, 2.5))


def headscarf(photo: Image.Image, points: Points, chance: random.Random) -> Image.Image:
    """Drape a hijab about the face, which stays free: not a cover."""
    middle = points.mean(0)
    grow = chance.uniform(0.93, 1.06)
    layer = _Layer(photo)
    layer.polygon([_away(points[i], middle, grow) for i in OUTLINE])
    around = _Layer(photo)
    span = _span(points)
    x, y = _place(middle)
    arch = [
        (x + 0.75 * span * math.cos(t), y - 0.9 * span * math.sin(t))
        for t in np.linspace(0, math.pi, 20).tolist()
    ]
    bottom = float(photo.height)
    around.polygon([*arch, (x - 1.2 * span, bottom), (x + 1.2 * span, bottom)])
    around.shape = ImageChops.subtract(around.shape, layer.shape)
    return around.lay(cloth(photo, any_colour(chance), chance), 1.0, chance.uniform(0.5, 1.5))


def cap(photo: Image.Image, points: Points, chance: random.Random) -> Image.Image:
    """Put on a cap or an open helmet, down to the brows at most: not a cover."""
    span = _span(points)
    brow = _between(points[_BRIDGE], points[_FOREHEAD], chance.uniform(0.55, 0.95))
    bend = chance.uniform(-0.05, 0.12) * span
    x, y = _place(brow)
    layer = _Layer(photo)
    layer.polygon([
        (x - 0.65 * span, y + bend), (x - 0.3 * span, y + bend / 4), (x, y),
        (x + 0.3 * span, y + bend / 4), (x + 0.65 * span, y + bend), (x + 0.65 * span, y - span),
        (x - 0.65 * span, y - span),
    ])  # fmt: skip
    return layer.lay(cloth(photo, any_colour(chance), chance), 1.0, chance.uniform(0.5, 2))


COVERS: Mapping[str, Painter] = {
    "mask": mask, "scarf": scarf, "hand": hand, "thing": thing, "sunglasses": sunglasses,
    "visor": visor,
}  # fmt: skip
BARE: Mapping[str, Painter] = {
    "glasses": glasses, "beard": beard, "headscarf": headscarf, "cap": cap,
}  # fmt: skip


def _lenses(photo: Image.Image, points: Points, chance: random.Random) -> _Layer:
    layer = _Layer(photo)
    for places in _lens_places(points, random.Random(chance.getrandbits(32))):
        layer.polygon(places)
    return layer


def _rims(photo: Image.Image, points: Points, chance: random.Random) -> _Layer:
    layer = _Layer(photo)
    width = chance.uniform(0.008, 0.035) * _span(points)
    lenses = _lens_places(points, chance)
    for places, ear in zip(lenses, (234, 454), strict=True):
        layer.line([*places, places[0]], width)
        end, above = _place(points[ear])
        side = min(range(len(places)), key=[abs(x - end) for x, _ in places].__getitem__)
        layer.line([places[side], (end, above - 0.05 * _span(points))], width)
    layer.line([_place(np.mean(lens, 0).astype(np.float32)) for lens in lenses], width / 2, 90)
    return layer


def _lens_places(points: Points, chance: random.Random) -> list[list[Place]]:
    span = _span(points)
    wide, high = chance.uniform(0.15, 0.25) * span, chance.uniform(0.09, 0.22) * span
    power = chance.uniform(0.45, 1.0)  # 1: an ellipse; lower: more of a rectangle
    drop = chance.uniform(0, 0.06) * span
    lenses = []
    for eye in _EYES:
        x, y = _place(points[list(eye)].mean(0))
        lenses.append([
            (x + wide * _bulged(math.cos(t), power), y + drop + high * _bulged(math.sin(t), power))
            for t in np.linspace(0, math.tau, 24, endpoint=False).tolist()
        ])  # fmt: skip
    return lenses


def _bulged(value: float, power: float) -> float:
    return math.copysign(abs(value) ** power, value)


def _onto(layer: _Layer, photo: Image.Image) -> _Layer:
    moved = _Layer(photo)
    moved.shape = layer.shape
    return moved


def _skin(photo: Image.Image, points: Points, chance: random.Random) -> Colour:
    x, y = _place(points[chance.choice(_CHEEKS)])
    box = (round(x - 3), round(y - 3), round(x + 3), round(y + 3))
    red, green, blue = np.asarray(photo.crop(box)).reshape(-1, 3).mean(0)
    return int(red), int(green), int(blue)


def _span(points: Points) -> float:
    """Return the face's width."""
    return float(math.dist(points[234].tolist(), points[454].tolist()))


def _place(point: NDArray[np.floating[Any]]) -> Place:
    return float(point[0]), float(point[1])


def _moved(point: NDArray[np.floating[Any]], right: float, down: float) -> NDArray[np.float64]:
    return np.asarray(point + np.array((right, down)), np.float64)


def _between(
    one: NDArray[np.floating[Any]], other: NDArray[np.floating[Any]], share: float
) -> NDArray[np.floating[Any]]:
    return np.asarray(one + (other - one) * np.float32(share))


def _away(
    point: NDArray[np.floating[Any]], centre: NDArray[np.floating[Any]], share: float
) -> Place:
    return _place(_between(centre, point, share))
