"""Every face of one still picture, judged in full: for enrolment, and as the parts of a frame."""

from dataclasses import dataclass, replace

from edge.images import shrink
from edge.inference.align import PLACES, SIDE, VARIED, landmarks_to_five_points, similarity
from edge.inference.detector import Detection, Detector
from edge.inference.embedder import Embedder
from edge.inference.face_crop import Affine, Bytes3D, FaceCrop
from edge.inference.landmarks import Landmarks, Mesh, crop_region, region
from edge.inference.liveness import PassiveLiveness
from edge.inference.models import Models
from edge.inference.occlusion import OcclusionClassifier
from edge.inference.quality import judge, surroundings, unmeasured_quality
from edge.inference.smile import Smile
from edge.settings import InferenceSettings
from edge.types import Box, Floats, PassiveLivenessScore, Quality, QualityProblem, Yuv

_SMALL = 320  # pixels of the longer side


@dataclass(frozen=True, slots=True)
class AnalyzedFace:
    """One face of a still picture."""

    box: Box  # in pixels of the picture
    score: float  # the detector's confidence, 0 to 1
    quality: Quality
    template: Floats  # (192,), length 1
    smile: float  # 0 to 100, of this picture alone
    liveness: PassiveLivenessScore | None = None  # None where the models judge none


@dataclass(frozen=True, slots=True)
class AlignedFace:
    """A face laid onto the identity network's places."""

    points: Floats  # (5, 2): eyes, nose tip, mouth corners, in pixels of the picture
    crop: Bytes3D  # (112, 112, 3), YCbCr
    quality: Quality


class FaceAnalyzer:
    """The networks and what lies between them. Not for two threads at once."""

    def __init__(
        self,
        settings: InferenceSettings,
        *,
        photos: bool = False,
        detector_score: float | None = None,
    ) -> None:
        """Open the networks. Raises ModelError.

        `photos`: also find the faint faces that are expected on photos only. `detector_score`:
        minimum confidence of a face, 0 to 1, instead of the one in the models' manifest.
        """
        models = Models(settings.models, settings.threads)
        self._limits = settings.quality
        self.digests = models.digests()
        detector = models.open("detector")
        if detector_score is None:
            detector_score = detector.spec.constant("photo_score" if photos else "score")
        self.detector = Detector(detector, detector_score)
        # A face with this confidence that the landmarks network denies is usually turned, and then
        # found in a larger crop, or covered.
        self._certain = detector.spec.constant("certain")
        self.landmarks = Landmarks(models.open("landmarks"))
        self.embedder = Embedder(models.open("identity"))
        self.smile = Smile(models.open("smile"), models.open("readout"))
        self.cover = OcclusionClassifier(models.open("cover"))
        # Optional: without it liveness is not judged, and the health report says so.
        judged = "liveness" in self.digests
        self.liveness = PassiveLiveness(models.open("liveness")) if judged else None

    def analyze(self, picture: Yuv) -> tuple[AnalyzedFace, ...]:
        """Return all faces of `picture`, largest first, whatever their quality."""
        faces = []
        for found in self.find(picture):
            looked = self.locate_with_retry(picture, found)
            if looked is not None:
                faces.append(self._face(picture, found, *looked))
        return tuple(faces)

    def find(self, picture: Yuv) -> list[Detection]:
        """Return where the faces of a picture of any size are, largest first."""
        return self.detector.find(_small(picture), picture.width, picture.height)

    def locate(self, picture: Yuv, found: Detection) -> tuple[FaceCrop, Mesh] | None:
        """Return a face from nearby, or None where the detector was mistaken."""
        return self._approach(picture, region(found))

    def locate_with_retry(self, picture: Yuv, found: Detection) -> tuple[FaceCrop, Mesh] | None:
        """Return the same; of a denied face that the detector is sure of, after a wider look."""
        looked = self.locate(picture, found)
        if looked is None and found.score >= self._certain:
            return self._approach(picture, region(found, wide=True))
        return looked

    def align(self, closeup: FaceCrop, mesh: Mesh) -> AlignedFace:
        """Lay the face onto the identity network's places, and judge it."""
        points = landmarks_to_five_points(mesh)
        crop = closeup.colour(similarity(PLACES, points), SIDE)
        around = surroundings(closeup, points)
        size = closeup.width, closeup.height
        quality = judge(crop[..., 0], around, mesh, size, self._limits)
        if quality.problem is None and self.cover.covers(closeup, points):
            quality = replace(quality, problem=QualityProblem.COVERED)
        return AlignedFace(points, crop, quality)

    def quality_problem(self, found: Detection) -> Quality | None:
        """Return the problem of a face that both attempts rejected; None: not a face."""
        return (
            unmeasured_quality(found.box.width, self._limits)
            if found.score >= self._certain
            else None
        )

    def _approach(self, picture: Yuv, where: Affine) -> tuple[FaceCrop, Mesh] | None:
        closeup = crop_region(picture, where)
        mesh = self.landmarks.find(closeup, where)
        return (closeup, mesh) if mesh.is_face else None

    def _face(self, picture: Yuv, found: Detection, closeup: FaceCrop, mesh: Mesh) -> AnalyzedFace:
        aligned = self.align(closeup, mesh)
        varied = (closeup.colour(similarity(v, aligned.points), SIDE) for v in VARIED)
        return AnalyzedFace(
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
