"""Trains the network that tells covered faces, writes cover.tflite; run by scripts/train_cover.

Half of UTKFace's photos and a fifth of LFW's people are kept from training. Of another fifth of
LFW's people and a quarter of UTKFace the threshold is set: three uncovered faces in a thousand,
half of them with painted glasses, beards, head scarves and caps, are above it.
"""

import argparse
import hashlib
import sys
import zlib
from pathlib import Path

import numpy as np
import torch
from model_builder import BuildError
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from edge.errors import ModelError
from edge.inference.occlusion import SIDE
from senyum_lab.training.cover import crops, painting
from senyum_lab.training.cover.augment import vary
from senyum_lab.training.cover.crops import OcclusionCrops
from senyum_lab.training.int8.file import write
from senyum_lab.training.int8.network import Design, Quantized, TrainableNetwork
from senyum_lab.training.int8.training import Course, log_odds, run

DESIGN = Design(
    layers=((8, 2), (16, 2), (24, 1), (32, 2), (40, 1), (48, 2)),
    side=SIDE,
    channels=1,
    outputs=1,
    most_logit=6.0,
)
_SEED = 20
_BATCH = 128
_FLOAT = Course(epochs=8, rate=5e-3, decay=2e-3)
_INT8 = Course(epochs=2, rate=4e-4, decay=0.0)
_DOUBT = 0.02  # of each label
_BARE_WEIGHT = 2.0  # a false hint is worse than none
_PARTS = 20  # of the people; 0 to 9 of UTKFace and 0 to 3 of LFW test, the next five set the line
_TEST, _LINE = {"utkface": 10, "lfw": 4}, 5
_FALSE_HINTS = 0.003  # of the uncovered faces that the threshold is set on
_MOST_LOST = 0.02  # of the covers seen, int8 against float
_RANGE_FACES, _CHECKED = 1024, 500


def main() -> int:
    """Train, check, write, and print what it is worth; return the exit status."""
    parser = argparse.ArgumentParser(prog="scripts/train_cover", description=__doc__)
    parser.add_argument("--datasets", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True, help="crops, states and the model")
    options = parser.parse_args()
    out: Path = options.out
    out.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)  # sums are then added in the same order on any machine
    sets = {name: crops.load(name, options.datasets, out / "crops") for name in crops.SETS}
    network, quantized = _trained(sets, out)
    exact, rounded = (
        {name: log_odds(one, faces.crops[..., None])[:, 0] for name, faces in sets.items()}
        for one in (network, quantized)
    )
    seen = {}
    for form, answers in (("float", exact), ("int8", rounded)):
        threshold = _threshold(sets, answers)
        seen[form] = _say(form, threshold, sets, answers)
    try:
        _check_loss(seen)
        some = sets["lfw"].crops[:_CHECKED, ..., None]
        content = write([quantized], "cover", some, rounded["lfw"][:_CHECKED, None])
    except (BuildError, ModelError) as error:
        print(f"train_cover: {error}", file=sys.stderr)
        return 1
    (out / "cover.tflite").write_bytes(content)
    print(f"{hashlib.sha256(content).hexdigest()}  {out / 'cover.tflite'}")
    print(f"[model.cover.calibration]\nthreshold = {_threshold(sets, rounded):.3g}")
    return 0


def _trained(sets: dict[str, OcclusionCrops], out: Path) -> tuple[TrainableNetwork, Quantized]:
    kept = {name: _part(faces) >= _TEST[name] + _LINE for name, faces in sets.items()}
    wide = torch.from_numpy(np.concatenate([f.wide[kept[n]] for n, f in sets.items()]))[:, None]
    covered = torch.from_numpy(np.concatenate([f.covered[kept[n]] for n, f in sets.items()]))
    target, weight = covered.float(), torch.where(covered, 1.0, _BARE_WEIGHT)

    def loss(network: nn.Module, batch: Tensor, generator: torch.Generator) -> Tensor:
        logits = network(vary(wide[batch].float(), generator))[:, 0]
        wrong = functional.binary_cross_entropy_with_logits(
            logits, target[batch] * (1 - _DOUBT) + _DOUBT / 2, weight[batch], reduction="sum"
        )
        return wrong / weight[batch].sum()

    torch.manual_seed(_SEED)
    generator = torch.Generator().manual_seed(_SEED)
    network = TrainableNetwork(DESIGN)
    more = {"samples": len(wide), "batch": _BATCH, "generator": generator}
    run(network, loss, out / "float.pt", **more, course=_FLOAT)
    network.eval()
    picked = torch.randperm(len(wide), generator=generator)[:_RANGE_FACES]
    quantized = Quantized(network, vary(wide[picked].float(), generator))
    run(quantized, loss, out / "int8.pt", **more, course=_INT8)
    return network, quantized.eval()


def _part(faces: OcclusionCrops) -> NDArray[np.int64]:
    """Return which part each face is in; a person is always in the same."""
    return np.array([zlib.crc32(person.encode()) % _PARTS for person in faces.person.tolist()])


def _threshold(sets: dict[str, OcclusionCrops], answers: dict[str, NDArray[np.float64]]) -> float:
    """Return the log-odds that so few uncovered faces, painted or not, of its parts reach."""
    uncovered = [
        answers[name][
            (_part(faces) >= _TEST[name]) & (_part(faces) < _TEST[name] + _LINE) & ~faces.covered
        ]
        for name, faces in sets.items()
    ]
    return float(np.quantile(np.concatenate(uncovered), 1 - _FALSE_HINTS))


def _check_loss(seen: dict[str, float]) -> None:
    """Refuse a quantized network that sees fewer covers than its float teacher, by the bound."""
    if seen["float"] - seen["int8"] > _MOST_LOST:
        raise ModelError(
            f"refused: int8 sees {seen['int8']:.1%} of the covers, float {seen['float']:.1%}; "
            f"at most {_MOST_LOST:.0%} may be lost"
        )


def _say(
    form: str,
    threshold: float,
    sets: dict[str, OcclusionCrops],
    answers: dict[str, NDArray[np.float64]],
) -> float:
    """Print what is called covered of the test parts; return the share of the covers seen."""
    print(f"{form}, threshold {threshold:.2f}, called covered")
    hits, covers = 0, 0
    for name, faces in sets.items():
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
