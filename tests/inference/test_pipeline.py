from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image, ImageFilter

from edge.attendance.motion import motion
from edge.images import from_image, shrink
from edge.inference.distant_watch import KEEP_NS
from edge.inference.embedder import FRAMES
from edge.inference.face_analyzer import AnalyzedFace, FaceAnalyzer
from edge.inference.models import liveness_rules
from edge.inference.pipeline import Pipeline
from edge.settings import InferenceSettings, Settings
from edge.types import ANCHORS, Box, FaceObservation, Floats, Frame, Match, QualityProblem

Portrait = Callable[[str], Image.Image]
FRAME_NS = 66_000_000


class Recording:
    """A gallery of one template that remembers what it was asked."""

    def __init__(self, template: Floats | None) -> None:
        self.template = template
        self.asked: list[Floats] = []

    def search(self, template: Floats) -> Match | None:
        self.asked.append(template)
        if self.template is None:
            return None
        return Match("somebody", float(self.template @ template), None)


class Show:
    """Puts pictures before a pipeline, one frame after the other."""

    def __init__(self, gallery: Recording) -> None:
        self.gallery = gallery
        self.pipeline = Pipeline(InferenceSettings(), gallery)
        self.number = 0
        self.distant: Box | None = None  # of the last frame

    def __call__(self, picture: Image.Image) -> tuple[FaceObservation, ...]:
        self.number += 1
        main = from_image(picture)
        frame = Frame(self.number, self.number * FRAME_NS, main, shrink(main, 320, 240))
        view = self.pipeline.process(frame)
        self.distant = view.distant
        assert view.captured_ns == frame.captured_ns
        return view.sightings


@pytest.fixture
def show(faces: dict[str, AnalyzedFace]) -> Show:
    return Show(Recording(faces["obama3"].template))


def room(
    *people: tuple[Image.Image, tuple[int, int]], size: tuple[int, int] = (960, 720)
) -> Image.Image:
    picture = Image.new("RGB", size, (90, 90, 90))
    for photo, place in people:
        picture.paste(photo, place)
    return picture


def test_empty_room(show: Show) -> None:
    assert show(room()) == ()
    assert show.gallery.asked == []


def test_known_person_smiling(show: Show, portrait: Portrait) -> None:
    (face,) = show(room((portrait("obama"), (200, 40))))
    assert face.match is not None
    assert face.match.similarity > 0.7
    assert face.smile is not None
    assert face.smile > 90
    assert face.quality is not None
    assert face.quality.problem is None
    assert face.box.x < 200 + 275 < face.box.x + face.box.width
    assert face.box.y < 40 + 165 < face.box.y + face.box.height


def test_stranger(show: Show, portrait: Portrait) -> None:
    (face,) = show(room((portrait("astronaut").resize((900, 900)), (0, 0))))
    assert face.match is not None
    assert face.match.similarity < 0.3


def test_empty_roster(portrait: Portrait) -> None:
    (face,) = Show(Recording(None))(room((portrait("obama"), (200, 40))))
    assert face.match is None
    assert face.smile is not None


def test_smile_counts_from_its_second_frame(show: Show, portrait: Portrait) -> None:
    neutral = room((portrait("obama2").resize((320, 613)), (300, 40)))
    smiling = room((portrait("obama"), (220, 110)))
    scores = [
        sighting.smile
        for picture in (neutral, neutral, neutral, smiling, smiling, neutral, neutral)
        for sighting in show(picture)
    ]
    assert [score is not None and score > 50 for score in scores] == [
        False, False, False, False, True, True, False,
    ]  # fmt: skip


def test_face_keeps_its_track_and_a_new_one_gets_another(show: Show, portrait: Portrait) -> None:
    here = room((portrait("obama"), (200, 40)))
    there = room((portrait("obama"), (440, 40)))
    (first,), (second,), (third,) = show(here), show(here), show(there)
    assert first.track == second.track != third.track


