from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import combinations, product

import numpy as np
import pytest
from PIL import Image

from edge.images import from_image
from edge.inference.detector import Detection
from edge.inference.face_analyzer import AnalyzedFace, FaceAnalyzer
from edge.settings import RosterSettings
from edge.types import Box, QualityProblem

Portrait = Callable[[str], Image.Image]
ONE_PERSON = ("obama", "obama2", "obama3")
OTHERS = ("astronaut", "biden")


def alike(a: AnalyzedFace, b: AnalyzedFace) -> float:
    return float(a.template @ b.template)


def test_templates_have_length_one(faces: dict[str, AnalyzedFace]) -> None:
    for face in faces.values():
        assert face.template.shape == (192,)
        assert face.template.dtype == np.float32
        assert np.linalg.norm(face.template) == pytest.approx(1, abs=1e-5)


def test_photos_of_one_person_are_alike(faces: dict[str, AnalyzedFace]) -> None:
    for a, b in combinations(ONE_PERSON, 2):
        assert alike(faces[a], faces[b]) > RosterSettings().threshold + 0.1


def test_photos_of_different_people_are_not(faces: dict[str, AnalyzedFace]) -> None:
    pairs = [*product(ONE_PERSON, OTHERS), OTHERS]
    assert max(alike(faces[a], faces[b]) for a, b in pairs) < RosterSettings().threshold - 0.2


# Both runtimes give these on x86-64; 0.02 is what another machine's order of additions may move.
GOLDEN = {
    ("obama", "obama2"): 0.826,
    ("obama", "obama3"): 0.833,
    ("obama2", "obama3"): 0.823,
    ("obama", "astronaut"): -0.068,
    ("astronaut", "biden"): 0.255,
}


@pytest.mark.parametrize("pair", GOLDEN)
def test_golden_similarities(faces: dict[str, AnalyzedFace], pair: tuple[str, str]) -> None:
    assert alike(faces[pair[0]], faces[pair[1]]) == pytest.approx(GOLDEN[pair], abs=0.02)


@pytest.mark.parametrize("degrees", [-25, 25])
def test_tilted_head_is_the_same_person(
    examiner: FaceAnalyzer, faces: dict[str, AnalyzedFace], portrait: Portrait, degrees: int
) -> None:
    tilted = portrait("obama").rotate(degrees, Image.Resampling.BICUBIC, fillcolor=(90, 90, 90))
    (face,) = examiner.analyze(from_image(tilted))
    assert face.quality.problem is None
    assert alike(face, faces["obama2"]) > RosterSettings().threshold
    assert face.smile > 90


@pytest.mark.parametrize("size", [1.5, 2.5])
def test_larger_picture_gives_the_same(
    examiner: FaceAnalyzer, faces: dict[str, AnalyzedFace], portrait: Portrait, size: float
) -> None:
    small = portrait("obama")
    large = small.resize([round(n * size) for n in small.size], Image.Resampling.BICUBIC)
    (face,) = examiner.analyze(from_image(large))
    assert alike(face, faces["obama"]) > 0.95
    assert face.quality.face_px == pytest.approx(size * faces["obama"].quality.face_px, rel=0.05)


def test_both_of_two_people(
    examiner: FaceAnalyzer, faces: dict[str, AnalyzedFace], portrait: Portrait
) -> None:
    picture = Image.new("RGB", (840, 640), (90, 90, 90))
    picture.paste(portrait("astronaut").resize((768, 768)), (300, -20))
    picture.paste(portrait("obama"), (-80, 0))
    first, second = sorted(
        found := examiner.analyze(from_image(picture)), key=lambda face: face.box.x
    )
    assert [face.box.area for face in found] == sorted((f.box.area for f in found), reverse=True)
    assert alike(first, faces["obama2"]) > RosterSettings().threshold
    assert alike(second, faces["astronaut"]) > 0.9


def test_nobody_there(examiner: FaceAnalyzer) -> None:
    assert examiner.analyze(from_image(Image.new("RGB", (640, 480), (40, 90, 40)))) == ()


def test_face_with_a_problem_is_judged_all_the_same(
    examiner: FaceAnalyzer, portrait: Portrait
) -> None:
    (face,) = examiner.analyze(from_image(portrait("obama").resize((200, 250))))
    assert face.quality.problem is QualityProblem.TOO_FAR
    assert face.template.shape == (192,)


def test_digests_name_the_networks(examiner: FaceAnalyzer) -> None:
    assert set(examiner.digests) >= {"detector", "landmarks", "identity", "smile", "cover"}
    assert all(len(digest) == 64 for digest in examiner.digests.values())


def test_a_denied_face_is_looked_at_once_more_with_more_room(
    examiner: FaceAnalyzer, portrait: Portrait
) -> None:
    picture = from_image(portrait("obama2"))
    found = examiner.find(picture)[0]
    denied = next(d for d in tightened(found) if examiner.locate(picture, d) is None)
    assert examiner.locate(picture, denied) is None
    assert examiner.locate_with_retry(picture, denied) is not None
    assert examiner.locate_with_retry(picture, replace(denied, score=0.6)) is None


def tightened(found: Detection) -> Iterator[Detection]:
    """Yield the face in smaller and smaller boxes about its middle."""
    box = found.box
    for share in np.arange(0.6, 0.4, -0.005).tolist():
        left, top = (box.x + box.width * (1 - share) / 2, box.y + box.height * (1 - share) / 2)
        yield replace(found, box=Box(left, top, box.width * share, box.height * share))


def test_a_photo_of_a_small_face_is_analyzed(
    examiner: FaceAnalyzer, faces: dict[str, AnalyzedFace], portrait: Callable[[str], Image.Image]
) -> None:
    photo = portrait("obama")
    picture = Image.new("RGB", (1920, 1440), (90, 90, 90))
    picture.paste(photo.resize([round(n * 110 / 155) for n in photo.size]), (300, 200))
    assert examiner.find(from_image(picture)) == []
    (face,) = examiner.analyze(from_image(picture))
    assert face.box.width == pytest.approx(110, rel=0.4)
    assert float(face.template @ faces["obama"].template) > 0.7
