"""Opens model files, and only after their digest matched; no other module does.

The manifest (`models/manifest.toml`, written by `scripts/build_models`) names each file, its
SHA-256, its shapes and what its numbers mean. `models/README.md` says where each comes from.
"""

import hashlib
import importlib
import importlib.util
import logging
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge.errors import ModelError
from edge.settings import LivenessSettings, Settings
from edge.types import Floats, LivenessRules

log = logging.getLogger(__name__)

MANIFEST = "manifest.toml"
# The successor first: the two have the same interpreter, and it is the faster one.
RUNTIMES = ("ai_edge_litert", "tflite_runtime")
_REMEDY = "run scripts/build_models, or install Senyum again"


@dataclass(frozen=True, slots=True)
class ModelSpec:
    """One `[model.NAME]` table of the manifest."""

    name: str
    file: str  # in the folder of the manifest
    sha256: str  # of the file, hex
    input_shape: tuple[int, ...]  # (1, height, width, channels)
    input_dtype: str
    scale: float  # network input = pixel (0 to 255) * scale + offset
    offset: float
    output_shapes: tuple[tuple[int, ...], ...]
    calibration: Mapping[str, float]  # constants of the score; empty where there are none
    source: str  # the registry
    package: str
    version: str
    licence: str
    quantization: str

    def constant(self, name: str) -> float:
        """Return a constant of the calibration. Raises ModelError if the manifest lacks it."""
        try:
            return self.calibration[name]
        except KeyError:
            raise ModelError(
                f"model {self.name}: the manifest lacks calibration.{name}; {_REMEDY}"
            ) from None


class ModelRunner:
    """One network, ready to run; not for use by two threads at once."""

    def __init__(self, spec: ModelSpec, interpreter: Any) -> None:
        self.spec = spec
        self._interpreter = interpreter
        self._input = interpreter.get_input_details()[0]["index"]
        self._outputs = tuple(detail["index"] for detail in interpreter.get_output_details())

    @property
    def input(self) -> Floats:
        """The network's own input tensor, to be written in place.

        Fetch it for each writing and let it go: `run` refuses with RuntimeError while a view
        is held, for the memory may move. Its content after `run` is undefined.
        """
        view: Floats = self._interpreter.tensor(self._input)()
        return view

    def run(self) -> tuple[Floats, ...]:
        """Run on what `input` holds; return the outputs in the manifest's order.

        They are copies (58 KB at most, some microseconds), so they may be kept.
        """
        self._interpreter.invoke()
        return tuple(self._interpreter.get_tensor(index) for index in self._outputs)


class Models:
    """The networks that a manifest names."""

    def __init__(self, folder: Path | None = None, threads: int = 1) -> None:
        """Read the manifest of `folder` (None: the models shipped with Senyum).

        Raises ModelError where it is missing or not a manifest.
        """
        self._folder = folder or shipped()
        self._threads = threads
        self._specs = read_manifest(self._folder / MANIFEST)

    def spec(self, name: str) -> ModelSpec:
        try:
            return self._specs[name]
        except KeyError:
            known = ", ".join(self._specs)
            raise ModelError(
                f"model {name}: not in {self._folder / MANIFEST}, which has {known}; {_REMEDY}"
            ) from None

    def open(self, name: str) -> ModelRunner:
        """Return the network, its tensors allocated.

        Raises ModelError that names the model: unknown, file missing, or file altered.
        """
        spec = self.spec(name)
        path = self._folder / spec.file
        try:
            content = path.read_bytes()
        except OSError as error:
            raise ModelError(
                f"model {name}: {path} cannot be read: {error.strerror}; {_REMEDY}"
            ) from None
        digest = hashlib.sha256(content).hexdigest()
        if digest != spec.sha256:
            raise ModelError(
                f"model {name}: {path} was altered: its SHA-256 is {digest}, "
                f"the manifest says {spec.sha256}; {_REMEDY}"
            )
        # From here on the same bytes are used that were checked, not the file.
        try:
            interpreter = new_interpreter(content, self._threads)
            interpreter.allocate_tensors()
        except (ValueError, RuntimeError) as error:
            raise ModelError(
                f"model {name}: {path} is not a model that this runtime knows: {error}; {_REMEDY}"
            ) from None
        _check_tensors(spec, interpreter)
        return ModelRunner(spec, interpreter)

    def liveness_rules(self, settings: LivenessSettings) -> LivenessRules:
        """Return the liveness rules of these models, with the threshold of the site if it has one.

        Raises ModelError.
        """
        motion = self.spec("landmarks").constant("motion")
        # Both liveness networks are calibrated with `recapture`. Without it nothing is judged, and
        # the two numbers have no effect.
        judge = self._specs.get("recapture")
        threshold = judge.constant("threshold") if judge else 0.5
        if judge and settings.threshold is not None and settings.threshold_model is not None:
            # Scores of another model mean something else.
            if judge.sha256.startswith(settings.threshold_model):
                threshold = settings.threshold
            else:
                log.warning(
                    "liveness.threshold was measured with another model than the installed one "
                    "(%s); %g of the model applies; run senyum liveness-check again",
                    judge.sha256[:12],
                    threshold,
                )
        return LivenessRules(
            threshold=threshold,
            frames=int(judge.constant("frames")) if judge else 5,
            motion=motion,
            reaction=settings.reaction,
            prompt_delay=settings.prompt_delay,
        )

    def digests(self) -> dict[str, str]:
        """SHA-256 (hex) of every model of the manifest, by name."""
        return {name: spec.sha256 for name, spec in self._specs.items()}


