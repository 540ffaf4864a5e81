import zlib

import numpy as np
import pytest
from sketches import Sketches

from edge.errors import LabelsError
from edge.settings import RosterSettings
from edge.types import QualityProblem
from senyum_lab.evaluate.groups import GroupColumn, evaluate
from senyum_lab.evaluate.pairwise import MOST_FACES, PairwiseScores
from senyum_lab.evaluate.roster_trials import DRAWS, RosterTrials


@pytest.fixture
def crowd(sketches: Sketches) -> Sketches:
    """Women 25, 35 and 65, all alike; men 30 and 70, unlike; a child without a face."""
    sketches.paint("a.png", who=(1, 0))
    sketches.paint("b.png", who=(1, 0.1))
    sketches.paint("c.png", who=(1, 0.2), problem=QualityProblem.TURNED)
    sketches.paint("d.png", who=(0, 0, 1))
    sketches.paint("e.png", who=(0, 0, 0, 1))
    sketches.paint("f.png", faceless=True)
    sketches.write(
        "l.csv",
        "file,age,sex_0m1f",
        *("a.png,25,1", "b.png,35,1", "c.png,65,1", "d.png,30,0", "e.png,70,0", "f.png,5,"),
    )
    return sketches


def test_groups_by_the_usual_columns(crowd: Sketches) -> None:
    report = evaluate(crowd.folder, crowd.folder / "l.csv", [], crowd.bench)
    groups = report.figures["groups"]
    assert list(groups["age"]) == ["0 to 20", "20 to 40", "60 to 80"]
    assert list(groups["sex"]) == ["f", "m"]
    women, men = groups["sex"]["f"], groups["sex"]["m"]
    assert (women["impostor_matches"], women["impostor_pairs"]) == (3, 3)
    assert (men["impostor_matches"], men["impostor_pairs"]) == (0, 1)
    assert (women["impostor_with_all_matches"], women["impostor_with_all_pairs"]) == (6, 12)
    assert (men["impostor_with_all_matches"], men["impostor_with_all_pairs"]) == (0, 8)
    assert women["problems"] == {"turned": 1}
    assert women["refused_rate"] == pytest.approx(1 / 3)
    child = groups["age"]["0 to 20"]
    assert child["problems"] == {"not found": 1}
    assert child["impostor_rate"] is None
    everybody = report.figures["all"]
    assert (everybody["impostor_matches"], everybody["impostor_pairs"]) == (3, 10)
    assert everybody["refused"] == 2


def test_what_the_labels_do_not_allow_is_unmeasured(crowd: Sketches) -> None:
    notes = "\n".join(evaluate(crowd.folder, crowd.folder / "l.csv", [], crowd.bench).notes)
    assert "left out of sex: 1 picture without a label" in notes
    assert "unmeasured: same person accepted, which needs a column person" in notes
    assert "unmeasured: smiles, which need a column smile" in notes
    assert "unmeasured: live faces refused by liveness" in notes


def test_people_and_smiles_where_they_are_labelled(sketches: Sketches) -> None:
    lines = ["file,site,person,smile"]
    for n, (site, person, smile, score) in enumerate(
        [("x", "p", 1, 90), ("x", "p", 0, 10), ("y", "q", 1, 20), ("y", "r", 0, 80)]
    ):
        who = {"p": (1, 0, 0), "q": (0, 1, 0), "r": (0, 0, 1)}[person]
        name = sketches.paint(f"{n}.png", smile=score, who=who)
        lines.append(f"{name},{site},{person},{smile}")
    labels = sketches.write("l.csv", *lines)
    figures = evaluate(sketches.folder, labels, [GroupColumn("site")], sketches.bench).figures
    x, y = figures["groups"]["site"]["x"], figures["groups"]["site"]["y"]
    assert (x["genuine_matches"], x["genuine_pairs"], x["impostor_pairs"]) == (1, 1, 0)
    assert (y["genuine_pairs"], y["impostor_pairs"]) == (0, 1)
    assert (x["smiles_seen_rate"], x["others_refused_rate"]) == (1, 1)
    assert (y["smiles_seen_rate"], y["others_refused_rate"]) == (0, 0)


def test_reasons_and_liveness_by_group(sketches: Sketches) -> None:
    people = [
        ("x", QualityProblem.TOO_DARK, 0.9), ("x", QualityProblem.COVERED, 0.9), ("x", None, 0.2),
        ("x", None, 0.8), ("y", QualityProblem.TOO_DARK, 0.1), ("y", None, 0.7),
    ]  # fmt: skip
    lines = ["file,site"]
    for n, (site, problem, living) in enumerate(people):
        lines.append(f"{sketches.paint(f'{n}.png', problem=problem, living=living)},{site}")
    labels = sketches.write("l.csv", *lines)
    report = evaluate(sketches.folder, labels, [GroupColumn("site")], sketches.bench)
    x, y = (report.figures["groups"]["site"][site] for site in "xy")
    assert x["problems"] == {"covered": 1, "too-dark": 1}
    assert (x["not_living_matches"], x["not_living_pairs"]) == (1, 2)
    assert (y["not_living_matches"], y["not_living_pairs"]) == (0, 1)
    (reasons,) = [table for table in report.tables if "reasons" in table.title]
    assert reasons.columns == ("site", "covered", "too-dark")
    assert reasons.rows[0] == ("x", "1 (25.0%, 1.50)", "1 (25.0%, 0.75)")
    assert reasons.rows[1] == ("y", "0 (0.0%, 0.00)", "1 (50.0%, 1.50)")
    assert not any("liveness" in note for note in report.notes)


