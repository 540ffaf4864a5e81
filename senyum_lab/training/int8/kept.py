"""What takes long to make, kept in a file, so that a run goes on where it was interrupted."""

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

# What lies between a picture and what a network sees of it, beside edge.inference.
_BETWEEN = ("edge/images.py", "senyum_lab/evaluate/faces.py")

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

    Arrays = TypeVar("Arrays", bound=DataclassInstance)


def kept(path: Path, kind: "type[Arrays]", make: "Callable[[], Arrays]") -> "Arrays":
    """Return the dataclass of arrays that `path` holds, made first where there is no such file.

    `path` must tell apart whatever changes what is made. A run that is killed leaves no half file
    under that name.
    """
    names = [field.name for field in fields(kind)]
    if not path.is_file():
        path.parent.mkdir(parents=True, exist_ok=True)
        made = make()
        half = path.with_suffix(".half.npz")
        np.savez(half, **{name: getattr(made, name) for name in names})
        half.rename(path)
    with np.load(path) as stored:
        return kind(**{name: stored[name] for name in names})


def digest(models: Iterable[str], code: Iterable[Path], more: str = "") -> str:
    """Return twelve letters that change with whatever changes what the unit sees of a picture.

    These models, the unit's own code and settings, `code`, and what `more` says: what was cut out
    by the code of yesterday is not what the unit sees today.
    """
    room = Path(edge.inference.__file__).parent
    unit = [*sorted(room.glob("*.py")), *(room.parents[1] / name for name in _BETWEEN)]
    shipped = Models()
    parts = [
        *(shipped.spec(name).sha256 for name in models),
        *(setting().model_dump_json() for setting in (CameraSettings, InferenceSettings)),
        *(path.read_text(encoding="utf-8") for path in (*unit, *sorted(code))),
        f"numpy {np.__version__}, Pillow {PIL.__version__}, {more}",
    ]
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:12]
