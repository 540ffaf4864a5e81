"""Clips of photos moved by hand and of smiles, made and put through the daemon's pipeline."""

import itertools
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

from edge.attendance.liveness_window import LivenessWindow
from edge.attendance.policy import FaceSample, SampleWindow, embeddings_agree
from edge.capture.replay import iter_frames
from edge.enrolment import assess_photo
from edge.errors import PhotoError
from edge.gallery import Gallery
from edge.images import from_image, shrink
from edge.inference.align import similarity
from edge.inference.face_analyzer import FaceAnalyzer
from edge.inference.models import liveness_rules
from edge.inference.pipeline import Pipeline
from edge.settings import (
    AttendanceSettings,
    CameraSettings,
    InferenceSettings,
    RosterSettings,
    Settings,
)
from edge.types import Floats, Frame, Match
from senyum_lab.bench.morph import Morph, Portrait, smooth
from senyum_lab.bench.paper_attack import Ink, Pose, hold, printed

SIZE = (640, 480)
FPS = 15.0
FACE_PX = 180.0  # of the photos, before they are held up
REST, MOVE, STAY = 8, 10, 8  # frames of a clip before, during and after each move in it
STEPS = 8  # morphed pictures a smile
NOISE = 2.5  # grey levels, as in the demo's scenes
SEED = 11
LABELS = {"0": "neutral", "1": "smiling"}
MOVED = tuple(f"photo, {label}" for label in LABELS.values())
# The other kinds; a video has a name.
SWAPPED, SMILE, VIDEO = "photos swapped", "smile", "video"
WHOLE, STRIP = DRAWN = "photo drawn off", "strip drawn off"
DRAW = 2.2  # face widths that a photo is drawn, off the other and away
DRAWS = 2 * MOVE  # steps of it
NOSE = 1  # mesh point of its tip, from which on a strip hides the lower photo
PLACED = (33, 263, 168)  # mesh points, of the eyes and between them, that are laid on each other
SIDES = ((1, 0), (-1, 0), (0, 1), (0, -1))  # to which it is drawn: right, left, down, up

_BEGIN = itertools.count(0, 10**12)  # of each clip: long after the one before, so a new track


class Anybody:
    """A gallery that knows whoever comes, for videos of people without a photo."""

    def search(self, template: Floats) -> Match | None:
        """Return the same person for every template."""
        del template
        return Match("somebody", 1.0, None)


@dataclass(frozen=True, slots=True)
class Clip:
    """What one clip came to."""

    kind: str
    person: str
    moved: float  # the largest motion of any frame, one in which the mouth leapt having none
    smiles: tuple[float, ...]  # of each smile by the score's rules: its largest such motion
    recorded: bool  # whether a smile has the shipped motion while the passive part says living

    @property
    def half(self) -> int:
        """0 or 1, by person."""
        return zlib.crc32(self.person.encode()) % 2

    def accepted(self, threshold: float) -> bool:
        """Whether it would pass for somebody who smiles, were there no passive part."""
        return max(self.smiles, default=-1.0) >= threshold


class ClipPhoto(NamedTuple):
    """Of somebody."""

    sheet: Portrait
    roster: Gallery  # they alone, enrolled with it


def clip(kind: str, person: str, frames: Iterable[Frame], pipeline: Pipeline) -> Clip:
    """Put a clip through the pipeline, and through the rules of a smile that is asked for at once.

    Without the rules of when it begins, which who holds a photo can wait for.
    """
    rules, roster, living = AttendanceSettings(), RosterSettings(), liveness_rules(Settings())
    looks, evidence, moved, smiles = SampleWindow(), LivenessWindow(), 0.0, list[float]()
    smiling = recorded = False
    begin_ns = next(_BEGIN)
    for shot in frames:
        frame = replace(shot, captured_ns=shot.captured_ns + begin_ns)
        face = next(iter(pipeline.process(frame).sightings), None)
        if face is None or face.smile is None or face.points is None:
            looks.lose()
            continue
        evidence.add(face.liveness)
        if not embeddings_agree(face.match, roster):
            continue
        looks.add(FaceSample(frame.captured_ns, face.smile, face.points))
        now = looks.moved(living.motion)
        moved = max(moved, now)
        counts = face.smile >= rules.smile_threshold
        counts = counts and face.smile - looks.rest().smile >= rules.smile_rise
        if counts and not smiling:
            smiles.append(now)
        elif counts:
            smiles[-1] = max(smiles[-1], now)
        smiling = counts
        recorded = recorded or (counts and now >= living.motion and bool(evidence.live(living)))
    return Clip(kind, person, moved, tuple(smiles), recorded)


