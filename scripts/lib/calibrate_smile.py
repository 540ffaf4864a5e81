"""Fit the smile score's line: log-odds of a smile = intercept + weights · measures.

Fitted to the even rows of GENKI-4K's list and to some of LFW's (strict: mild ones are none there),
so that open mouths of people who speak stay below the threshold. The odd rows, the second half of
LFW's list, which is sorted by person, and the London set tell what it is worth.
"""

import argparse
from pathlib import Path

import numpy as np
from labelled import Truths, Values, auc, smiles

from edge.inference.examiner import Examiner
from edge.inference.smile import MEASURES
from edge.settings import InferenceSettings

# Which rows of each list fit the line, and which tell what it is worth.
FIT = {"genki4k": slice(0, None, 2), "lfw-smile": slice(0, 2749, 6)}
TEST = {"genki4k": slice(1, None, 2), "lfw-smile": slice(2749, None, 2), "london": slice(None)}


def fit(measures: Values, smiling: Truths) -> Values:
    """Return weights and intercept (last) of the logistic regression, by Newton's method."""
    design = np.c_[measures, np.ones(len(measures))]
    scale = np.r_[design[:, :-1].std(axis=0), 1.0]
    design = design / scale
    line = np.zeros(design.shape[1])
    for _ in range(30):
        share = 1 / (1 + np.exp(-design @ line))
        hessian = (design.T * (share * (1 - share))) @ design + 1e-6 * np.eye(line.size)
        line -= np.linalg.solve(hessian, design.T @ (share - smiling))
    return np.asarray(line / scale)


def main() -> None:
    """Print the line, and what it is worth."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--datasets", type=Path, required=True)
    datasets: Path = parser.parse_args().datasets
    examiner = Examiner(InferenceSettings(threads=2))
    parts = [smiles(examiner, datasets, name, picked) for name, picked in FIT.items()]
    line = fit(
        np.concatenate([part.measures for part in parts]),
        np.concatenate([part.smiling for part in parts]),
    )
    print("[model.smile.calibration]")
    for name, value in zip((*MEASURES, "intercept"), line, strict=True):
        print(f"{name} = {value:.3f}")
    for name, picked in TEST.items():
        data = smiles(examiner, datasets, name, picked)
        scores = data.measures @ line[:-1] + line[-1]
        right = ((scores > 0) == data.smiling).mean()
        print(f"# {name}: {right:.1%} right at 50, AUC {auc(scores, data.smiling):.4f}")


if __name__ == "__main__":
    main()
