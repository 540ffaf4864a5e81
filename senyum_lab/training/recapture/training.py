"""The network that recognises real recaptures, its augmentation and its balanced batches."""

import io
import math
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.random import Generator
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn

from edge.inference.face_crop import Bytes3D
from edge.inference.liveness import SIDE
from senyum_lab.training.loop import Course, TrainedNetwork, TrainingSet, train, weighted_loss
from senyum_lab.training.network import NetworkDesign
from senyum_lab.training.recapture import faces
from senyum_lab.training.recapture.faces import LIVE, WIDE, RecaptureFaces
from senyum_lab.training.recapture.folds import Fold

_DOUBT = 0.2  # of each label
_STEPS_AN_EPOCH = 100
_RANGE_FACES = 512  # whose activations set the int8 ranges
_ZOOM = 0.25  # of the logarithm of the view's size
_ASIDE = 0.08  # of the view
_SOFT, _NOISY, _CODED, _GREY = 0.3, 0.3, 0.3, 0.05  # shares of the faces
_LIGHT = 0.35  # of the logarithms of gamma and gain
_SEED = 60
# Living faces and attacks of each set: shares of a batch, before they are scaled.
_LIVING = {
    "nuaa": 0.15, "msu": 0.10, "lfw": 0.07, "utkface": 0.06, "hijab": 0.05, "hands": 0.03,
    "videos": 0.05, "yale": 0.02, "london": 0.02,
}  # fmt: skip
_ATTACKS = {"nuaa": 0.18, "msu": 0.13, "simulated": 0.19}

Batch = NDArray[np.uint8]


class FaceGroup(NamedTuple):
    """Faces of one set and one class, and their share of each batch."""

    wide: Batch  # (n, WIDE, WIDE, 3)
    alive: bool
    share: float


