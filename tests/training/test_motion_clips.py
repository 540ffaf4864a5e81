"""Photos that are moved or put in each other's place, as scripts/evaluate_motion makes them."""

from pathlib import Path

import numpy as np
import pytest

from edge.inference.face_analyzer import FaceAnalyzer
from edge.inference.models import liveness_rules
from edge.settings import InferenceSettings, Settings
from senyum_lab.attacks.motion_clips import (
    DRAWN,
    MOVED,
    NEUTRAL,
    SEQUENCES,
    STRIP,
    SWAPPED,
    WHOLE,
    Clip,
    ClipMaker,
    some_ink,
)
from senyum_lab.bench.morph import Portrait
from senyum_lab.bench.paper_attack import Ink, printed
from senyum_lab.evaluate import motion

pytestmark = pytest.mark.slow

FACES = Path(__file__).parents[1] / "faces"


@pytest.fixture(scope="module")
def clips() -> dict[str, Clip]:
    photos = {"0": [FACES / "obama3.jpg"], "1": [FACES / "obama.jpg"]}
    return {one.kind: one for one in ClipMaker(passes=1, moves=1).attacks("somebody", photos)}


def test_each_photo_is_moved_and_one_is_put_in_the_place_of_the_other(
    clips: dict[str, Clip],
) -> None:
    assert tuple(clips) == (*MOVED, SWAPPED, *DRAWN)
    assert {one.person for one in clips.values()} == {"somebody"}


def test_moved_photos_do_not_smile_and_those_that_do_leap(clips: dict[str, Clip]) -> None:
    threshold = liveness_rules(Settings()).motion
    assert not any(one.accepted(threshold) for one in clips.values())
    assert {kind: bool(one.smiles) for kind, one in clips.items()} == {
        MOVED[0]: False,
        MOVED[1]: False,
        SWAPPED: True,
        WHOLE: True,
        STRIP: True,
    }


def test_only_who_smiles_does_in_a_sequence() -> None:
    photos = {"0": [FACES / "obama3.jpg"], "1": [FACES / "obama.jpg"]}
    clips = ClipMaker(passes=1, moves=1).sequences("somebody", photos)
    smiles = {one.kind: bool(one.smiles) for one in clips}
    assert list(smiles) == list(SEQUENCES)
    assert not smiles[NEUTRAL]
    assert smiles["smile"]


def test_a_photo_that_cannot_be_used_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    missing = tmp_path / "nobody.jpg"
    assert list(ClipMaker(passes=1, moves=1).attacks("somebody", {"0": [missing]})) == []
    assert f"left out: {missing}" in capsys.readouterr().out


def test_no_two_prints_are_alike() -> None:
    photo = Portrait.load(FACES / "obama.jpg", FaceAnalyzer(InferenceSettings())).sized(120)
    chance = np.random.default_rng(1)
    prints = [printed(photo, ink).picture for ink in (Ink(), some_ink(chance), some_ink(chance))]
    assert len({one.tobytes() for one in prints}) == len(prints)


@pytest.mark.parametrize("column", ["person", "identity"])
def test_people_are_taken_by_their_names_checksum(tmp_path: Path, column: str) -> None:
    labels = tmp_path / "labels.csv"
    labels.write_text(f"file,smile,{column}\na1.jpg,0,Ann\na2.jpg,1,Ann\nb.jpg,0,Bob\n")
    halves = [motion.photos_of(labels, tmp_path, f"{k}/2") for k in (0, 1)]
    assert sorted(halves[0] | halves[1]) == ["Ann", "Bob"]
    assert not halves[0].keys() & halves[1].keys()
    ann = (halves[0] | halves[1])["Ann"]
    assert ann == {"0": [tmp_path / "a1.jpg"], "1": [tmp_path / "a2.jpg"]}


def test_counts_are_of_clips_and_of_people(capsys: pytest.CaptureFixture[str]) -> None:
    clips = [
        Clip(MOVED[0], "Ann", 0.2, (0.2,), recorded=True),
        Clip(MOVED[1], "Ann", 0.2, (0.01, 0.06), recorded=False),
        Clip(MOVED[0], "Bob", 0.2, (), recorded=False),
    ]
    moved = motion.print_counts(clips)["moved"]
    assert isinstance(moved, dict)
    accepted, recorded = moved["accepted"], moved["recorded"]
    assert (accepted["passed"], accepted["clips"]) == (2, 3)
    assert (accepted["people_passed"], accepted["people"]) == (1, 2)
    assert (recorded["passed"], recorded["people_passed"]) == (1, 1)
    assert "of 3 clips 3 have the motion, 2 the score" in capsys.readouterr().out
