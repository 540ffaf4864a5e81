"""Faces of real presentation attacks, of simulated ones and of living people, cached per set."""

import csv
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from operator import attrgetter
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from edge.capture.replay import iter_frames
from edge.errors import PhotoError, ReplayError
from edge.images import from_image, open_photo
from edge.inference.face_analyzer import FaceAnalyzer
from edge.inference.face_crop import Bytes3D
from edge.inference.liveness import context_crops, surroundings_crop, texture
from edge.inference.models import Models
from edge.settings import CameraSettings, InferenceSettings
from edge.types import Yuv
from senyum_lab.batch_work import Progress
from senyum_lab.evaluate.faces import framed
from senyum_lab.training.cache import cached, digest
from senyum_lab.training.liveness import camera, recapture, samples
from senyum_lab.training.liveness.samples import LivenessPhoto

WIDE = 160  # side of the crop that augmentation reads; its middle SIDE is what the device sees
LIVE = "live"  # the kind of a living face
_SEED = 77
_VIDEO_FPS = 3.0
_SIMULATED = 2600  # attacks from photos of LFW, UTKFace and London
_A_LIVING_FRAME = 2  # one of this number of living frames of NUAA becomes a simulated attack
_SIZES = ((320, 240), (480, 360))  # of a living frame on the medium of an attack


@dataclass(frozen=True, slots=True)
class RecaptureFaces:
    """The n faces found in one set."""

    wide: NDArray[np.uint8]  # (n, WIDE, WIDE, 3), YCbCr
    texture: NDArray[np.float64]  # (n,): log-odds of life by the other liveness network
    kind: NDArray[np.str_]  # (n,): LIVE or the kind of attack
    person: NDArray[np.str_]  # (n,): the person, or the file if unknown
    origin: NDArray[np.str_]  # (n,): the sequence, the video, or the set a simulation is made from


class LabelledPicture(NamedTuple):
    """A picture that opens when it is needed."""

    open: Callable[[], Yuv]
    kind: str
    person: str
    origin: str


def load(name: str, datasets: Path, cache: Path) -> RecaptureFaces:
    """Return the faces of one of `SETS`, from the cache if it holds those of this code.

    Pictures that cannot be read, and those without a face, are left out.
    """
    code = (Path(__file__), Path(samples.__file__), Path(recapture.__file__), Path(camera.__file__))
    path = cache / f"{name}-{digest(('detector', 'landmarks', 'liveness'), code)}.npz"
    return cached(path, RecaptureFaces, lambda: _cut(list(SETS[name](datasets)), name))


def _cut(pictures: list[LabelledPicture], name: str) -> RecaptureFaces:
    analyzer = FaceAnalyzer(InferenceSettings())
    network = Models().open("liveness")
    found: list[tuple[Bytes3D, float, str, str, str]] = []
    for listed in Progress(f"cropping {name}", pictures):
        try:
            picture = listed.open()
        except (PhotoError, ReplayError):
            continue
        looks = (analyzer.locate(picture, face) for face in analyzer.find(picture))
        looked = next((look for look in looks if look is not None), None)
        if looked is not None:
            wide = surroundings_crop(picture, looked[1], WIDE)
            logit = texture(network, context_crops(picture, looked[1]))
            found.append((wide, logit, listed.kind, listed.person, listed.origin))
    wides, *labels = zip(*found, strict=True)
    return RecaptureFaces(np.array(wides), *(np.array(label) for label in labels))


# --- the sets ---------------------------------------------------------------------------------


