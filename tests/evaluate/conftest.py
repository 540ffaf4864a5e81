from pathlib import Path

import pytest
from sketches import Sketches


@pytest.fixture
def sketches(tmp_path: Path) -> Sketches:
    return Sketches(tmp_path)
