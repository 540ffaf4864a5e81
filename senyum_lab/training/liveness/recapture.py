"""Photos shown again to a camera: printed, on a screen, as a video on a screen.

Nothing here is measured on real attacks; the ranges are wide, so that no single pattern is learnt.
"""

import math

import numpy as np
from numpy.random import Generator

from edge.types import Floats
from senyum_lab.training.liveness import camera

KINDS = ("print", "screen", "video")


def shown(photo: Floats, kind: str, rng: Generator) -> Floats:
    """Return the photo on the medium of an attack, seen straight ahead and completely."""
    if kind == "print":
        return _printed(photo, rng)
    if kind == "video":
        photo = _streamed(photo, rng)
        if rng.random() < 0.3:  # a screen too fine to resolve
            return _glowing(photo, rng)
    elif rng.random() < 0.5:  # it shows less detail than the photo
        height, width = photo.shape[:2]
        coarser = rng.uniform(0.4, 1.0)
        small = camera.sized(photo, max(48, int(width * coarser)), max(48, int(height * coarser)))
        photo = camera.sized(small, width, height, smooth=rng.random() < 0.7)
    return _on_screen(photo, rng)


def waves(height: int, width: int, period: float, angle: float, phase: float) -> Floats:
    """Return a plane wave, -1 to 1, with the given period in pixels."""
    step = 2 * math.pi / period
    across = np.arange(width, dtype=np.float32) * np.float32(step * math.cos(angle)) + phase
    down = np.arange(height, dtype=np.float32)[:, None] * np.float32(step * math.sin(angle))
    # cos(a + b), which avoids a cosine per pixel
    wave = np.cos(across) * np.cos(down) - np.sin(across) * np.sin(down)
    return np.asarray(wave, np.float32)


def _log_uniform(rng: Generator, low: float, high: float) -> float:
    return float(math.exp(rng.uniform(math.log(low), math.log(high))))


def _saturation(picture: Floats, gain: float) -> Floats:
    grey = picture.mean(2, keepdims=True)
    return np.asarray(grey + (picture - grey) * gain, np.float32)


# --- paper -----------------------------------------------------------------------------------


def _printed(photo: Floats, rng: Generator) -> Floats:
    toned = np.clip(_saturation(photo, rng.uniform(0.5, 1.1)), 0, 1) ** rng.uniform(0.75, 1.3)
    if rng.random() < 0.12:
        toned = np.repeat(toned.mean(2, keepdims=True), 3, axis=2)
    pattern = rng.choice(list(_PATTERNS), p=[w for _, w in _PATTERNS.values()])
    finer = 2 if rng.random() < 0.4 else 1
    if finer > 1:
        height, width = toned.shape[:2]
        toned = camera.sized(toned, width * finer, height * finer)
    inked = _PATTERNS[pattern][0](toned, finer, rng)
    if finer > 1:
        inked = inked.reshape(height, finer, width, finer, 3).mean((1, 3))
    black, white = rng.uniform(0.02, 0.22), rng.uniform(0.72, 1.0)
    tint = np.array((1, rng.uniform(0.95, 1.0), rng.uniform(0.85, 1.03)), np.float32)
    paper = black + (white - black) * inked
    if rng.random() < 0.5:  # the paper's grain
        grain = camera.soft(rng.standard_normal((*paper.shape[:2], 1), np.float32), 0.7)
        paper = paper + rng.uniform(0, 0.04) * grain
    return np.asarray(np.clip(paper * tint, 0, 1), np.float32)


def _plain(toned: Floats, finer: int, rng: Generator) -> Floats:
    return camera.soft(toned, finer * rng.uniform(0.2, 1.0))


