import hashlib
import shutil
import subprocess
import sys
import tomllib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from edge.errors import ModelError
from edge.inference import models as door
from edge.inference.models import MANIFEST, Models, new_interpreter, read_manifest, shipped
from edge.settings import LivenessSettings
from edge.types import Floats

NAMES = (
    *("detector", "far_detector", "landmarks", "identity"),
    *("smile", "readout", "cover", "liveness", "recapture"),
)


def pattern(shape: tuple[int, ...]) -> Floats:
    """A picture anyone can compute: smooth waves, different in each channel, 0 to 255."""
    _, height, width, channels = shape
    y, x, c = np.mgrid[:height, :width, :channels].astype(np.float64)
    wave = np.sin(x / width * (5 + c)) * np.cos(y / height * (7 - c)) + np.sin((x + y) / 11 + c) / 2
    picture: Floats = (wave * 80 + 127).clip(0, 255).round().astype(np.float32)
    return picture


def outputs(network: door.ModelRunner) -> list[Floats]:
    spec = network.spec
    network.input[...] = pattern(spec.input_shape) * np.float32(spec.scale) + np.float32(
        spec.offset
    )
    return list(network.run())


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    folder = tmp_path / "models"
    shutil.copytree(shipped(), folder)
    return folder


def alter(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def test_manifest_names_the_files_that_are_shipped() -> None:
    digests = Models().digests()
    assert tuple(digests) == NAMES
    for name, digest in digests.items():
        content = (shipped() / Models().spec(name).file).read_bytes()
        assert hashlib.sha256(content).hexdigest() == digest


# Minimum, maximum, mean, standard deviation and place of the maximum of each output, as both
# runtimes gave them on x86-64. The tolerance leaves room for another machine's order of additions,
# and for nothing else; an int8 network may so come to the neighbouring step of its output.
STEP = {
    "smile": 0.0473,
    "readout": 0.0473,
    "cover": 0.0473,
    "liveness": 0.0630,
    "recapture": 0.0630,
}
GOLDEN: dict[str, tuple[tuple[float, ...], ...]] = {
    "detector": (
        (-53.7051, 149.706, 6.15117, 22.7604, 13843),
        (-44.1051, -1.53735, -6.42451, 5.5039, 325),
    ),
    "far_detector": (
        (-87.4062, 181.545, 6.14741, 34.2804, 10275),
        (-844.689, 1.52376, -63.8764, 119.965, 718),
    ),
    "landmarks": (
        (-24.9165, 162.902, 62.5129, 51.3295, 457),
        (-7.38188, -7.38188, -7.38188, 0, 0),
        (-1.53886, 11.5228, 1.52102, 1.57818, 31),
    ),
    "identity": ((-7.01717, 5.68829, 0.0159726, 1.68762, 120),),
    "smile": ((-0.330709, -0.330709, -0.330709, 0, 0), (2.59843, 2.59843, 2.59843, 0, 0)),
    "readout": ((-0.519685, -0.519685, -0.519685, 0, 0),),  # 11 steps of the int8 output
    "cover": ((4.818898, 4.818898, 4.818898, 0, 0),),
    "liveness": ((2.141732, 2.141732, 2.141732, 0, 0), (1.007874, 1.007874, 1.007874, 0, 0)),
    "recapture": ((-3.2126, -3.2126, -3.2126, 0, 0),),
}


@pytest.mark.parametrize("name", NAMES)
def test_network_gives_its_golden_outputs(name: str) -> None:
    for output, golden in zip(outputs(Models().open(name)), GOLDEN[name], strict=True):
        *figures, place = golden
        found = (output.min(), output.max(), output.mean(), output.std())
        room = max(2e-3 * max(map(abs, figures)), STEP.get(name, 0.0))
        assert found == pytest.approx(figures, rel=2e-3, abs=room)
        assert output.argmax() == place


@pytest.mark.parametrize("name", NAMES)
def test_two_threads_agree_with_one(name: str) -> None:
    one, two = (outputs(Models(threads=n).open(name)) for n in (1, 2))
    for a, b in zip(one, two, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-4)


def test_outputs_may_be_kept() -> None:
    network = Models().open("cover")
    (first,) = outputs(network)
    kept = first.copy()
    network.input[...] = 0
    (second,) = network.run()
    assert not np.array_equal(first, second)
    np.testing.assert_array_equal(first, kept)


def test_run_refuses_while_a_view_of_the_input_is_held() -> None:
    network = Models().open("smile")
    view = network.input
    with pytest.raises(RuntimeError, match="reference"):
        network.run()
    del view
    network.run()


def test_identity_is_one_picture_with_int8_weights_and_fused_slopes() -> None:
    interpreter = Models().open("identity")._interpreter
    stored = [t["dtype"] for t in interpreter.get_tensor_details() if t["name"].endswith("/int8")]
    assert stored == [np.int8] * 52
    kinds = [op["op_name"] for op in interpreter._get_ops_details()]
    assert kinds.count("PRELU") == 33
    assert kinds.count("DEQUANTIZE") == 52
    assert not {"ABS", "SUB", "MUL", "RELU"} & set(kinds)


@pytest.mark.parametrize("name", NAMES)
def test_altered_model_is_refused_by_name(copy: Path, name: str) -> None:
    models = Models(copy)
    path = copy / models.spec(name).file
    alter(path)
    with pytest.raises(ModelError) as refusal:
        models.open(name)
    message = str(refusal.value)
    assert message.startswith(f"model {name}: {path} was altered")
    assert hashlib.sha256(path.read_bytes()).hexdigest() in message
    assert models.digests()[name] in message
    assert "run scripts/build_models" in message
    assert "\n" not in message


def test_altered_model_never_reaches_an_interpreter(copy: Path) -> None:
    alter(copy / "smile.tflite")
    program = """
import sys
from pathlib import Path
from edge.errors import ModelError
from edge.inference.models import Models, runtime
interpreter = f"{runtime()}.interpreter"
models = Models(Path(sys.argv[1]))
try:
    models.open("smile")
except ModelError as error:
    print("refused", interpreter in sys.modules)
models.open("detector")
print("opened", interpreter in sys.modules)
"""
    said = subprocess.run(
        [sys.executable, "-c", program, str(copy)], capture_output=True, text=True, check=True
    ).stdout
    assert said.split("\n")[:2] == ["refused False", "opened True"]


def test_another_model_in_its_place_is_refused(copy: Path) -> None:
    shutil.copy(copy / "smile.tflite", copy / "identity.tflite")
    with pytest.raises(ModelError, match=r"^model identity: .* was altered"):
        Models(copy).open("identity")


def test_missing_file_is_named(copy: Path) -> None:
    (copy / "landmarks.tflite").unlink()
    with pytest.raises(ModelError, match=r"^model landmarks: .*No such file.*build_models"):
        Models(copy).open("landmarks")


def test_missing_manifest_is_named(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"manifest\.toml: .*No such file.*build_models"):
        Models(tmp_path)


def test_unknown_name_says_which_there_are() -> None:
    with pytest.raises(ModelError, match=r"^model hearing: not in .* has detector, far_detector"):
        Models().open("hearing")


@pytest.mark.parametrize(
    "text", ["model = [", "", "[other]\n", "\xff"], ids=["cut off", "empty", "foreign", "bytes"]
)
def test_broken_manifest_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / MANIFEST).write_bytes(text.encode("latin-1"))
    with pytest.raises(
        ModelError, match=r"manifest\.toml: not a manifest of models .*build_models"
    ):
        Models(tmp_path)


