from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from sketches import Sketches

from edge.errors import LabelsError
from edge.settings import RosterSettings, Settings
from senyum_lab.evaluate.search import SearchPlan, evaluate


def axis(n: int, *more: float) -> list[float]:
    """Give a person a direction of their own, and their photos what they share with others."""
    who = [0.0] * 12
    who[n] = 1.0
    return [*who, *more]


@pytest.fixture
def crowd(sketches: Sketches) -> Sketches:
    """Anna and Ben have three photos each, Carl and Dora one; two distractors."""
    for n, person in enumerate(("anna", "ben")):
        for photo in range(3):
            sketches.paint(f"faces/{person}/{photo}.png", who=axis(n, photo / 10))
    sketches.paint("faces/carl/0.png", who=axis(2))
    sketches.paint("faces/dora/0.png", who=axis(3))
    sketches.paint("others/x.png", who=axis(4))
    sketches.paint("others/y.png", who=axis(5))
    return sketches


def plan(crowd: Sketches, **more: object) -> SearchPlan:
    known = {"images": crowd.folder / "faces", "distractors": crowd.folder / "others"}
    return SearchPlan(**{**known, **more})  # type: ignore[arg-type]  # each test gives what fits


def test_the_gallery_fills_up_and_who_is_left_over_is_a_stranger(crowd: Sketches) -> None:
    report = evaluate(plan(crowd, gallery=4), crowd.bench)
    figures = report.figures
    assert (figures["gallery"], figures["n"], figures["people_tried"]) == (4, 4, 2)
    assert figures["strangers"] == 2
    assert figures["rank1"] == figures["tpir_at_fpir_1e2"] == figures["right_accepted"] == 1
    assert (figures["wrong_accepted"], figures["wrong_accepted_attempts"]) == (0, 6)
    assert figures["wrong_accepted_upper95"] == pytest.approx(1 - 0.05 ** (1 / 6))
    assert any("2 strangers cannot show a rate of 0.01" in note for note in report.notes)


def test_labelled_people_are_enrolled_before_distractors(crowd: Sketches) -> None:
    assert evaluate(plan(crowd, gallery=3), crowd.bench).figures["strangers"] == 3


def test_labelled_people_can_be_kept_out_as_the_only_strangers(crowd: Sketches) -> None:
    crowd.paint("others/w.png", who=axis(4))  # a distractor twice: first enrolled, then left over
    figures = evaluate(plan(crowd, gallery=4, strangers=1), crowd.bench).figures
    assert (figures["gallery"], figures["strangers"]) == (4, 1)
    assert figures["wrong_accepted"] == 0
    assert evaluate(plan(crowd, gallery=5), crowd.bench).figures["wrong_accepted_strangers"] == 1


def test_labels_say_whose_a_photo_is(crowd: Sketches) -> None:
    names = [f"{person}/{n}.png" for person in ("anna", "ben") for n in range(3)]
    lines = [f"{name},{name[0]}" for name in names]
    labels = crowd.write("l.csv", "file,person", *lines, "gone/0.png,gone")
    report = evaluate(plan(crowd, labels=labels, distractors=None, gallery=2), crowd.bench)
    assert report.figures["gallery"] == 2
    assert report.figures["missing"] == 1
    assert report.figures["tpir_at_fpir_1e2"] is None
    assert any("there are no strangers" in note for note in report.notes)


def test_a_stranger_like_somebody_is_let_in_and_moves_the_threshold(crowd: Sketches) -> None:
    crowd.paint("others/z.png", who=axis(0, 0.1))  # Anna's very photo
    figures = evaluate(plan(crowd, gallery=5), crowd.bench).figures
    assert figures["strangers"] == 2
    assert (figures["wrong_accepted_strangers"], figures["wrong_accepted_enrolled"]) == (1, 0)
    assert figures["rank1"] == 1
    assert figures["tpir_at_fpir_1e2"] < 1


