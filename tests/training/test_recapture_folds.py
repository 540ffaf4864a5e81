"""Who is left out of which training, and the weights of both liveness networks."""

from collections.abc import Mapping
from pathlib import Path
from shutil import copy

import numpy as np
import pytest
from numpy.typing import NDArray

from senyum_lab.training.calibration import REFUSED
from senyum_lab.training.recapture import faces
from senyum_lab.training.recapture.faces import LIVE, WIDE, RecaptureFaces
from senyum_lab.training.recapture.folds import (
    FOLDED,
    FOLDS,
    LINE,
    PARTS,
    TEST,
    Fold,
    fit_line,
    folds,
)

FACES = Path(__file__).parents[1] / "faces"


def some(people: list[str], kinds: list[str], origin: str = "") -> RecaptureFaces:
    """Return a blank face of each kind of each person."""
    both = [(person, kind) for person in people for kind in kinds]
    count = len(both)
    return RecaptureFaces(
        np.zeros((count, WIDE, WIDE, 3), np.uint8),
        np.zeros(count),
        np.array([kind for _, kind in both]),
        np.array([person for person, _ in both]),
        np.full(count, origin),
    )


@pytest.fixture
def sets() -> dict[str, RecaptureFaces]:
    strangers = [f"stranger{n}" for n in range(60)]
    return {
        "nuaa": some(["0001", "0003", "0005", "0007", "0009"], [LIVE, "print"]),
        "msu": some([f"{n:02}" for n in range(15)], [LIVE, "print", "phone"]),
        "sequences": some(["0001", "0007"], [LIVE, "print"], "a sequence"),
        "simulated": some(["0001", "stranger1"], ["simulated print"], "nuaa"),
        "lfw": some(strangers, [LIVE]),
        "videos": some(["one", "two"], [LIVE]),
        "hands": some(["three"], [LIVE]),
        "yale": some(["four", "five"], [LIVE]),
    }


def test_every_person_of_the_real_sets_is_left_out_of_one_fold(
    sets: dict[str, RecaptureFaces],
) -> None:
    planned = folds(sets)
    for name in FOLDED:
        left_out = np.array([fold.leaves_out(name, sets[name]) for fold in planned[:FOLDS]])
        assert (left_out.sum(axis=0) == 1).all()
    assert [fold.name for fold in planned[FOLDS:]] == ["without-nuaa", "without-msu", "recapture"]
    assert planned[FOLDS].leaves_out("nuaa", sets["nuaa"]).all()
    assert not planned[FOLDS].leaves_out("msu", sets["msu"]).any()
    assert not planned[-1].leaves_out("nuaa", sets["nuaa"]).any()


def test_sequences_and_simulations_of_a_person_follow_the_person(
    sets: dict[str, RecaptureFaces],
) -> None:
    fold = Fold("one", {"nuaa": frozenset({"0001"}), "msu": frozenset()})
    sequences = sets["sequences"]
    assert fold.leaves_out("sequences", sequences).tolist() == [
        person == "0001" for person in sequences.person
    ]
    assert fold.leaves_out("simulated", sets["simulated"]).tolist() == [True, False]


def test_no_network_is_trained_on_the_people_for_evaluation_and_for_the_line(
    sets: dict[str, RecaptureFaces],
) -> None:
    people = sets["lfw"]
    for fold in folds(sets):
        kept = faces.part(people, PARTS)[~fold.leaves_out("lfw", people)]
        assert set(kept.tolist()) == set(range(PARTS)) - {TEST, LINE}


def test_the_line_refuses_its_share_of_the_living_and_prefers_the_better_network(
    sets: dict[str, RecaptureFaces],
) -> None:
    rng = np.random.default_rng(6)
    answers: dict[str, NDArray[np.float64]] = {}
    for name, found in sets.items():
        alive = found.kind == LIVE
        noise = rng.normal(0, 1, (alive.size, 2))
        answers[name] = noise + np.c_[0.5 * alive, 3.0 * alive]
    by_people: list[tuple[Fold, Mapping[str, NDArray[np.float64]]]] = [
        (fold, answers) for fold in folds(sets)[:FOLDS]
    ]
    line = fit_line(sets, by_people)
    assert line[1] > line[0]
    assert line[1] > 0
    rates = []
    for name in (*FOLDED, "lfw"):
        used = sets[name].kind == LIVE
        if name == "lfw":
            used &= faces.part(sets[name], PARTS) == LINE
        rates.append((answers[name][used] @ line[:-1] + line[-1] < 0).mean())
    assert np.mean(rates) == pytest.approx(REFUSED, abs=0.08)  # of 37 faces


def test_pictures_without_a_face_and_damaged_ones_are_left_out(tmp_path: Path) -> None:
    folder = tmp_path / "attacks" / "msu"
    folder.mkdir(parents=True)
    copy(FACES / "obama.jpg", folder / "live.jpg")
    copy(FACES / "obama2.jpg", folder / "print.jpg")
    (folder / "damaged.jpg").write_bytes(b"no picture")
    (folder.with_suffix(".csv")).write_text(
        "file,live,kind,subject\nlive.jpg,1,,02\nprint.jpg,0,print,02\ndamaged.jpg,1,,03\n"
    )
    found = faces.load("msu", tmp_path, tmp_path / "cache")
    assert found.kind.tolist() == [LIVE, "print"]
    assert found.person.tolist() == ["02", "02"]
    assert found.wide.shape == (2, WIDE, WIDE, 3)
    assert (found.texture > 0).all()  # both pictures are of living people