def filmed(pictures: Iterator[Image.Image], chance: np.random.Generator) -> Iterator[Frame]:
    """Yield the frames of a small indoor sensor that sees `pictures`."""
    for number, picture in enumerate(pictures):
        grain = chance.normal(0, NOISE, (SIZE[1], SIZE[0], 1)).round().astype(np.int16)
        levels = np.clip(np.asarray(picture, np.int16) + grain, 0, 255).astype(np.uint8)
        main = from_image(Image.fromarray(levels))
        yield Frame(number, round((number + 1) / FPS * 1e9), main, shrink(main, 320, 240))


def rest(chance: np.random.Generator) -> Pose:
    """Return how somebody may stand, or hold a photo, at first."""
    u = chance.uniform
    return Pose(
        face=u(0.18, 0.34),
        across=u(0.4, 0.6),
        down=u(0.42, 0.55),
        yaw=u(-10, 10),
        pitch=u(-8, 8),
        roll=u(-8, 8),
        along=u(0, 180),
    )


def moved(pose: Pose, chance: np.random.Generator) -> Pose:
    """Return how a photo may be held in the end: anywhere, tilted, rotated, bent, nearer."""
    u = chance.uniform
    return replace(
        pose,
        face=min(0.42, pose.face * u(0.8, 1.4)),
        across=u(0.35, 0.65),
        down=u(0.4, 0.58),
        yaw=u(-40, 40),
        pitch=u(-35, 35),
        roll=u(-25, 25),
        bend=u(-70, 70),
    )


def turned(pose: Pose, chance: np.random.Generator) -> Pose:
    """Return how somebody may stand after a smile."""
    u = chance.uniform
    face = pose.face * u(0.95, 1.05)
    return replace(
        pose, face=face, yaw=pose.yaw + u(-6, 6), pitch=pose.pitch + u(-6, 6), roll=pose.roll + 3
    )


def some_ink(chance: np.random.Generator) -> Ink:
    """Return some print: a laser printer's to a photo laboratory's."""
    u = chance.uniform
    return Ink(contrast=u(0.7, 1.0), colour=u(0.6, 1.0), dots=u(0.0, 20.0))


def strip(photo: Portrait) -> Portrait:
    """Return what is left of a photo whose part above the tip of the nose was cut away."""
    left = photo.picture.copy()
    left.paste((0, 0, 0, 0), (0, 0, left.width, round(photo.points[NOSE, 1])))
    return replace(photo, picture=left)


def drawn_off(upper: Portrait, lower: Portrait, side: tuple[int, int]) -> list[Portrait]:
    """Return a photo on another one, face on face, as it is drawn off in even steps to a side.

    What comes beyond the edge of the lower one is not seen.
    """
    faces = (photo.points[PLACED, :2].astype(np.float32) for photo in (upper, lower))
    ground = lower.picture.transform(
        upper.picture.size, Image.Transform.AFFINE, similarity(*faces), Image.Resampling.BILINEAR
    )
    sheets = []
    for n in range(DRAWS + 1):
        x, y = (round(way * DRAW * FACE_PX * n / DRAWS) for way in side)
        both = ground.copy()
        both.paste(upper.picture, (x, y), upper.picture)
        sheets.append(Portrait(both, upper.points))
    return sheets


def shown(sheets: Sequence[Portrait], poses: Sequence[Pose]) -> Iterator[Image.Image]:
    """Yield the pictures of a clip: from pose to pose, and `sheets` one after another each time."""
    wall = Image.new("RGB", SIZE, (176, 170, 160))
    for n in range(REST + (MOVE + STAY) * (len(poses) - 1)):
        step, along = divmod(max(n - REST, 0), MOVE + STAY)
        share = smooth(along / MOVE)
        sway = 0.004 * np.sin(2.2 * n / FPS)
        pose = poses[step].towards(poses[step + 1], share)
        sheet = sheets[round(share * (len(sheets) - 1))]
        yield hold(sheet, replace(pose, across=pose.across + sway), wall)