def _dots(toned: Floats, finer: int, rng: Generator) -> Floats:
    """Print dots of growing size on a grid turned differently for each ink."""
    height, width = toned.shape[:2]
    period = finer * _log_uniform(rng, 1.8, 9)
    turns = rng.permutation((15, 75, 0, 45))[:3] + rng.uniform(-8, 8)
    if rng.random() < 0.4:
        turns = np.full(3, turns[0])
    lines = rng.random() < 0.2
    grids = []
    for turn in turns.tolist():
        phase = rng.uniform(0, 6)
        one = waves(height, width, period, math.radians(turn), phase)
        two = one if lines else waves(height, width, period, math.radians(turn + 90), phase)
        grids.append((one + two) / 4 + 0.5)
    hard = rng.uniform(1.5, 8)
    dots = 0.5 + hard * (toned - np.stack(grids, 2))
    return _mixed(toned, np.clip(dots, 0, 1), rng)


def _ordered(toned: Floats, finer: int, rng: Generator) -> Floats:
    height, width = toned.shape[:2]
    tile = np.array([[0]])
    for _ in range(int(rng.integers(1, 4))):
        tile = np.block([[4 * tile, 4 * tile + 2], [4 * tile + 3, 4 * tile + 1]])
    tile = (tile + 0.5) / tile.size
    tile = np.kron(tile, np.ones((finer * int(rng.integers(1, 4)),) * 2))
    count = -(-height // len(tile)), -(-width // len(tile))
    level = np.tile(tile, count)[:height, :width, None].astype(np.float32)
    return _mixed(toned, np.clip(0.5 + rng.uniform(2, 9) * (toned - level), 0, 1), rng)


def _scattered(toned: Floats, finer: int, rng: Generator) -> Floats:
    """Place dots at random, in coarse clusters: stochastic screening."""
    height, width = toned.shape[:2]
    dot = finer * int(rng.integers(1, 3))
    shape = -(-height // dot), -(-width // dot), 1 if rng.random() < 0.5 else 3
    level = rng.random(shape, np.float32)
    level = level - 0.8 * (camera.soft(level, 1.2) - 0.5)
    level = np.kron(level, np.ones((dot, dot, 1), np.float32))[:height, :width]
    return _mixed(toned, np.clip(0.5 + rng.uniform(1.5, 6) * (toned - level), 0, 1), rng)


def _banded(toned: Floats, finer: int, rng: Generator) -> Floats:
    """Add the passes of a print head."""
    height, width = toned.shape[:2]
    angle = math.pi / 2 if rng.random() < 0.7 else 0.0
    bands = waves(height, width, finer * _log_uniform(rng, 2.5, 14), angle, rng.uniform(0, 6))
    uneven = rng.uniform(0.02, 0.09) * bands[..., None]
    return np.asarray(_plain(toned, finer, rng) * (1 + uneven), np.float32)


def _mixed(toned: Floats, dots: Floats, rng: Generator) -> Floats:
    """Spread the ink; no print shows its dots to a camera at full contrast."""
    share = np.float32(_log_uniform(rng, 0.12, 1.0))
    return np.asarray(toned * (1 - share) + dots * share, np.float32)


_PATTERNS = {
    "plain": (_plain, 0.22),
    "dots": (_dots, 0.34),
    "ordered": (_ordered, 0.14),
    "scattered": (_scattered, 0.18),
    "banded": (_banded, 0.12),
}

# --- screens ---------------------------------------------------------------------------------


def _on_screen(photo: Floats, rng: Generator) -> Floats:
    lit = _glowing(photo, rng)
    height, width = lit.shape[:2]
    some = rng.random(3)
    if some[0] < 0.75:
        lit = lit * _grid(height, width, rng)
    if some[1] < 0.6 or some[0] >= 0.75:
        lit = lit * (1 + _moire(height, width, rng))
    if some[2] < 0.35:
        period = height * rng.uniform(0.15, 2)
        lit = lit * (1 + rng.uniform(0.03, 0.2) * _level_wave(height, period, rng))
    return np.asarray(np.clip(lit, 0, 1), np.float32)


def _glowing(photo: Floats, rng: Generator) -> Floats:
    """Return the light of a screen: white point, black level and gamut."""
    white = np.array(
        (rng.uniform(0.8, 1.02), rng.uniform(0.88, 1.02), rng.uniform(0.95, 1.15)), np.float32
    )
    shine = rng.uniform(0, 0.12)
    toned = np.clip(_saturation(photo, rng.uniform(0.75, 1.35)), 0, 1) ** rng.uniform(0.75, 1.35)
    bright = rng.uniform(0.75, 1.15)
    return np.asarray(np.clip((shine + (1 - shine) * toned) * white * bright, 0, 1), np.float32)


def _level_wave(height: int, period: float, rng: Generator) -> Floats:
    return waves(height, 1, period, math.pi / 2, rng.uniform(0, 6))[..., None]


def _grid(height: int, width: int, rng: Generator) -> Floats:
    """Return the light transmission of each point: stripes of three colours, or a pixel grid."""
    period = _log_uniform(rng, 1.3, 6.5)
    turn = rng.normal(0, 0.06) if rng.random() < 0.8 else rng.uniform(0, math.pi)
    deep = _log_uniform(rng, 0.05, 0.5)
    kind, phase = rng.random(), rng.uniform(0, 6)
    down = waves(height, width, period, turn + math.pi / 2, rng.uniform(0, 6))
    if kind < 0.4:  # stripes side by side
        thirds = [waves(height, width, period, turn, phase + i * 2 * math.pi / 3) for i in range(3)]
    elif kind < 0.6:  # two greens for each red and blue, at half the distance and askew
        odd = waves(height, width, period * 1.414, turn + math.pi / 4, phase)
        thirds = [odd, waves(height, width, period, turn, phase), -odd]
    else:  # dark gaps between whole pixels
        thirds = [waves(height, width, period, turn, phase)] * 3
    gaps = rng.uniform(0, 1) if kind < 0.6 else 1.0
    through = np.stack(thirds, 2) + gaps * down[..., None]
    if rng.random() < 0.5:  # narrow gaps
        through = np.tanh(2 * through + 1)
    return np.asarray(1 + deep * (through - 1) / 2, np.float32)


def _moire(height: int, width: int, rng: Generator) -> Floats:
    """Return beats between the screen's grid and the sensor's: coloured, bent, slowly varying."""
    total = np.zeros((height, width, 3), np.float32)
    for _ in range(int(rng.integers(1, 4))):
        period, angle = _log_uniform(rng, 2.5, 45), rng.uniform(0, math.pi)
        wave = waves(height, width, period, angle, rng.uniform(0, 6))
        if rng.random() < 0.6:
            bend = rng.uniform(0.5, 5) * waves(height, width, width * rng.uniform(0.7, 3), angle
                                               + rng.uniform(0, 3), rng.uniform(0, 6))  # fmt: skip
            other = waves(height, width, period, angle, rng.uniform(0, 6))
            wave = wave * np.cos(bend) - other * np.sin(bend)
        colour = rng.normal(1, 0.6, 3) if rng.random() < 0.6 else np.ones(3)
        total += _log_uniform(rng, 0.015, 0.13) * wave[..., None] * colour.astype(np.float32)
    return total


# --- videos ----------------------------------------------------------------------------------


def _streamed(photo: Floats, rng: Generator) -> Floats:
    """Return one frame of a video with a low bit rate."""
    height, width = photo.shape[:2]
    if rng.random() < 0.6:
        photo = camera.dragged(photo, rng)
    if rng.random() < 0.4:  # a frame blended with the next one
        moved = np.roll(photo, tuple(rng.integers(-5, 6, 2).tolist()), (0, 1))
        share = rng.uniform(0.15, 0.5)
        photo = photo * (1 - share) + moved * share
    coarser = rng.uniform(0.35, 1.0)
    small = camera.sized(photo, max(48, int(width * coarser)), max(48, int(height * coarser)))
    store = camera.coded if rng.random() < 0.6 else camera.packed
    for quality in rng.integers(2, 42, int(rng.integers(1, 3))).tolist():
        off = tuple(rng.integers(0, 16, 2).tolist())
        small = np.roll(store(np.roll(small, off, (0, 1)), quality), (-off[0], -off[1]), (0, 1))
        if rng.random() < 0.4:  # a deblocking filter
            small = camera.soft(small, rng.uniform(0.4, 1.0))
    return camera.sized(small, width, height, smooth=rng.random() < 0.85)
