import hashlib
import io
import tarfile
import tomllib
import zipfile
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from edge.inference.models import new_interpreter
from edge.types import Floats
from senyum_lab.model_files import builder, tflite_rewrite
from senyum_lab.model_files.builder import BuildError, PackageFile

MODELS = Path(builder.SOURCES).parent
Pack = Callable[..., Path]
BLOB = b"weights " * 1000


def source(registry: str = "PyPI", **changes: str) -> PackageFile:
    table = {
        "registry": registry,
        "package": "some-package",
        "version": "1.2.3",
        "blob": "some/model.tflite",
        "blob_sha256": hashlib.sha256(BLOB).hexdigest(),
    }
    return PackageFile.of(table | changes)


def wheel(folder: Path, content: bytes = BLOB) -> Path:
    path = folder / "some_package-1.2.3-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("some/model.tflite", content)
    return path


def tarball(folder: Path, content: bytes = BLOB) -> Path:
    path = folder / "some-package-1.2.3.tgz"
    with tarfile.open(path, "w:gz") as archive:
        member = tarfile.TarInfo("some/model.tflite")
        member.size = len(content)
        archive.addfile(member, io.BytesIO(content))
    return path


@pytest.mark.parametrize("pack", [wheel, tarball])
def test_blob_with_the_pinned_digest_comes_out(tmp_path: Path, pack: Pack) -> None:
    assert builder.extract(source(), pack(tmp_path)) == BLOB


@pytest.mark.parametrize("pack", [wheel, tarball])
def test_wrong_digest_is_refused_by_name_with_both_digests(tmp_path: Path, pack: Pack) -> None:
    other = BLOB[:-1] + b"!"
    with pytest.raises(BuildError) as refusal:
        builder.extract(source(), pack(tmp_path, other))
    message = str(refusal.value)
    assert message.startswith("some-package 1.2.3 (PyPI): some/model.tflite has the SHA-256")
    assert hashlib.sha256(other).hexdigest() in message
    assert hashlib.sha256(BLOB).hexdigest() in message
    assert f"remove {tmp_path}" in message


@pytest.mark.parametrize("pack", [wheel, tarball])
def test_package_without_the_blob_is_named(tmp_path: Path, pack: Pack) -> None:
    with pytest.raises(BuildError, match=r"some-package.*cannot read other/model"):
        builder.extract(source(blob="other/model"), pack(tmp_path))


@pytest.mark.parametrize("pack", [wheel, tarball])
def test_archive_cut_short_is_named(tmp_path: Path, pack: Pack) -> None:
    path = pack(tmp_path)
    path.write_bytes(path.read_bytes()[:40])
    with pytest.raises(BuildError, match=r"cannot read .*remove .* and build again"):
        builder.extract(source(), path)


def test_fetched_package_is_used_again(tmp_path: Path) -> None:
    folder = tmp_path / "some-package-1.2.3"
    folder.mkdir()
    path = wheel(folder)
    assert builder.fetch(source(), tmp_path) == path
    (folder / "stray").touch()
    with pytest.raises(BuildError, match="contains 2 files instead of one; remove the folder"):
        builder.fetch(source(), tmp_path)


def test_file_of_our_own_is_taken_by_its_digest_alone(tmp_path: Path) -> None:
    own = source("Senyum", package="scripts/train_it")
    with pytest.raises(BuildError, match=r"cannot read some/model\.tflite.*run scripts"):
        builder.committed(own, tmp_path)
    path = tmp_path / own.blob
    path.parent.mkdir()
    path.write_bytes(BLOB)
    assert builder.committed(own, tmp_path) == BLOB
    path.write_bytes(BLOB + b"!")
    with pytest.raises(BuildError, match=r"has the SHA-256 .*that scripts/train_it"):
        builder.committed(own, tmp_path)


def test_missing_client_is_named_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(BuildError, match=r"some-package.*npm not found; install it"):
        builder.fetch(source("npm"), tmp_path / "packages")
    assert list((tmp_path / "packages").iterdir()) == []


def test_failed_download_says_why_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A real client that fails: an npm of our own, first on the path.
    npm = tmp_path / "npm"
    npm.write_text("#!/bin/sh\ntouch \"$4/half\"\necho 'E404 no such package' >&2\nexit 1\n")
    npm.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    with pytest.raises(BuildError, match=r"some-package.*download failed: E404 no such package"):
        builder.fetch(source("npm"), tmp_path / "packages")
    assert list((tmp_path / "packages").iterdir()) == []


