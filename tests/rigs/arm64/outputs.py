"""Write what every network answers to one picture, as .npz; run on both architectures."""

import sys
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edge.inference.models import Models


def picture(shape: tuple[int, ...]) -> NDArray[np.float64]:
    """Return smooth waves, different in each channel, 0 to 255: any machine can compute them."""
    _, height, width, channels = shape
    y, x, c = np.mgrid[:height, :width, :channels].astype(np.float64)
    wave = np.sin(x / width * (5 + c)) * np.cos(y / height * (7 - c)) + np.sin((x + y) / 11 + c) / 2
    level: NDArray[np.float64] = (wave * 80 + 127).clip(0, 255).round()
    return level


def main(to: Path) -> None:
    """Run every network of the manifest once."""
    answers = {}
    models = Models()
    for name in models.digests():
        network = models.open(name)
        spec = network.spec
        network.input[...] = picture(spec.input_shape) * spec.scale + spec.offset
        for number, output in enumerate(network.run()):
            answers[f"{name} {number}"] = output
    np.savez(to, **answers)


main(Path(sys.argv[1]))