@pytest.mark.parametrize("field", ["file", "sha256", "input_shape", "scale", "calibration"])
def test_manifest_without_a_field_names_it(copy: Path, field: str) -> None:
    path = copy / MANIFEST
    lines = path.read_text().splitlines()
    path.write_text("\n".join(line for line in lines if not line.startswith(f"{field} =")))
    with pytest.raises(ModelError, match=f"model detector lacks {field};"):
        Models(copy)


@pytest.mark.parametrize("wrong", ["input_shape = 3", 'scale = "wide"', "calibration = []"])
def test_malformed_field_is_refused(copy: Path, wrong: str) -> None:
    path = copy / MANIFEST
    key, _, _ = wrong.partition(" ")
    lines = path.read_text().splitlines()
    path.write_text("\n".join(wrong if line.startswith(f"{key} =") else line for line in lines))
    with pytest.raises(ModelError, match="model detector is malformed"):
        Models(copy)


def vouch(folder: Path, name: str) -> None:
    """Make the manifest vouch for whatever the file holds now."""
    path = folder / MANIFEST
    old = read_manifest(path)[name]
    new = hashlib.sha256((folder / old.file).read_bytes()).hexdigest()
    text = path.read_text()
    assert tomllib.loads(text)["model"][name]["sha256"] == old.sha256
    path.write_text(text.replace(f'sha256 = "{old.sha256}"\nbytes', f'sha256 = "{new}"\nbytes'))


def test_file_that_is_no_model_is_refused_even_if_the_manifest_vouches(copy: Path) -> None:
    (copy / "smile.tflite").write_bytes(b"no model at all")
    vouch(copy, "smile")
    with pytest.raises(ModelError, match=r"^model smile: .* not a model that this runtime knows"):
        Models(copy).open("smile")


def test_manifest_with_other_shapes_is_refused(copy: Path) -> None:
    shutil.copy(copy / "landmarks.tflite", copy / "detector.tflite")
    vouch(copy, "detector")
    with pytest.raises(ModelError, match=r"^model detector: .* has tensors .*192.* says .*128"):
        Models(copy).open("detector")


def test_interpreter_is_of_the_runtime_that_is_installed() -> None:
    interpreter = new_interpreter((shipped() / "smile.tflite").read_bytes(), threads=1)
    assert type(interpreter).__module__.split(".")[0] == door.runtime()


def test_the_threshold_of_a_site_holds_for_the_model_it_was_measured_with(
    caplog: pytest.LogCaptureFixture,
) -> None:
    models = Models()
    digest = models.digests()["recapture"]
    shipped_rules = models.liveness_rules(LivenessSettings())
    site = LivenessSettings(threshold=0.321, threshold_model=digest[:12])
    assert models.liveness_rules(site) == replace(shipped_rules, threshold=0.321)
    assert not caplog.records
    other = LivenessSettings(threshold=0.321, threshold_model="0" * 12)
    assert models.liveness_rules(other) == shipped_rules
    assert "measured with another model" in caplog.text
