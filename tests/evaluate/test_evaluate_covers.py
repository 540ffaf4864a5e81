import pytest
from sketches import Sketches

from edge.errors import LabelsError
from edge.types import QualityProblem
from senyum_lab.evaluate.covers import evaluate
from senyum_lab.evaluate.metrics import wilson


@pytest.fixture
def masked(sketches: Sketches) -> Sketches:
    """Four faces can be judged, and three of them are reported as covered."""
    for name in ("a.png", "b.png", "c.png"):
        sketches.paint(name, problem=QualityProblem.COVERED)
    sketches.paint("d.png")
    sketches.paint("e.png", problem=QualityProblem.TURNED)
    sketches.paint("f.png", faceless=True)
    cells = ("a.png,mask", "b.png,mask", "c.png,scarf", "d.png,scarf", "e.png,mask", "f.png,mask")
    sketches.write("l.csv", "file,kind", *cells, "gone.png,mask")
    return sketches


def test_share_is_of_the_faces_that_can_be_judged(masked: Sketches) -> None:
    report = evaluate(masked.folder, masked.folder / "l.csv", masked.bench)
    figures = report.figures
    assert (figures["n"], figures["not_found"], figures["missing"]) == (6, 1, 1)
    assert figures["problems"] == {"turned": 1}
    assert (figures["covered"], figures["judged"], figures["covered_rate"]) == (3, 4, 0.75)
    assert (figures["covered_low"], figures["covered_high"]) == wilson(3, 4)
    assert figures["groups"] == {}
    (row,) = report.tables[0].rows
    assert row[:6] == ("all", "6", "1", "1", "4", "3 (75.0%)")


def test_groups_add_up_to_all(masked: Sketches) -> None:
    figures = evaluate(masked.folder, masked.folder / "l.csv", masked.bench, "kind").figures
    mask, scarf = figures["groups"]["mask"], figures["groups"]["scarf"]
    assert (mask["covered"], mask["judged"], mask["n"]) == (2, 2, 4)
    assert (scarf["covered"], scarf["judged"], scarf["n"]) == (1, 2, 2)
    assert figures["judged"] == 4


def test_no_judged_face_is_a_note_and_no_rate(sketches: Sketches) -> None:
    labels = sketches.write("l.csv", "file", sketches.paint("a.png", faceless=True))
    report = evaluate(sketches.folder, labels, sketches.bench)
    assert report.figures["covered_rate"] is None
    assert report.notes == ["unmeasured: the share of covered faces, because no face can be judged"]


def test_a_column_that_the_list_lacks(masked: Sketches) -> None:
    with pytest.raises(LabelsError, match=r"--by colour: .* has no such column; it has file, kind"):
        evaluate(masked.folder, masked.folder / "l.csv", masked.bench, "colour")