class RecaptureSet(TrainingSet):
    """Groups of faces, each with a constant share of every batch, however many faces it has."""

    design = NetworkDesign(
        layers=((16, 2), (32, 2), (48, 2), (48, 1), (64, 2), (96, 1)),  # the last map is 6x6
        side=SIDE,
        channels=3,
        outputs=1,
        most_logit=8.0,
    )
    batch = 64
    float_course = Course(epochs=7, rate=2e-3, decay=5e-3, average=0.99)
    int8_course = Course(epochs=1, rate=2e-4, decay=0.0)
    channels_last = True

    def __init__(self, groups: list[FaceGroup]) -> None:
        """Scale the shares, so that living faces and attacks are half of each batch."""
        total = {alive: sum(g.share for g in groups if g.alive is alive) for alive in (True, False)}
        self._groups = [g._replace(share=g.share / total[g.alive] / 2) for g in groups]

    def __len__(self) -> int:
        return _STEPS_AN_EPOCH * self.batch

    def range_pixels(self, generator: torch.Generator) -> Tensor:
        return self._draw(_RANGE_FACES, generator)[0]

    def loss(self, network: nn.Module, batch: Tensor, generator: torch.Generator) -> Tensor:
        pixels, alive = self._draw(len(batch), generator)
        return weighted_loss(network(pixels)[:, 0], alive, torch.ones(len(alive)), _DOUBT)

    def _draw(self, count: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Return about `count` varied faces, (n, 3, SIDE, SIDE), and their labels, (n,)."""
        seed = int(torch.randint(2**31, (), generator=generator))
        rng = np.random.default_rng(seed)
        faces, alive = [], []
        for group in self._groups:
            some = max(1, round(group.share * count))
            faces += [vary(group.wide[i], rng) for i in rng.integers(len(group.wide), size=some)]
            alive += [float(group.alive)] * some
        pixels = torch.from_numpy(np.array(faces)).permute(0, 3, 1, 2).float()
        return pixels.contiguous(memory_format=torch.channels_last), torch.tensor(alive)


def seen(wide: Batch) -> Batch:
    """Return what the device sees, (n, SIDE, SIDE, 3), of (n, WIDE, WIDE, 3)."""
    margin = (WIDE - SIDE) // 2
    return wide[:, margin : margin + SIDE, margin : margin + SIDE]


def vary(wide: Bytes3D, rng: Generator) -> Bytes3D:
    """Return a random variation, (SIDE, SIDE, 3), of one face, (WIDE, WIDE, 3).

    The framing, the side, the sharpness, noise, compression and light change, for living faces and
    attacks alike, so that the network learns the recapture and not the camera.
    """
    side = int(min(WIDE, SIDE * math.exp(rng.uniform(-_ZOOM, _ZOOM))))
    left, top = (
        int(np.clip((WIDE - side) // 2 + shift, 0, WIDE - side))
        for shift in rng.integers(-int(side * _ASIDE), int(side * _ASIDE) + 1, size=2)
    )
    face = wide[top : top + side, left : left + side]
    if side != SIDE:
        way = Image.Resampling.BOX if side > SIDE and rng.random() < 0.5 else _BILINEAR
        face = _resized(face, SIDE, way)
    if rng.random() < 0.5:
        face = face[:, ::-1]
    if rng.random() < _SOFT:
        small = _resized(face, int(SIDE / rng.uniform(1.2, 2.6)), Image.Resampling.BOX)
        way = Image.Resampling.BICUBIC if rng.random() < 0.5 else _BILINEAR
        face = _resized(small, SIDE, way)
    if rng.random() < _NOISY:
        levels = rng.uniform(1, 9)
        grain = rng.normal(0, 1, face.shape) * (levels, 0.4 * levels, 0.4 * levels)
        face = np.clip(face + grain, 0, 255).astype(np.uint8)
    if rng.random() < _CODED:
        face = _coded(face, int(rng.integers(25, 92)))
    return _lit(face, rng)


_BILINEAR = Image.Resampling.BILINEAR


def _resized(face: Bytes3D, side: int, way: Image.Resampling) -> Bytes3D:
    return np.asarray(Image.fromarray(np.ascontiguousarray(face)).resize((side, side), way))


def _coded(face: Bytes3D, quality: int) -> Bytes3D:
    packed = io.BytesIO()
    planes = [Image.fromarray(np.ascontiguousarray(face[..., i])) for i in range(3)]
    image = Image.merge("YCbCr", planes)
    image.save(packed, "JPEG", quality=quality, subsampling=2)
    with Image.open(packed) as again:
        again.draft("YCbCr", again.size)
        return np.asarray(again.convert("YCbCr"))


def _lit(face: Bytes3D, rng: Generator) -> Bytes3D:
    """Return the face in other light."""
    gamma = math.exp(rng.uniform(-_LIGHT, _LIGHT))
    gain = math.exp(rng.uniform(-_LIGHT, 0.8 * _LIGHT))
    level = np.arange(256) / 255
    luma = np.maximum(level, 1e-3) ** gamma * gain + 2 * _LIGHT * rng.uniform(-0.12, 0.12)
    stronger = 0.0 if rng.random() < _GREY else math.exp(rng.uniform(-0.5, 0.3))
    shifts = rng.uniform(-10, 10, 2) if stronger else (0.0, 0.0)
    chroma = [(np.arange(256) - 128) * stronger + 128 + shift for shift in shifts]
    tables = [np.clip(t, 0, 255).astype(np.uint8) for t in (luma * 255, *chroma)]
    return np.stack([table[face[..., i]] for i, table in enumerate(tables)], axis=2)


def load_all(datasets: Path, out: Path) -> dict[str, RecaptureFaces]:
    """Return the faces of all sets, cached in `out`."""
    return {name: faces.load(name, datasets, out / "faces") for name in faces.SETS}


def train_fold(datasets: Path, out: Path, fold: Fold) -> TrainedNetwork:
    """Train the network of a fold, in a worker process; the faces are already cached in `out`."""
    torch.set_num_threads(1)  # sums are then added in the same order on every machine
    sets = load_all(datasets, out)
    groups = []
    for name, found in sets.items():
        kept, living = ~fold.leaves_out(name, found), found.kind == LIVE
        own = "nuaa" if name == "sequences" else name
        for alive, shares in ((True, _LIVING), (False, _ATTACKS)):
            some = kept & (living == alive)
            if own in shares and some.any():
                share = shares[own] / (2 if own == "nuaa" else 1)  # two lists of the same people
                groups.append(FaceGroup(found.wide[some], alive, share))
    return train(RecaptureSet(groups), out, fold.name, _SEED)
