"""Living faces and attacks, seen by the unit's own parts, kept in parts that a run goes on from."""

import csv
import hashlib
import math
import zlib
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
from int8_training.kept import kept
from int8_training.progress import Progress
from numpy.random import Generator
from numpy.typing import NDArray
from PIL import Image

from edge.evaluate.faces import framed
from edge.inference import liveness
from edge.inference.examiner import Examiner
from edge.inference.liveness import SIDE, views
from edge.pictures import from_image
from edge.settings import CameraSettings, InferenceSettings
from edge.types import Floats, Yuv
from liveness_training import camera, recapture, scenes

LIVE, *_ATTACKS = range(1 + len(recapture.KINDS))
SHARES = 5  # of people: share 0 is for evaluation alone, share 1 sets line and threshold
_HALVES = 2  # of the few people of the London set: half 0 is for evaluation alone
_SEED = 31
_PART = 250  # photos that are kept together
_A_PERSON = 2  # photos of LFW's people at most
_LONDON_TIMES = 5  # its photos are few, but large
_MOST_SIDE = 560  # pixels of a photo before an attack is made of it
_UNTOUCHED = 0.5  # of the living: the photo as it is
_CONTINUED = 0.4  # of the photos that are not left as they are
_ROOMY = 2  # every so many photos there is one more, with a room about the face
_ROOMY_SIDE = 640  # pixels of its height at most
_NO_CAMERA = 0.25  # of the attacks: without a camera's own faults


_Seen = tuple[NDArray[np.uint8], int, int, bool]  # of one face, what Samples has


class Photo(NamedTuple):
    """One photo of a living person."""

    path: Path
    share: int


@dataclass(frozen=True, slots=True)
class Samples:
    """What was seen of n faces."""

    views: NDArray[np.uint8]  # (n, SIDE, SIDE, 6), as edge.inference.liveness.views
    kind: NDArray[np.int64]  # (n,): LIVE, or 1 + the place in recapture.KINDS
    share: NDArray[np.int64]  # (n,): which share of people
    untouched: NDArray[np.bool_]  # (n,): living, and not taken by a camera once more


def photos(datasets: Path) -> list[Photo]:
    """Return all photos but those of the people that are for evaluation alone, in a fixed order."""
    found: list[Photo] = []
    for person in sorted((datasets / "lfw").iterdir()):
        share = zlib.crc32(person.name.encode()) % SHARES
        found += [Photo(path, share) for path in sorted(person.glob("*.jpg"))[:_A_PERSON]]
    for path in sorted((datasets / "utkface").glob("*.jpg")):
        found.append(Photo(path, zlib.crc32(path.stem.encode()) % SHARES))
    with (datasets / "london.csv").open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            if zlib.crc32(row["person"].encode()) % _HALVES:
                found += [Photo(datasets / "london" / row["file"], SHARES - 1)] * _LONDON_TIMES
    found = [photo for photo in found if photo.share]
    order = np.random.default_rng(_SEED).permutation(len(found))
    return [found[i] for i in order]


def load(datasets: Path, cache: Path) -> Samples:
    """Return the samples, made anew where the cache has none of these models and this code."""
    examiner = Examiner(InferenceSettings())
    models = "".join(examiner.digests[model] for model in ("detector", "landmarks"))
    paths = (*sorted(Path(__file__).parent.glob("[crs]*.py")), Path(liveness.__file__))
    code = b"".join(path.read_bytes() for path in paths)
    form = hashlib.sha256(models.encode() + code + f"{SIDE} {_SEED}".encode()).hexdigest()[:12]
    listed = photos(datasets)
    parts = []
    for number in Progress("making attacks", range(0, len(listed), _PART)):
        some = range(number, min(number + _PART, len(listed)))
        path = cache / f"{form}-{number // _PART:03}.npz"
        parts.append(kept(path, Samples, partial(_made, examiner, listed, some)))
    return Samples(
        **{field: np.concatenate([getattr(part, field) for part in parts])
           for field in Samples.__slots__}
    )  # fmt: skip


def _made(examiner: Examiner, listed: list[Photo], numbers: range) -> Samples:
    seen: list[_Seen] = []
    frame = CameraSettings()
    for number in numbers:
        photo = listed[number]
        with Image.open(photo.path) as image:
            original = image.convert("RGB")
        with Image.open(listed[(number + 1) % len(listed)].path) as image:
            # Upside down: a face behind the attack must not be found.
            room = camera.array_of(image.convert("RGB").rotate(180))
        rng = np.random.default_rng((_SEED, number))
        untouched = rng.random() < _UNTOUCHED
        living = original if untouched else camera.image_of(_alive(original, rng))
        kind = int(rng.choice(_ATTACKS))
        attack = camera.image_of(_attack(original, kind, room, rng))
        for shown, what in ((living, LIVE), (attack, kind)):
            found = _look(examiner, framed(from_image(shown), frame))
            if found is not None:
                seen.append((found, what, photo.share, untouched and what == LIVE))
    seen += _roomy(examiner, listed, numbers)
    return Samples(*(np.array(column) for column in zip(*seen, strict=True)))


def _roomy(examiner: Examiner, listed: list[Photo], numbers: range) -> list[_Seen]:
    """Return living faces with a room about them, taken once, at many sizes.

    A unit sees more about a face than these tight photos hold.
    """
    seen: list[_Seen] = []
    for number in numbers[::_ROOMY]:
        photo = listed[number]
        with Image.open(photo.path) as image:
            original = camera.array_of(image.convert("RGB"))
        rng = np.random.default_rng((_SEED, number, 1))
        if original.shape[0] < _MOST_SIDE:
            original = _continued(original, rng)
        height, width = original.shape[:2]
        scale = min(math.exp(rng.uniform(math.log(0.6), math.log(2))), _ROOMY_SIDE / height)
        living = camera.sized(original, round(width * scale), round(height * scale))
        found = _look(examiner, framed(from_image(camera.image_of(living)), CameraSettings()))
        if found is not None:
            seen.append((found, LIVE, photo.share, True))
    return seen


def _alive(original: Image.Image, rng: Generator) -> Floats:
    return camera.photographed(_nearer(original, rng), rng)


def _attack(original: Image.Image, kind: int, room: Floats, rng: Generator) -> Floats:
    name = recapture.KINDS[kind - 1]
    scene = scenes.held(recapture.shown(_nearer(original, rng), name, rng), name, room, rng)
    return scene if rng.random() < _NO_CAMERA else camera.photographed(scene, rng)


def _nearer(original: Image.Image, rng: Generator) -> Floats:
    """Return the photo cut closer or continued, at another size; alike for both classes."""
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
    """Go on beyond the photo's edges with its mirror image, so that a tight photo has a room.

    Else only attacks had anything but black around the face.
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


def _look(examiner: Examiner, picture: Yuv) -> NDArray[np.uint8] | None:
    """Return the views of the largest face."""
    for found in examiner.find(picture):
        looked = examiner.look(picture, found)
        if looked is not None:
            return views(picture, looked[1])
    return None
