"""Labelled faces, cut out by the unit's own parts, kept as one array for each set."""

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
from senyum_lab.evaluate.faces import framed
from senyum_lab.training.int8.kept import digest, kept
from senyum_lab.training.int8.progress import Progress

WIDE = 96  # side of the crop that augmentation reads
ROOM = 1.25  # its field of view over the network's, so that a shifted crop has no empty border
_WIDE_TEMPLATE = layout(TEMPLATE, (SIDE / 2, SIDE / 2), WIDE / (SIDE * ROOM), WIDE)
_LEAST_SCORE = 0.6  # of the detector: what it is less sure of is often no face
_FER_EDGE = 12  # pixels added to each side of FER2013's tight 48x48 faces, or few are found


@dataclass(frozen=True, slots=True)
class SmileCrops:
    """The faces found in one set, n of them."""

    crops: NDArray[np.uint8]  # (n, SIDE, SIDE): what the unit's network sees
    wide: NDArray[np.uint8]  # (n, WIDE, WIDE): the same face with room about it
    features: NDArray[np.uint8]  # (n, 2, FEATURES): what the unit's other network sees, of the
    # face and, which the unit does not look at, of its mirror image
    smiling: NDArray[np.bool_]  # (n,)
    person: NDArray[np.str_]  # (n,): who it is, or the file where nobody says
    listed: int  # pictures, with those that no face was found in


class Picture(NamedTuple):
    """One labelled picture, read when it is wanted."""

    image: Callable[[], Image.Image]
    smiling: bool
    person: str


def load(name: str, datasets: Path, cache: Path) -> SmileCrops:
    """Return the faces of one of `SETS`, cut anew where the cache has none of this code."""
    examiner = FaceAnalyzer(InferenceSettings(detector_score=_LEAST_SCORE))
    path = cache / f"{name}-{digest(('detector', 'landmarks'), [Path(__file__)])}.npz"
    return kept(path, SmileCrops, lambda: _cut(examiner, list(SETS[name](datasets)), name))


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
    """Return both crops of the largest face, and both ways' features."""
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
    """Return the map that reads what the landmarks network sees from right to left."""
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
