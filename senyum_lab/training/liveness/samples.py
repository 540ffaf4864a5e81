"""Photos of live people and attacks made from them, processed as on the device."""

import csv
import math
import zlib
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from PIL import Image

from edge.images import from_image
from edge.inference.face_analyzer import FaceAnalyzer
from edge.inference.landmarks import Mesh
from edge.inference.liveness import SIDE, context_crops
from edge.settings import CameraSettings
from edge.types import Floats
from senyum_lab.evaluate.faces import framed
from senyum_lab.training.liveness import camera, recapture, scenes

LIVE, *ATTACKS = range(1 + len(recapture.KINDS))
SHARES = 5  # of the people; share 0 is reserved for evaluation
_HALVES = 2  # of the few people of the London set; half 0 is reserved for evaluation
_SEED = 31
_A_PERSON = 2  # maximum number of photos per person of LFW
_LONDON_TIMES = 5  # repetitions of its photos, which are few but large
_MOST_SIDE = 560  # pixels of a photo before an attack is made of it
_UNTOUCHED = 0.5  # of the live photos are used unchanged
_CONTINUED = 0.4  # of the changed photos are extended beyond their edges
_ROOMY = 2  # one of this number of photos is used again with a wide margin
_ROOMY_SIDE = 640  # maximum height in pixels
_NO_CAMERA = 0.25  # of the attacks have no camera artefacts
_EACH = 2  # attacks per photo, of different kinds
_ASIDE, _NEARER = 0.1, 0.1  # shift and zoom of the second crop, as shares of the face
LINE = 1  # the share of people that calibrates the score


class ObservedFace(NamedTuple):
    """The labels of one picture."""

    kind: int
    share: int
    untouched: bool


Row = tuple[NDArray[np.uint8], int, int, bool]  # one face: views, kind, share, untouched


class LivenessPhoto(NamedTuple):
    """One photo of a live person."""

    path: Path
    share: int

    def open(self) -> Image.Image:
        """Return the image as RGB."""
        with Image.open(self.path) as image:
            return image.convert("RGB")


@dataclass(frozen=True, slots=True)
class LivenessSamples:
    """The samples of n faces."""

    views: NDArray[np.uint8]  # (n, SIDE, SIDE, 6), as edge.inference.liveness.views
    kind: NDArray[np.int64]  # (n,): LIVE, or 1 + the index in recapture.KINDS
    share: NDArray[np.int64]  # (n,): the share of people
    untouched: NDArray[np.bool_]  # (n,): an unchanged live photo


def photos(datasets: Path) -> list[LivenessPhoto]:
    """Return all photos except those reserved for evaluation, in a fixed order."""
    found: list[LivenessPhoto] = []
    for person in sorted((datasets / "lfw").iterdir()):
        share = zlib.crc32(person.name.encode()) % SHARES
        found += [LivenessPhoto(path, share) for path in sorted(person.glob("*.jpg"))[:_A_PERSON]]
    for path in sorted((datasets / "utkface").glob("*.jpg")):
        found.append(LivenessPhoto(path, zlib.crc32(path.stem.encode()) % SHARES))
    with (datasets / "london.csv").open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            if zlib.crc32(row["person"].encode()) % _HALVES:
                found += [
                    LivenessPhoto(datasets / "london" / row["file"], SHARES - 1)
                ] * _LONDON_TIMES
    found = [photo for photo in found if photo.share]
    order = np.random.default_rng(_SEED).permutation(len(found))
    return [found[i] for i in order]


def made(
    examiner: FaceAnalyzer, listed: list[LivenessPhoto], numbers: Iterable[int]
) -> LivenessSamples:
    """Return the samples of the listed photos with these numbers; reproducible."""
    seen: list[Row] = []
    for number in numbers:
        photo = listed[number]
        original = photo.open()
        room = behind(listed, number)
        rng = np.random.default_rng((_SEED, number))
        untouched = rng.random() < _UNTOUCHED
        living = original if untouched else camera.image_of(alive(original, rng))
        seen += look(examiner, living, ObservedFace(LIVE, photo.share, untouched), rng)
        for kind in rng.permutation(ATTACKS)[:_EACH].tolist():
            attacked = camera.image_of(attack(original, kind, room, rng))
            seen += look(examiner, attacked, ObservedFace(kind, photo.share, untouched=False), rng)
        if number % _ROOMY == 0:
            seen += _roomy(examiner, photo, number)
    return gathered(seen)


def gathered(rows: list[Row]) -> LivenessSamples:
    """Return the samples of these faces; `rows` may be empty."""
    return LivenessSamples(
        np.array([row[0] for row in rows], np.uint8).reshape(-1, SIDE, SIDE, 6),
        np.array([row[1] for row in rows], np.int64),
        np.array([row[2] for row in rows], np.int64),
        np.array([row[3] for row in rows], np.bool_),
    )


