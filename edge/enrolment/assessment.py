"""Judges one photo: whether it shows one face that recognition can use, and if not, why."""

from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

from edge.errors import PhotoError
from edge.images import pad_to
from edge.inference.face_analyzer import AnalyzedFace
from edge.photos import open_photo
from edge.settings import InferenceSettings
from edge.types import Floats, QualityProblem, Yuv

# The detector scores a face beside another one low, and the mesh then tells what is no face. On
# 60 London portraits no second face is made up at 0.2, on 300 of UTKFace one.
STILL_SCORE = 0.2
# A second face is a bystander up to this share of the first one's width.
BYSTANDER = 0.4

_SAYS: Mapping[QualityProblem, str] = {
    QualityProblem.TOO_FAR: "the face is too small; give a larger picture or one taken closer",
    QualityProblem.TOO_DARK: "the face is too dark; take it again in more light",
    QualityProblem.TOO_BRIGHT: "the face is too bright; take it again without flash or sun",
    QualityProblem.BACKLIT: "the light comes from behind; take it again facing the light",
    QualityProblem.COVERED: "mouth or eyes are covered; take it again without mask, hand or "
    "dark glasses",
    QualityProblem.BLURRED: "the face is blurred; take it again in focus and without movement",
    QualityProblem.TURNED: "the face is turned away; take it again looking into the camera",
    QualityProblem.CUT_OFF: "the face is cut off; take it again with the whole head in the picture",
}


class PhotoAnalyzer(Protocol):
    """Finds and measures the faces of a still; `edge.inference.face_analyzer` has the real one."""

    @property
    def digests(self) -> dict[str, str]: ...

    def analyze(self, picture: Yuv) -> tuple[AnalyzedFace, ...]: ...


def for_stills(settings: InferenceSettings) -> InferenceSettings:
    """Return the settings that photos are examined with: faint faces are looked at, too."""
    score = min(settings.detector_score, STILL_SCORE)
    return settings.model_copy(update={"detector_score": score})


def assess_photo(path: Path, examiner: PhotoAnalyzer) -> Floats:
    """Return the template (DIMENSION,) of the one face on a photo.

    Raises PhotoError, which names the file, where it cannot be read or the face cannot be used.
    """
    photo = open_photo(path)
    faces = examiner.analyze(photo)
    if not faces and _overflows(photo, examiner):
        raise PhotoError(f"{path}: {_SAYS[QualityProblem.CUT_OFF]}")
    if not faces:
        raise PhotoError(
            f"{path}: no face was found; take it again from the front, uncovered, in good light"
        )
    first, *others = faces
    if any(face.box.width >= BYSTANDER * first.box.width for face in others):
        raise PhotoError(f"{path}: there is more than one face; cut the picture to one person")
    if first.quality.problem:
        raise PhotoError(f"{path}: {_SAYS[first.quality.problem]}")
    return first.template


def _overflows(photo: Yuv, examiner: PhotoAnalyzer) -> bool:
    """Whether a face is larger than the photo: the detector sees it from further away."""
    planes = (photo.y, photo.u, photo.v)
    further = examiner.analyze(pad_to(planes, 2 * photo.width, 2 * photo.height))
    return any(face.box.width > photo.width for face in further)
