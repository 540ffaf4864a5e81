"""Write quantized networks as a TFLite file: int8 throughout, bytes in, log-odds out.

QUANTIZE (bytes to int8), the convolutions, their mean, one FULLY_CONNECTED, DEQUANTIZE. The same
weights always give the same bytes.
"""

import hashlib
import tomllib
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge.errors import ModelError
from edge.inference.models import new_interpreter
from senyum_lab.model_files import tflite_rewrite
from senyum_lab.model_files.builder import (
    PACKAGES,
    SOURCES,
    PackageFile,
    extract,
    fetch,
    load_schema,
)
from senyum_lab.training.network import INPUT_SCALE, QuantizedNetwork, weight_scales

_MAX_DIFFERENCE = 1.0  # steps of the int8 output, file against simulation, in 99 of 100 answers
# The operator versions with int8 kernels.
_VERSIONS = {
    "QUANTIZE": 2, "CONV_2D": 3, "AVERAGE_POOL_2D": 2, "FULLY_CONNECTED": 4, "DEQUANTIZE": 2,
}  # fmt: skip


class _Graph:
    """A model under construction."""

    def __init__(self, schema: ModuleType, name: str) -> None:
        self.schema = schema
        self.model = schema.ModelT()
        self.model.version = 3
        self.model.description = f"Senyum {name}".encode()
        self.model.operatorCodes, self.model.buffers = [], [schema.BufferT()]
        graph = schema.SubGraphT()
        graph.tensors, graph.operators = [], []
        self.graph = graph
        self.model.subgraphs = [graph]

    def tensor(
        self,
        name: str,
        shape: Sequence[int],
        kind: str,
        scales: Sequence[float] = (),
        *,
        zero: int = 0,
        content: NDArray[Any] | None = None,
    ) -> int:
        """Add a tensor and return its index; several scales apply to its first dimension."""
        tensor = self.schema.TensorT()
        tensor.name, tensor.shape = name.encode(), list(shape)
        tensor.type = getattr(self.schema.TensorType, kind)
        if scales:
            tensor.quantization = self.schema.QuantizationParametersT()
            tensor.quantization.scale = list(scales)
            tensor.quantization.zeroPoint = [zero] * len(scales)
        if content is not None:
            buffer = self.schema.BufferT()
            buffer.data = np.frombuffer(content.tobytes(), np.uint8)
            self.model.buffers.append(buffer)
            tensor.buffer = len(self.model.buffers) - 1
        self.graph.tensors.append(tensor)
        return len(self.graph.tensors) - 1

    def operator(self, kind: str, inputs: Sequence[int], output: int, options: Any = None) -> int:
        """Add an operator and return its output."""
        operator = self.schema.OperatorT()
        builtin = getattr(self.schema.BuiltinOperator, kind)
        operator.opcodeIndex = tflite_rewrite.opcode(
            self.schema, self.model, builtin, _VERSIONS[kind]
        )
        operator.inputs, operator.outputs = list(inputs), [output]
        if options is not None:
            name = type(options).__name__.removesuffix("T")
            operator.builtinOptionsType = getattr(self.schema.BuiltinOptions, name)
            operator.builtinOptions = options
        self.graph.operators.append(operator)
        return output


def encode(schema: ModuleType, networks: Sequence[QuantizedNetwork], name: str) -> bytes:
    """Return the content of a file named `name` with one output per network, in order.

    The networks have the same design and read the same picture.
    """
    design = networks[0].design
    graph = _Graph(schema, name)
    shape = (1, design.side, design.side, design.channels)
    pixels_name = "grey" if design.channels == 1 else "colour"
    pixels = graph.tensor(pixels_name, shape, "UINT8", [INPUT_SCALE], zero=128)
    x = graph.tensor("pixels", shape, "INT8", [INPUT_SCALE])
    graph.operator("QUANTIZE", [pixels], x)
    outputs = [_tower(graph, network, x) for network in networks]
    graph.graph.inputs, graph.graph.outputs = [pixels], outputs
    return tflite_rewrite.save(schema, graph.model)


