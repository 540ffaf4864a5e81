"""Rewrites of a TFLite model that keep its function.

They work on the object tree of the FlatBuffers schema (`schema.ModelT`). The schema is a module
from a pinned package that only the build needs.
"""

from functools import partial
from types import ModuleType
from typing import Any

import numpy as np

# JPEG's YCbCr to RGB (ITU-T T.871, section 7), about the middle of each range.
YCBCR = np.array(((1, 0, 1.402), (1, -0.344136, -0.714136), (1, 1.772, 0)))
GREY = np.ones((3, 1))

# Data of a constant tensor begins at a multiple of this (schema.fbs: force_align of Buffer.data).
ALIGNMENT = 16

# The map of the landmarks network that the smile is read from: the last of this shape.
FEATURES = (1, 6, 6, 128)

# The largest root mean square loss of the weights of a layer by rounding to int8. No layer of the
# identity network loses more than 1 %, and its templates keep a cosine of 0.9993.
NARROWING = 0.02


class RewriteError(Exception):
    """The model does not have the form that a rewrite was written for."""


def load(schema: ModuleType, content: bytes) -> Any:
    """Return the object tree of a model with one graph."""
    model = schema.ModelT.InitFromPackedBuf(content)
    if len(model.subgraphs) != 1:
        raise RewriteError(f"{len(model.subgraphs)} graphs where 1 is expected")
    return model


def save(schema: ModuleType, model: Any) -> bytes:
    """Return the file content; the same tree always gives the same bytes."""
    import flatbuffers  # noqa: PLC0415 - only the build environment has it, the tests' has not

    for buffer in model.buffers:
        buffer.Pack = partial(_pack_aligned, schema, buffer)
    builder = flatbuffers.Builder(1 << 20)
    builder.Finish(model.Pack(builder), file_identifier=b"TFL3")
    return bytes(builder.Output())


def _pack_aligned(schema: ModuleType, buffer: Any, builder: Any) -> int:
    """Do what the generated `BufferT.Pack` does, with alignment."""
    data = b"" if buffer.data is None else bytes(buffer.data)
    if data:
        builder.StartVector(1, len(data), ALIGNMENT)
        builder.head -= len(data)
        builder.Bytes[builder.head : builder.head + len(data)] = data
        vector = builder.EndVector()
    schema.BufferStart(builder)
    if data:
        schema.BufferAddData(builder, vector)
    return int(schema.BufferEnd(builder))


def opcode(schema: ModuleType, model: Any, builtin: int, version: int) -> int:
    """Return the index of an operator code; add it if it is missing."""
    for index, code in enumerate(model.operatorCodes):
        if _builtin(code) == builtin and code.version == version:
            return index
    code = schema.OperatorCodeT()
    code.builtinCode = builtin
    code.deprecatedBuiltinCode = builtin  # read by programs older than schema version 3a
    code.version = version
    model.operatorCodes.append(code)
    return len(model.operatorCodes) - 1


def single(schema: ModuleType, model: Any) -> None:
    """Set the batch size to one in all activations and in the targets of reshapes."""
    graph = model.subgraphs[0]
    batch = int(graph.tensors[graph.inputs[0]].shape[0])
    for tensor in graph.tensors:
        if model.buffers[tensor.buffer].data is None:
            if tensor.shape is None or int(tensor.shape[0]) != batch:
                raise RewriteError(f"tensor {tensor.name!r} does not begin with batch {batch}")
            tensor.shape = [1, *(int(n) for n in tensor.shape[1:])]
    for operator in graph.operators:
        if _builtin(model.operatorCodes[operator.opcodeIndex]) == schema.BuiltinOperator.RESHAPE:
            target = model.buffers[graph.tensors[operator.inputs[1]].buffer]
            shape = np.frombuffer(bytes(target.data), "<i4").copy()
            shape[0] = 1
            target.data = np.frombuffer(shape.tobytes(), np.uint8)
            if operator.builtinOptions is not None:
                operator.builtinOptions.newShape = shape.tolist()


