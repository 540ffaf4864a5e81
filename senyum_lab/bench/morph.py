"""Transfer the expression of one photo to another one of the same person, gradually.

A still cannot show a smile beginning. Here the points of both faces are found by FaceMesh, the
smiling face is turned into the pose of the still one, and in between both are warped to points on
the straight line from one to the other and dissolved (Wolberg, "Image morphing: a survey", 1998;
warp: thin-plate splines, Bookstein 1989). It is a made picture and no recording of anybody.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter

from edge.errors import PhotoError
from edge.images import from_image
from edge.inference.face_analyzer import FaceAnalyzer

Doubles = NDArray[np.float64]

_GRID = 12  # pixels between the nodes where a warp is computed; in between it is bilinear
_SOFT = 1.0  # tolerance of the spline in pixels, so that it does not fold

# FaceMesh points. What a smile does not move carries the pose from one photo to the other.
_RIGID = (
    33, 133, 362, 263, 168, 6, 197, 195, 5, 4, 1, 10, 109, 338, 67, 297, 103, 332, 127, 356, 234,
    454, 93, 323,
)  # fmt: skip
_OVAL = (
    10, 338, 297, 332, 284, 251, 389, 356, 454, 323, 361, 288, 397, 365, 379, 378, 400, 377, 152,
    148, 176, 149, 150, 136, 172, 58, 132, 93, 234, 127, 162, 21, 54, 103, 67, 109,
)  # fmt: skip
_EYES = (33, 263)  # outer corners


@dataclass(frozen=True, slots=True)
class Portrait:
    """A photo of one person and the 468 points of their face."""

    picture: Image.Image  # mode RGBA; transparent around the person if an outline is known
    points: Doubles  # (468, 3) in pixels of the picture; z in the same unit

    @classmethod
    def load(cls, file: Path, examiner: FaceAnalyzer) -> Self:
        """Read the largest face of a photo. Raises PhotoError if there is none.

        A black and white picture of the same size, `outlines/NAME.png` beside the photo, says
        where the person is.
        """
        outline = file.parent / "outlines" / f"{file.stem}.png"
        try:
            picture = Image.open(file).convert("RGB")
            mask = Image.open(outline).convert("L") if outline.is_file() else None
        except OSError as error:
            raise PhotoError(f"{file}: cannot be read as a picture: {error}") from None
        pixels = from_image(picture)
        looked = [
            look for found in examiner.find(pixels) if (look := examiner.locate(pixels, found))
        ]
        if not looked:
            raise PhotoError(f"{file}: no face in it; name a portrait")
        _, mesh = looked[0]
        picture.putalpha(mask.filter(ImageFilter.GaussianBlur(1.0)) if mask else 255)
        return cls(picture, mesh.points.astype(np.float64))

    @property
    def face_px(self) -> float:
        """The approximate width of the face: twice the distance of the outer eye corners."""
        right, left = self.points[_EYES, :2]
        return float(2 * np.hypot(*(left - right)))

    @property
    def centre(self) -> tuple[float, float]:
        """The centre of the face, in pixels of the picture."""
        middle = self.points[_OVAL, :2].mean(axis=0)
        return float(middle[0]), float(middle[1])

    def sized(self, face_px: float) -> Self:
        """Return the portrait scaled to this width of the face."""
        ratio = face_px / self.face_px
        width, height = (max(2, round(n * ratio)) for n in self.picture.size)
        picture = self.picture.resize((width, height), Image.Resampling.LANCZOS)
        ratios = np.array((width / self.picture.width, height / self.picture.height, ratio))
        return type(self)(picture, self.points * ratios)


class Morph:
    """From `still` (amount 0) to the expression of `smiling` (amount 1) on the same shoulders."""

    def __init__(self, still: Portrait, smiling: Portrait) -> None:
        self._still = still
        self._from = still.points[:, :2]
        self._smiling = smiling
        self._to = _posed(smiling.points, still.points)
        self._ring = _ring(still)

    def at(self, amount: float) -> Portrait:
        """Return the morph; below 0 (at most -0.5) the mouth moves in the other direction."""
        if amount == 0:
            return self._still
        size = self._still.picture.size
        points = self._from + amount * (self._to - self._from)
        base = _warp(
            self._still.picture,
            size,
            np.concatenate((points, self._ring)),
            np.concatenate((self._from, self._ring)),
        )
        whole = np.column_stack((points, self._still.points[:, 2]))
        if amount < 0:
            return Portrait(base, whole)
        face = _warp(self._smiling.picture, size, points, self._smiling.points[:, :2])
        mask = _mask(points, size, self._still.face_px)
        lit = _relit(face.convert("RGB"), base.convert("RGB"), mask, self._still.face_px)
        lit.putalpha(base.getchannel("A"))
        # The dissolve is faster than the warp, because two half-visible mouths look unnatural.
        share = smooth(smooth(amount))
        picture = Image.composite(lit, base, mask.point([round(n * share) for n in range(256)]))
        return Portrait(picture, whole)


def smooth(x: float) -> float:
    """Ease in and out (smoothstep)."""
    x = min(max(x, 0.0), 1.0)
    return x * x * (3 - 2 * x)


def _posed(points: Doubles, like: Doubles) -> Doubles:
    """Return `points` (n, 3) turned, scaled and shifted onto the pose of `like`: (n, 2).

    Umeyama's fit (1991) in space over the points that a smile does not move.
    """
    source, target = points[_RIGID, :], like[_RIGID, :]
    middle, goal = source.mean(axis=0), target.mean(axis=0)
    u, d, vt = np.linalg.svd((target - goal).T @ (source - middle))
    sign = np.array((1.0, 1.0, np.sign(np.linalg.det(u @ vt))))
    scale = (d * sign).sum() / ((source - middle) ** 2).sum()
    posed = scale * (points - middle) @ (u * sign @ vt).T + goal
    flat: Doubles = posed[:, :2]
    return flat


def _ring(portrait: Portrait) -> Doubles:
    """Return fixed points around the head and along the border of the picture."""
    turn = np.linspace(0, 2 * np.pi, 24, endpoint=False)
    circle = np.column_stack((np.cos(turn), np.sin(turn) * 1.25)) * portrait.face_px * 1.1
    width, height = portrait.picture.size
    along = np.linspace(0, 1, 6)
    border = [(x * width, y * height) for x in along for y in along if x in (0, 1) or y in (0, 1)]
    return np.concatenate((circle + portrait.centre, np.array(border)))


def _warp(
    picture: Image.Image, size: tuple[int, int], where: Doubles, read: Doubles
) -> Image.Image:
    """Return a picture of `size`: at the points `where` it shows what `picture` has at `read`."""
    columns = np.linspace(0, size[0], max(2, size[0] // _GRID + 1)).round()
    rows = np.linspace(0, size[1], max(2, size[1] // _GRID + 1)).round()
    nodes = np.stack(np.meshgrid(columns, rows), axis=-1).reshape(-1, 2)
    source = _spline(where, read, nodes).reshape(len(rows), len(columns), 2)
    cells = [
        (
            (int(columns[x]), int(rows[y]), int(columns[x + 1]), int(rows[y + 1])),
            # upper left, lower left, lower right, upper right
            tuple(source[(y, y + 1, y + 1, y), (x, x, x + 1, x + 1)].ravel().tolist()),
        )
        for y in range(len(rows) - 1)
        for x in range(len(columns) - 1)
    ]
    return picture.transform(size, Image.Transform.MESH, cells, Image.Resampling.BILINEAR)


def _spline(where: Doubles, values: Doubles, at: Doubles) -> Doubles:
    """Return the thin-plate spline through `values` (n, 2) at `where` (n, 2), read at `at`."""
    n = len(where)
    system = np.zeros((n + 3, n + 3))
    system[:n, :n] = _kernel(where, where) + _SOFT * np.eye(n)
    system[:n, n:] = np.column_stack((np.ones(n), where))
    system[n:, :n] = system[:n, n:].T
    weights = np.linalg.solve(system, np.concatenate((values, np.zeros((3, 2)))))
    return np.asarray(
        _kernel(at, where) @ weights[:n] + np.column_stack((np.ones(len(at)), at)) @ weights[n:]
    )


def _kernel(a: Doubles, b: Doubles) -> Doubles:
    """Return r² log r² between all points of `a` and `b`."""
    squared = ((a[:, None] - b[None]) ** 2).sum(axis=-1)
    return np.asarray(squared * np.log(np.maximum(squared, 1e-9)))


def _mask(points: Doubles, size: tuple[int, int], face_px: float) -> Image.Image:
    """Return the mask of the face, mode L, with a soft outline."""
    outline = points[_OVAL, :]
    inner = outline.mean(axis=0) + 0.8 * (outline - outline.mean(axis=0))
    mask = Image.new("L", size)
    ImageDraw.Draw(mask).polygon([(float(x), float(y)) for x, y in inner], fill=255)
    return mask.filter(ImageFilter.GaussianBlur(face_px * 0.06))


def _relit(face: Image.Image, like: Image.Image, mask: Image.Image, face_px: float) -> Image.Image:
    """Return `face` with the coarse brightness and colour of `like`."""
    weight = np.asarray(mask, np.float32)[..., None] / 255
    reach = ImageFilter.GaussianBlur(face_px * 0.22)

    def coarse(picture: Image.Image) -> NDArray[np.float32]:
        # Blurred within the mask only, so that hair and background do not colour the skin.
        inside = np.asarray(picture, np.float32) * weight
        blurred = np.asarray(
            Image.fromarray(inside.round().astype(np.uint8)).filter(reach), np.float32
        )
        share = np.asarray(mask.filter(reach), np.float32)[..., None] / 255
        return np.asarray(blurred / np.maximum(share, 0.05))

    gain = np.clip((coarse(like) + 8) / (coarse(face) + 8), 0.4, 2.0)
    lit = np.asarray(face, np.float32) * gain
    return Image.fromarray(np.clip(lit, 0, 255).round().astype(np.uint8))
