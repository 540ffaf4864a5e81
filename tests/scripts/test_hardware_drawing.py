"""The drawings and the table of docs/hardware.md follow from the settings."""

import subprocess
import sys
from pathlib import Path

from edge.settings import GpioSettings

ROOT = Path(__file__).parents[2]
DRAWING = ROOT / "scripts" / "lib" / "hardware_drawing.py"


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(DRAWING), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_the_drawings_are_up_to_date() -> None:
    done = run("--check")
    assert done.returncode == 0, done.stderr


def test_the_page_holds_the_table_as_it_is_worked_out() -> None:
    assert run("--table").stdout in (ROOT / "docs" / "hardware.md").read_text(encoding="utf-8")


def test_the_page_names_the_pins_of_the_settings() -> None:
    page = (ROOT / "docs" / "hardware.md").read_text(encoding="utf-8")
    for name in ("green", "red", "buzzer"):
        assert f"| {getattr(GpioSettings(), name)} |" in page, name
