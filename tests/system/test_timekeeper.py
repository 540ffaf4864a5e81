"""The helper that asks about the clock: what it leaves behind, alone and as a process."""

import errno
import json
import signal
import socket
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from wireunit import environment

from edge.cli.clock_watch import publish
from edge.errors import ClockError
from edge.system.clock import ClockState, SystemClock, kernel_synchronized

SECONDS = 30.0


def test_what_it_leaves_is_what_the_clock_reads(tmp_path: Path) -> None:
    file = tmp_path / "clock.json"
    said = [True, False]
    clock = SystemClock(file)
    publish(file, lambda: said.pop(0))
    assert clock.read().state is ClockState.SYNCHRONIZED
    publish(file, lambda: said.pop(0))
    assert clock.read().state is ClockState.HOLDOVER
    assert stat.S_IMODE(file.stat().st_mode) == 0o644
    assert [path.name for path in tmp_path.iterdir()] == ["clock.json"]


def test_a_kernel_that_may_not_be_asked_is_told_and_nothing_is_claimed(tmp_path: Path) -> None:
    def forbidden() -> bool:
        raise OSError(errno.EPERM, "Operation not permitted")

    with pytest.raises(ClockError, match="Operation not permitted; let this process call adjtimex"):
        publish(tmp_path / "clock.json", forbidden)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ClockError, match=r"clock\.json: cannot be written"):
        publish(tmp_path / "none" / "clock.json", lambda: True)


def test_the_process_answers_tells_systemd_and_ends_when_told_to(tmp_path: Path) -> None:
    file, mailbox = tmp_path / "clock.json", tmp_path / "notify"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(str(mailbox))
        systemd.settimeout(SECONDS)
        with subprocess.Popen(
            [sys.executable, "-m", "edge.cli", "clock-watch", "--file", file],
            env={**environment(), "NOTIFY_SOCKET": str(mailbox)},
        ) as process:
            heard = [systemd.recv(256) for _ in range(3)]
            assert heard[0].startswith(b"STATUS=")
            assert sorted(heard[1:]) == [b"READY=1", b"WATCHDOG=1"]
            assert json.loads(file.read_text())["synchronized"] is kernel_synchronized()
            process.send_signal(signal.SIGTERM)
            assert process.wait(SECONDS) == 0


def test_it_loads_next_to_nothing() -> None:
    """It stays in memory beside the daemon: no network, no numbers, no networks."""
    heavy = ["numpy", "pydantic", "paho", "joserfc", "cryptography", "edge.settings", "asyncio"]
    program = (
        "import sys, edge.cli, edge.cli.clock_watch\n"
        f"print([name for name in {heavy!r} if name in sys.modules])"
    )
    found = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        check=True,
        env=environment(),
    )
    assert found.stdout.strip() == "[]"


def test_answers_are_never_seen_half_written(tmp_path: Path) -> None:
    file = tmp_path / "clock.json"
    publish(file, lambda: True)
    first = file.open("rb")
    publish(file, lambda: True)
    with first:  # the old answer, whole, for whoever had opened it
        assert json.loads(first.read())["synchronized"] is True
