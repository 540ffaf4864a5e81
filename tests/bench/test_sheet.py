"""A simulated print: where it is seen, how it bends, and that it is never recorded."""

import math
import random
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from edge.attendance.session import Session
from edge.images import from_image, shrink
from edge.inference.face_analyzer import FaceAnalyzer
from edge.inference.models import liveness_rules
from edge.inference.pipeline import Pipeline
from edge.settings import (
    AttendanceSettings,
    InferenceSettings,
    RosterSettings,
    Settings,
)
from edge.types import Attempt, Floats, Frame, Match, Outcome, Reason
from senyum_lab.bench.morph import Portrait
from senyum_lab.bench.paper_attack import Pose, hold, printed
from senyum_lab.bench.scenes import FPS, SCENES, SceneRenderer

FACES = Path(__file__).parents[1] / "faces"
SIZE = (640, 480)
WALL = (170, 165, 158)


@pytest.fixture(scope="module")
def examiner() -> FaceAnalyzer:
    return FaceAnalyzer(InferenceSettings())


@pytest.fixture(scope="module")
def studio() -> SceneRenderer:
    return SceneRenderer(FACES)


def red(width: int = 200, height: int = 200) -> Portrait:
    """A red sheet; the face would be in the middle, half as wide as the sheet."""
    points = np.full((468, 3), 100.0)
    points[[33, 263], 0] = 75.0, 125.0
    return Portrait(Image.new("RGBA", (width, height), (255, 0, 0, 255)), points)


def shape(pose: Pose) -> tuple[float, float, float]:
    """Return how much of the picture the sheet covers, and where its middle is."""
    shown = np.asarray(hold(red(), pose, Image.new("RGB", SIZE)))[..., 0] > 127
    down, across = np.nonzero(shown)
    return shown.mean(), across.mean() / SIZE[0], down.mean() / SIZE[1]


def test_a_sheet_lies_where_it_is_held_and_as_large() -> None:
    share, across, down = shape(Pose(face=0.2, across=0.4, down=0.6))
    assert share == pytest.approx(0.4 * 0.4 * 640 / 480, rel=0.03)
    assert across == pytest.approx(0.4, abs=0.01)
    assert down == pytest.approx(0.6, abs=0.01)


@pytest.mark.parametrize("held", [{"yaw": 50.0}, {"pitch": -50.0}, {"bend": 80.0}, {"bend": -80.0}])
def test_a_sheet_that_is_turned_or_bent_covers_less(held: dict[str, float]) -> None:
    share, *_ = shape(Pose(face=0.2, **held))
    assert share < 0.93 * shape(Pose(face=0.2))[0]


def test_a_pose_on_the_way_is_between_both() -> None:
    half = Pose(yaw=0.0, bend=10.0).towards(Pose(yaw=20.0, bend=-10.0), 0.5)
    assert (half.yaw, half.bend) == (10.0, 0.0)


def test_the_room_is_seen_beside_the_sheet() -> None:
    room = Image.new("RGB", SIZE, WALL)
    shown = hold(red(), Pose(face=0.1), room)
    assert shown.getpixel((5, 5)) == WALL
    assert room.getpixel((320, 216)) == WALL, "the scene itself is not drawn on"


class Known:
    """A roster of one."""

    def __init__(self, template: Floats) -> None:
        self._template = template

    def search(self, template: Floats) -> Match | None:
        return Match("somebody", float(self._template @ template), None)


def attempts(examiner: FaceAnalyzer, pictures: Iterator[Image.Image]) -> list[Attempt]:
    """Return what the real pipeline and session make of pictures."""
    (known,) = examiner.analyze(from_image(Image.open(FACES / "obama3.jpg")))
    pipeline = Pipeline(InferenceSettings(), Known(known.template))
    session = Session(
        AttendanceSettings(smile_timeout=4.0),
        RosterSettings(),
        living=liveness_rules(Settings()),
        passive=pipeline.judges_liveness,
        chance=iter(random.Random(5).random, None),
    )
    events: list[Attempt] = []
    for number, picture in enumerate(pictures):
        at = 10**9 + round(number / FPS * 1e9)
        main = from_image(picture)
        view = pipeline.process(Frame(number, at, main, shrink(main, 320, 240)))
        events += session.step(view, at).events
    return events


def waved(sheet: Portrait, seconds: float, seed: int) -> Iterator[Image.Image]:
    """Yield a sheet that is shown, then tilted, turned, bent and moved until it leaves."""
    chance = np.random.default_rng(seed)
    phases, rates = chance.uniform(0, 6.3, 6), chance.uniform(0.15, 0.7, 6)
    room = Image.new("RGB", SIZE, WALL)
    for n in range(round(seconds * FPS)):
        grow = min(1.0, max(0.0, n / FPS - 0.5))
        yaw, pitch, roll, bend, near, across = (
            grow * math.sin(2 * math.pi * rate * n / FPS + phase)
            for rate, phase in zip(rates, phases, strict=True)
        )
        pose = Pose(
            face=0.27 * (1 + 0.15 * near),
            across=0.5 + 0.04 * across,
            yaw=30 * yaw,
            pitch=22 * pitch,
            roll=18 * roll,
            bend=45 * bend,
            along=90.0 if seed % 2 else 0.0,
        )
        picture = np.asarray(hold(sheet, pose, room), np.int16)
        grain = chance.normal(0, 2.5, (*picture.shape[:2], 1)).round().astype(np.int16)
        yield Image.fromarray(np.clip(picture + grain, 0, 255).astype(np.uint8))


@pytest.mark.slow
@pytest.mark.parametrize("seed", [1, 2])
@pytest.mark.parametrize("photo", ["obama.jpg", "obama2.jpg"])
def test_a_photo_that_is_moved_tilted_and_bent_is_never_recorded(
    examiner: FaceAnalyzer, photo: str, seed: int
) -> None:
    sheet = printed(Portrait.load(FACES / photo, examiner).sized(180))
    ended = attempts(examiner, waved(sheet, 6.0, seed))
    assert ended, "the person on the photo is known, so the attempt has an end"
    assert {event.outcome for event in ended} == {Outcome.REFUSED}


@pytest.mark.slow
def test_the_generated_onset_of_the_same_person_is_recorded(
    examiner: FaceAnalyzer, studio: SceneRenderer
) -> None:
    (event,) = attempts(examiner, studio.frames(SCENES["smile"]))
    assert (event.outcome, event.reason) == (Outcome.RECORDED, Reason.ACCEPTED)
    motion, onset = (event.life.cues[name] for name in ("motion", "onset"))
    assert motion is not None
    assert motion > 0.5
    assert onset == 1.0


@pytest.mark.slow
def test_the_print_of_the_demo_is_refused_and_without_the_paper_too(
    examiner: FaceAnalyzer, studio: SceneRenderer
) -> None:
    (act,) = SCENES["print"].acts
    bare = replace(SCENES["print"], acts=(replace(act, printed=False),))
    for scene in (SCENES["print"], bare):
        (event,) = attempts(examiner, studio.frames(scene))
        assert event.reason in {Reason.NO_SMILE, Reason.SPOOF}
