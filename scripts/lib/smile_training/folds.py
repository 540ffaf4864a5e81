"""Which faces each pair of networks is trained on, and what it then says of all of them."""

import zlib
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from int8_training.network import Quantized
from int8_training.training import log_odds
from numpy.typing import NDArray
from torch import nn

from smile_training.calibration import Values
from smile_training.crops import Faces
from smile_training.shapes import Shapes
from smile_training.shapes import train as train_shape
from smile_training.training import Samples, train

FOLDS = 2  # of GENKI-4K's faces and of London's people; fold k leaves out half k of each
SHARES = 5  # of LFW's people; share 0 is for testing alone, share 1 + k is left out by fold k
_SEED = 20
_WEIGHTS = {"genki4k": 2.0, "lfw": 2.5, "fer2013": 0.5}  # by how far the labels can be trusted


class Answers(NamedTuple):
    """What both networks, of look and of shape, say of faces: (n, 2) log-odds by set."""

    exact: dict[str, Values]
    rounded: dict[str, Values]
    look: Quantized
    shape: Quantized


def trained(sets: dict[str, Faces], out: Path, fold: int | None) -> Answers:
    """Train the networks of one fold, or those that are shipped (None), and ask them about all."""
    torch.set_num_threads(1)
    left_out = [0] if fold is None else [0, 1 + fold]
    kept = {
        "genki4k": part(sets["genki4k"], FOLDS) != (-1 if fold is None else fold),
        "lfw": ~np.isin(part(sets["lfw"], SHARES), left_out),
        "fer2013": np.full(len(sets["fer2013"].smiling), True),
    }
    wide, shape, smiling = (
        np.concatenate([getattr(sets[name], field)[some] for name, some in kept.items()])
        for field in ("wide", "shape", "smiling")
    )
    weight = np.concatenate([np.full(some.sum(), _WEIGHTS[name]) for name, some in kept.items()])
    told = torch.from_numpy(smiling).float(), torch.from_numpy(weight).float()
    onset = torch.from_numpy(onsets(sets["london"], fold))
    name = "shipped" if fold is None else f"fold{fold}"
    looks = train(Samples(torch.from_numpy(wide)[:, None], *told, onset), out, name, _SEED)
    shapes = Shapes(torch.from_numpy(shape)[:, :, None, None], *told)
    by_shape = train_shape(shapes, out, name, _SEED)
    exact, rounded = (
        {
            name: np.c_[both_ways(look, faces.crops), log_odds(shaped, as_pictures(faces.shape))]
            for name, faces in sets.items()
            if name != "fer2013"
        }
        for look, shaped in zip(looks, by_shape, strict=True)
    )
    return Answers(exact, rounded, looks[1], by_shape[1])


def onsets(london: Faces, fold: int | None) -> NDArray[np.uint8]:
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


def as_pictures(shape: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return shapes, (n, SHAPE), as the network takes them: of one pixel."""
    return shape[:, None, None, :]


def both_ways(network: nn.Module, crops: NDArray[np.uint8]) -> Values:
    """Return what a network says of faces, (n,), as the unit asks: each and its mirror image."""
    ways = (crops, crops[:, :, ::-1].copy())
    said = [log_odds(network, way[..., None])[:, 0] for way in ways]
    return np.asarray(np.mean(said, axis=0), np.float64)


def part(faces: Faces, parts: int) -> NDArray[np.int64]:
    """Return which of so many parts each face is in; a person is always in the same."""
    return np.array([zlib.crc32(person.encode()) % parts for person in faces.person.tolist()])
