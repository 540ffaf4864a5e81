from pathlib import Path

import pytest

from edge.errors import LabelsError
from senyum_lab.evaluate.labels import read


def written(folder: Path, content: str | bytes) -> Path:
    path = folder / "labels.csv"
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


@pytest.mark.parametrize(
    "content",
    [
        "file,smile\na.jpg,1\n",
        "\ufeffFile ; Smile\r\na.jpg;1\r\n\r\n",
        'smile,note,file\n1,"of, 2024",a.jpg',
    ],
    ids=["plain", "spreadsheet", "another order"],
)
def test_lists_as_programs_write_them(tmp_path: Path, content: str) -> None:
    labels = read(written(tmp_path, content), "file", "smile", key="file")
    (row,) = labels.rows
    assert row.cells["file"] == "a.jpg"
    assert labels.truth(row, "smile") is True


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("", "column 'file' is missing; line 1 names nothing"),
        ("file,happy\na.jpg,1\n", "column 'smile' is missing; line 1 names 'file', 'happy'"),
        ("file,smile\n", "contains no labels"),
        ("file,smile\na.jpg\n", "line 2: has 1 cell, the header has 2"),
        ("file,smile\na.jpg,\n", "line 2, smile: is empty"),
        ("file,smile,smile\na.jpg,1,0\n", "column 'smile' is there 2 times"),
        ("file,smile\na.jpg,1\nb.jpg,0\na.jpg,0\n", "line 4, file: names the same file as line 2"),
        (b"file,smile\n\xff.jpg,1\n", "line 2, file: character 1 (byte \\xff) is not UTF-8"),
        ("file,smile\n,1\na.jpg\n", "line 2, file: is empty; line 3: has 1 cell"),
        ('file,smile\n"a.jpg,1\n', "line 2, file: a quotation mark opens here"),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, content: str | bytes, says: str) -> None:
    path = written(tmp_path, content)
    with pytest.raises(LabelsError) as raised:
        read(path, "file", "smile", key="file")
    assert str(raised.value).startswith(f"{path}: ")
    assert says in str(raised.value)
    assert "\n" not in str(raised.value)


def test_a_list_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(LabelsError, match="cannot be read: No such file"):
        read(tmp_path / "none.csv", "file")


def test_a_truth_is_0_or_1(tmp_path: Path) -> None:
    labels = read(written(tmp_path, "file,smile\na.jpg,0.7\n"), "file", "smile")
    with pytest.raises(LabelsError, match=r"line 2, smile: is '0\.7'; write 0 or 1"):
        labels.truth(labels.rows[0], "smile")


def test_all_cells_that_are_no_truth_are_named_at_once(tmp_path: Path) -> None:
    path = written(tmp_path, "file,smile\na,x\nb,1\nc,\u200b1\nd,\u0661\n")
    with pytest.raises(
        LabelsError, match=r"line 2, smile: is 'x'; .*; line 5, smile: is '\u0661';"
    ):
        read(path, "file", "smile", truths=("smile",))


def test_one_class_is_not_enough(tmp_path: Path) -> None:
    labels = read(written(tmp_path, "file,smile\na.jpg,1\n"), "file", "smile")
    with pytest.raises(LabelsError, match="no usable line has smile 0; both 0 and 1 are needed"):
        labels.both([True, True], "smile")
