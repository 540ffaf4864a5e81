"""Bare, painted and really covered faces, cropped as on the device, cached as one array per set."""

import csv
import random
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

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
WORN = "worn mask"  # the kind of a real mask
_BORDER = 0.25  # of the sides of a photo, mirrored about it
_TIGHT = 0.12  # of the face, left about it
_LOOK = 16  # side of the reduced crops that are compared to find repeated photos
_SAME = 0.93  # their correlation; of two photos of worn masks only repeated ones reach it
_COVERS_EACH = 2  # painted covers per photo


@dataclass(frozen=True, slots=True)
class OcclusionCrops:
    """The n faces found in one set."""

    crops: NDArray[np.uint8]  # (n, SIDE, SIDE): the input of the network on the device
    wide: NDArray[np.uint8]  # (n, WIDE, WIDE): the same face with a margin
    kind: NDArray[np.str_]  # (n,): BARE, or the painted cover
    group: NDArray[np.str_]  # (n,): the group of the person in the set, or ""
    person: NDArray[np.str_]  # (n,): the person, or the file if it is unknown
    reframed: NDArray[np.bool_]  # (n,): the photo with another border, to be trained on only
    lost: NDArray[np.str_]  # (m,): kinds of the painted faces that are no longer detected

    @property
    def covered(self) -> NDArray[np.bool_]:
        return np.isin(self.kind, [*painting.COVERS, WORN])


class OcclusionPhoto(NamedTuple):
    """One photo of a set."""

    path: Path
    person: str
    group: str
    kind: str = BARE  # or WORN, which is not painted
    reframe: bool = False  # also with other borders


class _Label(NamedTuple):
    kind: str
    group: str
    person: str
    reframed: bool


def load(name: str, datasets: Path, cache: Path) -> OcclusionCrops:
    """Return the faces of one of `SETS`, from the cache if it holds those of this code."""
    examiner = FaceAnalyzer(InferenceSettings())
    code = (Path(__file__), Path(painting.__file__))
    path = cache / f"{name}-{digest(('detector', 'landmarks'), code)}.npz"
    return cached(path, OcclusionCrops, lambda: _cut(examiner, list(SETS[name](datasets)), name))


def repeated(wide: NDArray[np.uint8]) -> NDArray[np.int64]:
    """Return for each crop, (n, side, side), the number of the first one that shows its photo.

    Collections from the web contain a photo several times, cut and compressed differently.
    """
    side = wide.shape[1] // _LOOK * _LOOK
    blocks = wide[:, :side, :side].reshape(len(wide), _LOOK, side // _LOOK, _LOOK, side // _LOOK)
    looks = blocks.mean((2, 4)).reshape(len(wide), -1)
    looks -= looks.mean(1, keepdims=True)
    looks /= np.linalg.norm(looks, axis=1, keepdims=True) + 1e-9
    first = np.arange(len(wide))
    for n, like in enumerate(looks @ looks.T > _SAME):
        alike = np.unique(first[like])
        first[np.isin(first, alike)] = min(n, *alike.tolist()) if alike.size else n
    return first


def _cut(examiner: FaceAnalyzer, photos: list[OcclusionPhoto], name: str) -> OcclusionCrops:
    seen: list[tuple[Bytes2D, Bytes2D]] = []
    labels: list[_Label] = []
    lost = []
    camera = CameraSettings()

    def add(picture: Yuv, label: _Label) -> painting.Points | None:
        if (looked := _look(examiner, picture)) is not None:
            seen.append(_crops(*looked))
            labels.append(label)
        return None if looked is None else looked[1].points[:, :2]

    for photo in Progress(f"painting {name}", photos):
        picture = framed(open_photo(photo.path), camera)
        label = _Label(photo.kind, photo.group, photo.person, reframed=False)
        points = add(picture, label)
        if photo.reframe:
            for other in _reframings(open_photo(photo.path), picture, points):
                add(framed(other, camera), label._replace(reframed=True))
        if points is None or photo.kind != BARE:
            continue
        # The name of the photo alone determines what is painted.
        chance = random.Random(zlib.crc32(photo.path.name.encode()))
        image = to_image(picture)
        hidden = chance.sample(list(painting.COVERS), _COVERS_EACH)
        for kind in (*hidden, chance.choice(list(painting.BARE))):
            paint = {**painting.COVERS, **painting.BARE}[kind]
            painted = from_image(paint(image, points, chance))
            if add(painted, label._replace(kind=kind)) is None:
                lost.append(kind)
    crops, wide = (np.array(part) for part in zip(*seen, strict=True))
    kinds, groups, people, reframed = (np.array(part) for part in zip(*labels, strict=True))
    return OcclusionCrops(crops, wide, kinds, groups, people, reframed, np.array(lost))


def _reframings(photo: Yuv, picture: Yuv, points: painting.Points | None) -> Iterator[Yuv]:
    """Yield the photo with a mirrored border, and its face (in `picture`) cut out tightly.

    Real masks come as tight crops; the negatives get the same borders, so that those tell nothing.
    """
    pixels = np.asarray(to_image(photo))
    rows, columns = (round(_BORDER * side) for side in pixels.shape[:2])
    bordered = np.pad(pixels, ((rows, rows), (columns, columns), (0, 0)), mode="reflect")
    yield from_image(Image.fromarray(bordered))
    if points is not None:
        low, high = points.min(0), points.max(0)
        reach = _TIGHT * (high - low)
        left, top, right, bottom = (round(x) for x in (*(low - reach), *(high + reach)))
        box = (max(0, left), max(0, top), min(right, picture.width), min(bottom, picture.height))
        yield from_image(to_image(picture).crop(box))


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


def _listed(name: str, kind: str) -> Callable[[Path], Iterator[OcclusionPhoto]]:
    def photos(datasets: Path) -> Iterator[OcclusionPhoto]:
        for row in _rows(datasets / f"{name}.csv"):
            file = row["file"]
            yield OcclusionPhoto(datasets / name / file, file, "", kind, reframe=True)

    return photos


PAINTED_SETS: dict[str, Callable[[Path], Iterator[OcclusionPhoto]]] = {
    "lfw": _lfw,
    "utkface": _utkface,
}
REAL_SETS = {"masks": _listed("masks", WORN), "hijab": _listed("hijab", BARE)}
SETS = {**PAINTED_SETS, **REAL_SETS}
