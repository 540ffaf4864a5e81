"""Frames to results: the faces in view, their quality, identity, smile and liveness."""

from dataclasses import replace
from typing import Protocol

import numpy as np

from edge.inference.distant_watch import DistantWatch
from edge.inference.embedder import FRAMES, TemplateFusion
from edge.inference.face_analyzer import FaceAnalyzer
from edge.inference.face_crop import FaceCrop
from edge.inference.landmarks import Mesh
from edge.inference.smile import Smoother
from edge.inference.tracker import Tracker
from edge.settings import InferenceSettings
from edge.types import ANCHORS, FaceObservation, Floats, Frame, FrameResult, Match, Yuv

# Mesh points of a FaceObservation. Those that a smile moves least: eyes (outer corners first),
# nose, forehead, temples and the outline, jaw and chin.
_STILL = (
    33, 263, 133, 362, 168, 6, 197, 195, 5, 4, 10, 109, 338, 67, 297, 103, 332, 127, 356, 234, 454,
    93, 323, 132, 361, 58, 288, 172, 397, 152,
)  # fmt: skip
# The mouth: corners outside and inside, each right and left; upper and lower lip.
_MOVING = (61, 291, 78, 308, 13, 14)
_POINTS = np.array((*_STILL, *_MOVING))
assert len(_STILL) == ANCHORS


class GallerySearch(Protocol):
    """Who can be recognised."""

    def search(self, template: Floats) -> Match | None:
        """Return the person nearest to `template`, (192,) of length 1; None: nobody is enrolled."""
        ...


class Pipeline:
    """Finds all faces of a frame and judges the leading one in full. One thread only."""

    def __init__(self, settings: InferenceSettings, gallery: GallerySearch) -> None:
        """Open the networks. Raises ModelError."""
        self._gallery = gallery
        self._parts = FaceAnalyzer(settings)
        self._tracker = Tracker()
        self._watch = DistantWatch()
        self._smoother = Smoother(settings.smile_frames)
        self._fusion = TemplateFusion()
        self._second = False  # whether this frame is the second of two judged ones

    @property
    def digests(self) -> dict[str, str]:
        """SHA-256 in hex of each model, by its name in the manifest."""
        return self._parts.digests

    @property
    def judges_liveness(self) -> bool:
        """Whether a network that judges it is among the models."""
        return self._parts.liveness is not None

    def use_gallery(self, gallery: GallerySearch) -> None:
        """Search this gallery from the next frame on."""
        self._gallery = gallery

    def process(self, frame: Frame) -> FrameResult:
        """Return what `frame` shows; the largest face that the landmarks network confirms leads.

        In some of the frames without a near face (`DistantWatch`) distant ones are looked for. One
        of them that can be judged is a sighting like any other; any other only wakes the unit.
        """
        main = frame.main
        faces = self._parts.detector.find(frame.lores, main.width, main.height)
        looked, denied = None, None
        while faces and (looked := self._parts.locate_with_retry(main, faces[0])) is None:
            # The landmarks network knows better what is a face, but for one that is covered.
            gone = faces.pop(0)
            denied = denied or gone
        problem = self._parts.quality_problem(denied) if denied and not faces else None
        if denied and problem:
            faces = [denied]
        now = frame.captured_ns
        far = not faces and self._watch.due(frame.lores.y, now)
        if far and (distant := self._parts.find_distant(main, frame.lores)):
            faces, looked = [found for found, *_ in distant], distant[0][1:]
        tracks = self._tracker.update([face.box for face in faces], frame.captured_ns)
        self._smoother.keep(self._tracker.alive)
        self._fusion.retain(self._tracker.alive)
        sightings = [
            FaceObservation(track, face.box, face.score)
            for track, face in zip(tracks, faces, strict=True)
        ]
        if looked is not None:
            sightings[0] = self._judge(main, sightings[0], *looked)
        elif problem is not None:
            sightings[0] = replace(sightings[0], quality=problem)
        if far:
            # No hint for people who only pass by: what cannot be judged from here is presence.
            only_present = bool(sightings) and not _is_judged(sightings[0])
            self._watch.looked(frame.lores.y, now, sightings[0].box if only_present else None)
            sightings = [] if only_present else sightings
        if sightings:
            self._watch.judged(now)
        return FrameResult(now, tuple(sightings), self._watch.face(now))

    def _judge(
        self, picture: Yuv, face: FaceObservation, closeup: FaceCrop, mesh: Mesh
    ) -> FaceObservation:
        aligned = self._parts.align(closeup, mesh)
        if aligned.quality.problem is not None:
            return FaceObservation(face.track, face.box, face.score, aligned.quality)
        self._second = not self._second
        # The frames that are joined to one template are to show both sides of the face.
        template = self._parts.embedder.embed(aligned.crop, mirrored=self._second)
        joined, frames = self._fusion.add(face.track, template)
        match = self._gallery.search(joined)
        smile = self._parts.smile.score(closeup, mesh, aligned.points)
        passive = self._parts.liveness
        # A new person is judged in every frame, later in every second one.
        judged = passive if frames < FRAMES or self._second else None
        return FaceObservation(
            face.track,
            face.box,
            face.score,
            aligned.quality,
            match=None if match is None else replace(match, frames=frames),
            smile=self._smoother.add(face.track, smile),
            liveness=None if judged is None else judged.judge(picture, mesh),
            points=mesh.points[_POINTS, :2],
        )


def _is_judged(face: FaceObservation) -> bool:
    return face.quality is not None and face.quality.problem is None
