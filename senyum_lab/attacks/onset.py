"""Short videos of the onset of a smile, morphed between two photos of a person, and of attacks.

A morph differs from a live person: the skin moves with the points of the mesh, and details of only
one photo fade in. The attacks are a print and a screen moved by hand, and the morph on a screen.
"""

import csv
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from random import Random

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from edge.images import from_image
from edge.inference.face_analyzer import FaceAnalyzer
from edge.settings import InferenceSettings
from senyum_lab.attacks import camera, display, paper
from senyum_lab.batch_work import Progress

_FPS = 10
_SECONDS = 5.0
_SIDE = 320  # pixels of the longer side
_SMOOTH = 0.06  # of the width of the picture: the radius in which the skin follows a point
_GRID = 40  # points in each direction at which the movement is computed
_CORNERS = 24  # fixed points along each edge of the picture

Field = NDArray[np.float32]


def make(
    images: Path, pairs: Path, out: Path, seed: int, people: Callable[[list[str]], list[str]]
) -> list[tuple[str, int, str]]:
    """Write four videos of each chosen person who has a neutral and a smiling photo."""
    photos: dict[str, dict[str, str]] = {}
    with pairs.open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            photos.setdefault(row["person"], {})[row["smile"]] = row["file"]
    chosen = people(sorted(p for p, both in photos.items() if {"0", "1"} <= both.keys()))
    examiner = FaceAnalyzer(InferenceSettings())
    rows: list[tuple[str, int, str]] = []
    for person in Progress("making videos", chosen):
        neutral, smiling = (_open(images / photos[person][smile]) for smile in "01")
        random = Random(f"{seed} {person}")
        begins = random.uniform(1.2, 2.6), random.uniform(0.5, 1.0)
        morph = _Morph(examiner, neutral, smiling)
        shares = [
            min(max((i / _FPS - begins[0]) / begins[1], 0), 1) for i in range(int(_SECONDS * _FPS))
        ]
        onset = [morph.at(share * share * (3 - 2 * share)) for share in shares]
        still = [random.choice((neutral, smiling))] * len(onset)
        for kind, frames in (
            ("", _moving(onset, random, 1.0)),
            ("print", _attack([paper.printed(still[0], random)] * len(still), random)),
            ("screen", _shown(still[:1] * len(still), random)),
            ("video", _shown(onset, random)),
        ):
            name = f"{person}-{kind or 'live'}.mp4"
            camera.write_video(
                out / name, frames, codec="libx264", fps=_FPS,
                options={"crf": "17", "preset": "veryfast"},
            )  # fmt: skip
            rows.append((name, int(not kind), kind))
    return rows


def _open(path: Path) -> Image.Image:
    with Image.open(path) as image:
        photo = ImageOps.exif_transpose(image).convert("RGB")
    photo.thumbnail((_SIDE, _SIDE))
    return photo


class _Morph:
    """The morph between two photos of a face."""

    def __init__(self, examiner: FaceAnalyzer, first: Image.Image, last: Image.Image) -> None:
        self._first, self._last = (np.asarray(photo, np.float32) for photo in (first, last))
        if self._first.shape != self._last.shape:
            last = last.resize(first.size)
            self._last = np.asarray(last, np.float32)
        self._from, self._to = (_points(examiner, photo) for photo in (first, last))

    def at(self, share: float) -> Image.Image:
        """Return the face `share` of the way from the first to the last."""
        between = self._from + (self._to - self._from) * share
        first = _warped(self._first, between, self._from)
        last = _warped(self._last, between, self._to)
        return Image.fromarray((first + (last - first) * share).clip(0, 255).astype(np.uint8))


def _points(examiner: FaceAnalyzer, photo: Image.Image) -> Field:
    """Return the points of the mesh and fixed points along the edge of the picture."""
    picture = from_image(photo)
    for found in examiner.find(picture):
        looked = examiner.locate(picture, found)
        if looked is not None:
            edge = np.linspace(0, 1, _CORNERS, dtype=np.float32)
            ends = np.concatenate(
                [np.c_[edge, edge * 0], np.c_[edge, edge * 0 + 1],
                 np.c_[edge * 0, edge], np.c_[edge * 0 + 1, edge]]
            )  # fmt: skip
            points: Field = looked[1].points[:, :2]
            return np.concatenate([points, (ends * photo.size).astype(np.float32)])
    raise SystemExit("make_attacks: no face in one of the photos of --pairs")


def _warped(photo: Field, now: Field, then: Field) -> Field:
    """Return the photo warped so that the points `then` are at `now`."""
    height, width = photo.shape[:2]
    y, x = np.meshgrid(np.linspace(0, height - 1, _GRID), np.linspace(0, width - 1, _GRID),
                       indexing="ij")  # fmt: skip
    places = np.stack((x, y), -1).reshape(-1, 2)
    far = ((places[:, None] - now) ** 2).sum(-1)
    weight = np.exp(-far / (2 * (_SMOOTH * width) ** 2)) + 1e-9
    moved = (weight @ (then - now)) / weight.sum(1, keepdims=True)
    fields = [
        np.asarray(
            Image.fromarray(moved[:, i].reshape(_GRID, _GRID).astype(np.float32)).resize(
                (width, height), Image.Resampling.BICUBIC
            )
        )
        for i in (0, 1)
    ]
    rows, columns = np.mgrid[0:height, 0:width].astype(np.float32)
    columns = (columns + fields[0]).clip(0, width - 1.001)
    rows = (rows + fields[1]).clip(0, height - 1.001)
    left, top = columns.astype(int), rows.astype(int)
    across, down = (columns - left)[..., None], (rows - top)[..., None]
    upper = photo[top, left] * (1 - across) + photo[top, left + 1] * across
    lower = photo[top + 1, left] * (1 - across) + photo[top + 1, left + 1] * across
    return np.asarray(upper * (1 - down) + lower * down, np.float32)


def _moving(frames: list[Image.Image], random: Random, much: float) -> Iterator[Image.Image]:
    """Move and turn the frames slightly, as a head or a hand does; record each by a camera."""
    seed = random.getrandbits(32)
    phases = [random.uniform(0, 6) for _ in range(3)]
    for i, frame in zip(count(), frames, strict=False):
        sway = [np.sin(i / _FPS * (1.1 + 0.6 * k) + phase) for k, phase in enumerate(phases)]
        moved = frame.rotate(
            float(1.5 * much * sway[0]), Image.Resampling.BICUBIC,
            translate=(round(3 * much * sway[1]), round(3 * much * sway[2])),
        )  # fmt: skip
        margin = round(8 * much)
        moved = moved.crop((margin, margin, moved.width - margin, moved.height - margin))
        yield camera.taken(moved, Random(seed))


def _attack(items: list[Image.Image], random: Random) -> Iterator[Image.Image]:
    hand = random.getrandbits(32)
    size = items[0].size
    return _moving([camera.held(item, size, Random(hand)) for item in items], random, 2.0)


def _shown(frames: list[Image.Image], random: Random) -> Iterator[Image.Image]:
    screen = random.getrandbits(32)
    if all(frame is frames[0] for frame in frames):
        return _attack([display.displayed(frames[0], Random(screen))] * len(frames), random)
    return _attack([display.displayed(frame, Random(screen)) for frame in frames], random)
