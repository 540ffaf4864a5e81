"""Bare and painted faces, cropped as on the device, cached as one array per set."""

import csv
import random
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from edge.images import from_image, open_photo, to_image
from edge.inference.align import landmarks_to_five_points, layout, similarity
from edge.inference.face_analyzer import FaceAnalyzer
from edge.inference.face_crop import FaceCrop
from edge.inference.landmarks import Mesh
from edge.inference.occlusion import PLACED_BY, SIDE, TEMPLATE
from edge.settings import CameraSettings, InferenceSettings
from edge.types import Bytes2D, Yuv
from senyum_lab.batch_work import Progress
from senyum_lab.evaluate.faces import framed
from senyum_lab.training.cache import cached, digest
from senyum_lab.training.cover import painting

WIDE = 80  # side of the crop that augmentation reads
ROOM = 1.25  # its field of view over that of the network, as a margin for shifted crops
_WIDE_TEMPLATE = layout(TEMPLATE, (SIDE / 2, SIDE / 2), WIDE / (SIDE * ROOM), WIDE)
BARE = "bare"  # the kind of an unpainted face
_COVERS_EACH = 2  # painted covers per photo


@dataclass(frozen=True, slots=True)
class OcclusionCrops:
    """The n faces found in one set."""

    crops: NDArray[np.uint8]  # (n, SIDE, SIDE): the input of the network on the device
    wide: NDArray[np.uint8]  # (n, WIDE, WIDE): the same face with a margin
    kind: NDArray[np.str_]  # (n,): BARE, or the painted cover
    group: NDArray[np.str_]  # (n,): the group of the person in the set, or ""
    person: NDArray[np.str_]  # (n,): the person, or the file if it is unknown
    lost: NDArray[np.str_]  # (m,): kinds of the painted faces that are no longer detected

    @property
    def covered(self) -> NDArray[np.bool_]:
        return np.isin(self.kind, list(painting.COVERS))


class OcclusionPhoto(NamedTuple):
    """One photo of a set."""

    path: Path
    person: str
    group: str


def load(name: str, datasets: Path, cache: Path) -> OcclusionCrops:
    """Return the faces of one of `SETS`, from the cache if it holds those of this code."""
    examiner = FaceAnalyzer(InferenceSettings())
    code = (Path(__file__), Path(painting.__file__))
    path = cache / f"{name}-{digest(('detector', 'landmarks'), code)}.npz"
    return cached(path, OcclusionCrops, lambda: _cut(examiner, list(SETS[name](datasets)), name))


def _cut(examiner: FaceAnalyzer, photos: list[OcclusionPhoto], name: str) -> OcclusionCrops:
    seen: list[tuple[Bytes2D, Bytes2D]] = []
    labels: list[tuple[str, str, str]] = []
    lost = []
    camera = CameraSettings()
    for photo in Progress(f"painting {name}", photos):
        picture = framed(open_photo(photo.path), camera)
        if (looked := _look(examiner, picture)) is None:
            continue
        seen.append(_crops(*looked))
        labels.append((BARE, photo.group, photo.person))
        # The name of the photo alone determines what is painted.
        chance = random.Random(zlib.crc32(photo.path.name.encode()))
        image, points = to_image(picture), looked[1].points[:, :2]
        hidden = chance.sample(list(painting.COVERS), _COVERS_EACH)
        for kind in (*hidden, chance.choice(list(painting.BARE))):
            paint = {**painting.COVERS, **painting.BARE}[kind]
            again = _look(examiner, from_image(paint(image, points, chance)))
            if again is None:
                lost.append(kind)
            else:
                seen.append(_crops(*again))
                labels.append((kind, photo.group, photo.person))
    crops, wide = (np.array(part) for part in zip(*seen, strict=True))
    kinds, groups, people = (np.array(part) for part in zip(*labels, strict=True))
    return OcclusionCrops(crops, wide, kinds, groups, people, np.array(lost))


def _look(examiner: FaceAnalyzer, picture: Yuv) -> tuple[FaceCrop, Mesh] | None:
    """Return the largest face."""
    looks = (examiner.locate(picture, found) for found in examiner.find(picture))
    return next((looked for looked in looks if looked is not None), None)


def _crops(closeup: FaceCrop, mesh: Mesh) -> tuple[Bytes2D, Bytes2D]:
    placed = landmarks_to_five_points(mesh)[:PLACED_BY]
    return (
        closeup.grey(similarity(TEMPLATE, placed), SIDE),
        closeup.grey(similarity(_WIDE_TEMPLATE, placed), WIDE),
    )


def _rows(path: Path) -> Iterator[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        yield from csv.DictReader(file)


def _lfw(datasets: Path) -> Iterator[OcclusionPhoto]:
    """Yield one photo per person."""
    seen = set()
    for row in _rows(datasets / "lfw-smile.csv"):
        if row["identity"] not in seen:
            seen.add(row["identity"])
            yield OcclusionPhoto(datasets / "lfw" / row["file"], row["identity"], "")


def _utkface(datasets: Path) -> Iterator[OcclusionPhoto]:
    for row in _rows(datasets / "utkface.csv"):
        group = "WBAIO"[int(row["race_0W1B2A3I4O"])].lower()
        yield OcclusionPhoto(datasets / "utkface" / row["file"], row["file"], group)


SETS: dict[str, Callable[[Path], Iterator[OcclusionPhoto]]] = {"lfw": _lfw, "utkface": _utkface}
