"""The faces that each network is trained on, and its answers to all faces."""

import zlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from senyum_lab.training.calibration import Values
from senyum_lab.training.loop import TrainedNetwork, log_odds, train
from senyum_lab.training.network import QuantizedNetwork
from senyum_lab.training.smile.crops import SmileCrops
from senyum_lab.training.smile.training import ReadoutSet, SmileSet

FOLDS = 2  # of GENKI-4K's faces and of London's people; fold k leaves out half k of each
SHARES = 5  # of LFW's people; share 0 is for testing alone, share 1 + k is left out by fold k
_SEED = 20
_WEIGHTS = {"genki4k": 2.0, "lfw": 2.5, "fer2013": 0.5}  # by the reliability of the labels


class NetworkAnswers(NamedTuple):
    """The answers of one network: (n,) log-odds by set."""

    exact: dict[str, Values]  # in float
    rounded: dict[str, Values]  # in int8
    network: QuantizedNetwork


class SmileAnswers(NamedTuple):
    """The answers of both files: (n, 2) log-odds by set; the first is the mean of the towers."""

    exact: dict[str, Values]
    rounded: dict[str, Values]
    towers: list[QuantizedNetwork]
    readout: QuantizedNetwork

    @classmethod
    def of(cls, towers: Sequence[NetworkAnswers], readout: NetworkAnswers) -> Self:
        """Combine the answers of the networks."""
        exact, rounded = (
            {
                name: np.c_[
                    np.mean([getattr(one, form)[name] for one in towers], axis=0),
                    getattr(readout, form)[name],
                ]
                for name in readout.exact
            }
            for form in ("exact", "rounded")
        )
        return cls(exact, rounded, [one.network for one in towers], readout.network)


def tower(sets: dict[str, SmileCrops], out: Path, fold: int | None, number: int) -> NetworkAnswers:
    """Train one tower of a fold, or of the shipped model (None); return its answers."""
    torch.set_num_threads(1)
    wide, target, weight = _training_faces(sets, "wide", fold)
    onset = torch.from_numpy(onsets(sets["london"], fold))
    samples = SmileSet(wide[:, None], target, weight, onset)
    trained = train(samples, out, f"{_name(fold)}-{number}", _SEED + number)
    return _answers(sets, trained, lambda network, faces: both_ways(network, faces.crops))


def readout(sets: dict[str, SmileCrops], out: Path, fold: int | None) -> NetworkAnswers:
    """Train one readout; return its answers to all faces."""
    torch.set_num_threads(1)
    samples = ReadoutSet(*_training_faces(sets, "features", fold))
    trained = train(samples, out, f"{_name(fold)}-readout", _SEED)

    def ask(network: nn.Module, faces: SmileCrops) -> Values:
        return log_odds(network, as_pictures(faces.features))[:, 0]

    return _answers(sets, trained, ask)


def _name(fold: int | None) -> str:
    return "shipped" if fold is None else f"fold{fold}"


def _answers(
    sets: dict[str, SmileCrops],
    trained: TrainedNetwork,
    ask: Callable[[nn.Module, SmileCrops], Values],
) -> NetworkAnswers:
    exact, rounded = (
        {name: ask(network, faces) for name, faces in sets.items() if name != "fer2013"}
        for network in trained
    )
    return NetworkAnswers(exact, rounded, trained.rounded)


def _training_faces(
    sets: dict[str, SmileCrops], field: str, fold: int | None
) -> tuple[Tensor, Tensor, Tensor]:
    """Return a field of the faces that a fold is trained on, their labels and their weights."""
    left_out = [0] if fold is None else [0, 1 + fold]
    kept = {
        "genki4k": part(sets["genki4k"], FOLDS) != (-1 if fold is None else fold),
        "lfw": ~np.isin(part(sets["lfw"], SHARES), left_out),
        "fer2013": np.full(len(sets["fer2013"].smiling), True),
    }
    seen, smiling = (
        np.concatenate([getattr(sets[name], of)[some] for name, some in kept.items()])
        for of in (field, "smiling")
    )
    weight = np.concatenate([np.full(some.sum(), _WEIGHTS[name]) for name, some in kept.items()])
    return (
        torch.from_numpy(seen),
        torch.from_numpy(smiling).float(),
        torch.from_numpy(weight).float(),
    )


def onsets(london: SmileCrops, fold: int | None) -> NDArray[np.uint8]:
    """Return the neutral and the smiling photo of each person of the fold."""
    kept = part(london, FOLDS) != (-1 if fold is None else fold)
    wide, smiling, person = (
        values[kept] for values in (london.wide, london.smiling, london.person)
    )
    return np.array(
        [
            [wide[(person == one) & (smiling == smile)][0] for smile in (False, True)]
            for one in np.unique(person)
        ]
    )


def as_pictures(features: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return features, (n, 2, FEATURES), as pictures of one pixel for the readout."""
    return features[:, :1, None, :]


def both_ways(network: nn.Module, crops: NDArray[np.uint8]) -> Values:
    """Return the mean answers, (n,), to each face and its mirror image, as on the device."""
    ways = (crops, crops[:, :, ::-1].copy())
    scores = [log_odds(network, way[..., None])[:, 0] for way in ways]
    return np.asarray(np.mean(scores, axis=0), np.float64)


def part(faces: SmileCrops, parts: int) -> NDArray[np.int64]:
    """Return the part of each face, 0 to `parts` - 1; all faces of a person are in one part."""
    return np.array([zlib.crc32(person.encode()) % parts for person in faces.person.tolist()])
