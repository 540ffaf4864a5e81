"""Needs torch, which is in `.venv-train` (set up by the training scripts)."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

torch = pytest.importorskip("torch")

from edge.errors import ModelError  # noqa: E402
from edge.inference.models import new_interpreter  # noqa: E402
from senyum_lab.model_files.builder import PACKAGES  # noqa: E402
from senyum_lab.training.export import run_file, write  # noqa: E402
from senyum_lab.training.loop import Course, TrainingSet, log_odds, train  # noqa: E402
from senyum_lab.training.network import NetworkDesign, QuantizedNetwork, TrainableNetwork, pad  # noqa: E402

GREY = NetworkDesign(
    ((8, 2), (16, 2), (16, 1), (32, 2)), side=64, channels=1, outputs=1, most_logit=6.0
)
COLOUR = NetworkDesign(((8, 2), (16, 2), (24, 2)), side=96, channels=3, outputs=2, most_logit=8.0)
NUMBERS = NetworkDesign(((8, 1),), side=1, channels=30, outputs=1, most_logit=6.0, kernel=1)
LINE = NetworkDesign((), side=1, channels=30, outputs=1, most_logit=6.0, kernel=1)


def pictures(design: NetworkDesign, count: int) -> NDArray[np.uint8]:
    rng = np.random.default_rng(1)
    noise = rng.uniform(0, 128, (count, design.side, design.side, design.channels))
    return (noise + rng.uniform(0, 128, (count, 1, 1, design.channels))).astype(np.uint8)


def quantized(design: NetworkDesign, some: NDArray[np.uint8]) -> QuantizedNetwork:
    torch.manual_seed(4)
    network = TrainableNetwork(design).eval()
    with torch.no_grad():
        network.line.weight *= 50
    return QuantizedNetwork(network, torch.from_numpy(some).permute(0, 3, 1, 2).float())


def require_schema() -> None:
    if not (PACKAGES / "ai-edge-litert-1.2.0").is_dir():
        pytest.skip("scripts/build_models has not fetched the schema")


def test_padding_is_that_of_tflite() -> None:
    x = torch.ones(1, 1, 4, 4)
    assert pad(x, 2).shape == (1, 1, 5, 5)
    assert float(pad(x, 2)[..., 0, 0]) == 1
    assert float(pad(x, 1)[..., 0, 0]) == 0


DESIGNS = {"grey": GREY, "colour": COLOUR, "numbers": NUMBERS, "line": LINE}


@pytest.mark.parametrize("design", DESIGNS.values(), ids=DESIGNS)
def test_file_answers_as_the_quantized_network(design: NetworkDesign, tmp_path: Path) -> None:
    require_schema()
    some = pictures(design, 40)
    network = quantized(design, some)
    expected = log_odds(network, some)
    files = [tmp_path / "test.tflite", tmp_path / "again" / "test.tflite"]
    files[1].parent.mkdir()
    for file in files:
        write([network], file, some, expected)
    content = files[0].read_bytes()
    assert files[1].read_bytes() == content
    assert len(np.unique(expected)) >= 3
    answers = run_file(content, some)
    assert answers.shape == (40, design.outputs)
    assert np.abs(answers - expected).max() <= 2.01 * design.output_scale
    interpreter = new_interpreter(content, 1)
    interpreter.allocate_tensors()
    names = [op["op_name"] for op in interpreter._get_ops_details()]
    assert names.count("CONV_2D") == len(design.layers)


def test_networks_with_the_same_picture_have_one_output_each(tmp_path: Path) -> None:
    require_schema()
    some = pictures(GREY, 20)
    one = quantized(GREY, some)
    other = quantized(GREY, some[:5])  # of other ranges
    expected = np.c_[log_odds(one, some), log_odds(other, some)]
    write([one, other], tmp_path / "two.tflite", some, expected)
    write([one], tmp_path / "one.tflite", some, expected[:, :1])
    content = (tmp_path / "two.tflite").read_bytes()
    assert np.abs(run_file(content, some) - expected).max() <= 2.01 * GREY.output_scale
    assert len(content) > 1.8 * (tmp_path / "one.tflite").stat().st_size


def test_file_of_another_network_is_refused(tmp_path: Path) -> None:
    require_schema()
    some = pictures(GREY, 10)
    network = quantized(GREY, some)
    with pytest.raises(ModelError, match="steps from the trained network"):
        write([network], tmp_path / "test.tflite", some, -log_odds(network, some) + 3)
    assert list(tmp_path.iterdir()) == []


class RandomPictures(TrainingSet):
    """Sixteen pictures; records the batches."""

    design = GREY
    batch = 8
    float_course = int8_course = Course(epochs=2, rate=1e-3, decay=0.0)

    def __init__(self) -> None:
        self.pixels = torch.from_numpy(pictures(GREY, 16)).permute(0, 3, 1, 2).float()
        self.batches: list[list[int]] = []

    def __len__(self) -> int:
        return len(self.pixels)

    def range_pixels(self, generator: Any) -> Any:
        return self.pixels

    def loss(self, network: Any, batch: Any, generator: Any) -> Any:
        self.batches.append(batch.tolist())
        return network(self.pixels[batch]).square().mean()


def test_state_of_training_is_complete_or_absent(tmp_path: Path) -> None:
    samples = RandomPictures()
    train(samples, tmp_path, "a", 2)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a-float.pt", "a-int8.pt"]
    assert sorted(samples.batches[0] + samples.batches[1]) == list(range(16))
    assert len(samples.batches) == 8
    train(samples, tmp_path, "a", 2)
    assert len(samples.batches) == 8  # all epochs were already done
