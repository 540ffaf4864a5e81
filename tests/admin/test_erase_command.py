"""`senyum admin erase` where something stands in its way; the whole way is test_roster_way."""

import io
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from delivering import Enroller
from rosters import KEY, ORG_KEY, person, roster

from edge.cli import main
from edge.roster.file import read, save

ANI, BUDI = person(1), person(2)


@pytest.fixture
def words(tmp_path: Path) -> list[str]:
    """Give the options that name the files, for a broker that is not there."""
    (tmp_path / "unit").mkdir()
    enroller = Enroller(tmp_path / "enroller", tmp_path / "unit")
    save(enroller.file, KEY, roster(3, ANI, BUDI))
    for name, key in (("roster.key", KEY), ("organisation.key", ORG_KEY)):
        (tmp_path / name).write_text(key.hex())
        (tmp_path / name).chmod(0o600)
    commands = ["admin", "keys", "--role", "command", "--units", "urn:senyum:*:*:*"]
    assert main([*commands, "--authority", str(tmp_path / "commands.key")]) == 0
    files = {
        "--roster": enroller.file,
        "--roster-key": tmp_path / "roster.key",
        "--authority": enroller.file.with_name("authority.key"),
        "--keys": enroller.keys,
    }
    named = [str(word) for pair in files.items() for word in pair]
    return ["admin", "erase", *named, "--broker", "127.0.0.1:1"]


def versions(folder: Path) -> tuple[int, list[str]]:
    now = read(folder / "enroller" / "roster.senyum", KEY)
    return now.version, [one.id for one in now.people]


def test_a_broker_that_is_away_leaves_the_person_erased_here(
    words: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO(ANI.number + "\n"))
    org_key = ["--org-key", str(tmp_path / "organisation.key")]
    assert main([*words, "--number-file", "-", *org_key]) == 1
    assert versions(tmp_path) == (4, [BUDI.id])
    said = capsys.readouterr()
    assert "run this again" in said.err
    assert ANI.number not in said.out + said.err
    assert main([*words, "--person", ANI.id]) == 1  # again: nothing more changes
    assert versions(tmp_path) == (4, [BUDI.id])


@pytest.mark.parametrize(
    "wrong",
    [
        ["--person", "198503302010121001"],
        ["--person", "ab" * 16],
        ["--number-file", "-"],
        ["--number-file", "/nowhere", "--org-key", "organisation.key"],
        ["--person", ANI.id, "--wait", "nan"],
        ["--person", ANI.id, "--units", "urn:senyum:elsewhere:*:*"],
        ["--person", ANI.id, "--broker", "ftp://x"],
        ["--person", ANI.id, "--authority", "none.key"],
        ["--person", ANI.id, "--authority", "commands.key"],
    ],
)
def test_what_is_wrong_changes_nothing(
    words: list[str],
    wrong: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main([*words, *wrong]) == 2
    assert versions(tmp_path) == (3, [ANI.id, BUDI.id])
    said = capsys.readouterr().err.strip().splitlines()
    assert len(said) == 1
    assert said[0].startswith("senyum: ")


def test_a_number_file_as_an_editor_on_windows_saves_it(words: list[str], tmp_path: Path) -> None:
    file = tmp_path / "number.txt"
    file.write_bytes(b"\xef\xbb\xbf" + ANI.number.encode() + b"\r\n")
    org_key = ["--org-key", str(tmp_path / "organisation.key")]
    assert main([*words, "--number-file", str(file), *org_key]) == 1
    assert versions(tmp_path) == (4, [BUDI.id])


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (os.mkfifo, "cannot be read: it is a pipe (FIFO), not a regular file"),
        (Path.mkdir, "cannot be read: it is a folder, not a regular file"),
        (lambda path: path.write_bytes(b"\xff"), ": not UTF-8 text"),
        (
            lambda path: path.write_text(f"{ANI.number}\n{BUDI.number}"),
            "this has 36 digits",
        ),
        (lambda path: path.write_text("\u0661"), "character 1 is U+0661 ARABIC-INDIC DIGIT ONE"),
    ],
)
def test_a_number_file_that_holds_no_number_erases_nobody(
    words: list[str],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    make: Callable[[Path], object],
    says: str,
) -> None:
    file = tmp_path / "number.txt"
    make(file)
    org_key = ["--org-key", str(tmp_path / "organisation.key")]
    assert main([*words, "--number-file", str(file), *org_key]) == 2
    assert says in capsys.readouterr().err
    assert versions(tmp_path) == (3, [ANI.id, BUDI.id])
