"""Trains the smile's networks and writes their files; started by scripts/train_smile.

smile.tflite sees the face, by two towers; readout.tflite sees the landmarks network's features.
Three such pairs of files are trained alike. Two of them each leave out half of GENKI-4K, half of
London's people and a fifth of LFW's: what they say of the faces of GENKI-4K and LFW that they have
not seen fits the score's line, and what they say of those of GENKI-4K and London tells what the
figures are. The third, trained on both halves, is the one that is shipped. Another fifth of LFW's
people is kept from all three, and tells LFW's figures.
"""

import argparse
import hashlib
import sys
from concurrent.futures import ProcessPoolExecutor
from itertools import chain
from multiprocessing import get_context
from pathlib import Path

import numpy as np
from model_builder import BuildError

from edge.errors import ModelError
from edge.inference.smile import MEASURES
from senyum_lab.training.int8.file import write
from senyum_lab.training.int8.processes import follow_parent
from senyum_lab.training.int8.training import log_odds
from senyum_lab.training.smile import crops
from senyum_lab.training.smile.calibration import Figures, Truths, Values, figures, fit
from senyum_lab.training.smile.crops import SmileCrops
from senyum_lab.training.smile.folds import (
    FOLDS,
    SHARES,
    Answers,
    as_pictures,
    part,
    readout,
    tower,
)
from senyum_lab.training.smile.network import TOWERS

# What GENKI-4K and LFW each count in the score's line: alike, for the score is to mean the same in
# both, though LFW's labels are strict and a mild smile is none there.
_LINE_WEIGHT = 1000.0

# A quantized network that is worse than its float teacher by more is refused.
_MOST_LOST = 0.01  # balanced accuracy
_CHECKED = 500  # faces that the file is asked about


def main() -> int:
    """Train, check, write, and print what the score is worth; return the exit status."""
    parser = argparse.ArgumentParser(prog="scripts/train_smile", description=__doc__)
    parser.add_argument("--datasets", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True, help="crops, states and the model")
    parser.add_argument("--processes", type=int, default=2, help="each uses one core; default: 2")
    options = parser.parse_args()
    out: Path = options.out
    out.mkdir(parents=True, exist_ok=True)
    sets = {name: crops.load(name, options.datasets, out / "crops") for name in crops.SETS}
    # Fresh processes of one thread each: sums are then added in the same order on any machine.
    with ProcessPoolExecutor(options.processes, get_context("spawn"), follow_parent) as pool:
        plans = [None, *range(FOLDS)]
        work = [
            ([pool.submit(tower, sets, out, plan, number) for number in range(TOWERS)],
             pool.submit(readout, sets, out, plan))
            for plan in plans
        ]  # fmt: skip
        shipped, *folds = (
            Answers.of([one.result() for one in towers], read.result()) for towers, read in work
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
        contents = {
            name: write(networks, name, some, np.hstack([log_odds(n, some) for n in networks]))
            for name, (networks, some) in checked.items()
        }
    except (BuildError, ModelError) as error:
        print(f"train_smile: {error}", file=sys.stderr)
        return 1
    for name, content in contents.items():
        (out / f"{name}.tflite").write_bytes(content)
        print(f"{hashlib.sha256(content).hexdigest()}  {out / f'{name}.tflite'}")
    print("[model.smile.calibration]")
    for name, value in zip((*MEASURES, "intercept"), line, strict=True):
        print(f"{name} = {value:.4g}")
    return 0


def _measured(
    sets: dict[str, SmileCrops], shipped: Answers, folds: list[Answers]
) -> tuple[Values, dict[str, Figures]]:
    """Return the line of the shipped score, and what scores are worth."""
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
        f"GENKI-4K, half {k}, line of the other half": figures(
            left_out[k][0], truths[k][0], lines[1 - k]
        )
        for k in range(FOLDS)
    }
    unseen = share == 0
    for form in ("exact", "rounded"):
        kind = "int8" if form == "rounded" else "float"
        measures = getattr(shipped, form)["lfw"][unseen]
        rows[f"lfw, unseen people, {kind}"] = figures(measures, lfw.smiling[unseen], line)
        by_fold = np.array([getattr(fold, form)["london"] for fold in folds])
        measures = by_fold[part(london, FOLDS), np.arange(len(london.smiling))]
        rows[f"london, each half unseen, {kind}"] = figures(measures, london.smiling, line)
        print(
            f"london, {kind}: {_ordered(london, measures @ line[:-1])} people smile above neutral"
        )
    return line, rows


def _ordered(faces: SmileCrops, scores: Values) -> str:
    """Return how many people's smiling photo scores above their neutral one, of how many."""
    people = np.unique(faces.person)
    above = [
        scores[(faces.person == one) & faces.smiling].min()
        > scores[(faces.person == one) & ~faces.smiling].max()
        for one in people
    ]
    return f"{sum(above)} of {len(people)}"


def _fitted(measures: list[tuple[Values, Values]], truths: list[tuple[Truths, Truths]]) -> Values:
    """Fit the line to faces of both sets, which count alike."""
    parts = [*chain(*truths)]
    return fit(
        np.concatenate([*chain(*measures)]),
        np.concatenate(parts),
        np.concatenate([np.full(len(some), _LINE_WEIGHT / len(some)) for some in parts]),
    )


def _check_loss(rows: dict[str, Figures]) -> None:
    """Refuse a quantized network that is worse than its float teacher by more than the bound."""
    exact, rounded = (rows[f"lfw, unseen people, {form}"].balanced for form in ("float", "int8"))
    if exact - rounded > _MOST_LOST:
        raise ModelError(
            f"refused: balanced accuracy on unseen people of LFW is {rounded:.2%} in int8, "
            f"{exact:.2%} in float; at most {_MOST_LOST:.0%} may be lost"
        )


if __name__ == "__main__":
    sys.exit(main())
