from collections.abc import Callable

import numpy as np
import pytest
from PIL import Image, ImageFilter

from edge.inference.examiner import Face
from edge.inference.pipeline import Pipeline
from edge.pictures import from_image, shrink
from edge.settings import InferenceSettings
from edge.types import Floats, Frame, Match, Problem, Sighting

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

    def __call__(self, picture: Image.Image) -> tuple[Sighting, ...]:
        self.number += 1
        main = from_image(picture)
        frame = Frame(self.number, self.number * FRAME_NS, main, shrink(main, 320, 240))
        view = self.pipeline.process(frame)
        assert view.captured_ns == frame.captured_ns
        return view.sightings


@pytest.fixture
def show(faces: dict[str, Face]) -> Show:
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
        (lambda photo: photo.filter(ImageFilter.GaussianBlur(7)), Problem.BLURRED),
        (lambda photo: photo.point(lambda v: v // 6), Problem.TOO_DARK),
    ],
)
def test_face_with_a_problem_is_nobody(
    show: Show,
    portrait: Portrait,
    spoil: Callable[[Image.Image], Image.Image],
    problem: Problem,
) -> None:
    (face,) = show(room((spoil(portrait("obama")), (200, 40))))
    assert face.quality is not None
    assert face.quality.problem is problem
    assert (face.match, face.smile) == (None, None)
    assert show.gallery.asked == []


def test_what_is_no_face_to_the_landmarks_is_dropped(
    faces: dict[str, Face], portrait: Portrait
) -> None:
    """The small stream shows a face where the large one, of another moment, shows a wall."""
    show = Show(Recording(faces["obama3"].template))
    here = from_image(room((portrait("obama"), (200, 40))))
    wall = from_image(room())
    view = show.pipeline.process(Frame(1, 0, wall, shrink(here, 320, 240)))
    assert view.sightings == ()


def test_gallery_may_be_replaced(show: Show, faces: dict[str, Face], portrait: Portrait) -> None:
    picture = room((portrait("obama"), (200, 40)))
    show(picture)
    show.pipeline.gallery = other = Recording(faces["astronaut"].template)
    (face,) = show(picture)
    assert face.match is not None
    assert face.match.similarity < 0.3
    np.testing.assert_allclose(other.asked[0], show.gallery.asked[0], atol=1e-6)


def test_digests(show: Show) -> None:
    assert set(show.pipeline.digests) == {"detector", "landmarks", "identity", "smile"}