def behind(listed: list[LivenessPhoto], number: int) -> Floats:
    """Return the background of the photo with this number: the next photo, upside down.

    Otherwise a face in the background could be detected.
    """
    return camera.array_of(listed[(number + 1) % len(listed)].open().rotate(180))


def _roomy(examiner: FaceAnalyzer, photo: LivenessPhoto, number: int) -> list[Row]:
    """Return an unchanged live face with a wide margin, at a random size.

    A device sees more around a face than these tight photos show.
    """
    original = camera.array_of(photo.open())
    rng = np.random.default_rng((_SEED, number, 1))
    if original.shape[0] < _MOST_SIDE:
        original = _continued(original, rng)
    height, width = original.shape[:2]
    scale = min(math.exp(rng.uniform(math.log(0.6), math.log(2))), _ROOMY_SIDE / height)
    living = camera.sized(original, round(width * scale), round(height * scale))
    what = ObservedFace(LIVE, photo.share, untouched=True)
    return look(examiner, camera.image_of(living), what, rng)


def alive(original: Image.Image, rng: Generator) -> Floats:
    """Return the photo recorded by a camera again."""
    return camera.photographed(_nearer(original, rng), rng)


def attack(original: Image.Image, kind: int, room: Floats, rng: Generator) -> Floats:
    """Return the recording of an attack of this kind with the photo, in front of `room`."""
    name = recapture.KINDS[kind - 1]
    scene = scenes.held(recapture.shown(_nearer(original, rng), name, rng), name, room, rng)
    return scene if rng.random() < _NO_CAMERA else camera.photographed(scene, rng)


def _nearer(original: Image.Image, rng: Generator) -> Floats:
    """Return the photo cropped or extended, at another size; the same for both classes."""
    if rng.random() < _CONTINUED:
        original = camera.image_of(_continued(camera.array_of(original), rng))
    width, height = original.size
    cut = rng.uniform(0, 0.1, 4) * (rng.random() < 0.4)
    part = original.crop(
        (
            int(cut[0] * width),
            int(cut[1] * height),
            int((1 - cut[2]) * width),
            int((1 - cut[3]) * height),
        )
    )
    scale = math.exp(rng.uniform(math.log(0.75), math.log(2))) if rng.random() < 0.7 else 1.0
    scale = min(scale, _MOST_SIDE / max(part.size))
    way = Image.Resampling.BICUBIC if rng.random() < 0.7 else Image.Resampling.LANCZOS
    return camera.array_of(part.resize([max(16, round(n * scale)) for n in part.size], way))


def _continued(photo: Floats, rng: Generator) -> Floats:
    """Extend the photo with its mirror image, so that a tight photo has a margin.

    Otherwise only attacks would have something else than black around the face.
    """
    height, width = photo.shape[:2]
    top, bottom = (rng.uniform(0.05, 0.5, 2) * height).astype(int).tolist()
    left, right = (rng.uniform(0.05, 0.5, 2) * width).astype(int).tolist()
    wide = np.pad(photo, ((top, bottom), (left, right), (0, 0)), mode="reflect")
    blurred = camera.soft(wide, rng.uniform(1, 4))
    down = np.arange(wide.shape[0])[:, None, None]
    across = np.arange(wide.shape[1])[None, :, None]
    beyond = np.maximum.reduce(
        np.broadcast_arrays(
            (top - down) / height,
            (down - top - height) / height,
            (left - across) / width,
            (across - left - width) / width,
        )
    )
    share = np.clip(beyond * 12, 0, 1).astype(np.float32)
    return np.asarray(wide * (1 - share) + blurred * share, np.float32)


def look(
    examiner: FaceAnalyzer, shown: Image.Image, what: ObservedFace, rng: Generator
) -> list[Row]:
    """Return the views of the largest face, once as on the device and once slightly shifted.

    People who calibrate the score have only the first.
    """
    picture = framed(from_image(shown), CameraSettings())
    for found in examiner.find(picture):
        looked = examiner.locate(picture, found)
        if looked is not None:
            meshes = [looked[1]]
            if what.share != LINE:
                meshes.append(_off(looked[1], rng))
            return [(context_crops(picture, mesh), *what) for mesh in meshes]
    return []


def _off(mesh: Mesh, rng: Generator) -> Mesh:
    """Return the mesh shifted and scaled, to crop other views."""
    points = mesh.points.copy()
    low, high = points[:, :2].min(axis=0), points[:, :2].max(axis=0)
    middle, face = (low + high) / 2, float((high - low).max())
    aside = rng.uniform(-_ASIDE, _ASIDE, 2) * face
    points[:, :2] = middle + aside + (points[:, :2] - middle) * (1 + rng.uniform(-_NEARER, _NEARER))
    return replace(mesh, points=points)
