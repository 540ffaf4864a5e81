"""Detect the faces of pictures as the daemon does: in a camera frame, the largest face."""

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

Progress = Callable[[int, int], None]  # pictures done, total

# The first sentence of every protocol.
FRAMED = (
    "Each picture is placed in a black frame with the aspect ratio of the camera, reduced if it is "
    "larger than a camera frame and never enlarged; the largest face counts."
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
    """The analyzer, the settings and the progress of an evaluation."""

    examiner: StillAnalyzer
    settings: Settings
    progress: Progress


@dataclass(frozen=True, slots=True)
class FaceSet:
    """The faces of the pictures of a list."""

    faces: dict[str, AnalyzedFace | None]  # by listed name; None: no face detected
    missing: int  # files that do not exist
    problems: tuple[str, ...]  # unreadable files: name and what to do

    @property
    def found(self) -> int:
        return sum(face is not None for face in self.faces.values())

    @property
    def counts(self) -> dict[str, int]:
        return {"missing": self.missing, "unreadable": len(self.problems)}

    @property
    def notes(self) -> list[str]:
        """One line per kind of file left out, and the first unreadable files."""
        return left_out(self.missing, self.problems)


def left_out(missing: int, problems: Sequence[str]) -> list[str]:
    """Return the notes about missing and unreadable listed files."""
    counts = {"not there": missing, "unreadable": len(problems)}
    lines = [f"left out: {pluralize(n, 'listed file')}, {what}" for what, n in counts.items() if n]
    return [*lines, *problems[:_SHOWN]]


def look(names: Iterable[str], folder: Path, bench: EvaluationContext) -> FaceSet:
    """Analyze each picture once; the leading face is the largest, as on the device.

    Missing and unreadable files are counted and left out. Raises LabelsError if the folder does
    not exist or no picture can be read.
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
    """Place a photo in the smallest black frame with the aspect ratio of the camera.

    The photo is reduced if it is larger than a camera frame and never enlarged, so that faces keep
    their size and sharpness.
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
    """Return the sorted names of all pictures in a folder and its subfolders.

    Raises LabelsError if there are none.
    """
    found = sorted(
        path.relative_to(folder).as_posix()
        for path in folder.rglob("*")
        if path.suffix.lower() in SUFFIXES and os.path.isfile(path)  # noqa: PTH113 - never raises
    )
    if not found:
        raise LabelsError(f"{folder}: no pictures in this folder")
    return found
