"""File names as cameras, chats, other systems and attackers choose them."""

import contextlib
import os
import shutil
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from edge.enrolment import EnrolmentPaths, enrol, sort_photos
from edge.errors import LabelsError, PhotoError
from edge.inference.face_analyzer import AnalyzedFace, FaceAnalyzer
from edge.settings import Settings
from edge.types import Box, Quality, Yuv
from senyum_lab.evaluate.faces import EvaluationContext, look, pictures

inputs = settings.get_profile("inputs")

GOOD = Quality(
    face_px=200, sharpness=100, luma=120, contrast=40, yaw=0, pitch=0, roll=0, problem=None
)
NUMBERS = ("198503022010011003", "199001012022211003")


class Shades(FaceAnalyzer):
    """A fake analyzer without networks: each shade of grey is the face of another person."""

    def __init__(self) -> None:
        self.digests = {"identity": "0" * 64}

    def analyze(self, picture: Yuv) -> tuple[AnalyzedFace, ...]:
        template = np.zeros(192, np.float32)
        template[int(picture.y[2, 2]) // 8] = 1
        return (AnalyzedFace(Box(0, 0, 9, 9), 1, GOOD, template, 0, None),)


def photo(shade: int) -> bytes:
    out = BytesIO()
    Image.new("L", (8, 8), shade).save(out, "PNG")
    return out.getvalue()


PHOTOS = tuple(photo(40 + 80 * n) for n in range(2))


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with a list of two people and keys, where photos may be put."""
    desk = tmp_path_factory.mktemp("desk")
    lines = ["number,name,exempt", *(f"{number},Somebody,no" for number in NUMBERS)]
    (desk / "people.csv").write_text("\n".join(lines))
    return desk


def empty(folder: Path) -> Path:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    return folder


file_names = (
    st.binary(min_size=1, max_size=60)
    | st.text(min_size=1, max_size=20).map(lambda text: text.encode("utf-8", "replace"))
    | st.tuples(
        st.sampled_from(
            [b"198503022010011003", b"Foto Andr\xe9", b"\x1b[2J", b"a\nALARM", b"\xe2\x80\xae"]
        ),
        st.binary(max_size=4),
        st.sampled_from([b".jpg", b".JPG", b".png", b"", b".jpg.txt"]),
    ).map(b"".join)
).filter(lambda name: not {0, ord("/")} & set(name) and name not in {b".", b".."})


def is_litter(name: bytes) -> bool:
    known = {b"thumbs.db", b"ehthumbs.db", b"desktop.ini", b"icon\r", b"__macosx", b"@eadir"}
    return name.startswith(b".") or name.lower() in known


@inputs
@given(st.lists(file_names, max_size=6, unique=True), st.booleans())
def test_whatever_a_file_is_called_it_is_named_and_the_others_are_used(
    desk: Path, names: list[bytes], own: bool
) -> None:
    photos = empty(desk / "photos")
    for number, content in zip(NUMBERS, PHOTOS, strict=True):
        (photos / number).mkdir()
        (photos / number / "0.png").write_bytes(content)
    folder = photos / NUMBERS[0] if own else photos
    strange = []
    for name in names:
        path = folder / os.fsdecode(name)
        if not os.path.lexists(path):
            strange.append(name)
            path.write_bytes(b"no picture")
    said: list[str] = []
    files = EnrolmentPaths(
        desk / "people.csv", photos, desk / "roster", desk / "a.key", desk / "b.key"
    )
    (desk / "roster").unlink(missing_ok=True)
    result = enrol(files, Shades(), tell=said.append, progress=lambda _seen, _total: None)
    named = [line for line in said if ".key: made" not in line]
    bad = [name for name in strange if not is_litter(name)]
    assert result.enrolled == 2
    assert result.refused == len(named) == len(bad)
    assert result.complete is not bool(bad)
    for line in said:
        assert line.isprintable()
        assert line.encode()
    assert all(line.startswith(f"{folder}/") for line in named)


marks = st.sampled_from(["", "\u200b", "\u202a", "\ufeff", "\u00ad"])


@inputs
@given(
    st.sampled_from(["{}", "{} (2)", "{}_1", "{}-3", "{} 4"]),
    st.sampled_from([("", "", ""), (" ", " ", " "), (".", ".", "."), ("\u00a0", " ", "")]),
    st.sampled_from([".jpg", ".JPG", ".Jpeg", ".png", ".webp", ""]),
    marks,
    marks,
)
def test_a_number_is_found_in_a_name_however_it_is_written(
    desk: Path, form: str, gaps: Sequence[str], suffix: str, before: str, after: str
) -> None:
    number = NUMBERS[0]
    parts = (number[:8], gaps[0], number[8:14], gaps[1], number[14], gaps[2], number[15:])
    path = desk / "none" / (before + form.format("".join(parts)) + after + suffix)
    said: list[str] = []
    assert sort_photos([path], {number}, set(), said.append) == ({number: [path]}, 0)
    assert said == []


@inputs
@given(st.lists(file_names, min_size=1, max_size=5, unique=True), st.data())
def test_an_evaluation_goes_on_over_any_name(
    desk: Path, names: list[bytes], data: st.DataObject
) -> None:
    folder = empty(desk / "pictures")
    (folder / "good.png").write_bytes(PHOTOS[0])
    for name in map(os.fsdecode, names):
        with contextlib.suppress(FileExistsError), (folder / name).open("xb") as file:
            file.write(data.draw(st.sampled_from([b"", b"no picture", PHOTOS[1]])))
    listed = [*map(os.fsdecode, names), "good.png", "x" * 300, "gone/" * 900, "a\0b"]
    seen = look(listed, folder, EvaluationContext(Shades(), Settings(), lambda _seen, _total: None))
    assert seen.found + len(seen.problems) + seen.missing == len(set(listed))
    assert seen.missing == 3
    assert all(note.isprintable() for note in seen.notes)
    assert "good.png" in pictures(folder)


def test_a_person_s_folder_that_cannot_be_listed_concerns_that_person_alone(
    desk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    photos = empty(desk / "photos")
    (photos / NUMBERS[0]).mkdir()
    (photos / f"{NUMBERS[1]}.png").write_bytes(PHOTOS[1])

    def closed(folder: Path) -> list[Path]:
        raise PhotoError(f"{folder}: photos cannot be listed: Permission denied")

    said: list[str] = []
    shelf = sorted(photos.iterdir())
    monkeypatch.setattr("edge.enrolment.list_folder", closed)
    album, aside = sort_photos(shelf, set(NUMBERS), set(), said.append)
    assert (list(album), aside) == ([NUMBERS[1]], 1)
    assert said == [f"{photos / NUMBERS[0]}: photos cannot be listed: Permission denied"]


def test_a_folder_of_pictures_that_only_looks_like_one(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.jpg")
    (tmp_path / "b.jpg").symlink_to("b.jpg")
    with pytest.raises(LabelsError, match="no pictures in this folder"):
        pictures(tmp_path)
