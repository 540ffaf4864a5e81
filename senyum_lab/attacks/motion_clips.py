"""Clips of photos moved by hand and of smiles, processed by the pipeline of the daemon."""

import itertools
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

from edge.attendance.liveness_window import LivenessWindow
from edge.attendance.policy import FaceSample, SampleWindow, match_is_sure
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
FACE_PX = 180.0  # width of the face in the photos
REST, MOVE, STAY = 8, 10, 8  # frames before, during and after each movement
STEPS = 8  # morphed pictures per smile
NOISE = 2.5  # grey levels, as in the scenes of the demo
SEED = 11
LABELS = {"0": "neutral", "1": "smiling"}
MOVED = tuple(f"photo, {label}" for label in LABELS.values())
# The other kinds; the name of a video is added.
SWAPPED, SMILE, VIDEO = "photos swapped", "smile", "video"
NEUTRAL, MILD = "neutral", "mild smile"
SEQUENCES = {NEUTRAL: 0.0, MILD: 0.4, SMILE: 1.0}  # share of the way to the smiling photo
WHOLE, STRIP = DRAWN = "photo drawn off", "strip drawn off"
DRAW = 2.2  # face widths by which a photo is pulled off the other
DRAWS = 2 * MOVE  # steps of the movement
NOSE = 1  # mesh point of its tip; a strip covers the lower photo from there on
PLACED = (33, 263, 168)  # mesh points of the eyes and between them, which are aligned
SIDES = ((1, 0), (-1, 0), (0, 1), (0, -1))  # directions: right, left, down, up

_BEGIN = itertools.count(
    0, 10**12
)  # start of each clip, long after the previous one, so that it is a new track


class Anybody:
    """A gallery that matches everybody, for videos of people without a photo."""

    def search(self, template: Floats) -> Match | None:
        """Return the same person for every template."""
        del template
        return Match("somebody", 1.0, None)


@dataclass(frozen=True, slots=True)
class Clip:
    """The result of one clip."""

    kind: str
    person: str
    moved: float  # the largest motion of any frame; a frame in which the mouth jumps has none
    smiles: tuple[float, ...]  # the largest motion of each smile by score
    recorded: bool  # whether a smile has enough motion and the passive part accepts it

    @property
    def half(self) -> int:
        """0 or 1, by person."""
        return zlib.crc32(self.person.encode()) % 2

    def accepted(self, threshold: float) -> bool:
        """Whether it would be accepted as a smile without the passive part."""
        return max(self.smiles, default=-1.0) >= threshold


class ClipPhoto(NamedTuple):
    """A photo of one person."""

    sheet: Portrait
    roster: Gallery  # contains only this person, enrolled with the photo


def clip(kind: str, person: str, frames: Iterable[Frame], pipeline: Pipeline) -> Clip:
    """Process a clip with the pipeline and with the rules of a smile after an immediate prompt.

    The rules for the beginning of a smile are omitted; an attacker could wait for it.
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
        if not match_is_sure(face.match, roster):
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
    """Yield `pictures` as frames of a small indoor sensor."""
    for number, picture in enumerate(pictures):
        grain = chance.normal(0, NOISE, (SIZE[1], SIZE[0], 1)).round().astype(np.int16)
        levels = np.clip(np.asarray(picture, np.int16) + grain, 0, 255).astype(np.uint8)
        main = from_image(Image.fromarray(levels))
        yield Frame(number, round((number + 1) / FPS * 1e9), main, shrink(main, 320, 240))


def rest(chance: np.random.Generator) -> Pose:
    """Return a random initial pose of a person or a photo."""
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
    """Return a random final pose of a photo: shifted, tilted, rotated, bent, closer."""
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
    """Return a random pose of a person after a smile."""
    u = chance.uniform
    face = pose.face * u(0.95, 1.05)
    return replace(
        pose, face=face, yaw=pose.yaw + u(-6, 6), pitch=pose.pitch + u(-6, 6), roll=pose.roll + 3
    )


def some_ink(chance: np.random.Generator) -> Ink:
    """Return a random print quality, from laser printer to photo laboratory."""
    u = chance.uniform
    return Ink(contrast=u(0.7, 1.0), colour=u(0.6, 1.0), dots=u(0.0, 20.0))


def strip(photo: Portrait) -> Portrait:
    """Return a photo without the part above the tip of the nose."""
    left = photo.picture.copy()
    left.paste((0, 0, 0, 0), (0, 0, left.width, round(photo.points[NOSE, 1])))
    return replace(photo, picture=left)


def drawn_off(upper: Portrait, lower: Portrait, side: tuple[int, int]) -> list[Portrait]:
    """Return a photo on another one, with aligned faces, pulled off to a side in even steps.

    The part beyond the edge of the lower photo is not visible.
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
    """Yield the pictures of a clip: from pose to pose, with all `sheets` in each movement."""
    wall = Image.new("RGB", SIZE, (176, 170, 160))
    for n in range(REST + (MOVE + STAY) * (len(poses) - 1)):
        step, along = divmod(max(n - REST, 0), MOVE + STAY)
        share = smooth(along / MOVE)
        sway = 0.004 * np.sin(2.2 * n / FPS)
        pose = poses[step].towards(poses[step + 1], share)
        sheet = sheets[round(share * (len(sheets) - 1))]
        yield hold(sheet, replace(pose, across=pose.across + sway), wall)


class ClipMaker:
    """Makes clips of people and processes them with the pipeline."""

    def __init__(self, passes: int, moves: int) -> None:
        """Open the networks. `passes`: clips per kind and photo; `moves`: movements per clip."""
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

    def sequences(self, person: str, photos: Mapping[str, Sequence[Path]]) -> Iterator[Clip]:
        """Yield a person who stays neutral, one who smiles mildly and one who smiles.

        The three differ in the face alone, not in its motion. Raises PhotoError.
        """
        chance = _chance(person)
        still, smile = (self._load(photos[label][0]) for label in LABELS)
        morph = Morph(still.sheet, smile.sheet)
        for _ in range(self._passes):
            begin = rest(chance)
            poses = begin, turned(begin, chance)
            for kind, peak in SEQUENCES.items():
                sheets = [morph.at(peak * n / STEPS) for n in range(STEPS + 1)]
                yield self._clip(kind, person, filmed(shown(sheets, poses), chance), still.roster)

    def attacks(self, person: str, photos: Mapping[str, Sequence[Path]]) -> Iterator[Clip]:
        """Yield attacks with each usable photo, and with the first one of each kind."""
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
        """Process a video, or a folder of successive frames, of a live person."""
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
        self._pipeline.use_gallery(gallery)
        return clip(kind, person, frames, self._pipeline)


def _chance(person: str) -> np.random.Generator:
    return np.random.default_rng((SEED, zlib.crc32(person.encode())))
