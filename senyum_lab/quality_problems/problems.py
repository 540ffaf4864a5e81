"""Covers, little light and backlight for the evaluation, drawn in the coordinates of the face.

Nothing is shared with the covers of the training (`senyum_lab/training/cover/painting.py`): other
shapes, other textures, another way to draw.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from edge.inference.align import landmarks_to_five_points
from edge.inference.landmarks import Mesh

Field = NDArray[np.float64]
Numbers = np.random.Generator
_CHIN, _BROW_MIDDLE = 152, 9


@dataclass(frozen=True, slots=True, eq=False)
class Ground:
    """A photo in the coordinates of its face.

    The origin is between the eyes, x points towards the left eye of the person and y down. The unit
    is the distance between the eyes; `pixel` is one pixel in this unit.
    """

    photo: Field  # (height, width, 3), 0 to 255
    x: Field
    y: Field
    pixel: float
    nose: float  # y of the tip of the nose; likewise mouth and chin
    mouth: float
    chin: float
    skin: Field  # (3,), between the brows

    @classmethod
    def of(cls, photo: NDArray[np.uint8], mesh: Mesh) -> Self:
        right, left, nose, mouth_right, mouth_left = landmarks_to_five_points(mesh).astype(
            np.float64
        )
        middle, arm = (right + left) / 2, left - right
        unit = max(float(np.hypot(*arm)), 1.0)
        across = arm / unit
        down = np.array((-across[1], across[0]))
        grid = np.mgrid[: photo.shape[0], : photo.shape[1]]
        rows, columns = np.asarray(grid, np.float64) + 0.5
        about = np.stack((columns, rows), -1) - middle
        brow = mesh.points[_BROW_MIDDLE, :2].round().astype(int)
        column, row = (int(v) for v in np.clip(brow, 2, (photo.shape[1] - 3, photo.shape[0] - 3)))

        def depth(point: Field) -> float:
            return float((point - middle) @ down) / unit

        return cls(
            photo=photo.astype(np.float64),
            x=about @ across / unit,
            y=about @ down / unit,
            pixel=1 / unit,
            nose=depth(nose),
            mouth=depth((mouth_right + mouth_left) / 2),
            chin=depth(mesh.points[_CHIN, :2].astype(np.float64)),
            skin=photo[row - 2 : row + 3, column - 2 : column + 3].reshape(-1, 3).mean(0),
        )

    def lay(self, distance: Field, colour: Field, opacity: float | Field = 1.0) -> "Ground":
        """Return the ground with `colour` painted where `distance` (in units) is below 0."""
        inside = np.clip(0.5 - distance / (1.6 * self.pixel), 0, 1)
        share = np.asarray(inside * opacity, np.float64)[..., None]
        photo = np.asarray(self.photo * (1 - share) + colour * share, np.float64)
        return Ground(
            photo, self.x, self.y, self.pixel, self.nose, self.mouth, self.chin, self.skin
        )


Painter = Callable[[Ground, Numbers], Ground]


def surgical(g: Ground, n: Numbers) -> Ground:
    """Put on a pleated mask with loops about the ears."""
    top = g.nose - n.uniform(0.1, 0.35) + n.uniform(0.1, 0.3) * np.abs(g.x) ** 1.5
    low = g.chin + n.uniform(-0.05, 0.2) - 0.35 * g.x**2
    wide = n.uniform(0.85, 1.05) - 0.12 * np.clip(g.y - g.mouth, 0, 1)
    shape = np.maximum(np.maximum(top - g.y, g.y - low), np.abs(g.x) - wide)
    pleats = np.mod((g.y - g.nose) * n.uniform(3, 5), 1) ** 3
    base = _pick(
        n, ((205, 225, 215), (245, 245, 245), (165, 200, 225), (240, 190, 205), (35, 35, 40))
    )
    colour = base * (1 - 0.2 * g.x[..., None] ** 2) * (1 - 0.25 * pleats[..., None])
    loop = np.abs(np.hypot(np.abs(g.x) - 1.0, (g.y - 0.55) / 1.3) - 0.35) - 0.018
    loop = np.where(np.abs(g.x) < wide, 1.0, loop)
    return g.lay(loop, _flat(235)).lay(shape, colour)


def respirator(g: Ground, n: Numbers) -> Ground:
    """Put on a moulded cup with bands and perhaps a valve."""
    high = (g.chin - g.nose) / 2 + n.uniform(0.2, 0.35)
    middle = (g.chin + g.nose) / 2 - 0.05
    radius = np.hypot(g.x / n.uniform(0.72, 0.9), (g.y - middle) / high)
    base = _pick(n, ((238, 238, 232), (200, 200, 198), (60, 62, 66)))
    colour = base * (1.08 - 0.4 * radius[..., None] ** 2)
    bands = np.minimum(np.abs(g.y - 0.35 - 0.1 * g.x), np.abs(g.y - g.mouth)) - 0.03
    bands = np.where(np.abs(g.x) > 0.6, bands, 1.0)
    out = g.lay(bands, _pick(n, ((235, 235, 230), (250, 210, 60)))).lay((radius - 1) * 0.7, colour)
    if n.random() < 0.4:
        valve = np.hypot(g.x - 0.3, g.y - g.mouth) - 0.14
        out = out.lay(valve, _flat(150) + 60 * (np.mod(g.y * 14, 1) > 0.5)[..., None])
    return out


def printed(g: Ground, n: Numbers) -> Ground:
    """Put on a cloth mask with checks, dots or leaves."""
    top = g.nose - n.uniform(0.05, 0.4) * np.exp(-(g.x**2) * 4)
    low = g.chin + 0.08 - 0.5 * np.abs(g.x) ** 3
    shape = np.maximum(np.maximum(top - g.y, g.y - low), np.abs(g.x) - 0.95)
    one, other = n.uniform(0, 255, 3), n.uniform(0, 255, 3)
    scale = n.uniform(4, 11)
    kind = n.integers(3)
    if kind == 0:
        share = (np.mod(g.x * scale, 1) > 0.5) ^ (np.mod(g.y * scale, 1) > 0.5)
    elif kind == 1:
        share = np.hypot(np.mod(g.x * scale, 1) - 0.5, np.mod(g.y * scale, 1) - 0.5) < 0.3
    else:
        share = np.sin(g.x * scale * 3 + np.cos(g.y * scale * 2) * 2) > n.uniform(-0.4, 0.4)
    colour = np.where(share[..., None], one, other) * (1 - 0.25 * g.x[..., None] ** 2)
    return g.lay(shape, colour)


def hand(g: Ground, n: Numbers) -> Ground:
    """Lay a hand from below or from one side, its fingers round, over the mouth."""
    angle = n.uniform(-0.5, 0.5) + n.choice((0, 0.6, -0.6))
    x = g.x * math.cos(angle) + (g.y - g.mouth) * math.sin(angle)
    y = -g.x * math.sin(angle) + (g.y - g.mouth) * math.cos(angle)
    thick = n.uniform(0.13, 0.18)
    out = g
    tone = g.skin * n.uniform(0.75, 1.1)
    palm = np.hypot(x / 0.62, (y - 0.75) / 0.65) - 1
    out = out.lay(palm * 0.6, tone * (1 - 0.2 * np.clip(palm + 1, 0, 1))[..., None])
    for i in range(4):
        at = (i - 1.5) * 2.05 * thick + n.uniform(-0.02, 0.02)
        tip = -n.uniform(0.25, 0.5)
        along = np.clip(y, tip, 0.8)
        distance = np.hypot(x - at, y - along)
        round_ = np.sqrt(np.clip(1 - (distance / thick) ** 2, 0.05, 1))
        out = out.lay(distance - thick, tone * (0.55 + 0.45 * round_)[..., None])
        nail = np.hypot((x - at) / 0.55, (y - tip) / 0.8) - thick * 0.8
        out = out.lay(nail, np.clip(tone * 1.12 + 8, 0, 255), 0.5)
    return out


def shawl(g: Ground, n: Numbers) -> Ground:
    """Wrap in a knitted shawl or a veil, its edge in folds, from the nose down."""
    edge = g.nose - n.uniform(-0.1, 0.45) + n.uniform(0.03, 0.1) * np.sin(g.x * n.uniform(2, 6) + 1)
    base = n.uniform(15, 240, 3)
    folds = 0.8 + 0.2 * np.sin(g.y * n.uniform(4, 12) + 1.5 * np.sin(g.x * 2))
    knit = 1 + n.uniform(0, 0.25) * np.sin(g.x * 60) * np.sin(g.y * 45)
    return g.lay(np.maximum(edge - g.y, np.abs(g.x) - 1.9), base * (folds * knit)[..., None])


def slit(g: Ground, n: Numbers) -> Ground:
    """Put on a veil that leaves a slit for the eyes."""
    slot = np.maximum(np.abs(g.y - 0.02) - n.uniform(0.28, 0.42), np.abs(g.x) - 1.0)
    level = _pick(n, ((18, 18, 20), (60, 45, 70), (30, 50, 80), (225, 220, 210)))
    folds = 0.85 + 0.15 * np.sin(g.x * n.uniform(5, 12) + g.y)
    body = np.hypot(g.x / 1.5, (g.y - 1.2) / 2.6) - 1
    return g.lay(np.maximum(body, -slot), level * folds[..., None])


def shades(g: Ground, n: Numbers) -> Ground:
    """Put on dark glasses: drops, slabs, rounds or one wrapped band, with glints."""
    kind = int(n.integers(4))
    lens: Field
    x, y = _abs(g.x) - 0.52, g.y - n.uniform(0, 0.1)
    if kind == 0:
        lens = _length(x / 0.42, y / (0.36 - 0.1 * x)) - 1
    elif kind == 1:
        lens = _larger(_abs(x) / (0.42 - 0.1 * y), _abs(y) / n.uniform(0.22, 0.34)) - 1
    elif kind == 2:
        lens = _length(x, y) / n.uniform(0.3, 0.4) - 1
    else:
        lens = _larger(_abs(g.x) / 1.1, _abs(y + 0.1 * g.x**2) / n.uniform(0.22, 0.32)) - 1
    top, low = n.uniform(4, 40), n.uniform(4, 75)
    level = top + (low - top) * np.clip((y + 0.3) / 0.6, 0, 1)
    glint = 70 * n.random() * (_abs(x - y + n.uniform(-0.3, 0.3)) < 0.05)
    out = g.lay(lens * 0.3, (level + glint)[..., None] * np.array((1, 1, 1.1)), n.uniform(0.88, 1))
    frame = np.minimum(_abs(lens) * 0.35, np.where(_abs(g.x) > 0.85, _abs(y + 0.12), 1))
    return out.lay(frame - n.uniform(0.01, 0.05), n.uniform(0, 200, 3))


def helmet(g: Ground, n: Numbers) -> Ground:
    """Put on a helmet with its tinted visor down."""
    shell = _length(g.x / 1.45, (g.y - 0.4) / 2.1) - 1
    hole = _larger(_abs(g.x) / 1.15, _abs(g.y - 0.25) / n.uniform(0.65, 0.95)) - 1
    out = g.lay(_larger(shell, -hole), n.uniform(0, 255, 3) * (1.1 - 0.4 * _abs(g.x))[..., None])
    sky = n.uniform(10, 70) + n.uniform(0, 90) * np.clip(0.3 - g.y, 0, 1)
    streak = n.uniform(0, 60) * (np.mod(g.x * 0.8 + g.y * 0.5 + n.random(), 1) < 0.12)
    tint = np.array((1, n.uniform(0.8, 1.1), n.uniform(0.8, 1.3)))
    return out.lay(hole, (sky + streak)[..., None] * tint, n.uniform(0.88, 1))


def cup(g: Ground, n: Numbers) -> Ground:
    """Drink from a cup."""
    x = g.x - n.uniform(-0.1, 0.1)
    wide = n.uniform(0.42, 0.6) - 0.08 * (g.y - g.mouth)
    body = np.maximum(np.abs(x) - wide, np.abs(g.y - g.mouth - 0.35) - n.uniform(0.5, 0.6))
    base = _pick(n, ((245, 244, 240), (150, 90, 50), (200, 30, 40), (40, 90, 60), (30, 30, 30)))
    return g.lay(body, base * (1.05 - 0.6 * (x[..., None] / 0.6) ** 2))


def spectacles(g: Ground, n: Numbers) -> Ground:
    """Put on clear glasses with thick rims and a little glare."""
    x, y = np.abs(g.x) - 0.53, g.y - n.uniform(0, 0.08)
    lens = np.maximum(np.abs(x) / 0.4, np.abs(y) / n.uniform(0.22, 0.36)) - 1
    if n.random() < 0.5:
        lens = np.hypot(x / 0.4, y / n.uniform(0.28, 0.38)) - 1
    glare = np.clip(1 - np.abs(x + y - n.uniform(-0.3, 0.3)) / 0.12, 0, 1) * n.uniform(0, 0.35)
    out = g.lay(lens * 0.35, _flat(250), glare)
    frame = np.minimum(np.abs(lens) * 0.35, np.where(np.abs(g.x) < 0.14, np.abs(y + 0.05), 1))
    frame = np.minimum(frame, np.where(np.abs(g.x) > 0.92, np.abs(y + 0.1), 1))
    return out.lay(frame - n.uniform(0.015, 0.05), n.uniform(0, 220, 3))


def beard(g: Ground, n: Numbers) -> Ground:
    """Grow a beard of strands, the lips free."""
    low = g.chin + n.uniform(0.0, 0.4)
    top = g.nose + 0.2 - 0.35 * np.clip(np.abs(g.x) - 0.4, 0, 1)
    shape = np.maximum(np.maximum(top - g.y, g.y - low + 0.3 * g.x**2), np.abs(g.x) - 0.95)
    lips = 1 - np.hypot(g.x / 0.4, (g.y - g.mouth) / 0.15)
    level = _pick(n, ((30, 25, 22), (75, 55, 40), (150, 145, 140), (20, 20, 20), (165, 110, 60)))
    strands = np.sin(g.x * n.uniform(40, 70) + np.sin(g.y * 9) * 2) * 0.25 + 0.95
    grain = n.normal(1, 0.18, g.x.shape)
    return g.lay(
        np.maximum(shape, lips * 0.2), level * (strands * grain)[..., None], n.uniform(0.5, 0.95)
    )


def hijab(g: Ground, n: Numbers) -> Ground:
    """Drape a head scarf in folds about a free face."""
    face = np.hypot(g.x / n.uniform(0.98, 1.12), (g.y - 0.45) / ((g.chin + 1.0) / 2 + 0.02)) - 1
    head = np.hypot(g.x / 1.5, (g.y - 0.4) / 2.0) - 1
    chest = np.maximum(g.chin - 0.2 - g.y, np.abs(g.x) - 1.3 - 0.5 * (g.y - g.chin))
    folds = 0.85 + 0.15 * np.sin(np.arctan2(g.y - g.chin, g.x) * n.uniform(6, 14))
    colour = n.uniform(15, 245, 3) * folds[..., None]
    return g.lay(np.maximum(np.minimum(head, chest), -face), colour)


def brim(g: Ground, n: Numbers) -> Ground:
    """Put on a cap or an open helmet above the brows, with its shadow."""
    line = -n.uniform(0.45, 0.7) + n.uniform(0.0, 0.15) * g.x**2
    dim = np.clip(1 - (g.y - line) / 0.5, 0, 1) * n.uniform(0, 0.45)
    shaded = g.lay(np.full_like(g.x, -1.0), g.photo * (1 - dim[..., None]))
    body = np.maximum(g.y - line, np.hypot(g.x / 1.4, (g.y + 0.3) / 1.7) - 1)
    return shaded.lay(body, n.uniform(0, 255, 3) * (1.1 - 0.3 * np.abs(g.x))[..., None])


COVERS: Mapping[str, Painter] = {
    "surgical mask": surgical, "respirator": respirator, "printed mask": printed, "hand": hand,
    "shawl": shawl, "slit": slit, "dark glasses": shades, "helmet visor": helmet, "cup": cup,
}  # fmt: skip
BARE: Mapping[str, Painter] = {
    "clear glasses": spectacles, "beard": beard, "hijab": hijab, "cap": brim,
}  # fmt: skip


def _pick(numbers: Numbers, colours: tuple[tuple[int, int, int], ...]) -> Field:
    return np.array(colours[int(numbers.integers(len(colours)))], np.float64)


def _flat(level: float) -> Field:
    return np.full(3, level, np.float64)


def _abs(values: Field) -> Field:
    return np.asarray(np.abs(values), np.float64)


def _larger(one: Field, other: Field) -> Field:
    return np.asarray(np.maximum(one, other), np.float64)


def _length(one: Field, other: Field) -> Field:
    return np.asarray(np.hypot(one, other), np.float64)


# A simple model of a small camera at its highest gain: the electrons of the brightest level, and
# the read noise.
_FULL, _READ = 1500, 4
_GAMMA = 2.2
_STOPS = (1, 2, 3, 4, 5)
_BEHIND_STOPS = (2, 3, 4)


def darker(ground: Ground, stops: float, numbers: Numbers) -> Field:
    """Return the photo with 2 ** -stops of its light and the corresponding noise."""
    electrons = (ground.photo / 255) ** _GAMMA * _FULL * 2.0**-stops
    seen = numbers.poisson(electrons) + numbers.normal(0, _READ, electrons.shape)
    return np.asarray(255 * np.clip(seen / _FULL, 0, 1) ** (1 / _GAMMA))


def backlit(ground: Ground, stops: float, numbers: Numbers) -> Field:
    """Return the photo darker by `stops`, in front of an overexposed window."""
    dark = Ground(
        darker(ground, stops, numbers), ground.x, ground.y, ground.pixel, ground.nose,
        ground.mouth, ground.chin, ground.skin,
    )  # fmt: skip
    head = np.hypot(ground.x / 1.25, (ground.y - 0.35) / (ground.chin + 0.25)) - 1
    chest = np.maximum(ground.chin - 0.1 - ground.y, np.abs(ground.x) - 2.2)
    window = numbers.normal(252, 3, 3)
    return dark.lay(-np.minimum(head, chest), window).photo


DARK: Mapping[str, float] = {f"{stops} stops darker": float(stops) for stops in _STOPS}
BACKLIT: Mapping[str, float] = {
    f"backlit by {stops} stops": float(stops) for stops in _BEHIND_STOPS
}
