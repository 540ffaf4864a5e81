import os
import socket
import stat
from pathlib import Path

import pytest

from edge.system.supplied_files import read_regular


def test_a_file_and_a_link_to_it_are_read(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"content")
    (tmp_path / "b").symlink_to("a")
    assert read_regular(tmp_path / "a", 7) == b"content"
    assert read_regular(tmp_path / "b", 7) == b"content"


def test_a_larger_file_is_refused_by_its_size(tmp_path: Path) -> None:
    with (tmp_path / "sparse").open("wb") as file:
        file.truncate(1 << 40)
    with pytest.raises(OSError, match="larger than 2 MB"):
        read_regular(tmp_path / "sparse", 2_000_000)


def test_a_file_that_does_not_state_its_size_is_bounded_all_the_same() -> None:
    with pytest.raises(OSError, match="larger than"):
        read_regular(Path("/proc/self/status"), 10)


def fifo(path: Path) -> None:
    os.mkfifo(path)


def device(path: Path) -> None:
    path.symlink_to("/dev/zero")


def unix_socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (fifo, r"a pipe \(FIFO\), not a regular file"),
        (device, "a device, not"),
        (unix_socket, "a socket, not"),
        (Path.mkdir, "a folder, not"),
        (lambda path: path.symlink_to(path), "symbolic links"),
        (lambda path: path.symlink_to("nowhere"), "No such file"),
    ],
)
def test_what_is_not_a_regular_file_is_never_opened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, make: object, says: str
) -> None:
    path = tmp_path / "x"
    make(path)  # type: ignore[operator]
    monkeypatch.setattr(os, "open", None)
    with pytest.raises(OSError, match=says) as refused:
        read_regular(path, 10)
    assert refused.value.strerror


def test_a_pipe_put_in_the_place_of_a_file_meanwhile_does_not_block(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "photo.jpg"
    os.mkfifo(path)
    regular = os.stat_result((stat.S_IFREG | 0o644, 0, 0, 1, 0, 0, 4, 0, 0, 0))
    monkeypatch.setattr(os, "stat", lambda _: regular)
    with pytest.raises(OSError, match="not a regular file"):
        read_regular(path, 10)


def test_a_name_with_nul_is_an_error_of_the_file() -> None:
    with pytest.raises(OSError, match="NUL"):
        read_regular(Path("a\0b"), 10)
