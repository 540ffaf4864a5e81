import pytest
from sketches import Sketches

from edge.errors import LabelsError
from senyum_lab.evaluate.report import as_json
from senyum_lab.evaluate.smile import evaluate


def test_a_face_not_found_is_an_error_and_counted_apart(sketches: Sketches) -> None:
    lines = ["file,smile"]
    for name, truth, smile in (
        ("a", 1, 90),
        ("b", 1, 70),
        ("c", 1, 50),
        ("d", 0, 10),
        ("e", 0, 60),
    ):
        lines.append(f"{sketches.paint(f'{name}.png', smile=smile)},{truth}")
    lines.append(f"{sketches.paint('f.png', faceless=True)},1")
    lines.append("gone.png,1")
    (sketches.folder / "torn.png").write_bytes(b"no picture")
    lines.append("torn.png,0")
    report = evaluate(sketches.folder, sketches.write("l.csv", *lines), sketches.bench)
    figures = report.figures
    assert (figures["n"], figures["found"]) == (6, 5)
    assert (figures["missing"], figures["unreadable"]) == (1, 1)
    assert figures["accuracy"] == pytest.approx(4 / 6)  # 50 is a smile, 60 was none
    assert figures["balanced_accuracy"] == pytest.approx((3 / 4 + 1 / 2) / 2)
    assert figures["balanced_accuracy_found"] == pytest.approx((3 / 3 + 1 / 2) / 2)
    assert figures["auc"] == pytest.approx(5 / 6)
    assert figures["ece"] == pytest.approx((0.1 + 0.3 + 0.5 + 0.1 + 0.6) / 5)
    assert figures["people_ordered"] is None
    assert sketches.progress[-1] == (8, 8)
    assert "NaN" not in as_json(report)
    assert any("person" in note for note in report.notes)


def test_people_are_in_order_where_their_smile_scores_higher(sketches: Sketches) -> None:
    lines = ["file,smile,person"]
    photos: dict[str, list[tuple[int, int | None]]] = {
        "up": [(1, 30), (0, 20)],
        "several": [(1, 90), (1, 40), (0, 60), (0, 10)],  # 65 against 35
        "down": [(1, 20), (0, 30)],
        "lost": [(1, None), (0, 30)],
        "half": [(1, 99)],
    }
    for person, seen in photos.items():
        for i, (truth, smile) in enumerate(seen):
            name = sketches.paint(f"{person}{i}.png", smile=smile or 0, faceless=smile is None)
            lines.append(f"{name},{truth},{person}")
    figures = evaluate(sketches.folder, sketches.write("l.csv", *lines), sketches.bench).figures
    assert (figures["people_ordered"], figures["people"]) == (0.5, 4)


def test_fewer_than_two_people_are_no_share(sketches: Sketches) -> None:
    a, b = sketches.paint("a.png", smile=90), sketches.paint("b.png", smile=1)
    labels = sketches.write("l.csv", "file,smile,person", f"{a},1,x", f"{b},0,x")
    report = evaluate(sketches.folder, labels, sketches.bench)
    assert report.figures["people_ordered"] is None
    assert any("two people" in note for note in report.notes)


@pytest.mark.parametrize(
    ("lines", "says"),
    [
        (["a.png,1", "b.png,1"], "no usable line has smile 0"),
        (["a.png,1", "gone.png,0"], "no usable line has smile 0"),
        (["a.png,1", "faceless.png,0"], "no usable line has smile 0"),
        (["gone.png,1", "lost.png,0"], r"none of 2 files can be used \(2 not there"),
        (["a.png,yes", "b.png,maybe"], "line 3, smile: is 'maybe'"),
    ],
)
def test_what_cannot_be_measured_is_an_error(
    sketches: Sketches, lines: list[str], says: str
) -> None:
    sketches.paint("a.png", smile=90)
    sketches.paint("b.png", smile=1)
    sketches.paint("faceless.png", faceless=True)
    labels = sketches.write("l.csv", "file,smile", *lines)
    with pytest.raises(LabelsError, match=says):
        evaluate(sketches.folder, labels, sketches.bench)


def test_a_folder_that_is_not_there(sketches: Sketches) -> None:
    labels = sketches.write("l.csv", "file,smile", "a.png,1", "b.png,0")
    with pytest.raises(LabelsError, match="no such folder of pictures"):
        evaluate(sketches.folder / "none", labels, sketches.bench)
