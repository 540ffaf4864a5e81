"""The clock helper's service file, judged by systemd's own tools without booting anything."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from edge.cli.clock_watch import ANSWER, EVERY_SECONDS
from edge.settings import ClockSettings

UNIT = Path(__file__).parent.parent / "systemd" / "senyum-clock.service"

needs_systemd = pytest.mark.skipif(
    shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed"
)


def setting(name: str) -> list[str]:
    return re.findall(rf"(?m)^{name}=(.*)$", UNIT.read_text(encoding="utf-8"))


@needs_systemd
def test_every_line_is_understood(tmp_path: Path) -> None:
    """Only the program's absence may be found fault with: nothing is installed here."""
    text = UNIT.read_text(encoding="utf-8")
    placed = tmp_path / UNIT.name
    placed.write_text(re.sub(r"(?m)^ExecStart=\S+", "ExecStart=/bin/true", text))
    verdict = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", str(placed)],
        check=False,
        capture_output=True,
        text=True,
    )
    about_us = [line for line in verdict.stderr.splitlines() if UNIT.name in line]
    assert (verdict.returncode, about_us) == (0, [])


@needs_systemd
def test_the_sandbox_is_tight() -> None:
    """Exposure at most 1.5, systemd's own measure, 0 to 10."""
    verdict = subprocess.run(
        ["systemd-analyze", "security", "--offline=true", "--threshold=15", str(UNIT)],
        check=False,
        capture_output=True,
        text=True,
    )
    assert verdict.returncode == 0, verdict.stdout.splitlines()[-1]


def test_the_file_is_where_the_service_may_write() -> None:
    assert str(ANSWER.parent) == f"/run/{setting('RuntimeDirectory')[0]}"


def test_the_daemon_can_read_it() -> None:
    """Kept over a restart, a DynamicUser's folder lies in /run/private, which is root's alone."""
    assert setting("DynamicUser") == ["yes"]
    assert setting("RuntimeDirectoryMode") == ["0755"]
    assert setting("RuntimeDirectoryPreserve") == []


def test_it_asks_often_enough() -> None:
    """One answer may be late, and the next one too, before the daemon doubts the clock."""
    assert ClockSettings().stale_after > 3 * EVERY_SECONDS
    assert float(setting("WatchdogSec")[0]) > 3 * EVERY_SECONDS