def liveness_rules(settings: Settings) -> LivenessRules:
    """Return the liveness rules of a unit with these settings. Raises ModelError."""
    return Models(settings.inference.models).liveness_rules(settings.liveness)


def shipped() -> Path:
    """Return the folder of Senyum's own models: inside a wheel, or of the source tree."""
    package = Path(__file__).resolve().parents[1]
    packed = package / "models"
    return packed if packed.is_dir() else package.parent / "models"


def runtime() -> str:
    """Return the import name of the interpreter's package; raise ModelError if none is there."""
    for name in RUNTIMES:
        if importlib.util.find_spec(name) is not None:
            return name
    raise ModelError(f"no interpreter for the models: install one of {', '.join(RUNTIMES)}")


def new_interpreter(content: bytes, threads: int) -> Any:
    """Return an interpreter of whichever runtime is installed."""
    module = importlib.import_module(f"{runtime()}.interpreter")
    return module.Interpreter(model_content=content, num_threads=threads)


def read_manifest(path: Path) -> dict[str, ModelSpec]:
    """Return the models of a manifest by name; raise ModelError that names the field."""
    try:
        tables = tomllib.loads(path.read_text(encoding="utf-8"))["model"]
    except OSError as error:
        raise ModelError(
            f"{path}: manifest of the models cannot be read: {error.strerror}; {_REMEDY}"
        ) from None
    except (ValueError, KeyError) as error:
        raise ModelError(f"{path}: not a manifest of models ({error}); {_REMEDY}") from None
    return {name: _spec(path, name, table) for name, table in tables.items()}


def _spec(path: Path, name: str, table: Mapping[str, Any]) -> ModelSpec:
    try:
        return ModelSpec(
            name=name,
            file=str(table["file"]),
            sha256=str(table["sha256"]),
            input_shape=tuple(int(n) for n in table["input_shape"]),
            input_dtype=str(table["input_dtype"]),
            scale=float(table["scale"]),
            offset=float(table["offset"]),
            output_shapes=tuple(tuple(int(n) for n in shape) for shape in table["output_shapes"]),
            calibration={key: float(value) for key, value in table["calibration"].items()},
            source=str(table["source"]),
            package=str(table["package"]),
            version=str(table["version"]),
            licence=str(table["licence"]),
            quantization=str(table["quantization"]),
        )
    except KeyError as error:
        raise ModelError(f"{path}: model {name} lacks {error.args[0]}; {_REMEDY}") from None
    except (TypeError, ValueError, AttributeError) as error:
        raise ModelError(f"{path}: model {name} is malformed ({error}); {_REMEDY}") from None


def _check_tensors(spec: ModelSpec, interpreter: Any) -> None:
    """Refuse a manifest whose shapes are not the file's, before somebody trusts them."""
    inputs, outputs = interpreter.get_input_details(), interpreter.get_output_details()
    found = (_shape(inputs[0]), np.dtype(inputs[0]["dtype"]).name, *map(_shape, outputs))
    named = (spec.input_shape, spec.input_dtype, *spec.output_shapes)
    if found != named:
        raise ModelError(
            f"model {spec.name}: {spec.file} has tensors {found}, the manifest says {named}; "
            f"{_REMEDY}"
        )


def _shape(detail: Mapping[str, Any]) -> tuple[int, ...]:
    shape: NDArray[np.int32] = detail["shape"]
    return tuple(int(n) for n in shape)
