import pytest
from sketches import Sketches

from edge.errors import LabelsError
from senyum_lab.evaluate.identity import evaluate


@pytest.fixture
def people(sketches: Sketches) -> Sketches:
    """Two photos of each of four people; one photo of d has no face."""
    for i, person in enumerate("abcd"):
        who = [0.0] * 4
        who[i] = 1.0
        sketches.paint(f"{person}1.png", who=who)
        sketches.paint(f"{person}2.png", who=[*who, 0.5], faceless=person == "d")
    return sketches


def test_pairs_by_folds(people: Sketches) -> None:
    pairs = people.write(
        "pairs.csv",
        "a,b,same,fold",
        *("a1.png,a2.png,1,0", "a1.png,b1.png,0,0"),
        *("b1.png,b2.png,1,1", "b2.png,c2.png,0,1"),
        *("c1.png,c2.png,1,2", "d1.png,d2.png,1,2", "a1.png,d2.png,0,2", "c1.png,gone.png,1,2"),
    )
    report = evaluate(people.folder, pairs, people.bench)
    figures = report.figures
    assert (figures["n"], figures["found"]) == (7, 5)
    assert figures["accuracy"] == pytest.approx((1 + 1 + 1 / 3) / 3)
    assert figures["accuracy_found"] == 1
    assert figures["tar_at_far_1e2"] == figures["tar_at_far_1e3"] == 3 / 4
    assert (figures["different_accepted"], figures["different"]) == (0, 2)
    assert any("1 pair with such a file" in note for note in report.notes)
    assert any(note.startswith("tar_at_far_1e3: 2 impostor pairs cannot") for note in report.notes)
    assert [chart.name for chart in report.charts] == ["det", "scores"]


@pytest.mark.parametrize(
    ("lines", "says"),
    [
        (["a1.png,a2.png,1,0", "a1.png,b1.png,1,1"], "no usable line has same 0"),
        (["a1.png,a2.png,1,0", "a1.png,b1.png,0,0"], "all usable pairs are of one fold"),
        (["a1.png,a2.png,1,0", "a1.png,b1.png,0,1"], "all same or all different"),
        (
            ["a1.png,a2.png,1,0", "a1.png,b1.png,0,0", "d1.png,d2.png,1,1"],
            "no pair of fold 1 has both faces found",
        ),
    ],
)
def test_pairs_that_show_nothing(people: Sketches, lines: list[str], says: str) -> None:
    pairs = people.write("pairs.csv", "a,b,same,fold", *lines)
    with pytest.raises(LabelsError, match=says):
        evaluate(people.folder, pairs, people.bench)
