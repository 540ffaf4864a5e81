"""Runs where torch is: `.venv-train`, which the training scripts set up."""

from pathlib import Path
from typing import Any

import model_builder
import numpy as np
import pytest
from numpy.typing import NDArray

torch = pytest.importorskip("torch")

from edge.errors import ModelError  # noqa: E402
from edge.inference.models import new_interpreter  # noqa: E402
from senyum_lab.training.int8.network import Design, Quantized, TrainableNetwork, pad  # noqa: E402 - where torch is
from senyum_lab.training.int8.training import log_odds  # noqa: E402

GREY = Design(((8, 2), (16, 2), (16, 1), (32, 2)), side=64, channels=1, outputs=1, most_logit=6.0)
COLOUR = Design(((8, 2), (16, 2), (24, 2)), side=96, channels=3, outputs=2, most_logit=8.0)
NUMBERS = Design(((8, 1),), side=1, channels=30, outputs=1, most_logit=6.0, kernel=1)
LINE = Design((), side=1, channels=30, outputs=1, most_logit=6.0, kernel=1)


def pictures(design: Design, count: int) -> NDArray[np.uint8]:
    rng = np.random.default_rng(1)
    noise = rng.uniform(0, 128, (count, design.side, design.side, design.channels))
    return (noise + rng.uniform(0, 128, (count, 1, 1, design.channels))).astype(np.uint8)


def quantized(design: Design, some: NDArray[np.uint8]) -> Quantized:
    torch.manual_seed(4)
    network = TrainableNetwork(design).eval()
    with torch.no_grad():
        network.line.weight *= 50
    return Quantized(network, torch.from_numpy(some).permute(0, 3, 1, 2).float())


def schema_is_there() -> None:
    if not (model_builder.PACKAGES / "ai-edge-litert-1.2.0").is_dir():
        pytest.skip("scripts/build_models has not fetched the schema")


def test_padding_is_that_of_tflite() -> None:
    x = torch.ones(1, 1, 4, 4)
    assert pad(x, 2).shape == (1, 1, 5, 5)
    assert float(pad(x, 2)[..., 0, 0]) == 1
    assert float(pad(x, 1)[..., 0, 0]) == 0


DESIGNS = {"grey": GREY, "colour": COLOUR, "numbers": NUMBERS, "line": LINE}


@pytest.mark.parametrize("design", DESIGNS.values(), ids=DESIGNS)
def test_file_answers_as_the_quantized_network(design: Design) -> None:
    schema_is_there()
    from senyum_lab.training.int8.file import ask, write  # noqa: PLC0415

    some = pictures(design, 40)
    network = quantized(design, some)
    expected = log_odds(network, some)
    content = write([network], "test", some, expected)
    assert write([network], "test", some, expected) == content
    assert len(np.unique(expected)) >= 3
    said = ask(content, some)
    assert said.shape == (40, design.outputs)
    assert np.abs(said - expected).max() <= 2.01 * design.output_scale
    interpreter = new_interpreter(content, 1)
    interpreter.allocate_tensors()
    names = [op["op_name"] for op in interpreter._get_ops_details()]
    assert names.count("CONV_2D") == len(design.layers)


def test_networks_that_see_the_same_picture_answer_beside_each_other() -> None:
    schema_is_there()
    from senyum_lab.training.int8.file import ask, write  # noqa: PLC0415

    some = pictures(GREY, 20)
    one = quantized(GREY, some)
    other = quantized(GREY, some[:5])  # of other ranges
    expected = np.c_[log_odds(one, some), log_odds(other, some)]
    content = write([one, other], "test", some, expected)
    assert np.abs(ask(content, some) - expected).max() <= 2.01 * GREY.output_scale
    assert len(content) > 1.8 * len(write([one], "test", some, expected[:, :1]))


def test_file_of_another_network_is_refused() -> None:
    schema_is_there()
    from senyum_lab.training.int8.file import write  # noqa: PLC0415

    some = pictures(GREY, 10)
    network = quantized(GREY, some)
    with pytest.raises(ModelError, match="steps off the trained network"):
        write([network], "test", some, -log_odds(network, some) + 3)


def test_state_of_training_is_whole_or_absent(tmp_path: Path) -> None:
    from senyum_lab.training.int8.training import Course, run  # noqa: PLC0415

    network = TrainableNetwork(GREY)
    some = torch.from_numpy(pictures(GREY, 16)).permute(0, 3, 1, 2).float()
    asked = []

    def loss(one: Any, batch: Any, _: Any) -> Any:
        asked.append(batch.tolist())
        return one(some[batch]).square().mean()

    def go_on() -> None:
        run(
            network,
            loss,
            tmp_path / "a.pt",
            samples=16,
            batch=8,
            generator=torch.Generator().manual_seed(2),
            course=Course(epochs=2, rate=1e-3, decay=0.0),
        )

    go_on()
    assert [path.name for path in tmp_path.iterdir()] == ["a.pt"]
    assert sorted(asked[0] + asked[1]) == list(range(16))
    go_on()
    assert len(asked) == 4  # all epochs were done already
