"""The share of faces that the device reports as covered, of those that it can judge."""

from collections import Counter, defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from edge.errors import LabelsError
from edge.types import QualityProblem
from senyum_lab.evaluate import metrics
from senyum_lab.evaluate.faces import FRAMED, EvaluationContext, look
from senyum_lab.evaluate.labels import read
from senyum_lab.evaluate.report import EvaluationReport, Table, share

_NOT_FOUND = "not found"
_BARE = "bare"  # a face without a quality problem
_PROTOCOL = (
    FRAMED,
    (
        "Judged: faces found that are reported as covered or have no quality problem; faces with "
        "another problem (too far, turned, cut off, …) get the hint for that one. Intervals are "
        "95 % Wilson intervals."
    ),
    (
        "Not found: no face detected, or the landmark model rejects it. The device reports a face "
        "of the latter kind as covered if the detector is certain of it; here it does not count."
    ),
    (
        "The list does not state what is covered: of covered faces the share is the detection "
        "rate, of uncovered ones the rate of false reports."
    ),
)


def evaluate(
    images: Path, labels: Path, bench: EvaluationContext, by: str | None = None
) -> EvaluationReport:
    """Count the faces of a list that are reported as covered, also by the column `by`.

    Raises LabelsError.
    """
    listed = read(labels, "file", key="file")
    if by is not None and by not in listed.columns:
        raise LabelsError(
            f"--by {by}: {labels} has no such column; it has {', '.join(listed.columns)}"
        )
    seen = look((row.cells["file"] for row in listed.rows), images, bench)
    outcomes: defaultdict[str, list[str]] = defaultdict(list)
    for row in listed.rows:
        if (name := row.cells["file"]) in seen.faces:
            face = seen.faces[name]
            group = "" if by is None else row.cells[by]
            outcomes[group].append(
                _NOT_FOUND if face is None else str(face.quality.problem or _BARE)
            )
    every = _figures([outcome for some in outcomes.values() for outcome in some])
    groups = {group: _figures(some) for group, some in sorted(outcomes.items()) if by is not None}
    notes = list(seen.notes)
    if not every["judged"]:
        notes.append("unmeasured: the share of covered faces, because no face can be judged")
    return EvaluationReport(
        title="Covered faces",
        figures={**every, **seen.counts, "groups": groups},
        tables=[_table(by or "", {**groups, "all": every})],
        protocol=_PROTOCOL,
        notes=notes,
    )


def _figures(outcomes: list[str]) -> dict[str, Any]:
    """Return the figures of some pictures; the rate is None if no face can be judged."""
    counts = Counter(outcomes)
    covered = counts.pop(str(QualityProblem.COVERED), 0)
    judged = counts.pop(_BARE, 0) + covered
    low, high = metrics.wilson(covered, judged) if judged else (None, None)
    return {
        "n": len(outcomes),
        "not_found": counts.pop(_NOT_FOUND, 0),
        "problems": dict(sorted(counts.items())),
        "judged": judged,
        "covered": covered,
        "covered_rate": covered / judged if judged else None,
        "covered_low": low,
        "covered_high": high,
    }


def _table(name: str, lines: Mapping[str, Mapping[str, Any]]) -> Table:
    rows = tuple(
        (
            group,
            f"{f['n']:,}",
            f"{f['not_found']:,}",
            f"{sum(f['problems'].values()):,}",
            f"{f['judged']:,}",
            f"{f['covered']:,} ({share(f['covered_rate'], 1)})",
            f"{share(f['covered_low'], 1)} to {share(f['covered_high'], 1)}",
        )
        for group, f in lines.items()
    )
    columns = (name, "pictures", "not found", "other problem", "judged", "covered", "95 %")
    return Table(columns, rows)
