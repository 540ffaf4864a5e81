"""What the networks of the smile are trained on, and their losses.

The towers see the face; the readout sees the features of the landmarks network.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

from edge.inference.smile import FEATURES, SIDE
from senyum_lab.training.loop import Course, TrainingSet, pick, weighted_loss
from senyum_lab.training.network import NetworkDesign, TrainableNetwork
from senyum_lab.training.smile.augment import vary

# Towers of one design, each trained from its own seed, with half the weights of a single network.
TOWERS = 2
_DOUBT = 0.06  # of each label: about one in thirty is wrong
# Lifting the corners of a mouth must raise the log-odds by _RISE for each half crop of lift.
_LIFTS, _LEAST_LIFT, _MOST_LIFT, _RISE = 8, 0.04, 0.14, 8.0
# A person whose neutral and smiling photos are known is shown twice, each time at another point
# between the two. The later one must score higher, by _ONSET_RISE for the whole distance.
_ONSETS, _ONSET_RISE = 8, 4.0
_ONSET_WEIGHT = 0.3
_AT_AN_END = 0.7  # of the ends of the onsets are an unchanged photo
_RANGE_FACES = 1024  # whose activations set the int8 ranges
_NOISE = 6.0  # steps of each feature, the deviation


class SmileSet(TrainingSet):
    """The faces that a tower is trained on: n faces and k people."""

    design = NetworkDesign(
        layers=((8, 2), (24, 2), (24, 1), (48, 2), (48, 1), (80, 2), (80, 1)),  # last map: 4x4
        side=SIDE,
        channels=1,
        outputs=1,
        most_logit=6.0,  # beyond it the score is 0 or 100 anyway
    )
    batch = 128
    float_course = Course(epochs=20, rate=4e-3, decay=2e-3)
    int8_course = Course(epochs=3, rate=4e-4, decay=0.0)
    channels_last = True

    def __init__(self, wide: Tensor, target: Tensor, weight: Tensor, onset: Tensor) -> None:
        self.wide = wide  # (n, 1, 96, 96), uint8
        self.target = target  # (n,), 0 to 1
        self.weight = weight  # (n,)
        self.onset = onset  # (k, 2, 96, 96), uint8: the neutral and the smiling photo of a person

    def __len__(self) -> int:
        return len(self.wide)

    def range_pixels(self, generator: torch.Generator) -> Tensor:
        faces = self.wide[pick(len(self.wide), _RANGE_FACES, generator)].float()
        return vary(faces, torch.zeros(len(faces)), generator)

    def loss(self, network: nn.Module, batch: Tensor, generator: torch.Generator) -> Tensor:
        """Return the loss of the labels, plus that of lifted mouths and of onsets."""
        faces = self.wide[batch].float()
        target, weight = self.target[batch], self.weight[batch]
        lift = torch.rand(_LIFTS, generator=generator) * (_MOST_LIFT - _LEAST_LIFT) + _LEAST_LIFT
        some = faces[:_LIFTS]
        still, lifted = _varied_alike(some, some, torch.zeros(_LIFTS), lift, generator)
        early, late = _onset_points(generator)
        person = torch.randint(len(self.onset), (_ONSETS,), generator=generator)
        pair = self.onset[person].float()
        seen = (_dissolve(pair, early), _dissolve(pair, late))
        before, after = _varied_alike(*seen, torch.zeros(_ONSETS), torch.zeros(_ONSETS), generator)
        usual = vary(faces, torch.zeros(self.batch), generator)
        pictures = torch.cat((usual, still, lifted, before, after))
        # Half precision is enough for gradients, but not for the int8 grids.
        with torch.autocast("cpu", torch.bfloat16, enabled=isinstance(network, TrainableNetwork)):
            answers = network(pictures.contiguous(memory_format=torch.channels_last))[:, 0]
        logits, low, high, first, second = answers.float().split(
            (self.batch, _LIFTS, _LIFTS, _ONSETS, _ONSETS)
        )
        labels = weighted_loss(logits, target, weight, _DOUBT)
        onset = functional.binary_cross_entropy_with_logits(
            torch.cat((first, second)), torch.cat((early, late)).clamp(_DOUBT / 2, 1 - _DOUBT / 2)
        )
        flat = functional.relu(lift * _RISE - (high - low)).mean()
        stuck = functional.relu((late - early) * _ONSET_RISE - (second - first)).mean()
        return labels + flat / 4 + _ONSET_WEIGHT * (onset + stuck / 4)


class ReadoutSet(TrainingSet):
    """The features that the readout is trained on, n faces."""

    # A linear layer: a picture of one pixel with many channels. Hidden layers of 8 to 24 did no
    # better on new people.
    design = NetworkDesign(
        layers=(), side=1, channels=FEATURES, outputs=1, most_logit=6.0, kernel=1
    )
    batch = 256
    float_course = Course(epochs=16, rate=2e-3, decay=1e-1)
    int8_course = Course(epochs=2, rate=2e-4, decay=0.0)

    def __init__(self, features: Tensor, target: Tensor, weight: Tensor) -> None:
        self.features = features  # (n, 2, FEATURES), uint8: of each face and its mirror image
        self.target = target  # (n,), 0 or 1
        self.weight = weight  # (n,)

    def __len__(self) -> int:
        return len(self.target)

    def range_pixels(self, generator: torch.Generator) -> Tensor:  # noqa: ARG002
        return self.features[:1, 0, :, None, None].float()  # a linear layer has no ranges

    def loss(self, network: nn.Module, batch: Tensor, generator: torch.Generator) -> Tensor:
        way = torch.randint(2, batch.shape, generator=generator)
        seen = self.features[batch, way].float()
        seen = (seen + _NOISE * torch.randn(seen.shape, generator=generator)).round().clamp(0, 255)
        logits = network(seen[:, :, None, None])[:, 0]
        return weighted_loss(logits, self.target[batch], self.weight[batch], _DOUBT)


def _varied_alike(
    one: Tensor, other: Tensor, lift: Tensor, other_lift: Tensor, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Return both faces varied with the same light, position and noise."""
    state = generator.get_state()
    varied = vary(one, lift, generator)
    generator.set_state(state)
    return varied, vary(other, other_lift, generator)


def _onset_points(generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Return the first and the second point of each onset, 0 to 1."""
    far = torch.rand(2, _ONSETS, generator=generator)
    inside = torch.rand(2, _ONSETS, generator=generator) >= _AT_AN_END
    early, late = far.amin(0), far.amax(0)
    zero, one = torch.zeros(_ONSETS), torch.ones(_ONSETS)
    return torch.where(inside[0], early, zero), torch.where(inside[1], late, one)


def _dissolve(pair: Tensor, far: Tensor) -> Tensor:
    """Return the dissolve between the two photos of each pair, (k, 1, 96, 96)."""
    return torch.lerp(pair[:, :1], pair[:, 1:], far[:, None, None, None])
