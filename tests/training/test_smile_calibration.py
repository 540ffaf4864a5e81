from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from senyum_lab.training.calibration import fit, score_quality


def drawn(line: tuple[float, float, float], count: int) -> tuple[NDArray[Any], NDArray[Any]]:
    """Measures, and smiles as often as the line says."""
    rng = np.random.default_rng(5)
    measures = rng.normal((0.0, 0.6), (3.0, 0.05), (count, 2))
    share = 1 / (1 + np.exp(-(measures @ line[:2] + line[2])))
    return measures, rng.random(count) < share


def test_fit_finds_the_line_that_made_the_smiles() -> None:
    measures, smiling = drawn((0.8, 12.0, -7.0), 40_000)
    line = fit(measures, smiling, np.ones(len(smiling)))
    np.testing.assert_allclose(line, (0.8, 12.0, -7.0), rtol=0.06)


def test_weight_counts_as_so_many_faces() -> None:
    measures, smiling = drawn((0.8, 12.0, -7.0), 500)
    twice = np.arange(len(smiling)) % 2
    weighted = fit(measures, smiling, 1.0 + twice)
    repeated = np.repeat(np.arange(len(smiling)), 1 + twice)
    np.testing.assert_allclose(
        weighted, fit(measures[repeated], smiling[repeated], np.ones(len(repeated))), rtol=1e-5
    )


def test_figures_of_a_true_line_are_calibrated_and_of_a_shifted_one_are_not() -> None:
    measures, smiling = drawn((0.8, 12.0, -7.0), 20_000)
    true = score_quality(measures, smiling, np.array((0.8, 12.0, -7.0)))
    shifted = score_quality(measures, smiling, np.array((0.8, 12.0, -5.0)))
    assert true.faces == 20_000
    assert true.ece < 0.02 < 0.1 < shifted.ece
    assert shifted.auc == pytest.approx(true.auc, abs=1e-6)
    assert true.auc > 0.85
    assert true.balanced > shifted.balanced
