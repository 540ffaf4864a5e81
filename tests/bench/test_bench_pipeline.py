from pathlib import Path

import pytest

from senyum_lab.bench.pipeline import measure

pytestmark = pytest.mark.slow

FACES = Path(__file__).parents[1] / "faces"


def test_figures_of_the_pipeline_are_there() -> None:
    figures = measure(FACES, rounds=3, threads=[1])
    assert set(figures) == {
        "pass_ms", "invoke_ms", "overhead", "first_ms", "idle_ms", "pipeline", "stage_ms",
    }  # fmt: skip
    assert isinstance(figures["pipeline"], dict)
    for case in figures["pipeline"].values():
        assert case["pass_ms"] > case["idle_ms"] > 0
        assert case["invoke_ms"] > 0
