"""Labelled faces, cropped as on the device, cached as one array per set."""

import csv
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from edge.images import from_image
from edge.inference.align import landmarks_to_five_points, layout, similarity
from edge.inference.face_analyzer import FaceAnalyzer
from edge.inference.face_crop import Affine
from edge.inference.landmarks import SIDE as SEEN
from edge.inference.landmarks import region
from edge.inference.smile import PLACED_BY, SIDE, TEMPLATE, as_bytes
from edge.settings import CameraSettings, InferenceSettings
from edge.types import Bytes2D, Yuv
from senyum_lab.batch_work import Progress
from senyum_lab.evaluate.faces import framed
from senyum_lab.training.cache import cached, digest

WIDE = 96  # side of the crop that augmentation reads
ROOM = 1.25  # its field of view over that of the network, as a margin for shifted crops
_WIDE_TEMPLATE = layout(TEMPLATE, (SIDE / 2, SIDE / 2), WIDE / (SIDE * ROOM), WIDE)
_LEAST_SCORE = 0.6  # of the detector: below it, many are not faces
_FER_EDGE = 12  # pixels added to each side of the tight 48x48 faces of FER2013, to detect them


@dataclass(frozen=True, slots=True)
class SmileCrops:
    """The n faces found in one set."""

    crops: NDArray[np.uint8]  # (n, SIDE, SIDE): the input of the network on the device
    wide: NDArray[np.uint8]  # (n, WIDE, WIDE): the same face with a margin
    features: NDArray[np.uint8]  # (n, 2, FEATURES): the input of the other network, of the
    # face and (only in training) of its mirror image
    smiling: NDArray[np.bool_]  # (n,)
    person: NDArray[np.str_]  # (n,): the person, or the file if it is unknown
    listed: int  # pictures, including those without a face


class Picture(NamedTuple):
    """One labelled picture; `image` opens it."""

    image: Callable[[], Image.Image]
    smiling: bool
    person: str


def load(name: str, datasets: Path, cache: Path) -> SmileCrops:
    """Return the faces of one of `SETS`, from the cache if it holds those of this code."""
    examiner = FaceAnalyzer(InferenceSettings(), detector_score=_LEAST_SCORE)
    path = cache / f"{name}-{digest(('detector', 'landmarks'), [Path(__file__)])}.npz"
    return cached(path, SmileCrops, lambda: _cut(examiner, list(SETS[name](datasets)), name))


def _cut(examiner: FaceAnalyzer, pictures: list[Picture], name: str) -> SmileCrops:
    seen, smiling, person = [], [], []
    camera = CameraSettings()
    for picture in Progress(f"cutting {name}", pictures):
        frame = framed(from_image(picture.image()), camera)
        if (face := _look(examiner, frame)) is not None:
            seen.append(face)
            smiling.append(picture.smiling)
            person.append(picture.person)
    crops, wide, features = (np.array(part) for part in zip(*seen, strict=True))
    return SmileCrops(crops, wide, features, np.array(smiling), np.array(person), len(pictures))


def _look(
    examiner: FaceAnalyzer, picture: Yuv
) -> tuple[Bytes2D, Bytes2D, NDArray[np.uint8]] | None:
    """Return both crops of the largest face, and the features of the face and its mirror image."""
    for found in examiner.find(picture):
        looked = examiner.locate(picture, found)
        if looked is not None:
            closeup, mesh = looked
            placed = landmarks_to_five_points(mesh)[:PLACED_BY]
            mirrored = examiner.landmarks.find(closeup, _mirrored(region(found)))
            return (
                closeup.grey(similarity(TEMPLATE, placed), SIDE),
                closeup.grey(similarity(_WIDE_TEMPLATE, placed), WIDE),
                np.array([as_bytes(way.features) for way in (mesh, mirrored)]),
            )
    return None


def _mirrored(where: Affine) -> Affine:
    """Return the map whose crop is the mirror image of that of `where`."""
    a, b, c, d, e, f = where
    return Affine(-a, b, c + a * SEEN, -d, e, f + d * SEEN)


def _listed(datasets: Path, list_name: str, folder: str, person: str) -> Iterator[Picture]:
    with (datasets / list_name).open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            path = datasets / folder / row["file"]
            yield Picture(partial(_open, path), row["smile"] == "1", row[person])


def _open(path: Path) -> Image.Image:
    with Image.open(path) as image:
        return ImageOps.exif_transpose(image).convert("RGB")


def _fer(datasets: Path) -> Iterator[Picture]:
    with np.load(datasets / "fer2013-happy-neutral.npz") as archive:
        pixels, happy = archive["x"], archive["happy"]
    for number, (face, smiling) in enumerate(zip(pixels, happy, strict=True)):
        roomy = np.pad(face, _FER_EDGE, mode="edge")
        yield Picture(partial(Image.fromarray, roomy), bool(smiling), f"fer-{number}")


SETS: dict[str, Callable[[Path], Iterator[Picture]]] = {
    "genki4k": lambda datasets: _listed(datasets, "genki4k.csv", "genki4k", "file"),
    "lfw": lambda datasets: _listed(datasets, "lfw-smile.csv", "lfw", "identity"),
    "fer2013": _fer,
    "london": lambda datasets: _listed(datasets, "london.csv", "london", "person"),
}