def test_manifest_text_reads_back_as_it_was() -> None:
    tables = {"a": {"file": 'q"uote\\', "scale": 1 / 3, "shapes": [[1, 2], []], "calibration": {}}}
    tables["b"] = tables["a"] | {"calibration": {"slope": 1.5, "intercept": -0.25}}
    assert tomllib.loads(builder.manifest_text(tables)) == {"model": tables}


def test_card_without_the_marks_is_refused() -> None:
    with pytest.raises(BuildError, match=r"README\.md does not contain the lines"):
        builder.card_text("# Models\n", {})


def test_committed_models_manifest_and_card_belong_together() -> None:
    sources = tomllib.loads((MODELS / "sources.toml").read_text())["model"]
    text = (MODELS / "manifest.toml").read_text()
    tables = tomllib.loads(text)["model"]
    assert list(tables) == list(sources)
    for name, table in sources.items():
        told = {
            "source" if key == "registry" else key.replace("blob", "package_file"): value
            for key, value in table.items()
        }
        assert told.items() <= tables[name].items()
        content = (MODELS / table["file"]).read_bytes()
        assert hashlib.sha256(content).hexdigest() == tables[name]["sha256"]
        assert len(content) == tables[name]["bytes"]
        if not table["rewrite"]:
            assert tables[name]["sha256"] == table["blob_sha256"]
    assert builder.manifest_text(tables) == text
    card = (MODELS / "README.md").read_text()
    assert builder.card_text(card, tables) == card


def test_without_steps_the_bytes_are_passed_on() -> None:
    assert builder.rewrite(ModuleType("schema"), BLOB, []) is BLOB


# The rewrites proper need the schema and FlatBuffers. Where ai-edge-litert is the runtime (Python
# 3.12 and later) it brings both; elsewhere only scripts/build_models has them.


@pytest.fixture
def schema() -> Any:
    return pytest.importorskip("ai_edge_litert.schema_py_generated")


def tiny(schema: Any, batch: int) -> bytes:
    """x -> conv 1x1 -> relu(y) + c * (y - |y|) -> reshape, as TOCO wrote it."""
    names = schema.BuiltinOperator
    model = schema.ModelT()
    model.version, model.buffers, model.operatorCodes = 3, [schema.BufferT()], []
    graph = schema.SubGraphT()
    graph.tensors, graph.operators = [], []
    model.subgraphs = [graph]

    def tensor(
        name: str, shape: Any, values: Any = None, dtype: int = schema.TensorType.FLOAT32
    ) -> int:
        it = schema.TensorT()
        it.name, it.shape, it.type, it.buffer = name.encode(), list(shape), dtype, 0
        if values is not None:
            model.buffers.append(schema.BufferT())
            model.buffers[-1].data = np.frombuffer(values.tobytes(), np.uint8)
            it.buffer = len(model.buffers) - 1
        graph.tensors.append(it)
        return len(graph.tensors) - 1

    def operator(kind: int, inputs: list[int], output: int, options: Any = None) -> int:
        op = schema.OperatorT()
        op.opcodeIndex = tflite_rewrite.opcode(schema, model, kind, 1)
        op.inputs, op.outputs = inputs, [output]
        if options is not None:
            op.builtinOptions = options
            op.builtinOptionsType = getattr(
                schema.BuiltinOptions, type(options).__name__.removesuffix("T")
            )
        graph.operators.append(op)
        return output

    numbers = np.random.default_rng(1)
    weights = numbers.normal(size=(8, 1, 1, 3)).astype("f4")
    convolution = schema.Conv2DOptionsT()
    convolution.strideW = convolution.strideH = 1
    convolution.dilationWFactor = convolution.dilationHFactor = 1
    whole = (batch, 4, 4, 8)
    x = tensor("x", (batch, 4, 4, 3))
    filters = tensor("w", weights.shape, weights)
    bias = tensor("b", (8,), numbers.normal(size=8).astype("f4"))
    slope = tensor("c", (8,), numbers.uniform(0, 0.5, 8).astype("f4"))
    target = tensor("s", (2,), np.array((batch, 128), "<i4"), schema.TensorType.INT32)
    y = operator(names.CONV_2D, [x, filters, bias], tensor("y", whole), convolution)
    relu = operator(names.RELU, [y], tensor("relu", whole))
    size = operator(names.ABS, [y], tensor("abs", whole), schema.AbsOptionsT())
    twice = operator(names.SUB, [y, size], tensor("sub", whole), schema.SubOptionsT())
    low = operator(names.MUL, [slope, twice], tensor("mul", whole), schema.MulOptionsT())
    z = operator(names.ADD, [relu, low], tensor("add", whole), schema.AddOptionsT())
    out = operator(
        names.RESHAPE, [z, target], tensor("out", (batch, 128)), schema.ReshapeOptionsT()
    )
    graph.inputs, graph.outputs = [x], [out]
    return tflite_rewrite.save(schema, model)


