"""The file that a training script ends with: written, and asked whether it says the same."""

import tomllib
from collections.abc import Sequence

import numpy as np
from model_builder import PACKAGES, SOURCES, Source, extract, fetch, load_schema
from numpy.typing import NDArray

from edge.errors import ModelError
from edge.inference.models import new_interpreter
from senyum_lab.training.int8.export import export
from senyum_lab.training.int8.network import Quantized

_MOST_APART = 1.0  # steps of the int8 output, file against simulation, in 99 of 100 answers


def write(
    networks: Sequence[Quantized],
    name: str,
    pictures: NDArray[np.uint8],
    answers: NDArray[np.float64],
) -> bytes:
    """Return the content of the file of `networks`, all of which see the same picture.

    `answers`, (n, outputs of all), are what they said of (n, side, side, channels) `pictures`.
    Raises ModelError where the file says otherwise, BuildError where the format's schema cannot
    be fetched.
    """
    table = tomllib.loads(SOURCES.read_text(encoding="utf-8"))["schema"]
    source = Source.of(table)
    schema = load_schema(extract(source, fetch(source, PACKAGES)))
    content = export(schema, networks, name)
    step = networks[0].design.output_scale
    apart = np.abs(ask(content, pictures) - answers) / step
    print(f"file against simulation: at most {apart.max():.0f} steps of {step:.3f} apart")
    if np.quantile(apart, 0.99) > _MOST_APART + 0.01:
        raise ModelError(f"refused: the file is {apart.max():.1f} steps off the trained network")
    return content


def ask(content: bytes, pictures: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Return what a file says, (n, outputs of all), of (n, side, side, channels) pictures."""
    interpreter = new_interpreter(content, 1)
    interpreter.allocate_tensors()
    taken = interpreter.get_input_details()[0]["index"]
    given = [detail["index"] for detail in interpreter.get_output_details()]
    said = []
    for picture in pictures:
        interpreter.set_tensor(taken, picture[None])
        interpreter.invoke()
        said.append(np.concatenate([interpreter.get_tensor(index)[0] for index in given]))
    return np.array(said, np.float64)