class ClipMaker:
    """Makes clips of people and puts them through the pipeline."""

    def __init__(self, passes: int, moves: int) -> None:
        """Open the networks. `passes`: clips of a kind and photo; `moves`: in a photo's clip."""
        self._passes, self._moves = passes, moves
        self._examiner = FaceAnalyzer(InferenceSettings())
        self._pipeline = Pipeline(InferenceSettings(), Anybody())

    def both(self, person: str, photos: Mapping[str, Sequence[Path]]) -> Iterator[Clip]:
        """Yield attacks and smiles with a neutral and a smiling photo. Raises PhotoError."""
        chance = _chance(person)
        still, smile = (self._load(photos[label][0]) for label in LABELS)
        morph = Morph(still.sheet, smile.sheet)
        onset = [morph.at(n / STEPS) for n in range(STEPS + 1)]
        for _ in range(self._passes):
            for kind, photo in zip(MOVED, (still, smile), strict=True):
                yield self._moved(kind, person, photo, chance)
            yield self._swapped(person, still, smile, chance)
            for kind in DRAWN:
                yield self._drawn(kind, person, still, smile, chance)
            begin = rest(chance)
            smiled = shown(onset, (begin, turned(begin, chance)))
            yield self._clip(SMILE, person, filmed(smiled, chance), still.roster)

    def attacks(self, person: str, photos: Mapping[str, Sequence[Path]]) -> Iterator[Clip]:
        """Yield attacks with each photo that can be used, and with the first of each kind."""
        chance = _chance(person)
        stills, smiles = ([*self._usable(photos.get(label, ()))] for label in LABELS)
        for _ in range(self._passes):
            for kind, some in zip(MOVED, (stills, smiles), strict=True):
                for photo in some:
                    yield self._moved(kind, person, photo, chance)
            if stills and smiles:
                yield self._swapped(person, stills[0], smiles[0], chance)
                for kind in DRAWN:
                    yield self._drawn(kind, person, stills[0], smiles[0], chance)

    def video(self, path: Path) -> Clip:
        """Put a video of a living person through it."""
        width, height = SIZE
        settings = CameraSettings(main_width=width, main_height=height, fps=FPS)
        return self._clip(f"{VIDEO} {path.name}", path.name, iter_frames(path, settings), Anybody())

    def _usable(self, paths: Iterable[Path]) -> Iterator[ClipPhoto]:
        for path in paths:
            try:
                yield self._load(path)
            except PhotoError as error:
                print(f"left out: {error}", flush=True)

    def _load(self, path: Path) -> ClipPhoto:
        sheet = Portrait.load(path, self._examiner).sized(FACE_PX)
        template = assess_photo(path, self._examiner)
        return ClipPhoto(sheet, Gallery(("somebody",), template[np.newaxis]))

    def _moved(self, kind: str, person: str, photo: ClipPhoto, chance: np.random.Generator) -> Clip:
        begin = rest(chance)
        poses = [begin, *(moved(begin, chance) for _ in range(self._moves))]
        held = shown([printed(photo.sheet, some_ink(chance))], poses)
        return self._clip(kind, person, filmed(held, chance), photo.roster)

    def _swapped(
        self, person: str, still: ClipPhoto, smile: ClipPhoto, chance: np.random.Generator
    ) -> Clip:
        ink, begin = some_ink(chance), rest(chance)
        sheets = [printed(photo.sheet, ink) for photo in (still, smile)]
        held = shown(sheets, (begin, turned(begin, chance)))
        return self._clip(SWAPPED, person, filmed(held, chance), still.roster)

    def _drawn(
        self,
        kind: str,
        person: str,
        still: ClipPhoto,
        smile: ClipPhoto,
        chance: np.random.Generator,
    ) -> Clip:
        ink, begin = some_ink(chance), rest(chance)
        upper, lower = (printed(photo.sheet, ink) for photo in (still, smile))
        if kind == STRIP:
            upper = strip(upper)
        sheets = drawn_off(upper, lower, SIDES[chance.integers(len(SIDES))])
        held = shown(sheets, (begin, turned(begin, chance)))
        return self._clip(kind, person, filmed(held, chance), still.roster)

    def _clip(
        self, kind: str, person: str, frames: Iterable[Frame], gallery: Gallery | Anybody
    ) -> Clip:
        self._pipeline.gallery = gallery
        return clip(kind, person, frames, self._pipeline)


def _chance(person: str) -> np.random.Generator:
    return np.random.default_rng((SEED, zlib.crc32(person.encode())))
