"""The accuracy and the calibration of the smile score."""

from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from senyum_lab.evaluate import metrics
from senyum_lab.evaluate.charts import Chart, HistogramChart, ReliabilityChart, TradeoffChart
from senyum_lab.evaluate.faces import FRAMED, EvaluationContext, FaceSet, look
from senyum_lab.evaluate.labels import Labels, read
from senyum_lab.evaluate.report import EvaluationReport, Table, share

_LEAST_PEOPLE = 2


def evaluate(images: Path, labels: Path, bench: EvaluationContext) -> EvaluationReport:
    """Score every picture of a list `file,smile[,person]`. Raises LabelsError."""
    listed = read(labels, "file", "smile", key="file", truths=("smile",))
    wanted = {row.cells["file"]: listed.truth(row, "smile") for row in listed.rows}
    listed.both(list(wanted.values()), "smile")
    seen = look(wanted, images, bench)
    listed.both([wanted[name] for name in seen.faces], "smile")
    threshold = bench.settings.attendance.smile_threshold

    truths = np.array([wanted[name] for name in seen.faces])
    scores = np.array([np.nan if face is None else face.smile for face in seen.faces.values()])
    found = ~np.isnan(scores)
    listed.both(truths[found].tolist(), "smile")
    right = np.where(found, (scores >= threshold) == truths, False)
    reliable = metrics.reliability(scores[found] / 100, truths[found])
    ordered, people, notes = _ordered(listed, wanted, seen)
    figures = {
        "n": len(seen.faces),
        "found": seen.found,
        **seen.counts,
        "threshold": threshold,
        "accuracy": float(right.mean()),
        "balanced_accuracy": metrics.balanced_accuracy(right, truths),
        "accuracy_found": float(right[found].mean()),
        "balanced_accuracy_found": metrics.balanced_accuracy(right[found], truths[found]),
        "auc": metrics.auc(scores[found], truths[found]),
        "ece": reliable.error,
        "people": people,
        "people_ordered": ordered,
    }
    return EvaluationReport(
        title="Smile",
        figures=figures,
        tables=[_table(figures)],
        protocol=_PROTOCOL,
        notes=[*seen.notes, *notes],
        charts=_charts(scores[found], truths[found], reliable, threshold),
    )


_PROTOCOL = (
    FRAMED,
    "One picture is scored alone, whatever the face's quality.",
    (
        "A picture without a detected face is an error in both accuracies; the figures "
        "of detected faces, the area under the curve and the calibration error omit it."
    ),
    "Calibration error: 10 bins of equal width, the score over 100 against the share of smiles.",
    (
        "people_ordered: of the people with both kinds of photo, the share whose smiling photos "
        "score higher than their neutral ones (mean of several photos); an undetected face "
        "is an error."
    ),
)


def _ordered(
    listed: Labels, wanted: dict[str, bool], seen: FaceSet
) -> tuple[float | None, int, list[str]]:
    """Return the share of ordered people, the number of people, and notes if unmeasured."""
    if "person" not in listed.columns:
        return None, 0, ["unmeasured: people_ordered needs a column person"]
    photos: defaultdict[str, dict[bool, list[float]]] = defaultdict(lambda: {True: [], False: []})
    for row in listed.rows:
        name, person = row.cells["file"], row.cells["person"]
        if person and name in seen.faces:
            face = seen.faces[name]
            photos[person][wanted[name]].append(np.nan if face is None else face.smile)
    pairs = [p for p in photos.values() if p[True] and p[False]]
    if len(pairs) < _LEAST_PEOPLE:
        return None, len(pairs), ["unmeasured: people_ordered needs two people with both photos"]
    ordered = sum(bool(np.mean(p[True]) > np.mean(p[False])) for p in pairs)
    return ordered / len(pairs), len(pairs), []


def _table(figures: Mapping[str, Any]) -> Table:
    def rate(key: str) -> str:
        return share(figures[key])

    ordered = figures["people_ordered"]
    return Table(
        ("figure", "value"),
        (
            ("pictures", f"{figures['n']:,}"),
            ("faces found", f"{figures['found']:,} ({figures['found'] / figures['n']:.2%})"),
            ("accuracy", rate("accuracy")),
            ("balanced accuracy", rate("balanced_accuracy")),
            ("accuracy, faces found", rate("accuracy_found")),
            ("balanced accuracy, faces found", rate("balanced_accuracy_found")),
            ("area under the curve, faces found", f"{figures['auc']:.4f}"),
            ("expected calibration error, faces found", f"{figures['ece']:.4f}"),
            (
                "people whose smile scores higher",
                share(ordered) + (f" of {figures['people']}" if ordered is not None else ""),
            ),
        ),
    )


def _charts(
    scores: metrics.Values,
    truths: metrics.Truths,
    reliable: metrics.Reliability,
    threshold: float,
) -> list[Chart]:
    groups = {"not smiling": scores[~truths], "smiling": scores[truths]}
    curve = metrics.tradeoff(scores[truths], scores[~truths])
    return [
        ReliabilityChart(
            name="reliability",
            title=f"Reliability: calibration error {reliable.error:.3f}",
            measured=reliable,
        ),
        HistogramChart(
            name="scores",
            title="Smile scores",
            groups=groups,
            label="score",
            limits=(0, 100),
            threshold=threshold,
        ),
        TradeoffChart(
            name="det",
            title="Smile: error trade-off",
            curves={"smile": curve},
            accepted="others taken for smiles",
            refused="smiles missed",
        ),
    ]
