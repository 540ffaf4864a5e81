"""A cache of arrays that take long to compute, so that an interrupted run can continue."""

import hashlib
from collections.abc import Callable, Iterable
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import numpy as np
import PIL

import edge.inference
from edge.inference.models import Models
from edge.settings import CameraSettings, InferenceSettings

# Besides edge.inference, the code that a picture passes on its way to a network.
_PREPARATION = ("edge/images.py", "senyum_lab/evaluate/faces.py")

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

    Arrays = TypeVar("Arrays", bound=DataclassInstance)


def cached(path: Path, kind: "type[Arrays]", make: "Callable[[], Arrays]") -> "Arrays":
    """Return the dataclass of arrays stored in `path`; call `make` and store them if it is missing.

    The name must change with everything that affects the arrays. An interrupted run leaves no
    incomplete file under this name.
    """
    names = [field.name for field in fields(kind)]
    if not path.is_file():
        path.parent.mkdir(parents=True, exist_ok=True)
        made = make()
        incomplete = path.with_suffix(".half.npz")
        np.savez(incomplete, **{name: getattr(made, name) for name in names})
        incomplete.rename(path)
    with np.load(path) as stored:
        return kind(**{name: stored[name] for name in names})


def digest(models: Iterable[str], code: Iterable[Path], more: str = "") -> str:
    """Return twelve hexadecimal digits that identify how the device processes a picture.

    They depend on these models, on the code and the settings of the device, on the files `code`
    and on `more`.
    """
    folder = Path(edge.inference.__file__).parent
    unit = [*sorted(folder.glob("*.py")), *(folder.parents[1] / name for name in _PREPARATION)]
    shipped = Models()
    parts = [
        *(shipped.spec(name).sha256 for name in models),
        *(setting().model_dump_json() for setting in (CameraSettings, InferenceSettings)),
        *(path.read_text(encoding="utf-8") for path in (*unit, *sorted(code))),
        f"numpy {np.__version__}, Pillow {PIL.__version__}, {more}",
    ]
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:12]
