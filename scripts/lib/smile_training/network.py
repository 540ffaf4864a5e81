"""What the smile network is made of."""

from int8_training.network import Design

from edge.inference.smile import SIDE

DESIGN = Design(
    layers=((16, 2), (32, 2), (32, 1), (64, 2), (64, 1), (112, 2), (112, 1)),  # the last map is 4x4
    side=SIDE,
    channels=1,
    outputs=1,
    most_logit=6.0,  # beyond it the score says 0 or 100 anyway
)