def fuse_prelu(schema: ModuleType, model: Any) -> int:
    """Replace relu(x) + c * (x - |x|) by PRELU; return the number of replacements.

    The slope is 2c, a doubling, so every output stays the same to the last bit.
    """
    graph, names = model.subgraphs[0], schema.BuiltinOperator
    makers = {int(op.outputs[0]): op for op in graph.operators}
    kind = {id(op): _builtin(model.operatorCodes[op.opcodeIndex]) for op in graph.operators}
    gone: set[int] = set()

    def made_by(tensor: int, builtin: int) -> Any:
        op = makers.get(int(tensor))
        return op if op is not None and kind[id(op)] == builtin else None

    fused = 0
    for add in graph.operators:
        if kind[id(add)] != names.ADD:
            continue
        relu, scaled = (
            made_by(t, b) for t, b in zip(add.inputs, (names.RELU, names.MUL), strict=True)
        )
        difference = scaled and made_by(scaled.inputs[1], names.SUB)
        magnitude = difference and made_by(difference.inputs[1], names.ABS)
        if not (relu and magnitude):
            continue
        source = relu.inputs[0]
        if not source == difference.inputs[0] == magnitude.inputs[0]:
            raise RewriteError("relu(x) + c * (y - |z|) of different tensors")
        slope = graph.tensors[scaled.inputs[0]]
        half = np.frombuffer(bytes(model.buffers[slope.buffer].data), "<f4")
        model.buffers[slope.buffer].data = np.frombuffer((half * 2).tobytes(), np.uint8)
        slope.shape = [1, 1, half.size]
        add.opcodeIndex = opcode(schema, model, names.PRELU, 1)
        add.inputs = [int(source), int(scaled.inputs[0])]
        add.builtinOptionsType, add.builtinOptions = schema.BuiltinOptions.NONE, None
        gone |= {id(op) for op in (relu, scaled, difference, magnitude)}
        fused += 1
    graph.operators = [op for op in graph.operators if id(op) not in gone]
    return fused


def take_ycbcr(schema: ModuleType, model: Any) -> None:
    """Make a network that reads RGB read YCbCr, which cameras deliver.

    The conversion is linear, so it is merged into the weights of the first convolution: W · M. The
    input must be normalised about the middle of the range, so that zero stays zero. Only colours
    outside RGB, which were clipped, give another result.
    """
    _mix_input(schema, model, YCBCR)


def take_grey(schema: ModuleType, model: Any) -> None:
    """Make the network read one channel, used as red, green and blue."""
    _mix_input(schema, model, GREY)


def _mix_input(schema: ModuleType, model: Any, mixture: Any) -> None:
    """Make the first convolution read n channels that `mixture` (3, n) converts to RGB."""
    graph, names = model.subgraphs[0], schema.BuiltinOperator
    picture = int(graph.inputs[0])
    readers = [op for op in graph.operators if picture in map(int, op.inputs)]
    kinds = [_builtin(model.operatorCodes[op.opcodeIndex]) for op in readers]
    if kinds != [names.CONV_2D] or int(graph.tensors[picture].shape[-1]) != len(mixture):
        raise RewriteError("the picture is not read by one convolution of RGB")
    number = int(readers[0].inputs[1])
    chain = [number]  # the weights, and what they are dequantized from
    chain += [int(op.inputs[0]) for op in graph.operators if number in map(int, op.outputs)]
    stored = graph.tensors[chain[-1]]
    types = {schema.TensorType.FLOAT32: "<f4", schema.TensorType.FLOAT16: "<f2"}
    buffer = model.buffers[stored.buffer]
    weights = np.frombuffer(bytes(buffer.data), types[stored.type]).reshape(stored.shape)
    mixed = (weights.astype(np.float64) @ mixture).astype(types[stored.type])
    buffer.data = np.frombuffer(mixed.tobytes(), np.uint8)
    for tensor in (picture, *chain):
        graph.tensors[tensor].shape = [
            *(int(n) for n in graph.tensors[tensor].shape[:-1]),
            mixture.shape[1],
        ]


def tell_features(schema: ModuleType, model: Any) -> None:
    """Add the last map of shape `FEATURES` to the outputs."""
    graph = model.subgraphs[0]
    maps = [
        int(op.outputs[0])
        for op in graph.operators
        if _builtin(model.operatorCodes[op.opcodeIndex]) == schema.BuiltinOperator.PRELU
        and tuple(map(int, graph.tensors[op.outputs[0]].shape)) == FEATURES
    ]
    if not maps:
        raise RewriteError(f"no activation of shape {FEATURES}")
    graph.outputs = [*map(int, graph.outputs), maps[-1]]


def widen_weights(schema: ModuleType, model: Any) -> int:
    """Convert int8 weights to float32; return the number of tensors.

    Dynamic-range kernels round the input of each layer to int8, differently in every runtime. The
    float kernels agree to the last digits and are faster.
    """
    graph = model.subgraphs[0]
    widened = 0
    for tensor in graph.tensors:
        content = model.buffers[tensor.buffer].data
        if tensor.type != schema.TensorType.INT8 or content is None:
            continue
        ranges = tensor.quantization
        along = [1] * len(tensor.shape)
        along[ranges.quantizedDimension] = -1
        scale = np.asarray(ranges.scale, "<f4").reshape(along)
        zero = np.asarray(ranges.zeroPoint, "<f4").reshape(along)
        narrow = np.frombuffer(bytes(content), np.int8).reshape(tensor.shape)
        wide = (narrow.astype("<f4") - zero) * scale
        model.buffers[tensor.buffer].data = np.frombuffer(wide.tobytes(), np.uint8)
        tensor.type, tensor.quantization = schema.TensorType.FLOAT32, None
        widened += 1
    for code in model.operatorCodes:
        code.version = 1  # the higher ones announce the kernels for int8
    return widened


