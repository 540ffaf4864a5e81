"""Train the network that detects covered faces, write cover.tflite; run by scripts/train_cover.

Half of the photos of UTKFace and a fifth of the people of LFW are left out of the training. Another
fifth of the people of LFW and a quarter of UTKFace set the threshold: three of a thousand uncovered
faces, half of them with painted glasses, beards, head scarves and caps, exceed it.

The shipped network is trained on all real masks and head scarves as well. Their figures are of
networks trained by the same recipe without one fold of these photos, each with its own threshold.
"""

import argparse
import sys
import zlib
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from edge.errors import ModelError
from edge.inference.occlusion import SIDE
from senyum_lab.evaluate.metrics import wilson
from senyum_lab.model_files.builder import BuildError
from senyum_lab.training.cover import crops, painting
from senyum_lab.training.cover.augment import vary
from senyum_lab.training.cover.crops import OcclusionCrops
from senyum_lab.training.export import write
from senyum_lab.training.loop import Course, TrainingSet, log_odds, pick, train, weighted_loss
from senyum_lab.training.network import NetworkDesign

_SEED = 20
_DOUBT = 0.02  # of each label
_BARE_WEIGHT = 2.0  # a false hint is worse than a missing one
# The people are in 20 parts. Parts 0 to 9 of UTKFace and 0 to 3 of LFW are for testing, the next
# five set the threshold.
_PARTS = 20
_TEST, _LINE = {"utkface": 10, "lfw": 4}, 5
_FALSE_HINTS = 0.003  # of the uncovered faces that the threshold is set on
_MOST_LOST = 0.02  # of the covers seen, int8 against float
_RANGE_FACES = 1024  # whose activations set the int8 ranges
_CHECKED = 500  # faces on which the file is compared
_FOLDS = 3  # of the real sets; photos that are repeated are in one fold
_REPEATS = {"masks": 8, "hijab": 2}  # in an epoch; varied each time


class OcclusionSet(TrainingSet):
    """The faces that the network is trained on, n of them."""

    design = NetworkDesign(
        layers=((8, 2), (16, 2), (24, 1), (32, 2), (40, 1), (48, 2)),
        side=SIDE,
        channels=1,
        outputs=1,
        most_logit=6.0,
    )
    batch = 128
    float_course = Course(epochs=8, rate=5e-3, decay=2e-3)
    int8_course = Course(epochs=2, rate=4e-4, decay=0.0)

    def __init__(self, wide: Tensor, covered: Tensor) -> None:
        self.wide = wide  # (n, 1, WIDE, WIDE), uint8
        self.target = covered.float()  # (n,)
        self.weight = torch.where(covered, 1.0, _BARE_WEIGHT)

    def __len__(self) -> int:
        return len(self.wide)

    def range_pixels(self, generator: torch.Generator) -> Tensor:
        faces = self.wide[pick(len(self.wide), _RANGE_FACES, generator)].float()
        return vary(faces, generator)

    def loss(self, network: nn.Module, batch: Tensor, generator: torch.Generator) -> Tensor:
        logits = network(vary(self.wide[batch].float(), generator))[:, 0]
        return weighted_loss(logits, self.target[batch], self.weight[batch], _DOUBT)


def main() -> int:
    """Train, check and write the network; print the figures; return the exit status."""
    parser = argparse.ArgumentParser(prog="scripts/train_cover", description=__doc__)
    parser.add_argument("--datasets", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True, help="crops, training states, model")
    options = parser.parse_args()
    out: Path = options.out
    out.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)  # sums are then added in the same order on every machine
    sets = {name: crops.load(name, options.datasets, out / "crops") for name in crops.SETS}
    folds = {name: _folds(sets[name]) for name in crops.REAL_SETS}
    _print_unseen(sets, folds, out)
    everything = {name: np.ones(len(fold), bool) for name, fold in folds.items()}
    trained = train(_training_faces(sets, everything), out, "cover", _SEED)
    exact, rounded = (_answers(network, sets) for network in trained)
    detected = {}
    for form, by_set in (("float", exact), ("int8", rounded)):
        threshold = _threshold(sets, by_set)
        detected[form] = _print_figures(form, threshold, sets, by_set)
    try:
        _check_loss(detected)
        some = sets["lfw"].crops[:_CHECKED, ..., None]
        answers = rounded["lfw"][:_CHECKED, None]
        write([trained.rounded], out / "cover.tflite", some, answers)
    except (BuildError, ModelError) as error:
        print(f"train_cover: {error}", file=sys.stderr)
        return 1
    print(f"[model.cover.calibration]\nthreshold = {_threshold(sets, rounded):.3g}")
    return 0


