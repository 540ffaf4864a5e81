"""Frames to Views: who is there, seen well enough or not, and how much the leading one smiles."""

from typing import Protocol

from edge.inference.examiner import Examiner
from edge.inference.landmarks import Mesh
from edge.inference.pixels import Closeup
from edge.inference.smile import Smoother
from edge.inference.tracker import Tracker
from edge.settings import InferenceSettings
from edge.types import Floats, Frame, Match, Sighting, View


class Gallery(Protocol):
    """Who can be recognised."""

    def search(self, template: Floats) -> Match | None:
        """Return the person nearest to `template`, (192,) of length 1; None: nobody is enrolled."""
        ...


class Pipeline:
    """Finds all faces of a frame and judges the leading one in full. One thread only."""

    def __init__(self, settings: InferenceSettings, gallery: Gallery) -> None:
        """Open the networks. `gallery` may be replaced between frames. Raises ModelError."""
        self.gallery = gallery
        self._parts = Examiner(settings)
        self._tracker = Tracker()
        self._smoother = Smoother(settings.smile_frames)

    @property
    def digests(self) -> dict[str, str]:
        """SHA-256 in hex of each model, by its name in the manifest."""
        return self._parts.digests

    def process(self, frame: Frame) -> View:
        """Return what `frame` shows. The leading face is the largest that is a face indeed."""
        main = frame.main
        faces = self._parts.detector.find(frame.lores, main.width, main.height)
        looked = None
        while faces and (looked := self._parts.look(main, faces[0])) is None:
            del faces[0]  # the landmarks network knows better what is a face
        tracks = self._tracker.update([face.box for face in faces], frame.captured_ns)
        self._smoother.keep(self._tracker.alive)
        sightings = [
            Sighting(track, face.box, face.score) for track, face in zip(tracks, faces, strict=True)
        ]
        if looked is not None:
            sightings[0] = self._judge(sightings[0], *looked)
        return View(frame.captured_ns, tuple(sightings))

    def _judge(self, face: Sighting, closeup: Closeup, mesh: Mesh) -> Sighting:
        aligned = self._parts.align(closeup, mesh)
        if aligned.quality.problem is not None:
            return Sighting(face.track, face.box, face.score, aligned.quality)
        smile = self._parts.smile.score(closeup, mesh, aligned.points)
        smile = self._smoother.add(face.track, smile)
        match = self.gallery.search(self._parts.embedder.embed(aligned.crop))
        return Sighting(face.track, face.box, face.score, aligned.quality, match, smile)
