"""Whether one picture of a face is of a living person, or of a print, a screen or a video.

Four measures are added up on a straight line of log-odds: what a network of our own says of the
face and its surroundings, and three things that can be named: a regular pattern in the finest
detail (halftone, screen grid, moire), how flat light and shade are, and long straight lines next to
the face (a paper's or a phone's edge). `scripts/train_liveness` trains the network and fits the
line, which stands in the models' manifest. One picture alone proves little: `attendance` joins
many of them with the smile that begins after the prompt.
"""

import math
from statistics import fmean

import numpy as np
from numpy.typing import NDArray

from edge.images import plane_image
from edge.inference.face_crop import Bytes3D, FaceCrop, square_crop
from edge.inference.landmarks import Mesh
from edge.inference.models import ModelRunner
from edge.types import Bytes2D, Floats, PassiveLivenessScore, Yuv

Planes = tuple[Bytes2D, Bytes2D, Bytes2D]

# Their weights' names in the manifest, next to "intercept"; with "_even", the neutral value.
MEASURES = ("network", "pattern", "flatness", "frame")

SIDE = 96  # both views are 96x96 YCbCr
_ROOM = 2.2  # the wide view over the longer side of the mesh: shoulders, and a phone's edges
_NEAR = 0.5  # the close view over the longer side of the mesh, at least
_LEAST_SIDE = 8.0  # pixels, so that a mesh gone astray still has a view

# The finest detail: a peak is 3x3 bins of the power spectrum, its surroundings the 9x9 about it.
_PEAK, _AROUND = 3, 9
_USUAL = 1.7  # of a logarithm: up to it peaks are a camera's noise or a codec's, and say nothing
_LOWEST = 0.12  # cycles a pixel; below it a face has edges of its own
_BLOCKS = SIDE // 8  # bins between the harmonics of JPEG's 8x8 blocks
_STRONGEST = 12  # bins whose mean counts

# The face in the wide view, whose light and shade are looked at.
_FACE = slice(30, 66)

# Lines are looked for in the wide view at half size, at several leanings, over half its height.
_LINES = SIDE // 2
_LEAN = 5  # pixels to either side from end to end
_BESIDE = 15  # a line at a side of the face lies within this many pixels of the view's edge
_STEEP = 24.0  # levels: a steeper edge counts no more
_NO_LIGHT, _NO_COLOUR = 0, 128  # what lies beyond the picture


class PassiveLiveness:
    """Judges one face in one picture."""

    def __init__(self, network: ModelRunner) -> None:
        self._network = network
        constant = network.spec.constant
        self.line = tuple(constant(name) for name in MEASURES), constant("intercept")
        self._even = tuple(constant(f"{name}_even") for name in MEASURES)

    def judge(self, picture: Yuv, mesh: Mesh) -> PassiveLivenessScore:
        """Return how alive the face looks; a cue that the line gives no weight has no vote."""
        weights, logit = self.line
        votes = {}
        measures = self.measure(context_crops(picture, mesh))
        for name, weight, even, measure in zip(
            MEASURES, weights, self._even, measures, strict=True
        ):
            if weight:
                votes[name] = _share(weight * (measure - even))
                logit += weight * measure
        return PassiveLivenessScore(_share(logit), votes)

    def measure(self, seen: Bytes3D) -> tuple[float, float, float, float]:
        """Return what the line is fitted to, of what `views` returned.

        The network's log-odds of life (-8 to 8; its towers' mean), and what `cues` returns.
        """
        self._network.input[0] = seen  # int8 inside: it takes the pixels as they are
        return (fmean(float(logit[0, 0]) for logit in self._network.run()), *texture_features(seen))


def _share(logit: float) -> float:
    return 1 / (1 + math.exp(-min(max(logit, -50.0), 50.0)))