def _training_faces(
    sets: dict[str, OcclusionCrops], real: dict[str, NDArray[np.bool_]]
) -> OcclusionSet:
    """Return the faces for training, of the real sets those that `real` names, repeated."""
    kept = {n: np.flatnonzero(_part(sets[n]) >= _TEST[n] + _LINE) for n in crops.PAINTED_SETS}
    kept |= {n: np.repeat(np.flatnonzero(some), _REPEATS[n]) for n, some in real.items()}
    wide = np.concatenate([sets[name].wide[some] for name, some in kept.items()])
    covered = np.concatenate([sets[name].covered[some] for name, some in kept.items()])
    return OcclusionSet(torch.from_numpy(wide)[:, None], torch.from_numpy(covered))


def _answers(network: nn.Module, sets: dict[str, OcclusionCrops]) -> dict[str, NDArray[np.float64]]:
    return {name: log_odds(network, faces.crops[..., None])[:, 0] for name, faces in sets.items()}


def _folds(faces: OcclusionCrops) -> NDArray[np.int64]:
    """Return the fold of each face; all pictures made from repeated photos are in one fold."""
    group = {person: person for person in faces.person.tolist()}
    plain = np.flatnonzero(~faces.reframed & np.isin(faces.kind, [crops.BARE, crops.WORN]))
    for number, first in zip(plain, crops.repeated(faces.wide[plain]), strict=True):
        group[faces.person[number]] = faces.person[plain[first]]
    return np.array([zlib.crc32(group[p].encode()) % _FOLDS for p in faces.person.tolist()])


def _print_unseen(
    sets: dict[str, OcclusionCrops], folds: dict[str, NDArray[np.int64]], out: Path
) -> None:
    """Print the faces of the real sets called covered by int8 networks that have not seen them."""
    called = {name: np.zeros(len(fold), bool) for name, fold in folds.items()}
    for number in range(_FOLDS):
        seen = {name: fold != number for name, fold in folds.items()}
        trained = train(_training_faces(sets, seen), out, f"cover-without-{number}", _SEED)
        answers = _answers(trained.rounded, sets)
        threshold = _threshold(sets, answers)
        for name, fold in folds.items():
            called[name] |= (fold == number) & (answers[name] > threshold)
    print(f"int8, {_FOLDS} folds, photos not seen, called covered")
    for name in folds:
        faces = sets[name]
        for kind in np.unique(faces.kind).tolist():
            some = (faces.kind == kind) & ~faces.reframed
            low, high = wilson(int(called[name][some].sum()), int(some.sum()))
            print(f"  {name:8} {kind:16} {called[name][some].sum():5} of {some.sum():5}"
                  f" ({low:.1%} to {high:.1%})")  # fmt: skip


def _part(faces: OcclusionCrops) -> NDArray[np.int64]:
    """Return the part of each face; all faces of a person are in one part."""
    return np.array([zlib.crc32(person.encode()) % _PARTS for person in faces.person.tolist()])


def _threshold(sets: dict[str, OcclusionCrops], answers: dict[str, NDArray[np.float64]]) -> float:
    """Return the log-odds that the share _FALSE_HINTS of the uncovered faces exceeds."""
    uncovered = [
        answers[name][
            (_part(faces) >= _TEST[name]) & (_part(faces) < _TEST[name] + _LINE) & ~faces.covered
        ]
        for name, faces in sets.items()
        if name in crops.PAINTED_SETS
    ]
    return float(np.quantile(np.concatenate(uncovered), 1 - _FALSE_HINTS))


def _check_loss(detected: dict[str, float]) -> None:
    """Raise ModelError if int8 detects fewer covers than float, by more than the limit."""
    if detected["float"] - detected["int8"] > _MOST_LOST:
        raise ModelError(
            f"refused: int8 detects {detected['int8']:.1%} of the covers, float "
            f"{detected['float']:.1%}; the limit is {_MOST_LOST:.0%} less"
        )


def _print_figures(
    form: str,
    threshold: float,
    sets: dict[str, OcclusionCrops],
    answers: dict[str, NDArray[np.float64]],
) -> float:
    """Print the faces of the test parts called covered; return the share of covers detected."""
    print(f"{form}, threshold {threshold:.2f}, called covered")
    hits, covers = 0, 0
    for name in crops.PAINTED_SETS:
        faces = sets[name]
        test = _part(faces) < _TEST[name]
        called = answers[name] > threshold
        rows = {kind: test & (faces.kind == kind) for kind in np.unique(faces.kind).tolist()}
        for group in np.unique(faces.group[faces.group != ""]).tolist():
            rows[f"{crops.BARE}, group {group}"] = rows[crops.BARE] & (faces.group == group)
        for row, some in rows.items():
            print(f"  {name:8} {row:16} {called[some].sum():5} of {some.sum():5}")
        covered = np.isin(faces.kind, list(painting.COVERS)) & test
        hits, covers = hits + int(called[covered].sum()), covers + int(covered.sum())
    return hits / covers


if __name__ == "__main__":
    sys.exit(main())
