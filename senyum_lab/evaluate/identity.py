"""The verification rates of a list of pairs of photos."""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge.errors import LabelsError
from edge.system.text import pluralize
from senyum_lab.evaluate import metrics
from senyum_lab.evaluate.charts import HistogramChart, TradeoffChart
from senyum_lab.evaluate.faces import FRAMED, EvaluationContext, look
from senyum_lab.evaluate.labels import read
from senyum_lab.evaluate.metrics import Truths
from senyum_lab.evaluate.report import EvaluationReport, Table, share

_RATES = {"tar_at_far_1e2": 1e-2, "tar_at_far_1e3": 1e-3}


def evaluate(images: Path, pairs: Path, bench: EvaluationContext) -> EvaluationReport:
    """Compare every pair of a list `a,b,same,fold`. Raises LabelsError."""
    listed = read(pairs, "a", "b", "same", "fold", truths=("same",))
    listed.both([listed.truth(row, "same") for row in listed.rows], "same")
    seen = look((row.cells[side] for row in listed.rows for side in ("a", "b")), images, bench)
    usable = [r for r in listed.rows if r.cells["a"] in seen.faces and r.cells["b"] in seen.faces]
    faces = [(seen.faces[row.cells["a"]], seen.faces[row.cells["b"]]) for row in usable]
    scores = np.array(
        [np.nan if not (a and b) else float(a.template @ b.template) for a, b in faces]
    )
    truths = np.array([listed.truth(row, "same") for row in usable])
    folds = np.array([row.cells["fold"] for row in usable])
    found = ~np.isnan(scores)
    listed.both(truths[found].tolist(), "same")
    _enough(pairs, truths, folds, found)

    judged = metrics.across_folds(scores[found], truths[found], folds[found])
    sizes = np.array([(folds == fold).sum() for fold in np.unique(folds)])
    each = judged.right / sizes
    genuine, impostor = scores[found & truths], scores[found & ~truths]
    skipped = len(listed.rows) - len(usable)
    notes = [
        *seen.notes,
        *([f"left out: {pluralize(skipped, 'pair')} with such a file"] if skipped else []),
    ]
    rates: dict[str, float] = {}
    for key, rate in _RATES.items():
        threshold = metrics.threshold_at(impostor, rate)
        # A person whose face was not found is not accepted.
        rates[key] = float((genuine >= threshold).sum() / truths.sum())
        if math.floor(rate * impostor.size + 1e-9) == 0:
            notes.append(
                f"{key}: {impostor.size} impostor pairs cannot show a rate of {rate:g}; the figure "
                "is at none accepted"
            )
    shipped = bench.settings.roster.threshold
    figures = {
        "n": len(usable),
        "found": int(found.sum()),
        "images": len(seen.faces),
        "images_found": seen.found,
        **seen.counts,
        "accuracy": float(each.mean()),
        "accuracy_deviation": float(each.std(ddof=1)),
        "accuracy_found": float((judged.right / judged.sizes).mean()),
        "fold_thresholds": [round(float(t), 4) for t in judged.thresholds],
        **rates,
        "threshold": shipped,
        "same_accepted": float((genuine >= shipped).sum() / truths.sum()),
        "different_accepted": int((impostor >= shipped).sum()),
        "different": int(impostor.size),
    }
    groups = {"different people": impostor, "same person": genuine}
    return EvaluationReport(
        title="Identity: pairs",
        figures=figures,
        tables=[_table(figures)],
        protocol=_PROTOCOL,
        notes=notes,
        charts=[
            TradeoffChart(
                name="det",
                title="Identity: error trade-off",
                curves={"pairs": metrics.tradeoff(genuine, impostor)},
                accepted="false match rate",
                refused="false non-match rate",
            ),
            HistogramChart(
                name="scores",
                title="Similarity of pairs",
                groups=groups,
                label="cosine",
                limits=(-0.4, 1),
                threshold=shipped,
            ),
        ],
    )


_PROTOCOL = (
    FRAMED,
    (
        "Templates, each of five alignments of the face and their mirror images, as at enrolment, "
        "are compared by cosine, regardless of quality."
    ),
    (
        "Accuracy: each fold is evaluated at the best threshold of the other folds (the middle one "
        "of equally good ones), and the accuracies are averaged; the deviation is between folds. "
        "A pair without both faces detected is an error."
    ),
    (
        "TAR at FAR: the lowest threshold that at most floor(FAR x n) pairs of different people "
        "reach, over all folds, not interpolated; a pair of one person without both faces "
        "detected is not accepted, one of different people is left out."
    ),
)


def _enough(path: Path, truths: Truths, folds: NDArray[np.str_], found: Truths) -> None:
    names = np.unique(folds)
    if names.size < 2:
        raise LabelsError(
            f"{path}: all usable pairs are of one fold; the threshold of a fold is chosen on others"
        )
    for name in names:
        if not found[folds == name].any():
            raise LabelsError(f"{path}: no pair of fold {name} has both faces found; leave it out")
        if len(set(truths[found & (folds != name)].tolist())) == 1:
            raise LabelsError(
                f"{path}: without fold {name} the usable pairs are all same or all different; "
                "mix both in every fold"
            )


def _table(figures: Mapping[str, Any]) -> Table:
    return Table(
        ("figure", "value"),
        (
            ("pairs", f"{figures['n']:,}"),
            ("pairs with both faces found", f"{figures['found']:,}"),
            (
                "accuracy, threshold from the other folds",
                f"{share(figures['accuracy'])} ± {share(figures['accuracy_deviation'])}",
            ),
            ("accuracy, faces found", share(figures["accuracy_found"])),
            ("accepted at 1 % false matches", share(figures["tar_at_far_1e2"])),
            ("accepted at 0.1 % false matches", share(figures["tar_at_far_1e3"])),
            (
                f"accepted at {figures['threshold']}, the lowest setting",
                share(figures["same_accepted"]),
            ),
            (
                "different people accepted there",
                f"{figures['different_accepted']} of {figures['different']:,}",
            ),
        ),
    )
