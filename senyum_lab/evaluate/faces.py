"""Pictures to faces, as the daemon sees them: a frame of the camera, its leading face."""

import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from edge.errors import LabelsError, PhotoError
from edge.images import fit_size, open_photo, pad_to, shrink
from edge.inference.face_analyzer import AnalyzedFace
from edge.settings import CameraSettings, Settings
from edge.system.text import pluralize
from edge.types import Yuv

Progress = Callable[[int, int], None]  # pictures seen, and all

# The first sentence of every protocol.
FRAMED = (
    "Each picture is put into a frame of the camera's shape, black around it, shrunk where it is "
    "larger than the camera's and never enlarged; the largest face counts."
)
SUFFIXES = frozenset({".bmp", ".jpeg", ".jpg", ".png", ".webp"})
_SHOWN = 10  # problems


class StillAnalyzer(Protocol):
    """Finds and measures faces; `edge.inference.face_analyzer` has the real one."""

    @property
    def digests(self) -> dict[str, str]: ...

    def analyze(self, picture: Yuv) -> tuple[AnalyzedFace, ...]: ...


@dataclass(frozen=True, slots=True)
class EvaluationContext:
    """What every evaluation works with."""

    examiner: StillAnalyzer
    settings: Settings
    progress: Progress


@dataclass(frozen=True, slots=True)
class FaceSet:
    """What became of the pictures of a list."""

    faces: dict[str, AnalyzedFace | None]  # by name as listed; None: no face was found
    missing: int  # files that are not there
    problems: tuple[str, ...]  # of files that are not pictures, or damaged: name and what to do

    @property
    def found(self) -> int:
        return sum(face is not None for face in self.faces.values())

    @property
    def counts(self) -> dict[str, int]:
        return {"missing": self.missing, "unreadable": len(self.problems)}

    @property
    def notes(self) -> list[str]:
        """One line for each kind of file that was left out, and for the first unreadable ones."""
        return left_out(self.missing, self.problems)


def left_out(missing: int, problems: Sequence[str]) -> list[str]:
    """Return what to say of listed files that are not there, and of those that cannot be read."""
    said = {"not there": missing, "unreadable": len(problems)}
    lines = [f"left out: {pluralize(n, 'listed file')}, {what}" for what, n in said.items() if n]
    return [*lines, *problems[:_SHOWN]]


def look(names: Iterable[str], folder: Path, bench: EvaluationContext) -> FaceSet:
    """Examine each picture once; the leading face is the largest, as on the unit.

    Files that are missing or unreadable are counted and left out. Raises LabelsError where the
    folder is not there, or not one picture in it can be read.
    """
    if not folder.is_dir():
        raise LabelsError(f"{folder}: no such folder of pictures")
    listed = list(dict.fromkeys(names))
    faces: dict[str, AnalyzedFace | None] = {}
    missing = 0
    problems: list[str] = []
    for done, name in enumerate(listed):
        bench.progress(done, len(listed))
        path = folder / name
        if not os.path.lexists(path):  # unlike the methods of Path it never raises
            missing += 1
            continue
        try:
            picture = framed(open_photo(path), bench.settings.camera)
        except PhotoError as error:
            problems.append(str(error))
            continue
        faces[name] = next(iter(bench.examiner.analyze(picture)), None)
    bench.progress(len(listed), len(listed))
    if not faces:
        raise LabelsError(
            f"{folder}: none of {pluralize(len(listed), 'file')} can be used "
            f"({missing} not there, {len(problems)} not images); correct the folder or the list"
        )
    return FaceSet(faces, missing, tuple(problems))


def framed(photo: Yuv, camera: CameraSettings) -> Yuv:
    """Put a photo into the smallest frame of the camera's shape, black around it.

    It is shrunk where it is larger than the camera's frame, and never enlarged: a face keeps the
    sharpness and the size that it has.
    """
    most = camera.main_width, camera.main_height
    if photo.width > most[0] or photo.height > most[1]:
        photo = shrink(photo, *fit_size(photo.width, photo.height, *most))
    width = max(photo.width, _even(photo.height * most[0] / most[1]))
    height = max(photo.height, _even(photo.width * most[1] / most[0]))
    return pad_to((photo.y, photo.u, photo.v), width, height)


def _even(length: float) -> int:
    return 2 * round(length / 2)


def pictures(folder: Path) -> list[str]:
    """Return the names of all pictures in a folder and the folders in it, in order.

    Raises LabelsError where there is none.
    """
    found = sorted(
        path.relative_to(folder).as_posix()
        for path in folder.rglob("*")
        if path.suffix.lower() in SUFFIXES and os.path.isfile(path)  # noqa: PTH113 - never raises
    )
    if not found:
        raise LabelsError(f"{folder}: no pictures in this folder")
    return found
