"""Runs where torch is: `.venv-train`, which scripts/train_smile sets up."""

from pathlib import Path

import model_builder
import numpy as np
import pytest

torch = pytest.importorskip("torch")

from smile_training import training  # noqa: E402 - only where torch is
from smile_training.network import LAYERS, Network, Quantized, output_scale, pad  # noqa: E402
from smile_training.training import Course, Samples, log_odds  # noqa: E402

from edge.inference.models import new_interpreter  # noqa: E402

COURSE = Course(epochs=2, rate=1e-3, decay=0.0)


def faces(count: int) -> Samples:
    generator = torch.Generator().manual_seed(1)
    wide = torch.randint(0, 256, (count, 1, 96, 96), generator=generator, dtype=torch.uint8)
    target = (torch.rand(count, generator=generator) < 0.5).float()
    return Samples(wide, target, torch.ones(count))


def run(samples: Samples, path: Path, course: Course) -> Network:
    torch.manual_seed(3)
    network = Network()
    training._run(network, samples, path, torch.Generator().manual_seed(3), course)
    return network


def test_interrupted_training_goes_on_as_if_it_had_not_been(tmp_path: Path) -> None:
    samples = faces(2 * training.BATCH)
    whole = run(samples, tmp_path / "whole.pt", COURSE)

    class Interrupted(Exception):
        pass

    class Cut(Samples):
        taken = 0

        def __getattribute__(self, name: str) -> object:
            if name == "target":
                Cut.taken += 1
                if Cut.taken > 3:  # in the second epoch
                    raise Interrupted
            return super().__getattribute__(name)

    with pytest.raises(Interrupted):
        run(Cut(samples.wide, samples.target, samples.weight), tmp_path / "cut.pt", COURSE)
    resumed = run(samples, tmp_path / "cut.pt", COURSE)
    for one, other in zip(whole.parameters(), resumed.parameters(), strict=True):
        assert torch.equal(one, other)


def test_padding_is_that_of_tflite() -> None:
    x = torch.ones(1, 1, 4, 4)
    assert pad(x, 2).shape == (1, 1, 5, 5)
    assert float(pad(x, 2)[..., 0, 0]) == 1
    assert float(pad(x, 1)[..., 0, 0]) == 0


def test_file_answers_as_the_quantized_network(tmp_path: Path) -> None:
    if not (model_builder.PACKAGES / "ai-edge-litert-1.2.0").is_dir():
        pytest.skip("scripts/build_models has not fetched the schema")
    from smile_training.__main__ import _schema  # noqa: PLC0415
    from smile_training.export import export  # noqa: PLC0415

    torch.manual_seed(4)
    network = Network().eval()
    with torch.no_grad():
        network.line.weight *= 20  # answers all over the range
    pixels = faces(40).wide[:, :, :64, :64].float()
    quantized = Quantized(network, pixels)
    content = export(_schema(), quantized)
    assert export(_schema(), quantized) == content
    assert len(content) < 300_000
    interpreter = new_interpreter(content, 1)
    interpreter.allocate_tensors()
    names = [op["op_name"] for op in interpreter._get_ops_details()]
    assert names.count("CONV_2D") == len(LAYERS)
    said = []
    for face in pixels.numpy().astype(np.uint8):
        interpreter.set_tensor(
            interpreter.get_input_details()[0]["index"], face.transpose(1, 2, 0)[None]
        )
        interpreter.invoke()
        said.append(interpreter.get_tensor(interpreter.get_output_details()[0]["index"]).item())
    expected = log_odds(quantized, pixels.numpy()[:, 0].astype(np.uint8))
    assert np.abs(np.array(said) - expected).max() <= 2.01 * output_scale()