@pytest.mark.parametrize(
    ("by", "cell", "group"),
    [
        (GroupColumn("age", 10), "25", "20 to 30"),
        (GroupColumn("age", 10), "30", "30 to 40"),
        (GroupColumn("race_0w1b2a"), "2", "a"),
        (GroupColumn("race_0w1b2a"), "7", "7"),
        (GroupColumn("gender"), "female", "female"),
    ],
)
def test_a_cell_s_group(by: GroupColumn, cell: str, group: str) -> None:
    assert by.group(cell) == group


def test_by_is_a_column_and_perhaps_a_width() -> None:
    assert GroupColumn.parse("Age:20") == GroupColumn("age", 20)
    assert GroupColumn.parse("site") == GroupColumn("site")
    for wrong in ("", ":20", "age:", "age:-1", "age:old", "age:nan"):
        with pytest.raises(LabelsError, match="must be COLUMN or COLUMN:WIDTH"):
            GroupColumn.parse(wrong)


@pytest.mark.parametrize(
    ("by", "says"),
    [
        ([], "no group column"),
        ([GroupColumn("height")], "column 'height' of --by does not exist"),
        ([GroupColumn("site", 5)], "line 2: site is 'x'; write a number"),
        ([GroupColumn("empty")], "every cell of empty is empty"),
    ],
)
def test_labels_that_part_nobody(sketches: Sketches, by: list[GroupColumn], says: str) -> None:
    labels = sketches.write("l.csv", "file,site,empty", f"{sketches.paint('a.png')},x,NA")
    with pytest.raises(LabelsError, match=says):
        evaluate(sketches.folder, labels, by, sketches.bench)


def test_a_large_crowd_is_sampled() -> None:
    generator = np.random.default_rng(0)
    templates = generator.standard_normal((MOST_FACES + 50, 8)).astype(np.float32)
    templates /= np.linalg.norm(templates, axis=1, keepdims=True)
    owners = [str(n) for n in range(len(templates))]
    likeness = PairwiseScores.of(templates, owners, 0.9)
    everybody = likeness.among(np.arange(len(templates)))
    assert everybody.pairs == MOST_FACES * (MOST_FACES - 1) // 2
    inside = np.arange(200)
    brute = sum(
        float(templates[i] @ templates[j]) >= 0.9
        for i in range(200)
        for j in range(i)
        if likeness.place[i] >= 0 and likeness.place[j] >= 0
    )
    assert likeness.among(inside).matches == brute


def test_strangers_and_enrolled_people_by_the_rule_of_the_device() -> None:
    """Each half of the people is enrolled in turn; a twin in the other half is accepted."""
    owners = ["anna", "anna", "anna", "ben", "carl", "dora", "eve"]
    halves = {owner: zlib.crc32(owner.encode()) % 2 for owner in owners}
    assert set(halves.values()) == {0, 1}
    templates = np.eye(7, 192, dtype=np.float32)
    templates[1] = templates[0]  # another photo of Anna, the same; the third is unlike her
    twin = next(n for n in range(3, 7) if halves[owners[n]] != halves["anna"])
    templates[twin] = templates[0]
    trials = RosterTrials.of(templates, owners, RosterSettings(), 5)
    assert trials.enrolled[:3].tolist() == [[0, 0], [DRAWS, DRAWS], [0, DRAWS]]
    assert trials.strangers[:2].tolist() == [[DRAWS, DRAWS]] * 2
    assert trials.strangers_of(np.array([2, twin])) == (DRAWS, 2 * DRAWS)
    assert trials.enrolled_of(np.array([1, 2])) == (DRAWS, 2 * DRAWS)


def test_a_roster_of_some_of_the_people() -> None:
    owners = [str(n) for n in range(40)]
    templates = np.eye(40, 192, dtype=np.float32)
    trials = RosterTrials.of(np.repeat(templates, 2, axis=0), sorted(owners * 2, key=int),
                             RosterSettings(), 3)  # fmt: skip
    assert trials.enrolled_of(np.arange(80)) == (2 * DRAWS * 3, 2 * DRAWS * 3)
    assert trials.strangers_of(np.arange(80)) == (0, 2 * DRAWS * 40)


def test_one_half_alone_is_not_tried() -> None:
    trials = RosterTrials.of(np.eye(2, 192, dtype=np.float32), ["a", "a"], RosterSettings(), 3)
    assert trials.strangers_of(np.arange(2)) == (0, 0)


def test_a_roster_of_nobody_is_refused(crowd: Sketches) -> None:
    with pytest.raises(LabelsError, match="--roster must be 1 or more"):
        evaluate(crowd.folder, crowd.folder / "l.csv", [], crowd.bench, roster=0)