def context_crops(picture: Yuv, mesh: Mesh) -> Bytes3D:
    """Return the face in its surroundings, and its middle in finer detail, (96, 96, 6).

    Both are YCbCr. The first is `_ROOM` times as wide as the mesh and shrunk to fit, black and
    grey where the picture ends. The second is not scaled, and lies within the picture; of a face
    of more than `SIDE / _NEAR` pixels it is shrunk to hold `_NEAR`, or it would be skin and noise.
    """
    places = mesh.points[:, :2]
    low, high = places.min(axis=0), places.max(axis=0)
    x, y = ((low + high) / 2).tolist()
    face = float((high - low).max())
    wide = _scaled(picture, x, y, max(_ROOM * face, _LEAST_SIDE))
    near = _NEAR * face
    close = _unscaled(picture, x, y) if near <= SIDE else _scaled(picture, x, y, near)
    return np.stack((*wide, *close), axis=2)


def _scaled(picture: Yuv, x: float, y: float, side: float) -> Planes:
    where = square_crop((x, y), side, 0.0, SIDE)
    return FaceCrop(picture, where, SIDE, max(1, int(where.scale))).planes(where, SIDE)


def _unscaled(picture: Yuv, x: float, y: float) -> Planes:
    left = _start(x, picture.width)
    top = _start(y, picture.height)
    luma = _cut(picture.y, left, top, SIDE)
    u, v = (
        _cut(plane, left // 2, top // 2, SIDE // 2).repeat(2, axis=0).repeat(2, axis=1)
        for plane in (picture.u, picture.v)
    )
    return luma, u, v


def _cut(plane: Bytes2D, left: int, top: int, side: int) -> Bytes2D:
    part = plane[top : top + side, left : left + side]
    if part.shape != (side, side):  # the picture is smaller than the view
        rows, columns = part.shape
        part = np.pad(part, ((0, side - rows), (0, side - columns)), mode="edge")
    return part


def _start(middle: float, length: int) -> int:
    """Return the even place where the view begins, within the picture where that is possible."""
    return 2 * (max(0, min(int(middle) - SIDE // 2, length - SIDE)) // 2)


def texture_features(seen: Bytes3D) -> tuple[float, float, float]:
    """Return pattern, flatness and frame of what `views` returned.

    Pattern: how far the log of the strongest peaks of the spectrum over what surrounds them
    exceeds `_USUAL`, 0 to about 2.
    Flatness: how little lies between the darkest and the brightest hundredth of the face, 0 to 1:
    ink is not black, paper not white, and neither shines as skin does.
    Frame: how much of a long straight line lies at the two sides where there is most, 0 to 1.
    """
    return _pattern(seen[..., 3]), _flatness(seen[_FACE, _FACE, 0]), _frame(seen[..., :3])


def _bands() -> NDArray[np.intp]:
    """Return the places of the bins where peaks are looked for: fine detail, less JPEG's own."""
    rows, columns = np.fft.fftfreq(SIDE)[:, None], np.fft.rfftfreq(SIDE)[None]
    fine = np.hypot(rows, columns) >= _LOWEST
    down, across = np.arange(SIDE)[:, None], np.arange(SIDE // 2 + 1)[None]
    off_down, off_across = (np.abs((n + 2) % _BLOCKS - 2) for n in (down, across))
    flat_down = np.minimum(down, SIDE - down) <= 2
    of_blocks = (flat_down & (off_across <= 2)) | ((across <= 2) & (off_down <= 2))
    return np.flatnonzero(fine & ~of_blocks)


_WINDOW = np.hanning(SIDE + 2)[1:-1].astype(np.float32)
_WINDOW = _WINDOW[:, None] * _WINDOW
_BANDS = _bands()


def _pattern(luma: Bytes2D) -> float:
    spectrum = np.fft.rfft2((luma - luma.mean(dtype=np.float32)) * _WINDOW)
    power = (spectrum.real**2 + spectrum.imag**2).astype(np.float32) + 1
    by_three = _box_sum3(power.take(_AND_AROUND), 1)
    peak, around = by_three[3:-3, 3:-3], _box_sum3(by_three, 3)
    over = (peak / (around - peak)).take(_BANDS)
    strongest = np.partition(over, -_STRONGEST)[-_STRONGEST:]
    mean = float(np.log(strongest).mean()) + math.log(_AROUND**2 / _PEAK**2 - 1)
    return max(0.0, mean - _USUAL)


def _box_sum3(values: Floats, step: int) -> Floats:
    """Return the sums of three by three values, `step` apart; as many fewer rows and columns."""
    rows = values[: -2 * step] + values[step:-step]
    rows += values[2 * step :]
    total: Floats = rows[:, : -2 * step] + rows[:, step:-step]
    total += rows[:, 2 * step :]
    return total


def _neighbourhood_indices() -> NDArray[np.intp]:
    """Return the places of all bins and of their surroundings, rows going round, columns mirrored.

    Padding afresh takes longer than the sums.
    """
    places = np.arange(SIDE * (SIDE // 2 + 1)).reshape(SIDE, -1)
    reach = _AROUND // 2
    return np.pad(
        np.pad(places, ((reach, reach), (0, 0)), "wrap"), ((0, 0), (reach, reach)), "reflect"
    )


_AND_AROUND = _neighbourhood_indices()


def _flatness(face: Bytes2D) -> float:
    levels = np.sort(face, axis=None)
    darkest, brightest = (int(levels[int(share * levels.size)]) for share in (0.01, 0.99))
    return 1 - (brightest - darkest) / 255


def _gradients() -> NDArray[np.intp]:
    """Return where each line's steps lie, (leanings, rows, columns), in a picture as one row.

    The picture has `_LINES` rows of `_WIDTH` steps, of which `_LEAN` at both ends are none.
    """
    row = np.arange(_LINES)
    leans = [(_LEAN * lean * (row / (_LINES - 1) - 0.5) * 2).round() for lean in _LEANS]
    places = row * _WIDTH + _LEAN + np.array(leans)
    return (places[..., None] + np.arange(_LINES - 2)).astype(np.intp)


_LEANS = (-1, -0.5, 0, 0.5, 1)  # of `_LEAN`
_WIDTH = _LINES - 2 + 2 * _LEAN
_SLANTS = _gradients()


def _frame(wide: Bytes3D) -> float:
    luma = np.asarray(plane_image(wide[..., 0]).reduce(2))
    both = np.array((luma, luma.T), np.float32)
    steps = both[..., 2:] - both[..., :-2]
    sharp = np.zeros((2, _LINES, _WIDTH), np.float32)
    inner = sharp[..., _LEAN + 2 : -_LEAN - 2]
    # A slope that continues on both sides is not a line.
    np.subtract(steps[..., 2:-2], (steps[..., 4:] + steps[..., :-4]) / 2, out=inner)
    outside = (wide[..., 0] == _NO_LIGHT) & (wide[..., 1] == _NO_COLOUR)
    if outside.any():  # nor is the end of the picture
        ended = outside[::2, ::2] | outside[1::2, 1::2]
        beyond = np.array((ended, ended.T))
        inner[np.any([beyond[..., off : off + _LINES - 6] for off in range(7)], axis=0)] = 0
    np.clip(inner, -_STEEP, _STEEP, out=inner)
    leaning = sharp.reshape(2, -1).take(_SLANTS, axis=1)
    quarters = leaning.reshape(2, len(_LEANS), 4, _LINES // 4, -1).sum(3)
    halves = np.abs(quarters[:, :, :-1] + quarters[:, :, 1:]).max((1, 2)) / (_STEEP * _LINES / 2)
    sides = np.concatenate((halves[:, :_BESIDE].max(1), halves[:, -_BESIDE:].max(1)))
    return float(np.sort(sides)[-2:].mean())
