"""Where a command reads or writes a file, a pipe, a device, a socket or a folder is refused."""

import os
import socket
from collections.abc import Callable
from pathlib import Path

import pytest
from days import Door, key_file

from edge.cli import main
from edge.roster.wipe import replace_and_wipe
from senyum_central.store.event_store import Store


def unix_socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))


KINDS: dict[str, Callable[[Path], None]] = {
    "a pipe (FIFO)": os.mkfifo,
    "a device": lambda path: path.symlink_to("/dev/zero"),
    "a socket": unix_socket,
    "a folder": Path.mkdir,
}


def options(folder: Path, command: str, path: Path) -> list[str]:
    keys = f"--keys={key_file(folder, Door())}"
    store = folder / "events.db"
    Store(store).close()
    return {
        "verify": ["verify", keys, str(path)],
        "export --out": ["export", keys, f"--store={store}", "--from=2026-03-02", f"--out={path}"],
        "export --store": ["export", keys, f"--store={path}", "--from=2026-03-02"],
        "receive --store": ["receive", keys, f"--store={path}", "--broker=mqtt://127.0.0.1:1"],
    }[command]


@pytest.mark.parametrize("command", ["verify", "export --out", "export --store", "receive --store"])
@pytest.mark.parametrize("kind", KINDS)
def test_it_is_refused_and_stays(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], command: str, kind: str
) -> None:
    path = tmp_path / "x"
    KINDS[kind](path)
    before = path.lstat()
    assert main(options(tmp_path, command, path)) == 2
    err = capsys.readouterr().err
    assert str(path) in err
    assert kind in err or command == "export --store"
    assert (path.lstat().st_ino, path.lstat().st_mode) == (before.st_ino, before.st_mode)
    assert not list(tmp_path.glob("*.new"))


@pytest.mark.parametrize("name", [".", "..", "/"])
def test_a_name_that_can_only_be_a_folder_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    assert main(options(tmp_path, "export --out", Path(name))) == 2
    assert "a folder" in capsys.readouterr().err


@pytest.mark.parametrize("kind", KINDS)
def test_no_roster_takes_its_place(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "x"
    KINDS[kind](path)
    with pytest.raises(OSError, match="not a regular file"):
        replace_and_wipe(path, b"content")
    assert [each.name for each in tmp_path.iterdir()] == ["x"]


def test_a_draft_that_somebody_else_left_is_not_written_into(tmp_path: Path) -> None:
    other, out = tmp_path / "other", tmp_path / "week.csv"
    other.write_text("kept")
    (tmp_path / "week.csv.new").symlink_to(other)
    main(options(tmp_path, "export --out", out))
    assert other.read_text() == "kept"
    assert out.read_text().startswith("person_id")
