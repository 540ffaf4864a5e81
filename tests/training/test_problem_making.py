"""What is put into photos to judge the quality gates by, and what the cover network trains on."""

import csv
import random
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from edge.images import from_image
from edge.inference.face_analyzer import FaceAnalyzer
from edge.inference.landmarks import Mesh
from edge.settings import InferenceSettings
from senyum_lab.quality_problems import __main__ as making
from senyum_lab.quality_problems import problems
from senyum_lab.quality_problems.problems import Ground
from senyum_lab.training.cover import painting

pytestmark = pytest.mark.slow

FACES = Path(__file__).parents[1] / "faces"
MOUTH = (13, 14)
EYES = (159, 386)


@pytest.fixture(scope="module")
def face() -> tuple[Image.Image, Mesh]:
    examiner = FaceAnalyzer(InferenceSettings())
    with Image.open(FACES / "obama.jpg") as photo:
        picture = photo.convert("RGB")
    whole = from_image(picture)
    looked = examiner.locate(whole, examiner.find(whole)[0])
    assert looked is not None
    return picture, looked[1]


def changed(before: Image.Image, after: Image.Image, mesh: Mesh, numbers: tuple[int, ...]) -> float:
    """Return the mean change of colour about some points, in levels."""
    one, other = (np.asarray(im, np.float32) for im in (before, after))
    places = mesh.points[list(numbers), :2].round().astype(int)
    parts = [np.s_[y - 3 : y + 4, x - 3 : x + 4] for x, y in places.tolist()]
    return float(np.mean([np.abs(one[part] - other[part]).mean() for part in parts]))


@pytest.mark.parametrize("kind", sorted(painting.COVERS))
def test_painted_covers_hide_mouth_or_eyes(face: tuple[Image.Image, Mesh], kind: str) -> None:
    picture, mesh = face
    for seed in range(6):
        chance = random.Random(seed)
        painted = painting.COVERS[kind](picture, mesh.points[:, :2], chance)
        assert max(changed(picture, painted, mesh, part) for part in (MOUTH, EYES)) > 12
        again = painting.COVERS[kind](picture, mesh.points[:, :2], random.Random(seed))
        assert painted.tobytes() == again.tobytes()


@pytest.mark.parametrize("kind", ["headscarf", "cap"])
def test_painted_cloth_about_the_face_leaves_it_free(
    face: tuple[Image.Image, Mesh], kind: str
) -> None:
    picture, mesh = face
    for seed in range(6):
        painted = painting.BARE[kind](picture, mesh.points[:, :2], random.Random(seed))
        assert painted.tobytes() != picture.tobytes()
        assert max(changed(picture, painted, mesh, part) for part in (MOUTH, EYES)) < 1


@pytest.mark.parametrize("kind", sorted(problems.COVERS))
def test_made_covers_hide_mouth_or_eyes(face: tuple[Image.Image, Mesh], kind: str) -> None:
    picture, mesh = face
    ground = Ground.of(np.asarray(picture), mesh)
    for seed in range(4):
        made = problems.COVERS[kind](ground, np.random.default_rng(seed)).photo
        after = Image.fromarray(made.round().clip(0, 255).astype(np.uint8))
        assert max(changed(picture, after, mesh, part) for part in (MOUTH, EYES)) > 12


def test_light_falls_by_whole_stops(face: tuple[Image.Image, Mesh]) -> None:
    picture, mesh = face
    ground = Ground.of(np.asarray(picture), mesh)
    linear = {
        stops: float(
            np.mean((problems.darker(ground, stops, np.random.default_rng(1)) / 255) ** 2.2)
        )
        for stops in (1.0, 3.0)
    }
    assert linear[1] / linear[3] == pytest.approx(4, rel=0.05)
    window = problems.backlit(ground, 3, np.random.default_rng(1))
    assert window[5, 5].min() > 235
    x, y = mesh.points[4, :2].round().astype(int).tolist()  # the tip of the nose
    assert window[y, x].mean() < 0.6 * ground.photo[y, x].mean()


def test_the_command_writes_pictures_and_labels(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "l.csv").write_text("file,site\nobama.jpg,x\nastronaut.jpg,y\n")
    arguments = ["--images", str(FACES), "--labels", str(tmp_path / "l.csv"), "--each", "2"]
    monkeypatch.setattr(sys, "argv", ["make_problems", *arguments, "--out", str(tmp_path / "out")])
    assert making.main() == 0
    assert "4 pictures of 2 photos" in capsys.readouterr().out
    with (tmp_path / "out" / "labels.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert {row["site"] for row in rows} == {"x", "y"}
    assert {row["problem"] for row in rows} <= set(making.KINDS)
    for row in rows:
        with Image.open(tmp_path / "out" / "pictures" / row["file"]) as made:
            assert made.width * 3 == pytest.approx(made.height * 4, abs=8)
