"""Compares the models' outputs on this machine with their reference outputs.

`models/goldens.toml`, written by `scripts/write_goldens`, holds for each model its digest, the
minimum, maximum, mean and standard deviation of each output on a synthetic picture, and the
tolerance: other machines add in another order, and an int8 output may differ by a step.
"""

import tomllib
from pathlib import Path
from typing import Any

import numpy as np

from edge.errors import ModelError
from edge.inference.models import ModelRunner, Models, shipped
from edge.types import Floats

FILE = "goldens.toml"


def picture(shape: tuple[int, ...]) -> Floats:
    """Return smooth waves, different in each channel, 0 to 255."""
    _, height, width, channels = shape
    y, x, c = np.mgrid[:height, :width, :channels].astype(np.float64)
    wave = np.sin(x / width * (5 + c)) * np.cos(y / height * (7 - c)) + np.sin((x + y) / 11 + c) / 2
    made: Floats = (wave * 80 + 127).clip(0, 255).round().astype(np.float32)
    return made


def figures(network: ModelRunner) -> list[list[float]]:
    """Return minimum, maximum, mean and standard deviation of each output on that picture."""
    spec = network.spec
    scaled = picture(spec.input_shape) * np.float32(spec.scale) + np.float32(spec.offset)
    network.input[...] = scaled
    return [
        [float(each) for each in (output.min(), output.max(), output.mean(), output.std())]
        for output in network.run()
    ]


def differences(models: Models, file: Path | None = None) -> dict[str, bool | None]:
    """Return for each model whether its outputs are as expected; None without a reference.

    Raises ModelError if a model or the reference file cannot be read.
    """
    goldens = _read(file or shipped() / FILE)
    found: dict[str, bool | None] = {}
    for name, digest in models.digests().items():
        golden = goldens.get(name)
        if golden is None or golden["sha256"] != digest:
            found[name] = None
            continue
        seen = np.array(figures(models.open(name)))
        room = np.array(golden["room"])[:, None]
        found[name] = bool(np.all(np.abs(seen - np.array(golden["figures"])) <= room))
    return found


def _read(file: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        raise ModelError(f"{file}: cannot be read; reinstall Senyum") from None