def invoke(content: bytes, pictures: Floats) -> Floats:
    interpreter = new_interpreter(content, 1)
    interpreter.allocate_tensors()
    interpreter.set_tensor(interpreter.get_input_details()[0]["index"], pictures)
    interpreter.invoke()
    output: Floats = interpreter.get_tensor(interpreter.get_output_details()[0]["index"])
    return output


def test_rewrites_keep_the_function(schema: Any) -> None:
    original = tiny(schema, batch=2)
    picture = np.random.default_rng(2).normal(size=(1, 4, 4, 3)).astype("f4")
    wanted = invoke(original, np.repeat(picture, 2, axis=0))[:1]
    exact = builder.rewrite(schema, original, ["single", "fuse_prelu"])
    np.testing.assert_array_equal(invoke(exact, picture), wanted)
    narrow = builder.rewrite(schema, original, ["single", "fuse_prelu", "narrow_weights"])
    np.testing.assert_allclose(invoke(narrow, picture), wanted, rtol=1e-2, atol=3e-2)
    assert not np.array_equal(invoke(narrow, picture), wanted)


def test_networks_read_what_cameras_give(schema: Any) -> None:
    original = tiny(schema, batch=1)
    rgb = np.random.default_rng(4).uniform(-1, 1, (1, 4, 4, 3)).astype("f4")
    red, green, blue = np.moveaxis(rgb, -1, 0)
    y = 0.299 * red + 0.587 * green + 0.114 * blue
    ycbcr = np.stack((y, (blue - y) / 1.772, (red - y) / 1.402), -1).astype("f4")
    rewritten = builder.rewrite(schema, original, ["take_ycbcr"])
    np.testing.assert_allclose(invoke(rewritten, ycbcr), invoke(original, rgb), atol=1e-4)
    rewritten = builder.rewrite(schema, original, ["take_grey"])
    wanted = invoke(original, np.repeat(y[..., None], 3, -1))
    np.testing.assert_allclose(invoke(rewritten, y[..., None]), wanted, atol=1e-4)


