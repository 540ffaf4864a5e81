"""Render the scenes of the demo: photos of people in a drawn room, frame by frame.

The people are the portraits of `tests/faces`, cut out along the outlines beside them (made once by
MediaPipe's selfie segmentation and GrabCut); who begins to smile does it by a morph between
two photos (`senyum_lab.bench.morph`). Everything is seeded: the same frames each time.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageChops, ImageDraw, ImageFilter

from edge.inference.face_analyzer import FaceAnalyzer
from edge.settings import InferenceSettings
from senyum_lab.bench.morph import Morph, Portrait, smooth
from senyum_lab.bench.paper_attack import Pose, hold, printed

SIZE = (640, 480)
FPS = 12.0

_WALK_S = 0.7  # to enter the picture and to leave it
# The known person's still shows a speaker whose open mouth scores near the threshold, so the morph
# begins a little on the other side of the still, where the mouth's corners are lower.
_REST = -0.4
_SMILE_S = 0.6  # spontaneous smiles rise in 0.4 to 0.7 s (Schmidt, Cohn and Tian, 2003)
_STEPS = 12  # morphed pictures per smile; more cannot be distinguished
_NOISE = 2.5  # grey levels, standard deviation: a small sensor indoors
_NOISES = 7  # alternating noise pictures, so that consecutive frames differ
_SEED = 20_240


@dataclass(frozen=True, slots=True)
class SceneAction:
    """The role of one person in a scene; times in seconds from its beginning."""

    photo: str
    enters: float
    leaves: float
    smiles: float | None = None  # when the smile begins; None: never
    smiling: str | None = None  # the photo that the face is morphed towards, and away from
    across: float = 0.5  # position of the face, as a share of the width of the picture
    face: float = 0.28  # width of the face, as a share of the picture
    printed: bool = False  # a photo on paper, held up, moved, turned and bent; it never smiles


@dataclass(frozen=True, slots=True)
class Scene:
    """A few seconds in front of the device."""

    name: str
    title: str
    seconds: float
    acts: tuple[SceneAction, ...] = ()


_STRANGER = "astronaut.jpg"


def _known(
    enters: float,
    leaves: float,
    smiles: float | None = None,
    across: float = 0.5,
    face: float = 0.28,
) -> SceneAction:
    return SceneAction("obama2.jpg", enters, leaves, smiles, "obama.jpg", across, face)


SCENES = {
    scene.name: scene
    for scene in (
        Scene("empty", "an empty room", 3.0),
        Scene("no-smile", "a known person who never smiles", 8.0, (_known(0.3, 7.0),)),
        Scene(
            "print",
            "a simulated print of the known person, smiling, moved and bent",
            8.0,
            (SceneAction("obama.jpg", 0.3, 7.0, face=0.26, printed=True),),
        ),
        Scene(
            "smile",
            "the known person who is asked, then smiles (generated onset)",
            7.0,
            (_known(0.3, 6.0, 2.5),),
        ),
        Scene("again", "the same person once more", 5.5, (_known(0.3, 4.4),)),
        Scene("stranger", "a stranger", 5.0, (SceneAction(_STRANGER, 0.3, 3.9, face=0.25),)),
        Scene(
            "two",
            "two people at once, equally near",
            5.0,
            (
                _known(0.3, 3.9, across=0.27, face=0.19),
                SceneAction(_STRANGER, 0.3, 3.9, across=0.73, face=0.19),
            ),
        ),
        Scene(
            "away",
            "the broker is stopped while a known person smiles",
            8.0,
            (_known(1.2, 6.8, 3.2),),
        ),
    )
}


@dataclass(frozen=True, slots=True)
class Span:
    """The frames of a scene in a recording: first inclusive, end exclusive."""

    scene: Scene
    first: int
    end: int


def scene(
    name: str, faces: Path, size: tuple[int, int] = SIZE, fps: float = FPS
) -> Iterator[Image.Image]:
    """Yield the frames of one scene, mode RGB. Raises KeyError, PhotoError, ModelError."""
    return SceneRenderer(faces, size, fps).frames(SCENES[name])


def record(
    studio: "SceneRenderer",
    scenes: Sequence[Scene],
    folder: Path,
    done: Callable[[float], None] = lambda _share: None,
) -> list[Span]:
    """Write the frames of `scenes` as JPEGs that sort in order, for the replay camera.

    `done` receives the share that is written. Raises PhotoError, OSError.
    """
    total = sum(studio.count(one) for one in scenes)
    spans: list[Span] = []
    number = 0
    for one in scenes:
        first = number
        for frame in studio.frames(one):
            frame.save(folder / f"{number:05}-{one.name}.jpg", quality=92)
            number += 1
            done(number / total)
        spans.append(Span(one, first, number))
    return spans


class SceneRenderer:
    """Renders scenes of one size and rate; slow steps are done once."""

    def __init__(self, faces: Path, size: tuple[int, int] = SIZE, fps: float = FPS) -> None:
        """Open the networks that detect the landmarks. Raises ModelError."""
        self._faces = faces
        self._size = size
        self._fps = fps
        self._examiner = FaceAnalyzer(InferenceSettings())
        self._room = _room(size)
        chance = np.random.default_rng(_SEED)
        shape = (size[1], size[0], 1)
        self._noise = [
            chance.normal(0, _NOISE, shape).round().astype(np.int16) for _ in range(_NOISES)
        ]
        self._portrait = cache(self._load)
        self._morph = cache(self._mix)
        self._look = cache(self._show)
        self._print = cache(self._copy)

    def count(self, one: Scene) -> int:
        """Return the number of frames of a scene."""
        return round(one.seconds * self._fps)

    def frames(self, one: Scene) -> Iterator[Image.Image]:
        """Yield the frames of a scene, mode RGB."""
        for number in range(self.count(one)):
            picture = self._room.copy()
            for act in one.acts:
                self._place(picture, act, number / self._fps)
            grainy = np.asarray(picture, np.int16) + self._noise[number % _NOISES]
            yield Image.fromarray(np.clip(grainy, 0, 255).astype(np.uint8))

    def _load(self, photo: str, face_px: float) -> Portrait:
        return Portrait.load(self._faces / photo, self._examiner).sized(face_px)

    def _mix(self, photo: str, smiling: str, face_px: float) -> Morph:
        return Morph(self._portrait(photo, face_px), self._portrait(smiling, face_px))

    def _copy(self, photo: str, face_px: float) -> Portrait:
        return printed(self._portrait(photo, face_px))

    def _show(self, act: SceneAction, step: int) -> tuple[Image.Image, tuple[float, float]]:
        """Return the cut-out person, mode RGBA, and the centre of the face in it."""
        face_px = act.face * self._size[0]
        portrait = self._portrait(act.photo, face_px)
        centre = portrait.centre  # of the still: the shoulders do not move with the mouth
        if act.smiling:
            amount = _REST + (1 - _REST) * step / _STEPS
            portrait = self._morph(act.photo, act.smiling, face_px).at(amount)
        cut = portrait.picture.copy()
        cut.putalpha(ImageChops.multiply(cut.getchannel("A"), _edges(cut.size, face_px)))
        return cut, centre

    def _place(self, picture: Image.Image, act: SceneAction, now: float) -> None:
        here = min((now - act.enters) / _WALK_S, (act.leaves + _WALK_S - now) / _WALK_S, 1.0)
        if here <= 0:
            return
        if act.printed:
            side = -1 if act.across <= 0.5 else 1
            away = (1 - math.sin(here * math.pi / 2)) * side
            sheet = self._print(act.photo, act.face * self._size[0])
            picture.paste(hold(sheet, _held(act, now, away), picture))
            return
        step = 0
        if act.smiles is not None:
            step = round(_STEPS * smooth((now - act.smiles) / _SMILE_S))
        cut, (middle_x, middle_y) = self._look(act, step)
        width, height = self._size
        side = -1 if act.across <= 0.5 else 1
        away = (1 - math.sin(here * math.pi / 2)) * side * width
        # People sway slowly, more sideways than up and down.
        sway_x = width * 0.004 * math.sin(2 * math.pi * 0.35 * now)
        sway_y = width * 0.002 * math.sin(2 * math.pi * 0.23 * now + 1)
        x = act.across * width + away + sway_x - middle_x
        y = 0.42 * height + sway_y - middle_y
        left, top = math.floor(x), math.floor(y)
        moved = cut.transform(
            (cut.width + 1, cut.height + 1),
            Image.Transform.AFFINE,
            (1, 0, left - x, 0, 1, top - y),
            Image.Resampling.BILINEAR,
        )
        picture.paste(moved, (left, top), moved)


def _held(act: SceneAction, now: float, away: float) -> Pose:
    """Return the pose of a sheet that is moved to look alive."""

    def wave(hertz: float, phase: float = 0.0) -> float:
        return math.sin(2 * math.pi * hertz * now + phase)

    return Pose(
        face=act.face * (1 + 0.06 * wave(0.3)),
        across=act.across + away + 0.02 * wave(0.5),
        down=0.45 + 0.01 * wave(0.4, 1.0),
        yaw=14 * wave(0.25),
        pitch=8 * wave(0.35, 1.0),
        roll=5 * wave(0.2, 2.0),
        bend=25 * wave(0.18),
    )


def _edges(size: tuple[int, int], face_px: float) -> Image.Image:
    """Return a mask that lets a photo fade into the room at its sides and its top."""
    fade = face_px * 0.22
    x = np.arange(size[0], dtype=np.float32) + 0.5
    y = np.arange(size[1], dtype=np.float32) + 0.5
    across = np.clip(np.minimum(x, size[0] - x) / fade, 0, 1)
    down = np.clip(y / fade, 0, 1)
    mask = across[None] * down[:, None]
    mask = mask * mask * (3 - 2 * mask)
    return Image.fromarray((mask * 255).astype(np.uint8))


def _room(size: tuple[int, int]) -> Image.Image:
    """Draw a wall in window light, a door and a floor, out of focus."""
    width, height = size
    x, y = np.meshgrid(np.linspace(0, 1, width), np.linspace(0, 1, height))
    light = 0.78 + 0.22 * np.exp(-(((x - 0.15) / 0.6) ** 2) - ((y - 0.25) / 0.7) ** 2)
    wall: NDArray[np.float64] = light[..., None] * np.array((206, 200, 188))
    picture = Image.fromarray(wall.astype(np.uint8))
    draw = ImageDraw.Draw(picture)
    draw.rectangle((0.70 * width, 0.12 * height, 0.93 * width, 0.86 * height), (146, 118, 92))
    draw.rectangle((0.72 * width, 0.15 * height, 0.91 * width, 0.86 * height), (168, 138, 108))
    draw.rectangle((0, 0.86 * height, width, height), (112, 108, 104))
    draw.rectangle((0, 0.845 * height, width, 0.865 * height), (226, 222, 214))
    return picture.filter(ImageFilter.GaussianBlur(width / 160))
