import subprocess
import sys
import wave
from pathlib import Path

from edge.types import CueName

DRAWING = Path(__file__).parents[2] / "scripts" / "lib" / "cue_drawing.py"


def test_the_drawing_in_the_docs_is_drawn_from_these_patterns() -> None:
    check = subprocess.run(
        [sys.executable, DRAWING, "--check"], check=False, capture_output=True, text=True
    )
    assert check.returncode == 0, check.stdout + check.stderr


def test_every_cue_can_be_listened_to(tmp_path: Path) -> None:
    subprocess.run([sys.executable, DRAWING, "--wav", tmp_path], check=True)
    assert len(list(tmp_path.glob("*.wav"))) == len(CueName) + 2
    with wave.open(str(tmp_path / "recorded.wav")) as file:
        samples = file.readframes(file.getnframes())
    assert any(samples[: len(samples) // 10])
    assert not any(samples[len(samples) // 2 :])
