import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from sketches import Sketches

from edge.errors import LabelsError
from edge.images import from_image
from edge.settings import CameraSettings
from senyum_lab.evaluate.faces import framed, look, pictures

SIDES = st.integers(1, 60).map(lambda n: 2 * n)


@given(SIDES, SIDES)
def test_a_small_picture_keeps_its_pixels(width: int, height: int) -> None:
    photo = from_image(Image.new("L", (width, height), 200))
    frame = framed(photo, CameraSettings())
    assert (frame.y == 200).sum() == width * height
    assert ((frame.y == 0) | (frame.y == 200)).all()
    assert frame.width == pytest.approx(frame.height * 4 / 3, abs=2)
    assert frame.width == width or frame.height == height


@pytest.mark.parametrize("size", [(2048, 1000), (600, 2048), (2048, 2048)])
def test_a_large_picture_is_shrunk_into_the_frame(size: tuple[int, int]) -> None:
    frame = framed(from_image(Image.new("L", size, 200)), CameraSettings())
    assert (frame.width, frame.height) == (1280, 960)
    rows, columns = np.nonzero(frame.y > 100)
    shape = (np.ptp(columns) + 1) / (np.ptp(rows) + 1)
    assert shape == pytest.approx(size[0] / size[1], rel=0.01)


def test_each_picture_is_examined_once(sketches: Sketches) -> None:
    name = sketches.paint("a.png", smile=70)
    seen = look([name, "gone.png", name], sketches.folder, sketches.bench)
    assert list(seen.faces) == [name]
    assert (seen.found, seen.missing) == (1, 1)
    assert sketches.progress[-1] == (2, 2)


def test_pictures_of_a_folder_in_order(sketches: Sketches) -> None:
    for name in ("b/2.png", "b/10.PNG", "a.png"):
        sketches.paint(name)
    sketches.write("note.txt", "no picture")
    assert pictures(sketches.folder) == ["a.png", "b/10.PNG", "b/2.png"]
    (sketches.folder / "empty").mkdir()
    with pytest.raises(LabelsError, match="no pictures in this folder"):
        pictures(sketches.folder / "empty")