def _tower(graph: _Graph, network: QuantizedNetwork, x: int) -> int:
    """Add one network that reads tensor `x`; return its output."""
    schema, design = graph.schema, network.design
    side, scale = design.side, INPUT_SCALE
    for i, (channels, stride) in enumerate(design.layers):
        side //= stride
        constants = _constants(graph, network, i, scale)
        scale = float(network.scales[i])
        out = graph.tensor(f"map{i}", (1, side, side, channels), "INT8", [scale], zero=-128)
        options = schema.Conv2DOptionsT()
        options.padding = schema.Padding.SAME
        options.strideH = options.strideW = stride
        options.fusedActivationFunction = schema.ActivationFunctionType.RELU
        x = graph.operator("CONV_2D", [x, *constants], out, options)
    if design.layers:
        mean = graph.tensor("mean", (1, 1, 1, design.layers[-1][0]), "INT8", [scale], zero=-128)
        pool = schema.Pool2DOptionsT()
        pool.padding = schema.Padding.VALID
        pool.strideH = pool.strideW = pool.filterHeight = pool.filterWidth = side
        x = graph.operator("AVERAGE_POOL_2D", [x], mean, pool)
    constants = _constants(graph, network, len(design.layers), scale)
    answer = (1, design.outputs)
    rounded = graph.tensor("rounded", answer, "INT8", [design.output_scale])
    x = graph.operator("FULLY_CONNECTED", [x, *constants], rounded, schema.FullyConnectedOptionsT())
    logit = graph.tensor("log_odds", answer, "FLOAT32")
    return graph.operator("DEQUANTIZE", [x], logit)


def _constants(
    graph: _Graph, network: QuantizedNetwork, layer: int, scale_in: float
) -> tuple[int, int]:
    """Add the weights (output first, channels last) and the biases of a layer."""
    weight = network.weights[layer]
    scales = weight_scales(weight)
    steps = (weight.detach() / scales.reshape(-1, *(1 for _ in weight.shape[1:]))).round()
    if steps.dim() == 4:
        steps = steps.permute(0, 2, 3, 1)
    narrow = steps.clamp(-127, 127).contiguous().numpy().astype(np.int8)
    bias_scales = scales * scale_in
    bias = (network.biases[layer].detach() / bias_scales).round().numpy().astype("<i4")
    return (
        graph.tensor(f"weights{layer}", narrow.shape, "INT8", scales.tolist(), content=narrow),
        graph.tensor(f"biases{layer}", bias.shape, "INT32", bias_scales.tolist(), content=bias),
    )


def write(
    networks: Sequence[QuantizedNetwork],
    path: Path,
    pictures: NDArray[np.uint8],
    answers: NDArray[np.float64],
) -> None:
    """Write the file of `networks`, all of which read the same picture, and print its digest.

    `answers`, (n, outputs of all), are their answers to (n, side, side, channels) `pictures`.
    Raises ModelError if the file gives other answers, BuildError if the schema of the format
    cannot be downloaded.
    """
    source = PackageFile.of(tomllib.loads(SOURCES.read_text(encoding="utf-8"))["schema"])
    schema = load_schema(extract(source, fetch(source, PACKAGES)))
    content = encode(schema, networks, path.stem)
    step = networks[0].design.output_scale
    difference = np.abs(run_file(content, pictures) - answers) / step
    print(f"file against simulation: differs by at most {difference.max():.0f} steps of {step:.3f}")
    if np.quantile(difference, 0.99) > _MAX_DIFFERENCE + 0.01:
        raise ModelError(
            f"refused: the file differs by {difference.max():.1f} steps from the trained network"
        )
    path.write_bytes(content)
    print(f"{hashlib.sha256(content).hexdigest()}  {path}")


def run_file(content: bytes, pictures: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Return the answers of a file, (n, outputs of all), to (n, side, side, channels) pictures."""
    interpreter = new_interpreter(content, 1)
    interpreter.allocate_tensors()
    pixels = interpreter.get_input_details()[0]["index"]
    outputs = [detail["index"] for detail in interpreter.get_output_details()]
    answers = []
    for picture in pictures:
        interpreter.set_tensor(pixels, picture[None])
        interpreter.invoke()
        answers.append(np.concatenate([interpreter.get_tensor(index)[0] for index in outputs]))
    return np.array(answers, np.float64)
