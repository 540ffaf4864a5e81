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

LocatedFace = tuple[Detection, FaceCrop, Mesh]

_SMALL = 320  # pixels of the longer side
_MOST_DISTANT = 4  # looked at more closely, those with the best scores
_AROUND = 3.0  # widths of a distant face that are looked at for it


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
        far = models.open("far_detector")
        self._far = Detector(far, far.spec.constant("score"))
        # A face with this confidence that the landmarks network denies is usually turned, and then
        # found in a larger crop, or covered.
        self._certain = detector.spec.constant("certain")
        self.landmarks = Landmarks(models.open("landmarks"))
        self.embedder = Embedder(models.open("identity"))
        self.smile = Smile(models.open("smile"), models.open("readout"))
        self.cover = OcclusionClassifier(models.open("cover"))
        # Optional: without both liveness is not judged, and the health report says so.
        self.liveness: PassiveLiveness | None = None
        if {"liveness", "recapture"} <= self.digests.keys():
            self.liveness = PassiveLiveness(models.open("liveness"), models.open("recapture"))

    def analyze(self, picture: Yuv) -> tuple[AnalyzedFace, ...]:
        """Return all faces of `picture`, largest first, whatever their quality."""
        return tuple(self._face(picture, *face) for face in self.locate_all(picture))

    def locate_all(self, picture: Yuv) -> list[LocatedFace]:
        """Return where all faces of `picture` are, largest first.

        Distant faces count where no near one was found.
        """
        faces = [
            (found, *looked)
            for found in self.find(picture)
            if (looked := self.locate_with_retry(picture, found)) is not None
        ]
        return faces or self.find_distant(picture, _small(picture))

    def find(self, picture: Yuv) -> list[Detection]:
        """Return where the near faces of a picture of any size are, largest first."""
        return self.detector.find(_small(picture), picture.width, picture.height)

    def find_distant(self, picture: Yuv, small: Yuv) -> list[LocatedFace]:
        """Return the faces that the network for distant ones finds in `small`, largest first.

        Only those that the landmarks network confirms: this detector also finds backs of heads.
        """
        finds = self._far.find(small, picture.width, picture.height)
        likely = sorted(finds, key=lambda face: face.score, reverse=True)[:_MOST_DISTANT]
        faces: list[LocatedFace] = []
        for face in likely:
            # Boxes of small faces are coarse. The other network places them better, once the part
            # around them is large enough for it.
            part, left, top = _part(picture, face.box)
            for near in self.detector.find(part, part.width, part.height)[:1]:
                found = near.moved(left, top)
                if any(_overlap(found.box, other.box) for other, *_ in faces):
                    continue
                if (looked := self.locate_with_retry(picture, found)) is not None:
                    faces.append((found, *looked))
        return sorted(faces, key=lambda face: face[0].box.area, reverse=True)

    def locate(self, picture: Yuv, found: Detection) -> tuple[FaceCrop, Mesh] | None:
        """Return a face from nearby, or None where the detector was mistaken."""
        return self._approach(picture, region(found))

    def locate_with_retry(self, picture: Yuv, found: Detection) -> tuple[FaceCrop, Mesh] | None:
        """As `locate`, but look wider if a face that the detector is sure of is denied."""
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


def _overlap(one: Box, other: Box) -> bool:
    return max(one.x, other.x) < min(one.x + one.width, other.x + other.width) and max(
        one.y, other.y
    ) < min(one.y + one.height, other.y + other.height)


def _part(picture: Yuv, box: Box) -> tuple[Yuv, int, int]:
    """Return the part of a picture around a distant face, and where it begins."""

    def span(middle: float, most: int) -> slice:
        start = max(0, min(2 * int((middle - side / 2) / 2), most - 2))
        return slice(start, max(start + 2, min(2 * int((middle + side / 2) / 2), most)))

    side = _AROUND * max(box.width, box.height)
    across = span(box.x + box.width / 2, picture.width)
    down = span(box.y + box.height / 2, picture.height)
    half = tuple(slice(part.start // 2, part.stop // 2) for part in (down, across))
    part = Yuv(picture.y[down, across], picture.u[half], picture.v[half])
    return part, across.start, down.start


def _small(picture: Yuv) -> Yuv:
    """Return the picture at the size of the small stream, which the detector reads."""
    ratio = _SMALL / max(picture.width, picture.height)
    if ratio >= 1:
        return picture
    width, height = (max(2, 2 * round(n * ratio / 2)) for n in (picture.width, picture.height))
    return shrink(picture, width, height)