def _rows(path: Path) -> Iterator[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        yield from csv.DictReader(file)


def _photo(path: Path, kind: str, person: str, origin: str = "") -> LabelledPicture:
    return LabelledPicture(lambda: framed(open_photo(path), CameraSettings()), kind, person, origin)


def _attacks(datasets: Path, name: str) -> Iterator[LabelledPicture]:
    folder = datasets / "attacks" / name
    for row in _rows(datasets / "attacks" / f"{name}.csv"):
        kind = LIVE if row["live"] == "1" else row["kind"]
        yield _photo(folder / row["file"], kind, row["subject"], row.get("sequence", ""))


def _sequences(datasets: Path) -> Iterator[LabelledPicture]:
    folder = datasets / "attacks" / "nuaa-sequences"
    for row in _rows(folder.with_suffix(".csv")):
        kind = LIVE if row["live"] == "1" else row["kind"]
        for path in sorted((folder / row["folder"]).iterdir()):
            yield _photo(path, kind, row["subject"], row["folder"])


def _listed(datasets: Path, name: str) -> Iterator[LabelledPicture]:
    for row in _rows(datasets / f"{name}.csv"):
        person = row.get("person") or Path(row["file"]).stem
        yield _photo(datasets / name / row["file"], LIVE, person)


def _lfw(datasets: Path) -> Iterator[LabelledPicture]:
    for person in sorted((datasets / "lfw").iterdir()):
        for path in sorted(person.glob("*.jpg"))[:1]:
            yield _photo(path, LIVE, person.name)


def _videos(folder: Path) -> Iterator[LabelledPicture]:
    rate = CameraSettings().model_copy(update={"fps": _VIDEO_FPS})
    for path in sorted(folder.iterdir()):
        if path.suffix in {".mkv", ".mp4"}:
            for frame in iter_frames(path, rate):
                shown = partial(attrgetter("main"), frame)
                yield LabelledPicture(shown, LIVE, path.stem, path.stem)


def _simulated(datasets: Path) -> Iterator[LabelledPicture]:
    """Yield attacks simulated from photos and from the living frames of the real sets."""
    photos = samples.photos(datasets)[:_SIMULATED]
    listed = [(photo.path, _person(photo.path), "") for photo in photos]
    for name, times in (("nuaa", 1), ("msu", 3)):
        rows = [row for row in _rows(datasets / "attacks" / f"{name}.csv") if row["live"] == "1"]
        for row in rows[::_A_LIVING_FRAME] if name == "nuaa" else rows * times:
            path = datasets / "attacks" / name / row["file"]
            listed.append((path, row["subject"], name))
    for number, (path, person, origin) in enumerate(listed):
        rng = np.random.default_rng((_SEED, number))
        kind = int(rng.integers(1, 1 + len(recapture.KINDS)))
        room = photos[(7 * number + 13) % len(photos)]

        def make(
            path: Path = path,
            kind: int = kind,
            room: LivenessPhoto = room,
            rng: np.random.Generator = rng,
            real: bool = bool(origin),
        ) -> Yuv:
            original = LivenessPhoto(path, 0).open()
            if real:
                original = original.resize(_SIZES[int(rng.integers(len(_SIZES)))])
            behind = camera.array_of(room.open().rotate(180))
            scene = samples.attack(original, kind, behind, rng)
            return framed(from_image(camera.image_of(scene)), CameraSettings())

        yield LabelledPicture(make, f"simulated {recapture.KINDS[kind - 1]}", person, origin)


def _person(path: Path) -> str:
    return path.parent.name if path.parent.parent.name == "lfw" else path.stem


def part(faces: RecaptureFaces, parts: int) -> NDArray[np.int64]:
    """Return the part of each face's person, 0 to `parts` - 1."""
    return np.array([zlib.crc32(person.encode()) % parts for person in faces.person.tolist()])


SETS: dict[str, Callable[[Path], Iterator[LabelledPicture]]] = {
    "nuaa": lambda datasets: _attacks(datasets, "nuaa"),
    "msu": lambda datasets: _attacks(datasets, "msu"),
    "sequences": _sequences,
    "simulated": _simulated,
    "lfw": _lfw,
    "utkface": lambda datasets: _listed(datasets, "utkface"),
    "london": lambda datasets: _listed(datasets, "london"),
    "hijab": lambda datasets: _listed(datasets, "hijab"),
    "yale": lambda datasets: _listed(datasets, "yale"),
    "hands": lambda datasets: _videos(datasets / "hands"),
    "videos": lambda datasets: _videos(datasets / "videos"),
}
