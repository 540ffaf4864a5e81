"""The commands from end to end, with the shipped models on the bench's photos."""

import json
import re
from pathlib import Path
from random import Random
from typing import Any

import pytest
from PIL import Image

from edge.cli import main
from senyum_lab.attacks.paper import printed

FACES = Path(__file__).parent.parent / "faces"


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Lay out the photos as people's folders, cut to a square."""
    people = {"obama": ["obama", "obama2", "obama3"], "biden": ["biden"], "eileen": ["astronaut"]}
    for person, names in people.items():
        (tmp_path / "photos" / person).mkdir(parents=True)
        for n, name in enumerate(names):
            with Image.open(FACES / f"{name}.jpg") as image:
                head = image.crop((0, 0, image.width, image.width))
            head.save(tmp_path / "photos" / person / f"{n}.jpg")
    return tmp_path / "photos"


def listed(photos: Path, *lines: str) -> str:
    path = photos.parent / "labels.csv"
    path.write_text("\n".join(lines), encoding="utf-8")
    return str(path)


def figures(capsys: pytest.CaptureFixture[str], *words: str | Path) -> dict[str, Any]:
    """Run a command that must succeed; its stdout is one JSON object and nothing else."""
    capsys.readouterr()
    assert main(["evaluate", *map(str, words), "--json"]) == 0
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    return found


def test_smile(photos: Path, capsys: pytest.CaptureFixture[str]) -> None:
    labels = listed(
        photos,
        "file,smile,person",
        *("obama/0.jpg,1,o", "obama/1.jpg,0,o", "biden/0.jpg,0,b", "eileen/0.jpg,1,e"),
    )
    report = photos.parent / "report"
    found = figures(capsys, "smile", "--images", photos, "--labels", labels, "--report", report)
    assert (found["n"], found["found"], found["auc"]) == (4, 4, 1.0)
    assert found["people_ordered"] is None
    page = (report / "index.html").read_text(encoding="utf-8")
    for name in re.findall(r'src="([^"]+)"', page):
        with Image.open(report / name) as chart:
            assert chart.width >= 600
            assert len(chart.convert("RGB").getcolors(1 << 20) or []) > 3
    assert {path.name for path in report.glob("*.png")} == {
        "det.png", "reliability.png", "scores.png",
    }  # fmt: skip
    assert json.loads((report / "figures.json").read_text(encoding="utf-8")) == found


def test_identity(photos: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pairs = listed(
        photos,
        "a,b,same,fold",
        *("obama/0.jpg,obama/1.jpg,1,0", "obama/0.jpg,biden/0.jpg,0,0"),
        *("obama/1.jpg,obama/2.jpg,1,1", "obama/2.jpg,eileen/0.jpg,0,1"),
    )
    found = figures(capsys, "identity", "--images", photos, "--pairs", pairs)
    assert (found["n"], found["accuracy"], found["tar_at_far_1e3"]) == (4, 1.0, 1.0)


def test_search_with_the_folders_as_people(
    photos: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = figures(capsys, "search", "--images", photos, "--gallery", "2")
    assert (found["gallery"], found["n"], found["strangers"]) == (2, 2, 1)
    assert (found["rank1"], found["wrong_accepted"]) == (1.0, 0)
    assert 0 < found["wrong_accepted_upper95"] < 1


def test_groups(photos: Path, capsys: pytest.CaptureFixture[str]) -> None:
    labels = listed(
        photos, "file,age,gender", *("obama/0.jpg,50,m", "biden/0.jpg,70,m", "eileen/0.jpg,45,f")
    )
    found = figures(capsys, "groups", "--images", photos, "--labels", labels)
    assert found["groups"]["gender"]["m"]["impostor_matches"] == 0
    assert set(found["groups"]["age"]) == {"40 to 60", "60 to 80"}


def test_liveness_parts_a_photo_from_its_print(
    photos: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = []
    for n, name in enumerate(("obama/0.jpg", "obama/1.jpg", "biden/0.jpg")):
        with Image.open(photos / name) as photo:
            photo.thumbnail((400, 400))
            printed(photo.convert("RGB"), Random(n)).save(photos / f"{n}.png")
        lines += [f"{name},1,", f"{n}.png,0,print"]
    labels = listed(photos, "file,live,kind", *lines)
    found = figures(capsys, "liveness", "--images", photos, "--labels", labels)
    assert found["n"] == 6
    assert found["bpcer"] == 0
    assert found["apcer"]["print"] <= 0.34
    assert found["acer"] == pytest.approx((found["apcer"]["print"] + found["bpcer"]) / 2)


def test_a_table_for_people(photos: Path, capsys: pytest.CaptureFixture[str]) -> None:
    labels = listed(photos, "file,smile", "obama/0.jpg,1", "obama/1.jpg,0", "gone.jpg,1")
    words = ["smile", "--images", str(photos), "--labels", labels]
    assert main(["evaluate", *words]) == 0
    said = capsys.readouterr()
    assert "balanced accuracy" in said.out
    assert "left out: 1 listed file, not there" in said.out
    assert "3 of 3 seen" in said.err


@pytest.mark.parametrize(
    ("lines", "says"),
    [
        (["file,happy", "obama/0.jpg,1"], "column 'smile' is missing"),
        (["file,smile", "obama/0.jpg,1"], "both 0 and 1 are needed"),
        (["file,smile", "x.jpg,1", "y.jpg,0"], "none of 2 files can be used"),
    ],
)
def test_a_list_that_will_not_do_is_one_line_and_2(
    photos: Path, lines: list[str], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    labels = listed(photos, *lines)
    words = ["smile", "--images", str(photos), "--labels", labels, "--json"]
    assert main(["evaluate", *words]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    (line,) = (line for line in said.err.splitlines() if line.startswith("senyum: "))
    assert says in line


def test_what_a_list_holds_is_shown_as_it_is(
    photos: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    labels = listed(
        photos,
        "file,sex",
        *("obama/0.jpg,[/red]", "biden/0.jpg,a\x1b[2Jb"),
    )
    assert main(["evaluate", "groups", "--images", str(photos), "--labels", labels]) == 0
    shown = capsys.readouterr().out
    assert "[/red]" in shown
    assert r"a\x1b[2Jb" in shown
    assert "\x1b" not in shown


def test_a_report_names_the_extra_that_it_needs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    words = ["smile", "--images", str(tmp_path), "--labels", str(tmp_path / "l.csv")]
    assert main(["evaluate", *words, "--report", str(tmp_path / "report")]) == 2
    assert "senyum-edge[lab]" in capsys.readouterr().err


def test_distance(photos: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ("distance", "--images", photos, "--share", "0.04", "--share", "0.07")
    found = figures(capsys, *words)
    assert (found["photos"], found["photos_found"]) == (5, 5)
    far, nearer = found["widths"]
    assert (far["share"], far["frames"], far["found"], far["judged"]) == (0.04, 5, 5, 0)
    assert (nearer["found"], nearer["elsewhere"]) == (5, 0)
    assert nearer["judged"] > 0


def test_distance_of_a_part_of_the_people(photos: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ("distance", "--images", photos, "--share", "0.04", "--part")
    parts = [figures(capsys, *words, part)["photos"] for part in ("0/2", "1/2")]
    assert sum(parts) == 5
    for wrong, why in (
        ("2/2", "from 0 to N - 1"),
        ("half", "write K/N"),
        ("7/1000", "contains none"),
    ):
        assert main(["evaluate", *map(str, words), wrong]) == 2
        assert why in capsys.readouterr().err
