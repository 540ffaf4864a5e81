"""Train the networks of the smile and write their files; run by scripts/train_smile.

smile.tflite sees the face with two towers; readout.tflite sees the features of the landmarks
network. Three pairs of files are trained in the same way. Two of them each leave out half of
GENKI-4K, half of the people of London and a fifth of those of LFW: their answers to the faces of
GENKI-4K and LFW that they have not seen calibrate the score, and those of GENKI-4K and London give
the figures. The third pair, trained on both halves, is shipped. Another fifth of the people of LFW
is left out of all three and gives the figures of LFW.
"""

import argparse
import sys
from concurrent.futures import ProcessPoolExecutor
from itertools import chain
from multiprocessing import get_context
from pathlib import Path

import numpy as np

from edge.errors import ModelError
from edge.inference.smile import MEASURES
from senyum_lab.batch_work import exit_with_parent
from senyum_lab.model_files.builder import BuildError
from senyum_lab.training.calibration import ScoreQuality, Truths, Values, fit, score_quality
from senyum_lab.training.export import write
from senyum_lab.training.loop import log_odds
from senyum_lab.training.smile import crops
from senyum_lab.training.smile.crops import SmileCrops
from senyum_lab.training.smile.folds import (
    FOLDS,
    SHARES,
    SmileAnswers,
    as_pictures,
    part,
    readout,
    tower,
)
from senyum_lab.training.smile.training import TOWERS

# The weight of GENKI-4K and of LFW in the calibration: equal, because the score should mean the
# same in both, although the labels of LFW are strict and do not count a mild smile.
_LINE_WEIGHT = 1000.0

_MOST_LOST = 0.01  # balanced accuracy, int8 against float
_CHECKED = 500  # faces on which the file is compared


def main() -> int:
    """Train, check and write the networks; print the figures; return the exit status."""
    parser = argparse.ArgumentParser(prog="scripts/train_smile", description=__doc__)
    parser.add_argument("--datasets", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True, help="crops, training states, model")
    parser.add_argument("--processes", type=int, default=2, help="each uses one core; default: 2")
    options = parser.parse_args()
    out: Path = options.out
    out.mkdir(parents=True, exist_ok=True)
    sets = {name: crops.load(name, options.datasets, out / "crops") for name in crops.SETS}
    # New processes with one thread each, so that sums are added in the same order on any machine.
    with ProcessPoolExecutor(options.processes, get_context("spawn"), exit_with_parent) as pool:
        plans = [None, *range(FOLDS)]
        work = [
            ([pool.submit(tower, sets, out, plan, number) for number in range(TOWERS)],
             pool.submit(readout, sets, out, plan))
            for plan in plans
        ]  # fmt: skip
        shipped, *folds = (
            SmileAnswers.of([one.result() for one in towers], read.result())
            for towers, read in work
        )
    line, rows = _measured(sets, shipped, folds)
    for name, row in rows.items():
        print(f"{name:40} {row}")
    checked = {
        "smile": (shipped.towers, sets["lfw"].crops[:_CHECKED, ..., None]),
        "readout": ([shipped.readout], as_pictures(sets["lfw"].features[:_CHECKED])),
    }
    try:
        _check_loss(rows)
        for name, (networks, some) in checked.items():
            answers = np.hstack([log_odds(network, some) for network in networks])
            write(networks, out / f"{name}.tflite", some, answers)
    except (BuildError, ModelError) as error:
        print(f"train_smile: {error}", file=sys.stderr)
        return 1
    print("[model.smile.calibration]")
    for name, value in zip((*MEASURES, "intercept"), line, strict=True):
        print(f"{name} = {value:.4g}")
    return 0


def _measured(
    sets: dict[str, SmileCrops], shipped: SmileAnswers, folds: list[SmileAnswers]
) -> tuple[Values, dict[str, ScoreQuality]]:
    """Return the line of the shipped score, and the quality of the scores."""
    genki, lfw, london = sets["genki4k"], sets["lfw"], sets["london"]
    half, share = part(genki, FOLDS), part(lfw, SHARES)
    left_out = [
        (fold.rounded["genki4k"][half == k], fold.rounded["lfw"][share == 1 + k])
        for k, fold in enumerate(folds)
    ]  # fmt: skip
    truths = [(genki.smiling[half == k], lfw.smiling[share == 1 + k]) for k in range(FOLDS)]
    lines = [_fitted(left_out[k : k + 1], truths[k : k + 1]) for k in range(FOLDS)]
    line = _fitted(left_out, truths)
    rows = {
        f"GENKI-4K, half {k}, line of the other half": score_quality(
            left_out[k][0], truths[k][0], lines[1 - k]
        )
        for k in range(FOLDS)
    }
    unseen = share == 0
    for form in ("exact", "rounded"):
        kind = "int8" if form == "rounded" else "float"
        measures = getattr(shipped, form)["lfw"][unseen]
        rows[f"lfw, unseen people, {kind}"] = score_quality(measures, lfw.smiling[unseen], line)
        by_fold = np.array([getattr(fold, form)["london"] for fold in folds])
        measures = by_fold[part(london, FOLDS), np.arange(len(london.smiling))]
        rows[f"london, each half unseen, {kind}"] = score_quality(measures, london.smiling, line)
        print(
            f"london, {kind}: {_ordered(london, measures @ line[:-1])} people smile above neutral"
        )
    return line, rows


def _ordered(faces: SmileCrops, scores: Values) -> str:
    """Return "K of N": for K of N people, the smiling photo scores above the neutral ones."""
    people = np.unique(faces.person)
    above = [
        scores[(faces.person == one) & faces.smiling].min()
        > scores[(faces.person == one) & ~faces.smiling].max()
        for one in people
    ]
    return f"{sum(above)} of {len(people)}"


def _fitted(measures: list[tuple[Values, Values]], truths: list[tuple[Truths, Truths]]) -> Values:
    """Fit the line to the faces of both sets with equal weight."""
    parts = [*chain(*truths)]
    return fit(
        np.concatenate([*chain(*measures)]),
        np.concatenate(parts),
        np.concatenate([np.full(len(some), _LINE_WEIGHT / len(some)) for some in parts]),
    )


def _check_loss(rows: dict[str, ScoreQuality]) -> None:
    """Raise ModelError if int8 is worse than float by more than the limit."""
    exact, rounded = (rows[f"lfw, unseen people, {form}"].balanced for form in ("float", "int8"))
    if exact - rounded > _MOST_LOST:
        raise ModelError(
            f"refused: balanced accuracy on unseen people of LFW is {rounded:.2%} in int8, "
            f"{exact:.2%} in float; at most {_MOST_LOST:.0%} may be lost"
        )


if __name__ == "__main__":
    sys.exit(main())
