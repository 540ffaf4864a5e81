from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from edge.errors import PhotoError
from edge.images import from_image
from edge.inference.face_analyzer import FaceAnalyzer
from edge.settings import InferenceSettings
from senyum_lab.bench.morph import Morph, Portrait
from senyum_lab.bench.scenes import SCENES, Scene, SceneRenderer, record, scene

FACES = Path(__file__).parents[1] / "faces"


@pytest.fixture(scope="module")
def examiner() -> FaceAnalyzer:
    return FaceAnalyzer(InferenceSettings())


@pytest.fixture(scope="module")
def morph(examiner: FaceAnalyzer) -> Morph:
    still, smiling = (
        Portrait.load(FACES / name, examiner).sized(120) for name in ("obama2.jpg", "obama.jpg")
    )
    return Morph(still, smiling)


def test_the_morph_reaches_a_smile_and_stays_the_same_person(
    examiner: FaceAnalyzer, morph: Morph
) -> None:
    (enrolled,) = examiner.analyze(
        from_image(Portrait.load(FACES / "obama3.jpg", examiner).picture)
    )
    faces = [examiner.analyze(from_image(morph.at(n / 4).picture))[0] for n in range(-1, 5)]
    assert all(float(face.template @ enrolled.template) > 0.6 for face in faces)
    assert faces[-1].smile > 90
    assert faces[0].smile < 40
    assert all(face.quality.problem is None for face in faces)


def test_points_of_the_morph_lie_on_the_way(morph: Morph) -> None:
    begin, half, end = (morph.at(amount).points for amount in (0.0, 0.5, 1.0))
    assert np.allclose(half, (begin + end) / 2)
    # Mouth corners move, the bridge of the nose stays within a few pixels of a face 120 wide.
    moved = np.hypot(*(end - begin)[:, :2].T)
    assert moved[[61, 291]].max() > 4
    assert moved[168] < 6


def test_a_face_of_the_wanted_size_comes_out(examiner: FaceAnalyzer) -> None:
    portrait = Portrait.load(FACES / "astronaut.jpg", examiner).sized(100)
    assert portrait.face_px == pytest.approx(100, abs=1)
    assert portrait.picture.size == pytest.approx((413, 413), abs=20)


@pytest.mark.parametrize(("name", "content"), [("gone.jpg", None), ("text.jpg", b"no picture")])
def test_a_photo_that_cannot_be_read_is_named(
    tmp_path: Path, examiner: FaceAnalyzer, name: str, content: bytes | None
) -> None:
    if content:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(PhotoError, match=name):
        Portrait.load(tmp_path / name, examiner)


def test_scenes_are_the_same_each_time_and_no_frame_twice() -> None:
    frames = [list(scene("empty", FACES, (160, 120), 4)) for _ in range(2)]
    assert frames[0] == frames[1]
    assert all(a != b for a, b in zip(frames[0], frames[0][1:], strict=False))


def test_an_empty_room_shows_no_face_and_two_people_two_equal_ones(examiner: FaceAnalyzer) -> None:
    studio = SceneRenderer(FACES)
    (empty,) = list(studio.frames(Scene("empty", "", 0.1)))
    assert examiner.analyze(from_image(empty)) == ()
    acts = tuple(replace(act, enters=-1.0) for act in SCENES["two"].acts)
    (two,) = list(studio.frames(Scene("two", "", 0.1, acts)))
    faces = examiner.analyze(from_image(two))
    assert len(faces) == 2
    assert faces[1].box.width / faces[0].box.width > 0.75


def test_a_recording_can_be_replayed_in_order(tmp_path: Path) -> None:
    shares: list[float] = []
    scenes = [Scene("first", "", 1.0), Scene("second", "", 0.5)]
    spans = record(SceneRenderer(FACES, (160, 120), 4), scenes, tmp_path, shares.append)
    assert [(span.first, span.end) for span in spans] == [(0, 4), (4, 6)]
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names[0] == "00000-first.jpg"
    assert names[-1] == "00005-second.jpg"
    assert shares[-1] == 1.0