def test_frames_of_one_face_are_searched_together(show: Show, portrait: Portrait) -> None:
    one = room((portrait("obama"), (120, 40)))
    another = room((portrait("astronaut").resize((900, 900)), (0, 0)))  # the face at that place
    (first,), (second,), (third,) = show(one), show(one), show(another)
    assert first.track == second.track == third.track
    assert [face.match.frames for face in (first, second, third) if face.match] == [1, 2, 1]
    once, twice, other = show.gallery.asked
    assert 0.9 < float(once @ twice) < 0.9999  # every second frame is mirrored
    assert np.linalg.norm(twice) == pytest.approx(1)
    assert float(once @ other) < 0.3  # nothing of the one who stood there before


def test_leading_face_is_the_largest_and_alone_judged(show: Show, portrait: Portrait) -> None:
    large = portrait("obama")
    small = portrait("obama2").resize((300, 575))
    first, second = show(room((large, (0, 40)), (small, (530, 100))))
    assert first.box.area > second.box.area
    assert first.quality is not None
    assert (second.quality, second.match, second.smile) == (None, None, None)
    assert len(show.gallery.asked) == 1


@pytest.mark.parametrize(
    ("spoil", "problem"),
    [
        (lambda photo: photo.filter(ImageFilter.GaussianBlur(7)), QualityProblem.BLURRED),
        (lambda photo: photo.point(lambda v: v // 6), QualityProblem.TOO_DARK),
    ],
)
def test_face_with_a_problem_is_nobody(
    show: Show,
    portrait: Portrait,
    spoil: Callable[[Image.Image], Image.Image],
    problem: QualityProblem,
) -> None:
    (face,) = show(room((spoil(portrait("obama")), (200, 40))))
    assert face.quality is not None
    assert face.quality.problem is problem
    assert (face.match, face.smile) == (None, None)
    assert show.gallery.asked == []


def test_a_face_that_the_landmarks_deny_is_a_covered_one(
    faces: dict[str, AnalyzedFace], portrait: Portrait
) -> None:
    """The small stream shows a face where the large one, of another moment, shows a wall."""
    show = Show(Recording(faces["obama3"].template))
    here = shrink(from_image(room((portrait("obama"), (200, 40)))), 320, 240)
    wall = from_image(room())
    (face,) = show.pipeline.process(Frame(1, 0, wall, here)).sightings
    assert face.score > 0.8
    assert face.quality is not None
    assert face.quality.problem is QualityProblem.COVERED
    assert (face.match, face.smile) == (None, None)
    assert show.gallery.asked == []


def test_a_faint_face_that_the_landmarks_deny_is_dropped(
    examiner: FaceAnalyzer, portrait: Portrait
) -> None:
    (sure,) = examiner.find(from_image(portrait("obama")))
    assert examiner.quality_problem(replace(sure, score=0.6)) is None
    far = replace(sure, box=Box(0, 0, 40, 40))
    told = examiner.quality_problem(far)
    assert told is not None
    assert told.problem is QualityProblem.TOO_FAR


def distant_room(portrait: Portrait, width: int, size: tuple[int, int]) -> Image.Image:
    """A room with a face about `width` pixels wide in it."""
    photo = portrait("obama")
    scale = width / 155
    return room((photo.resize([round(n * scale) for n in photo.size]), (300, 200)), size=size)


def test_a_distant_face_is_presence_and_nothing_else(show: Show, portrait: Portrait) -> None:
    picture = distant_room(portrait, 52, (1280, 960))  # 4 % of the width
    assert show(picture) == ()
    assert show.distant is not None
    assert show.distant.width == pytest.approx(52, rel=0.4)
    assert show.distant.x < 300 + 274 * 52 / 155 < show.distant.x + show.distant.width
    assert show.gallery.asked == []


def test_a_distant_face_stays_for_some_frames_and_not_for_ever(
    show: Show, portrait: Portrait
) -> None:
    show(distant_room(portrait, 52, (1280, 960)))
    show(room(size=(1280, 960)))
    assert show.distant is not None
    for _ in range(KEEP_NS // FRAME_NS):
        show(room(size=(1280, 960)))
    assert show.distant is None


def test_a_face_that_only_the_far_network_finds_is_judged_where_it_can_be(
    show: Show, examiner: FaceAnalyzer, portrait: Portrait
) -> None:
    picture = distant_room(portrait, 120, (1920, 1440))  # 6 % of the width
    assert examiner.find(from_image(picture)) == []
    (first,), (second,) = show(picture), show(picture)
    assert first.track == second.track
    assert first.match is not None
    assert first.match.similarity > 0.5
    assert show.distant is None


def test_a_distant_face_with_a_problem_brings_no_hint(show: Show, portrait: Portrait) -> None:
    photo = portrait("obama").point(lambda v: v // 4)
    dark = room(
        (photo.resize([round(n * 120 / 155) for n in photo.size]), (300, 200)), size=(1920, 1440)
    )
    assert show(dark) == ()


def test_what_the_landmarks_deny_is_no_distant_face(
    faces: dict[str, AnalyzedFace], portrait: Portrait
) -> None:
    """The small stream shows a face where the large one, of another moment, shows a wall."""
    show = Show(Recording(faces["obama3"].template))
    here = shrink(from_image(distant_room(portrait, 52, (1280, 960))), 320, 240)
    wall = from_image(room(size=(1280, 960)))
    view = show.pipeline.process(Frame(1, 0, wall, here))
    assert (view.sightings, view.distant) == ((), None)


def test_points_are_eyes_first_the_mouth_last_and_move_with_a_smile(
    show: Show, portrait: Portrait
) -> None:
    still, smiling = (
        show(room((portrait(name), (200, 40))))[0].points for name in ("obama2", "obama")
    )
    assert still is not None
    assert smiling is not None
    assert still.shape == smiling.shape == (ANCHORS + 6, 2)
    right, left = smiling[:2]
    corners = smiling[ANCHORS : ANCHORS + 2]
    assert right[0] < corners[0, 0] < corners[1, 0] < left[0]
    assert corners[:, 1].min() > max(right[1], left[1])
    assert motion(still, smiling) > liveness_rules(Settings()).motion


def test_a_face_with_a_problem_or_behind_another_has_no_points(
    show: Show, portrait: Portrait
) -> None:
    (dark,) = show(room((portrait("obama").point(lambda v: v // 6), (200, 40))))
    assert (dark.points, dark.liveness) == (None, None)
    small = portrait("obama2").resize((300, 575))
    _, second = show(room((portrait("obama"), (0, 40)), (small, (530, 100))))
    assert (second.points, second.liveness) == (None, None)


def test_liveness_is_judged_where_a_network_does(show: Show, portrait: Portrait) -> None:
    (face,) = show(room((portrait("obama"), (200, 40))))
    assert show.pipeline.judges_liveness == ("liveness" in show.pipeline.digests)
    assert (face.liveness is not None) == show.pipeline.judges_liveness


def test_liveness_of_a_face_that_stays_is_judged_in_every_second_frame(
    show: Show, portrait: Portrait
) -> None:
    picture = room((portrait("obama"), (200, 40)))
    judged = [show(picture)[0].liveness is not None for _ in range(FRAMES + 5)]
    assert all(judged[: FRAMES - 1])  # whoever just came is judged in each
    assert judged[FRAMES - 1 :] in ([True, False] * 3, [False, True] * 3)


def test_gallery_may_be_replaced(
    show: Show, faces: dict[str, AnalyzedFace], portrait: Portrait
) -> None:
    picture = room((portrait("obama"), (200, 40)))
    show(picture)
    other = Recording(faces["astronaut"].template)
    show.pipeline.use_gallery(other)
    (face,) = show(picture)
    assert face.match is not None
    assert face.match.similarity < 0.3
    (before,), (after,) = show.gallery.asked, other.asked
    assert float(before @ after) > 0.9


def test_digests(show: Show) -> None:
    assert set(show.pipeline.digests) >= {"detector", "landmarks", "identity", "smile", "cover"}
