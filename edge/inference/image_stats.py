"""How much a picture shows, whoever is in it."""

from dataclasses import dataclass

import numpy as np

from edge.inference.quality import sharpness
from edge.types import Bytes2D


@dataclass(frozen=True, slots=True)
class ImageStats:
    """Two figures of a whole picture."""

    level: float  # mean luma, 0 to 255
    sharpness: float  # variance of the Laplacian, 0 and up


def image_stats(luma: Bytes2D) -> ImageStats:
    """Judge the brightness plane of a picture."""
    shades = luma.astype(np.float32)
    return ImageStats(round(float(shades.mean()), 1), round(sharpness(shades), 1))
