"""What the smile network is made of: towers of one design, each trained from a seed of its own."""

from edge.inference.smile import SIDE
from senyum_lab.training.int8.network import Design

TOWERS = 2  # of half the weights each that one network had (docs/accuracy.md)

DESIGN = Design(
    layers=((8, 2), (24, 2), (24, 1), (48, 2), (48, 1), (80, 2), (80, 1)),  # the last map is 4x4
    side=SIDE,
    channels=1,
    outputs=1,
    most_logit=6.0,  # beyond it the score says 0 or 100 anyway
)
