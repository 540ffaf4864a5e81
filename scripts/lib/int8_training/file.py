"""The file that a training script ends with: written, and asked whether it says the same."""

import tomllib

import numpy as np
from model_builder import PACKAGES, SOURCES, Source, extract, fetch, load_schema
from numpy.typing import NDArray

from edge.errors import ModelError
from edge.inference.models import new_interpreter
from int8_training.export import export
from int8_training.network import Quantized

_MOST_APART = 1.0  # steps of the int8 output, file against simulation, in 99 of 100 answers


def write(
    network: Quantized, name: str, pictures: NDArray[np.uint8], answers: NDArray[np.float64]
) -> bytes:
    """Return the content of the file of `network`.

    `answers`, (n, outputs), are what the network said of (n, side, side, channels) `pictures`.
    Raises ModelError where the file says otherwise, BuildError where the format's schema cannot
    be fetched.
    """
    table = tomllib.loads(SOURCES.read_text(encoding="utf-8"))["schema"]
    source = Source.of(table)
    schema = load_schema(extract(source, fetch(source, PACKAGES)))
    content = export(schema, network, name)
    apart = np.abs(ask(content, pictures) - answers) / network.design.output_scale
    print(
        f"file against simulation: at most {apart.max():.0f} steps of "
        f"{network.design.output_scale:.3f} apart"
    )
    if np.quantile(apart, 0.99) > _MOST_APART + 0.01:
        raise ModelError(f"refused: the file is {apart.max():.1f} steps off the trained network")
    return content


def ask(content: bytes, pictures: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Return what a file says, (n, outputs), of (n, side, side, channels) pictures."""
    interpreter = new_interpreter(content, 1)
    interpreter.allocate_tensors()
    taken, given = (
        details()[0]["index"]
        for details in (interpreter.get_input_details, interpreter.get_output_details)
    )
    said = []
    for picture in pictures:
        interpreter.set_tensor(taken, picture[None])
        interpreter.invoke()
        said.append(interpreter.get_tensor(given)[0].copy())
    return np.array(said, np.float64)