def narrow_weights(schema: ModuleType, model: Any) -> int:
    """Store convolution weights as int8 with one scale per channel; return the number of tensors.

    Arithmetic stays float32: a DEQUANTIZE converts the weights once, when the file is loaded. The
    biases and slopes, some tens of kilobytes, stay float32. Raises RewriteError if int8 loses more
    than NARROWING of a layer.
    """
    graph, names = model.subgraphs[0], schema.BuiltinOperator
    added = []
    code = opcode(schema, model, names.DEQUANTIZE, 5)  # the first with one scale per channel
    channels = {names.CONV_2D: 0, names.DEPTHWISE_CONV_2D: 3}  # their dimension in the weights
    for operator in graph.operators:
        kind = _builtin(model.operatorCodes[operator.opcodeIndex])
        if kind not in channels:
            continue
        number = int(operator.inputs[1])
        wide = graph.tensors[number]
        weights = np.frombuffer(bytes(model.buffers[wide.buffer].data), "<f4").reshape(wide.shape)
        others = tuple(d for d in range(weights.ndim) if d != channels[kind])
        largest = np.abs(weights).max(axis=others, keepdims=True)
        scale = np.where(largest > 0, largest / 127, 1).astype("<f4")
        small = np.clip(np.rint(weights / scale), -127, 127)
        size = float(np.square(weights, dtype=np.float64).sum())
        lost = float(np.square(small * scale - weights, dtype=np.float64).sum())
        if not lost <= NARROWING**2 * size:  # NaN is refused, too
            raise RewriteError(f"weights {wide.name!r} lose more than {NARROWING:.0%} in int8")
        narrow = schema.TensorT()
        narrow.name = wide.name + b"/int8"
        narrow.shape, narrow.type, narrow.buffer = wide.shape, schema.TensorType.INT8, wide.buffer
        narrow.quantization = schema.QuantizationParametersT()
        narrow.quantization.scale = scale.reshape(-1).tolist()
        narrow.quantization.zeroPoint = [0] * scale.size
        narrow.quantization.quantizedDimension = channels[kind]
        model.buffers[wide.buffer].data = np.frombuffer(small.astype(np.int8).tobytes(), np.uint8)
        wide.buffer = 0  # by convention the empty one
        graph.tensors.append(narrow)
        dequantize = schema.OperatorT()
        dequantize.opcodeIndex = code
        dequantize.inputs, dequantize.outputs = [len(graph.tensors) - 1], [number]
        added.append(dequantize)
    graph.operators = added + graph.operators
    return len(added)


def sweep(schema: ModuleType, model: Any) -> None:
    """Remove unused operator codes, tensors and buffers.

    Raises RewriteError if a rewrite removed a tensor that is still used.
    """
    graph = model.subgraphs[0]
    made = {int(t) for node in graph.operators for t in node.outputs} | set(map(int, graph.inputs))
    for node in (*graph.operators, graph):
        for t in map(int, node.outputs if node is graph else node.inputs):
            if t >= 0 and t not in made and model.buffers[graph.tensors[t].buffer].data is None:
                raise RewriteError(f"tensor {graph.tensors[t].name!r} is used but not computed")

    used = {int(t) for op in graph.operators for t in (*op.inputs, *op.outputs) if t >= 0}
    used |= {int(t) for t in (*graph.inputs, *graph.outputs)}
    kept = sorted(used)
    place = {old: new for new, old in enumerate(kept)} | {-1: -1}
    graph.tensors = [graph.tensors[t] for t in kept]
    for node in (graph, *graph.operators):
        node.inputs = [place[int(t)] for t in node.inputs]
        node.outputs = [place[int(t)] for t in node.outputs]

    codes = sorted({op.opcodeIndex for op in graph.operators})
    model.operatorCodes = [model.operatorCodes[c] for c in codes]
    for op in graph.operators:
        op.opcodeIndex = codes.index(op.opcodeIndex)

    data = [model.buffers[t.buffer].data for t in graph.tensors]
    model.buffers = [schema.BufferT()]
    for tensor, content in zip(graph.tensors, data, strict=True):
        tensor.buffer = 0
        if content is not None:
            buffer = schema.BufferT()
            buffer.data = content
            model.buffers.append(buffer)
            tensor.buffer = len(model.buffers) - 1
    model.metadata = None  # it points at buffers by number


def _builtin(code: Any) -> int:
    """Return the operator: old files have it in a byte field, new ones in both (schema.fbs)."""
    return max(int(code.builtinCode), int(code.deprecatedBuiltinCode))


STEPS = {
    step.__name__: step
    for step in (
        single,
        fuse_prelu,
        take_ycbcr,
        take_grey,
        tell_features,
        widen_weights,
        narrow_weights,
    )
}
