import os
from pathlib import Path

import pytest

from edge.system.files import create_file, is_locked, lock_file, lock_folder, replace_file


@pytest.mark.parametrize("durable", [True, False])
@pytest.mark.parametrize("mode", [0o600, 0o644])
def test_a_file_is_replaced_whole_with_its_mode_whatever_the_umask(
    tmp_path: Path, mode: int, *, durable: bool
) -> None:
    path = tmp_path / "model"
    path.write_bytes(b"old and longer")
    before = os.umask(0o077)
    try:
        replace_file(path, b"new", mode=mode, durable=durable)
    finally:
        os.umask(before)
    assert path.read_bytes() == b"new"
    assert path.stat().st_mode & 0o777 == mode
    assert os.listdir(tmp_path) == ["model"]  # noqa: PTH208 - names only


def test_a_failed_replacement_leaves_no_draft(tmp_path: Path) -> None:
    path = tmp_path / "model"
    (path / "in the way").mkdir(parents=True)
    with pytest.raises(OSError, match="model"):
        replace_file(path, b"new", mode=0o644)
    assert [p.name for p in tmp_path.iterdir()] == ["model"]


def test_a_new_file_never_replaces_another(tmp_path: Path) -> None:
    path = tmp_path / "key"
    create_file(path, b"first", mode=0o600)
    with pytest.raises(FileExistsError):
        create_file(path, b"second", mode=0o600)
    assert path.read_bytes() == b"first"
    assert [p.name for p in tmp_path.iterdir()] == ["key"]


def test_one_process_at_a_time_holds_the_lock_of_a_file(tmp_path: Path) -> None:
    path = tmp_path / "outbox.lock"
    assert not is_locked(path)
    holder = lock_file(path, wait=False)
    assert is_locked(path)
    with pytest.raises(BlockingIOError):
        lock_file(path, wait=False)
    os.close(holder)
    assert not is_locked(path)
    os.close(lock_file(path, wait=True))
    assert path.stat().st_mode & 0o777 == 0o600


def test_the_lock_of_a_folder_makes_no_file(tmp_path: Path) -> None:
    os.close(lock_folder(tmp_path))
    assert list(tmp_path.iterdir()) == []
