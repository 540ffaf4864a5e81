"""Train the network of real recaptures, write recapture.tflite; run by scripts/train_recapture.

The real sets have few people, so every figure is of people that a network has not seen: in each of
three folds it is trained without a third of them. The answers of the folds fit the weights of both
liveness networks and the intercept. A network trained without one real set and judged on it shows
what to expect of other cameras. The shipped network is trained on everybody.
"""

import argparse
import sys
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from edge.attendance.liveness_window import LivenessWindow
from edge.errors import ModelError
from edge.inference.liveness import MEASURES
from edge.inference.models import liveness_rules
from edge.settings import Settings
from edge.types import PassiveLivenessScore
from senyum_lab.batch_work import exit_with_parent
from senyum_lab.evaluate import metrics
from senyum_lab.model_files.builder import BuildError
from senyum_lab.training.export import write
from senyum_lab.training.loop import TrainedNetwork, log_odds
from senyum_lab.training.recapture import faces
from senyum_lab.training.recapture.faces import LIVE
from senyum_lab.training.recapture.folds import (
    FOLDED,
    FOLDS,
    PARTS,
    REAL,
    TEST,
    TEXTURE_MOST,
    Answers,
    Fold,
    Sets,
    capped,
    fit_line,
    folds,
)
from senyum_lab.training.recapture.training import load_all, seen, train_fold

_ATTEMPT = 20  # frames
_CHECKED = 300  # faces on which the file is compared


def main() -> int:
    """Train, check and write the network; print the figures; return the exit status."""
    parser = argparse.ArgumentParser(prog="scripts/train_recapture", description=__doc__)
    parser.add_argument("--datasets", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True, help="crops, training states, model")
    parser.add_argument("--processes", type=int, default=2, help="each uses one core; default: 2")
    options = parser.parse_args()
    torch.set_num_threads(1)
    out: Path = options.out
    out.mkdir(parents=True, exist_ok=True)
    sets = load_all(options.datasets, out)
    planned = folds(sets)
    with ProcessPoolExecutor(options.processes, get_context("spawn"), exit_with_parent) as pool:
        jobs = [pool.submit(train_fold, options.datasets, out, fold) for fold in planned]
        networks = [job.result() for job in jobs]
    answers = [_answers(trained, sets) for trained in networks]
    for fold, found in zip(planned[FOLDS:-1], answers[FOLDS:-1], strict=True):
        _print_unseen_set(fold, sets, found)
    by_people = list(zip(planned[:FOLDS], answers[:FOLDS], strict=True))
    _print_unseen_people(sets, by_people)
    _print_attempts(sets, by_people)
    line = fit_line(sets, by_people)
    try:
        checked = seen(sets["lfw"].wide[:_CHECKED])
        final = networks[-1].rounded
        write([final], out / "recapture.tflite", checked, log_odds(final, checked))
    except (BuildError, ModelError) as error:
        print(f"train_recapture: {error}", file=sys.stderr)
        return 1
    print("[model.recapture.calibration]")
    print(f"texture_most = {TEXTURE_MOST}")
    for name, value in zip((*MEASURES, "intercept"), line, strict=True):
        print(f"{name} = {value:.4g}")
    return 0


def _answers(trained: TrainedNetwork, sets: Sets) -> dict[str, NDArray[np.float64]]:
    """Return the measures of each face by both liveness networks, (n, 2), by set."""
    return {
        name: np.c_[found.texture, log_odds(trained.rounded, seen(found.wide))[:, 0]]
        for name, found in sets.items()
    }


def _print_unseen_people(sets: Sets, by_people: Sequence[Answers]) -> None:
    """Print the rates of each set of people whom neither the network nor the line has seen."""
    logits: dict[tuple[str, str], list[NDArray[np.float64]]] = {}
    for fold, found in by_people:
        line = fit_line(sets, [other for other in by_people if other[0] is not fold])
        for name, some in sets.items():
            used = fold.leaves_out(name, some)
            if name not in (*FOLDED, "sequences"):
                used = faces.part(some, PARTS) == TEST
            answers = capped(found[name]) @ line[:-1] + line[-1]
            for kind in sorted(set(some.kind[used].tolist())):
                logits.setdefault((name, kind), []).append(answers[used & (some.kind == kind)])
    print("unseen people, one frame, fixed threshold:")
    for (name, kind), parts in logits.items():
        values = np.concatenate(parts)
        wrong = float((values < 0).mean() if kind == LIVE else (values >= 0).mean())
        rate = "BPCER" if kind == LIVE else "APCER"
        print(f"  {name:10} {kind:16} {rate} {wrong:7.2%} of {values.size}")
    for name in (*REAL, "sequences"):
        living = np.concatenate(logits[name, LIVE])
        others = [np.concatenate(v) for (n, k), v in logits.items() if n == name and k != LIVE]
        attacks = np.concatenate(others)
        at5 = float((attacks >= np.quantile(living, 0.05)).mean())
        truths = np.r_[np.ones(living.size, bool), np.zeros(attacks.size, bool)]
        area = metrics.auc(np.r_[living, attacks], truths)
        print(f"  {name:10} AUC {area:.4f}, APCER at BPCER 5 % {at5:.2%}")


def _print_attempts(sets: Sets, by_people: Sequence[Answers]) -> None:
    """Print the rates of attempts, judged by all their frames as in a session."""
    shown = sets["sequences"]
    rules = liveness_rules(Settings())
    accepted: dict[str, list[bool]] = {}
    for fold, found in by_people:
        line = fit_line(sets, [other for other in by_people if other[0] is not fold])
        scores = 1 / (1 + np.exp(-(capped(found["sequences"]) @ line[:-1] + line[-1])))
        for sequence in sorted(set(shown.origin[fold.leaves_out("sequences", shown)].tolist())):
            frames = np.flatnonzero(shown.origin == sequence)
            for attempt in np.array_split(frames, max(1, frames.size // _ATTEMPT)):
                window = LivenessWindow()
                for score in scores[attempt].tolist():
                    window.add(PassiveLivenessScore(score, {}))
                accepted.setdefault(str(shown.kind[attempt[0]]), []).append(
                    bool(window.live(rules))
                )
    print(f"unseen people, attempts of about {_ATTEMPT} frames in a row:")
    for kind, each in accepted.items():
        wrong = len(each) - sum(each) if kind == LIVE else sum(each)
        print(f"  {kind:10} {'BPCER' if kind == LIVE else 'APCER'} {wrong} of {len(each)}")


def _print_unseen_set(fold: Fold, sets: Sets, found: dict[str, NDArray[np.float64]]) -> None:
    """Print how well the networks separate a set of which the one has seen nothing."""
    (name,) = fold.people
    living = sets[name].kind == LIVE
    for what, weights in (("texture", (1, 0)), ("recapture", (0, 1)), ("sum", (1, 1))):
        logits = capped(found[name]) @ np.array(weights, np.float64)
        at5 = float((logits[~living] >= np.quantile(logits[living], 0.05)).mean())
        area = metrics.auc(logits, living)
        print(f"trained without {name}: {what:9} AUC {area:.3f}, APCER at BPCER 5 % {at5:.1%}")


if __name__ == "__main__":
    sys.exit(main())
