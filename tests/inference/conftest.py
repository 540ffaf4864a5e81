from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from edge.images import from_image
from edge.inference.face_analyzer import AnalyzedFace, FaceAnalyzer
from edge.settings import InferenceSettings

FACES = Path(__file__).parents[1] / "faces"


@pytest.fixture(scope="session")
def examiner() -> FaceAnalyzer:
    return FaceAnalyzer(InferenceSettings())


@pytest.fixture(scope="session")
def portrait() -> Callable[[str], Image.Image]:
    def load(name: str) -> Image.Image:
        with Image.open(FACES / f"{name}.jpg") as photo:
            return photo.convert("RGB")

    return load


@pytest.fixture(scope="session")
def faces(
    examiner: FaceAnalyzer, portrait: Callable[[str], Image.Image]
) -> dict[str, AnalyzedFace]:
    names = ("astronaut", "biden", "obama", "obama2", "obama3")
    found = {name: examiner.analyze(from_image(portrait(name))) for name in names}
    assert all(len(some) == 1 for some in found.values())
    return {name: one for name, (one,) in found.items()}
