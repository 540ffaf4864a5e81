"""What takes long to make, kept in a file, so that a run goes on where it was interrupted."""

from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import numpy as np

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
