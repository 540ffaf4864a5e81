"""How the daemon tells of itself while it runs, and who reads it."""

import json
import os
import time
from pathlib import Path

import pytest

from edge.cli import main
from edge.status.health import free_bytes
from edge.status.status_file import DaemonStatus, StatusFile, read

BOOT = Path("/proc/sys/kernel/random/boot_id").read_text().strip()


def bulletin(**changes: object) -> DaemonStatus:
    content = {
        "sentence": "Watching. 7 enrolled.",
        "source": "urn:senyum:a:b:c",
        "software": "0.1",
        "pid": os.getpid(),
        "boot_id": BOOT,
        "started_ns": 1,
    }
    return DaemonStatus.of({**content, **changes})


def board(folder: Path) -> StatusFile:
    return StatusFile({"RUNTIME_DIRECTORY": str(folder)})


def test_what_is_put_is_read(tmp_path: Path) -> None:
    writer = board(tmp_path)
    writer.write(bulletin(codes=("disk-full",), waiting=3))
    found = read(tmp_path)
    assert found is not None
    assert (found.sentence, found.codes, found.waiting) == (
        "Watching. 7 enrolled.",
        ("disk-full",),
        3,
    )
    assert found.written_ns <= time.monotonic_ns()
    assert (tmp_path / "status.json").stat().st_mode & 0o777 == 0o644
    writer.remove()
    assert read(tmp_path) is None


def test_figures_wait_and_troubles_do_not(tmp_path: Path) -> None:
    writer = board(tmp_path)
    assert writer.is_due(())
    writer.write(bulletin())
    assert not writer.is_due(())
    assert writer.is_due(("camera-lost",))


def test_without_a_runtime_directory_nothing_is_written(tmp_path: Path) -> None:
    writer = StatusFile({})
    assert not writer.is_due(("camera-lost",))
    writer.write(bulletin())
    writer.remove()


@pytest.mark.parametrize("changes", [{"pid": 2**22 + 1}, {"boot_id": "another"}, {"pid": "x"}])
def test_a_daemon_that_is_no_more_says_nothing(tmp_path: Path, changes: dict[str, object]) -> None:
    board(tmp_path).write(bulletin(**changes))
    assert read(tmp_path) is None


def test_what_another_version_wrote_is_read_as_far_as_it_goes(tmp_path: Path) -> None:
    board(tmp_path).write(bulletin())
    file = tmp_path / "status.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "novelty": 1}))
    assert read(tmp_path) is not None
    file.write_text("[]")
    assert read(tmp_path) is None


def test_the_command_says_the_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["status", "--runtime", str(tmp_path)]
    assert main(command) == 3
    assert "not running" in capsys.readouterr().out
    board(tmp_path).write(bulletin())
    assert main(command) == 0
    assert capsys.readouterr().out == "Watching. 7 enrolled.\n"
    board(tmp_path).write(bulletin(fault="the camera is gone"))
    assert main([*command, "--json"]) == 1
    said = json.loads(capsys.readouterr().out)
    assert (said["running"], said["fault"]) == (True, "the camera is gone")


def test_one_that_hangs_is_told_from_one_that_works(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    board(tmp_path).write(bulletin())
    file = tmp_path / "status.json"
    content = json.loads(file.read_text())
    content["written_ns"] -= 60_000_000_000
    file.write_text(json.dumps(content))
    assert main(["status", "--runtime", str(tmp_path)]) == 1
    assert "No update for 6" in capsys.readouterr().out


def test_free_space_is_unknown_if_the_disk_is_gone(tmp_path: Path) -> None:
    assert free_bytes(tmp_path)
    assert free_bytes(tmp_path / "missing") is None
