"""Trains the smile network and writes smile.tflite; started by scripts/train_smile.

Three networks are trained alike. Two of them each leave out half of GENKI-4K and a fifth of LFW's
people: what they say of those faces fits the score's line, and tells what GENKI-4K's figures are.
The third, trained on both halves, is the one that is shipped. Another fifth of LFW's people and
the London set are kept from all three.
"""

import argparse
import hashlib
import sys
import tomllib
from concurrent.futures import ProcessPoolExecutor
from itertools import chain
from multiprocessing import get_context
from pathlib import Path
from types import ModuleType

import numpy as np
from model_builder import PACKAGES, SOURCES, BuildError, Source, extract, fetch, load_schema
from numpy.typing import NDArray

from edge.errors import ModelError
from edge.inference.models import new_interpreter
from edge.inference.smile import MEASURES
from smile_training import crops
from smile_training.calibration import Figures, Truths, Values, figures, fit
from smile_training.crops import Faces
from smile_training.export import export
from smile_training.folds import FOLDS, SHARES, Answers, follow_parent, part, trained
from smile_training.network import output_scale

# What GENKI-4K and LFW count in the score's line; LFW's labels are noisy, and strict: a mild smile
# is none there.
_LINE_WEIGHTS = (1000.0, 400.0)

# A quantized network that is worse than its float teacher by more is refused.
_MOST_LOST = 0.01  # balanced accuracy
_MOST_APART = 1.0  # steps of the int8 output, file against simulation, in 99 of 100 faces
_CHECKED = 500  # faces


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
        shipped, *folds = pool.map(trained, [sets] * len(plans), [out] * len(plans), plans)
    line, rows = _measured(sets, shipped, folds)
    for name, row in rows.items():
        print(f"{name:40} {row}")
    try:
        _check_loss(rows)
        content = export(_schema(), shipped.network)
        _check_file(content, sets["lfw"].crops[:_CHECKED], shipped.rounded["lfw"][:_CHECKED])
    except (BuildError, ModelError) as error:
        print(f"train_smile: {error}", file=sys.stderr)
        return 1
    (out / "smile.tflite").write_bytes(content)
    print(f"{hashlib.sha256(content).hexdigest()}  {out / 'smile.tflite'}")
    print("[model.smile.calibration]")
    for name, value in zip((*MEASURES, "intercept"), line, strict=True):
        print(f"{name} = {value:.4g}")
    return 0


def _measured(
    sets: dict[str, Faces], shipped: Answers, folds: list[Answers]
) -> tuple[Values, dict[str, Figures]]:
    """Return the line of the shipped score, and what scores are worth."""
    genki, lfw, london = sets["genki4k"], sets["lfw"], sets["london"]
    half, share = part(genki, FOLDS), part(lfw, SHARES)
    unseen, everyone = share == 0, np.full(len(london.smiling), True)
    left_out = [
        (_measures(genki, fold.rounded["genki4k"], half == k),
         _measures(lfw, fold.rounded["lfw"], share == 1 + k))
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
    for name, faces, some in (("lfw", lfw, unseen), ("london", london, everyone)):
        for form, answers in (("float", shipped.exact), ("int8", shipped.rounded)):
            measures = _measures(faces, answers[name], some)
            rows[f"{name}, unseen people, {form}"] = figures(measures, faces.smiling[some], line)
    return line, rows


def _measures(faces: Faces, answers: Values, some: Truths) -> Values:
    return np.asarray(np.c_[answers, faces.mouth][some])


def _fitted(measures: list[tuple[Values, Values]], truths: list[tuple[Truths, Truths]]) -> Values:
    """Fit the line to faces of both sets, each set with its weight."""
    weights = [w / len(t) for some in truths for t, w in zip(some, _LINE_WEIGHTS, strict=True)]
    parts = [*chain(*truths)]
    return fit(
        np.concatenate([*chain(*measures)]),
        np.concatenate(parts),
        np.concatenate([np.full(len(t), w) for t, w in zip(parts, weights, strict=True)]),
    )


def _schema() -> ModuleType:
    table = tomllib.loads(SOURCES.read_text(encoding="utf-8"))["schema"]
    source = Source.of(table)
    return load_schema(extract(source, fetch(source, PACKAGES)))


def _check_loss(rows: dict[str, Figures]) -> None:
    """Refuse a quantized network that is worse than its float teacher by more than the bound."""
    exact, rounded = (rows[f"lfw, unseen people, {form}"].balanced for form in ("float", "int8"))
    if exact - rounded > _MOST_LOST:
        raise ModelError(
            f"refused: balanced accuracy on unseen people of LFW is {rounded:.2%} in int8, "
            f"{exact:.2%} in float; at most {_MOST_LOST:.0%} may be lost"
        )


def _check_file(content: bytes, faces: NDArray[np.uint8], answers: Values) -> None:
    """Refuse a file that does not answer as the network that was trained."""
    interpreter = new_interpreter(content, 1)
    interpreter.allocate_tensors()
    taken, given = (
        details()[0]["index"]
        for details in (interpreter.get_input_details, interpreter.get_output_details)
    )
    said = []
    for face in faces:
        interpreter.set_tensor(taken, face[None, :, :, None])
        interpreter.invoke()
        said.append(interpreter.get_tensor(given).item())
    steps = np.abs(np.array(said) - answers) / output_scale()
    print(f"file against simulation: at most {steps.max():.0f} steps of {output_scale():.3f} apart")
    if np.quantile(steps, 0.99) > _MOST_APART + 0.01:
        raise ModelError(f"refused: the file is {steps.max():.1f} steps off the trained network")


if __name__ == "__main__":
    sys.exit(main())
