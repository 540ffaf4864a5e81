"""The service files, judged by systemd's own tools without booting anything."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

SYSTEMD = Path(__file__).parent.parent / "systemd"
SERVICES = sorted(SYSTEMD.glob("*.service"))
UNITS = [*SERVICES, *sorted(SYSTEMD.glob("*.path"))]

pytestmark = pytest.mark.skipif(
    shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed"
)


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.name)
def test_every_line_is_understood(unit: Path, tmp_path: Path) -> None:
    """Only the programs' absence may be found fault with: nothing is installed here."""
    for other in UNITS:
        text = re.sub(r"(?m)^(Exec\w+)=\S+", r"\1=/bin/true", other.read_text(encoding="utf-8"))
        (tmp_path / other.name).write_text(text)
    verdict = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", str(tmp_path / unit.name)],
        check=False,
        capture_output=True,
        text=True,
    )
    about_us = [line for line in verdict.stderr.splitlines() if unit.name in line]
    assert (verdict.returncode, about_us) == (0, [])


@pytest.mark.parametrize("service", SERVICES, ids=lambda unit: unit.name)
def test_the_sandbox_is_tight(service: Path) -> None:
    """Exposure at most 1.5 of 10."""
    verdict = subprocess.run(
        ["systemd-analyze", "security", "--offline=true", "--threshold=15", str(service)],
        check=False,
        capture_output=True,
        text=True,
    )
    assert verdict.returncode == 0, verdict.stdout.splitlines()[-1]


def test_nothing_leaves_the_unit_dead_for_good() -> None:
    for service in SERVICES:
        text = service.read_text(encoding="utf-8")
        if "Type=oneshot" not in text:
            assert "\nRestart=always\n" in text, service.name
            assert "\nStartLimitIntervalSec=0\n" in text, service.name
