"""Every face of one still picture, judged in full: for enrolment, and as the parts of a frame."""

from dataclasses import dataclass, replace

from edge.images import shrink
from edge.inference.align import PLACES, SIDE, VARIED, five_points, similarity
from edge.inference.detector import Detection, Detector
from edge.inference.embedder import Embedder
from edge.inference.face_crop import Affine, Bytes3D, Closeup
from edge.inference.landmarks import Landmarks, Mesh, approach, region
from edge.inference.liveness import Passive
from edge.inference.models import Models
from edge.inference.occlusion import Cover
from edge.inference.quality import judge, surroundings, unseen
from edge.inference.smile import Smile
from edge.settings import InferenceSettings
from edge.types import Box, Floats, Liveness, Problem, Quality, Yuv

_SMALL = 320  # pixels of the longer side
# A face that the detector is so sure of and the landmarks network denies is turned, and then found
# with more room about it, or else covered, mostly. Of the 140 crops of GENKI-4K without a face four
# reach it.
_SURE = 0.7


@dataclass(frozen=True, slots=True)
class Face:
    """One face of a still picture."""

    box: Box  # in pixels of the picture
    score: float  # the detector's confidence, 0 to 1
    quality: Quality
    template: Floats  # (192,), length 1
    smile: float  # 0 to 100, of this picture alone
    liveness: Liveness | None = None  # None where the models judge none


@dataclass(frozen=True, slots=True)
class Aligned:
    """A face laid onto the identity network's places."""

    points: Floats  # (5, 2): eyes, nose tip, mouth corners, in pixels of the picture
    crop: Bytes3D  # (112, 112, 3), YCbCr
    quality: Quality


class Examiner:
    """The networks and what lies between them. Not for two threads at once."""

    def __init__(self, settings: InferenceSettings) -> None:
        """Open the networks. Raises ModelError."""
        models = Models(settings.models, settings.threads)
        self._limits = settings.quality
        self.digests = models.digests()
        self.detector = Detector(models.open("detector"), settings.detector_score)
        self.landmarks = Landmarks(models.open("landmarks"))
        self.embedder = Embedder(models.open("identity"))
        self.smile = Smile(models.open("smile"), models.open("readout"))
        self.cover = Cover(models.open("cover"))
        # Models without it are whole: who uses them is told that nothing judges liveness.
        judged = "liveness" in self.digests
        self.liveness = Passive(models.open("liveness")) if judged else None

    def examine(self, picture: Yuv) -> tuple[Face, ...]:
        """Return all faces of `picture`, largest first, whatever their quality."""
        faces = []
        for found in self.find(picture):
            looked = self.look_twice(picture, found)
            if looked is not None:
                faces.append(self._face(picture, found, *looked))
        return tuple(faces)

    def find(self, picture: Yuv) -> list[Detection]:
        """Return where the faces of a picture of any size are, largest first."""
        return self.detector.find(_small(picture), picture.width, picture.height)

    def look(self, picture: Yuv, found: Detection) -> tuple[Closeup, Mesh] | None:
        """Return a face from nearby, or None where the detector was mistaken."""
        return self._approach(picture, region(found))

    def look_twice(self, picture: Yuv, found: Detection) -> tuple[Closeup, Mesh] | None:
        """Return the same; of a denied face that the detector is sure of, after a wider look."""
        looked = self.look(picture, found)
        if looked is None and found.score >= _SURE:
            return self._approach(picture, region(found, wide=True))
        return looked

    def align(self, closeup: Closeup, mesh: Mesh) -> Aligned:
        """Lay the face onto the identity network's places, and judge it."""
        points = five_points(mesh)
        crop = closeup.colour(similarity(PLACES, points), SIDE)
        around = surroundings(closeup, points)
        size = closeup.width, closeup.height
        quality = judge(crop[..., 0], around, mesh, size, self._limits)
        if quality.problem is None and self.cover.covers(closeup, points):
            quality = replace(quality, problem=Problem.COVERED)
        return Aligned(points, crop, quality)

    def denied(self, found: Detection) -> Quality | None:
        """Return what to tell of a face that both looks denied; None: nothing."""
        return unseen(found.box.width, self._limits) if found.score >= _SURE else None

    def _approach(self, picture: Yuv, where: Affine) -> tuple[Closeup, Mesh] | None:
        closeup = approach(picture, where)
        mesh = self.landmarks.find(closeup, where)
        return (closeup, mesh) if mesh.is_face else None

    def _face(self, picture: Yuv, found: Detection, closeup: Closeup, mesh: Mesh) -> Face:
        aligned = self.align(closeup, mesh)
        varied = (closeup.colour(similarity(v, aligned.points), SIDE) for v in VARIED)
        return Face(
            box=found.box,
            score=found.score,
            quality=aligned.quality,
            template=self.embedder.embed_still((aligned.crop, *varied)),
            smile=self.smile.score(closeup, mesh, aligned.points),
            liveness=None if self.liveness is None else self.liveness.judge(picture, mesh),
        )


def _small(picture: Yuv) -> Yuv:
    """Return the picture at the size of the small stream, which the detector reads."""
    ratio = _SMALL / max(picture.width, picture.height)
    if ratio >= 1:
        return picture
    width, height = (max(2, 2 * round(n * ratio / 2)) for n in (picture.width, picture.height))
    return shrink(picture, width, height)
