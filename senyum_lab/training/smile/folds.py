"""Which faces each network is trained on, and what it then says of all of them."""

import zlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from senyum_lab.training.int8.network import Quantized, TrainableNetwork
from senyum_lab.training.int8.training import log_odds
from senyum_lab.training.smile.calibration import Values
from senyum_lab.training.smile.crops import SmileCrops
from senyum_lab.training.smile.readout import Features
from senyum_lab.training.smile.readout import train as train_readout
from senyum_lab.training.smile.training import SmileSamples, train

FOLDS = 2  # of GENKI-4K's faces and of London's people; fold k leaves out half k of each
SHARES = 5  # of LFW's people; share 0 is for testing alone, share 1 + k is left out by fold k
_SEED = 20
_WEIGHTS = {"genki4k": 2.0, "lfw": 2.5, "fer2013": 0.5}  # by how far the labels can be trusted


class Told(NamedTuple):
    """What one network says of faces: (n,) log-odds by set."""

    exact: dict[str, Values]  # in float
    rounded: dict[str, Values]  # in int8
    network: Quantized


class Answers(NamedTuple):
    """What both files' networks say of faces: (n, 2) log-odds by set; the towers' is their mean."""

    exact: dict[str, Values]
    rounded: dict[str, Values]
    towers: list[Quantized]
    readout: Quantized

    @classmethod
    def of(cls, towers: Sequence[Told], readout: Told) -> Self:
        """Put together what each network said."""
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


def tower(sets: dict[str, SmileCrops], out: Path, fold: int | None, number: int) -> Told:
    """Train one tower of a fold, or of what is shipped (None), and ask it about all."""
    torch.set_num_threads(1)
    wide, target, weight = _learnt(sets, "wide", fold)
    onset = torch.from_numpy(onsets(sets["london"], fold))
    samples = SmileSamples(wide[:, None], target, weight, onset)
    both = train(samples, out, f"{_name(fold)}-{number}", _SEED + number)
    return _asked(sets, both, lambda network, faces: both_ways(network, faces.crops))


def readout(sets: dict[str, SmileCrops], out: Path, fold: int | None) -> Told:
    """Train one readout, and ask it about all."""
    torch.set_num_threads(1)
    features = Features(*_learnt(sets, "features", fold))
    both = train_readout(features, out, f"{_name(fold)}-readout", _SEED)

    def ask(network: nn.Module, faces: SmileCrops) -> Values:
        return log_odds(network, as_pictures(faces.features))[:, 0]

    return _asked(sets, both, ask)


def _name(fold: int | None) -> str:
    return "shipped" if fold is None else f"fold{fold}"


def _asked(
    sets: dict[str, SmileCrops],
    both: tuple[TrainableNetwork, Quantized],
    ask: Callable[[nn.Module, SmileCrops], Values],
) -> Told:
    exact, rounded = (
        {name: ask(network, faces) for name, faces in sets.items() if name != "fer2013"}
        for network in both
    )
    return Told(exact, rounded, both[1])


def _learnt(
    sets: dict[str, SmileCrops], field: str, fold: int | None
) -> tuple[Tensor, Tensor, Tensor]:
    """Return what a fold is trained on: a field of its faces, who smiles, what each counts."""
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
    """Return the neutral and the smiling photo of each person who is not left out."""
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
    """Return the faces' features, (n, 2, FEATURES), as the readout takes them: of one pixel."""
    return features[:, :1, None, :]


def both_ways(network: nn.Module, crops: NDArray[np.uint8]) -> Values:
    """Return what a network says of faces, (n,), as the unit asks: each and its mirror image."""
    ways = (crops, crops[:, :, ::-1].copy())
    said = [log_odds(network, way[..., None])[:, 0] for way in ways]
    return np.asarray(np.mean(said, axis=0), np.float64)


def part(faces: SmileCrops, parts: int) -> NDArray[np.int64]:
    """Return which of so many parts each face is in; a person is always in the same."""
    return np.array([zlib.crc32(person.encode()) % parts for person in faces.person.tolist()])
