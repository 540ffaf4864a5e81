"""The service that provisions at boot, judged by systemd's own tools."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

UNIT = Path(__file__).parents[2] / "systemd" / "senyum-provision.service"

pytestmark = pytest.mark.skipif(
    shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed"
)


def test_every_line_is_understood(tmp_path: Path) -> None:
    """Only the program's absence may be found fault with: nothing is installed here."""
    placed = tmp_path / UNIT.name
    text = UNIT.read_text(encoding="utf-8")
    placed.write_text(re.sub(r"(?m)^ExecStart=\S+", "ExecStart=/bin/true", text))
    verdict = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", str(placed)],
        check=False,
        capture_output=True,
        text=True,
    )
    about_us = [line for line in verdict.stderr.splitlines() if UNIT.name in line]
    assert (verdict.returncode, about_us) == (0, [])


def test_the_sandbox_is_tight() -> None:
    """Exposure at most 1.5, though it is root that runs."""
    verdict = subprocess.run(
        ["systemd-analyze", "security", "--offline=true", "--threshold=15", str(UNIT)],
        check=False,
        capture_output=True,
        text=True,
    )
    assert verdict.returncode == 0, verdict.stdout.splitlines()[-1]