def test_a_lookalike_enrolled_is_kept_out_by_the_margin(crowd: Sketches) -> None:
    crowd.paint("faces/anna-twin/0.png", who=axis(0, 0.3))
    figures = evaluate(plan(crowd, gallery=5), crowd.bench).figures
    assert figures["rank1"] == 3 / 4  # one photo of Anna is nearer to her twin
    assert figures["right_accepted"] == 2 / 4
    assert figures["wrong_accepted"] == 0


def test_frames_are_joined_before_they_are_judged(crowd: Sketches) -> None:
    strict = Settings(roster=RosterSettings(threshold=0.75))
    crowd.paint("faces/finn/0.png", who=axis(8))
    for n in range(1, 4):  # each 0.72 from the photo enrolled, all three together 0.87
        crowd.paint(f"faces/finn/{n}.png", who=axis(8, *(0.96 * (k == n) for k in range(1, 4))))
    bench = replace(crowd.bench, settings=strict)
    alone = evaluate(plan(crowd, frames=1, gallery=5), bench).figures
    joined = evaluate(plan(crowd, frames=3, gallery=5), bench).figures
    assert (alone["n"], alone["right_accepted"]) == (7, 4 / 7)
    assert (joined["n"], joined["right_accepted"]) == (1, 1)


def test_the_gallery_sets_the_threshold(sketches: Sketches) -> None:
    numbers = np.random.default_rng(1)
    for n in range(120):  # in so few directions that strangers are like each other
        sketches.paint(f"faces/{n:03}/0.png", who=numbers.normal(size=40).tolist())
    sketches.paint("faces/000/1.png", who=numbers.normal(size=40).tolist())
    crowd = SearchPlan(images=sketches.folder / "faces")
    figures = evaluate(crowd, sketches.bench).figures
    assert 0.65 < figures["threshold"] <= 0.8
    assert 0.08 <= figures["margin"] <= 0.15
    fixed = Settings(roster=RosterSettings(false_match_rate=0))
    assert evaluate(crowd, replace(sketches.bench, settings=fixed)).figures["threshold"] == 0.62


def test_a_frame_unlike_those_before_it_begins_anew(crowd: Sketches) -> None:
    for n, aside in enumerate((0, 0, 0, 0, 2)):
        who = [a + aside * b for a, b in zip(axis(6), axis(7), strict=True)]
        crowd.paint(f"faces/eve/{n}.png", who=who)
    figures = evaluate(plan(crowd, enrol=2, frames=3, gallery=5), crowd.bench).figures
    assert (figures["n"], figures["people_tried"], figures["frames"]) == (1, 1, 3)
    assert figures["rank1"] == 1
    assert figures["right_accepted"] == 0  # the last frame stands alone
    assert figures["wrong_accepted"] == 0


def test_a_probe_without_a_face_is_an_error(crowd: Sketches) -> None:
    crowd.paint("faces/ben/3.png", faceless=True)
    crowd.paint("faces/nobody/0.png", faceless=True)
    report = evaluate(plan(crowd, gallery=4), crowd.bench)
    assert (report.figures["n"], report.figures["found"]) == (5, 4)
    assert report.figures["rank1"] == 4 / 5
    assert any("1 person without a face" in note for note in report.notes)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"enrol": 3}, "nobody has 3 photos to enrol and 3 more to try"),
        ({"enrol": 6}, "a person has 1 to 5 photos"),
        ({"frames": 0}, "--frames must be 1 or more"),
        ({"gallery": 1}, "--gallery 2 or more"),
        ({"strangers": -1}, "--strangers 0 or more"),
        ({"images": Path("none")}, "no such folder"),
    ],
)
def test_plans_that_show_nothing(crowd: Sketches, change: dict[str, object], says: str) -> None:
    with pytest.raises(LabelsError, match=says):
        evaluate(plan(crowd, **change), crowd.bench)


def test_one_person_is_no_crowd(sketches: Sketches) -> None:
    for n in range(3):
        sketches.paint(f"faces/anna/{n}.png")
    with pytest.raises(LabelsError, match="fewer than two people"):
        evaluate(SearchPlan(images=sketches.folder / "faces"), sketches.bench)