def test_a_map_in_the_middle_is_put_out_too(schema: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    original = tiny(schema, batch=1)
    with pytest.raises(tflite_rewrite.RewriteError, match="no activation of shape"):
        builder.rewrite(schema, original, ["fuse_prelu", "tell_features"])
    monkeypatch.setattr(tflite_rewrite, "FEATURES", (1, 4, 4, 8))
    told = builder.rewrite(schema, original, ["fuse_prelu", "tell_features"])
    interpreter = new_interpreter(told, 1)
    interpreter.allocate_tensors()
    picture = np.random.default_rng(2).normal(size=(1, 4, 4, 3)).astype("f4")
    interpreter.set_tensor(interpreter.get_input_details()[0]["index"], picture)
    interpreter.invoke()
    first, added = (
        interpreter.get_tensor(each["index"]) for each in interpreter.get_output_details()
    )
    np.testing.assert_array_equal(first, invoke(original, picture))
    np.testing.assert_array_equal(added.ravel(), first.ravel())  # which is reshaped from it


def test_input_that_is_not_rgb_is_refused(schema: Any) -> None:
    grey = builder.rewrite(schema, tiny(schema, batch=1), ["take_grey"])
    with pytest.raises(tflite_rewrite.RewriteError, match="not read by one convolution of RGB"):
        builder.rewrite(schema, grey, ["take_ycbcr"])


def test_widened_weights_are_the_int8_ones_times_their_scales(schema: Any) -> None:
    model = tflite_rewrite.load(schema, tiny(schema, batch=1))
    weights = model.subgraphs[0].tensors[1]
    scales = np.linspace(0.01, 0.02, 8, dtype="f4")
    narrow = np.random.default_rng(3).integers(-127, 128, (8, 1, 1, 3)).astype(np.int8)
    model.buffers[weights.buffer].data = np.frombuffer(narrow.tobytes(), np.uint8)
    weights.type, weights.quantization = schema.TensorType.INT8, schema.QuantizationParametersT()
    weights.quantization.scale, weights.quantization.quantizedDimension = scales.tolist(), 0
    weights.quantization.zeroPoint = [0] * 8

    assert tflite_rewrite.widen_weights(schema, model) == 1
    assert weights.type == schema.TensorType.FLOAT32
    wide = np.frombuffer(model.buffers[weights.buffer].data.tobytes(), "<f4")
    np.testing.assert_array_equal(wide.reshape(8, 3), narrow.reshape(8, 3) * scales[:, None])


def test_half_taken_pattern_is_refused(schema: Any) -> None:
    model = tflite_rewrite.load(schema, tiny(schema, batch=1))
    relu = model.subgraphs[0].operators[1]
    model.subgraphs[0].outputs = [int(relu.outputs[0])]  # somebody else reads what will be gone
    tflite_rewrite.fuse_prelu(schema, model)
    with pytest.raises(tflite_rewrite.RewriteError, match="'relu' is used but not computed"):
        tflite_rewrite.sweep(schema, model)


def test_rewrites_give_the_same_bytes_again(schema: Any) -> None:
    original = tiny(schema, batch=2)
    steps = ["single", "fuse_prelu"]
    once = builder.rewrite(schema, original, steps)
    assert builder.rewrite(schema, original, steps) == once
    assert builder.rewrite(schema, once, steps) == once
    assert len(once) < len(original)


def test_constants_are_aligned(schema: Any) -> None:
    content = builder.rewrite(schema, tiny(schema, batch=2), ["single", "narrow_weights"])
    model = tflite_rewrite.load(schema, content)
    for buffer in model.buffers:
        if buffer.data is not None:
            assert content.index(buffer.data.tobytes()) % tflite_rewrite.ALIGNMENT == 0


def test_each_channel_is_narrowed_by_a_scale_of_its_own(schema: Any) -> None:
    model = tflite_rewrite.load(schema, tiny(schema, batch=1))
    buffer = model.buffers[model.subgraphs[0].tensors[1].buffer]
    weights = np.zeros((8, 3), "<f4")
    weights[1:] = np.linspace(-1, 1, 21).reshape(7, 3) * 10.0 ** np.arange(-3, 4)[:, None]
    buffer.data = np.frombuffer(weights.tobytes(), np.uint8)

    assert tflite_rewrite.narrow_weights(schema, model) == 1
    narrow = model.subgraphs[0].tensors[-1]
    assert narrow.type == schema.TensorType.INT8
    whole = np.frombuffer(model.buffers[narrow.buffer].data.tobytes(), np.int8).reshape(8, 3)
    scales = np.array(narrow.quantization.scale)[:, None]
    assert (np.abs(whole).max(axis=1) == [0, *[127] * 7]).all()  # the first is a dead channel
    assert (np.abs(whole * scales - weights) <= scales / 2 * (1 + 1e-6)).all()


@pytest.mark.parametrize("value", [np.nan, 0.0035])
def test_weights_that_int8_does_not_hold_are_refused(schema: Any, value: float) -> None:
    model = tflite_rewrite.load(schema, tiny(schema, batch=1))
    tensor = model.subgraphs[0].tensors[1]
    tensor.shape = [1, 1, 1, 4000]
    weights = np.full(4000, value, "<f4")
    weights[0] = 1  # the others are less than half a step of it
    model.buffers[tensor.buffer].data = np.frombuffer(weights.tobytes(), np.uint8)
    with pytest.raises(tflite_rewrite.RewriteError, match="'w' lose more than 2% in int8"):
        tflite_rewrite.narrow_weights(schema, model)


def test_manifest_table_takes_the_shapes_from_the_file(schema: Any) -> None:
    content = (MODELS / "identity.tflite").read_bytes()
    committed = tomllib.loads((MODELS / "manifest.toml").read_text())["model"]["identity"]
    given = tomllib.loads((MODELS / "sources.toml").read_text())["model"]["identity"]
    assert builder.manifest_table(schema, given, content) == committed
