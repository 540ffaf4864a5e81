"""Labelled faces, read through the pipeline's own parts, and the figures that sum them up.

The folder holds LFW (`lfw/`, `lfw-pairs.csv`), GENKI-4K (`genki4k/`, `genki4k.csv`) and the Face
Research Lab London Set (`london/`, `london.csv`); the lists have the columns `file` or
`a,b,same,fold`.
"""

import csv
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from edge.images import from_image
from edge.inference.face_analyzer import FaceAnalyzer
from edge.inference.face_crop import FaceCrop
from edge.inference.landmarks import Mesh

Values = NDArray[np.float64]


class LabelledFace(NamedTuple):
    """The face nearest to the middle of a picture."""

    closeup: FaceCrop
    mesh: Mesh


def look(examiner: FaceAnalyzer, path: Path) -> LabelledFace | None:
    """Return the face nearest to the middle, as the pipeline would see it."""
    picture = from_image(Image.open(path))
    middle = picture.width / 2, picture.height / 2
    found = sorted(
        examiner.find(picture),
        key=lambda face: (
            (face.box.x + face.box.width / 2 - middle[0]) ** 2
            + (face.box.y + face.box.height / 2 - middle[1]) ** 2
        ),
    )
    for face in found:
        if (looked := examiner.locate(picture, face)) is not None:
            return LabelledFace(*looked)
    return None


def rows(path: Path) -> list[dict[str, str]]:
    """Return a list's rows."""
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))
