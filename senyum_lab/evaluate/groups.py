"""Error rates by age, sex and other labelled groups."""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from edge.errors import LabelsError
from edge.gallery import DIMENSION
from edge.inference.face_analyzer import AnalyzedFace
from edge.inference.models import liveness_rules
from edge.settings import Settings
from edge.system.text import pluralize
from senyum_lab.evaluate import metrics
from senyum_lab.evaluate.faces import FRAMED, EvaluationContext, look
from senyum_lab.evaluate.labels import Labels, read
from senyum_lab.evaluate.pairwise import MOST_FACES, SEED, PairCount, PairwiseScores
from senyum_lab.evaluate.report import EvaluationReport, Table, share
from senyum_lab.evaluate.roster_trials import DRAWS, ROSTER, RosterTrials

AGE_BAND = 20  # years
ENOUGH = 200  # pictures for a meaningful figure of a group

_UNKNOWN = frozenset({"", "na", "n/a", "nan", "none", "unknown", "?"})
_USUAL = re.compile(r"age|gender|sex|race|ethnic")
_CODES = re.compile(r"([0-9])([a-z]+)", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class GroupColumn:
    """A label column that groups the faces."""

    column: str
    band: float | None = None  # width, if the column contains numbers

    @classmethod
    def parse(cls, text: str) -> "GroupColumn":
        """Read COLUMN or COLUMN:WIDTH. Raises LabelsError."""
        column, colon, width = text.partition(":")
        try:
            band = float(width) if colon else None
        except ValueError:
            band = 0.0
        if not column or (band is not None and not 0 < band < float("inf")):
            raise LabelsError(
                f"--by {text}: must be COLUMN or COLUMN:WIDTH, such as age:{AGE_BAND}"
            )
        return cls(column.lower(), band)

    @property
    def name(self) -> str:
        """The name of the column without its codes."""
        stem, _, codes = self.column.rpartition("_")
        return stem if stem and _CODES.match(codes) else self.column

    def group(self, cell: str) -> str:
        """Return the group of a cell. Raises ValueError if it must be a number and is not."""
        if self.band is not None:
            low = float(cell) // self.band * self.band
            return f"{low:g} to {low + self.band:g}"
        # The name sex_0m1f defines the meaning of the codes.
        codes: dict[str, str] = dict(_CODES.findall(self.column.rpartition("_")[2]))
        return codes.get(cell, cell)


class _Measured(NamedTuple):
    """What was measured of all faces."""

    likeness: PairwiseScores
    trials: RosterTrials


@dataclass(frozen=True, slots=True)
class _Sample:
    """One picture of the list."""

    cells: Mapping[str, str]
    line: int
    face: AnalyzedFace | None
    number: int  # among the faces found
    smiling: bool | None  # None: not labelled

    @property
    def owner(self) -> str:
        # The prefixes distinguish a person from a file of the same name.
        person = self.cells.get("person")
        return f"person {person}" if person else f"file {self.cells['file']}"

    @property
    def refused(self) -> str | None:
        """The reason for which the device does not judge the face, or None."""
        if self.face is None:
            return "not found"
        problem = self.face.quality.problem
        return None if problem is None else str(problem)


def evaluate(
    images: Path,
    labels: Path,
    by: Sequence[GroupColumn],
    bench: EvaluationContext,
    roster: int = ROSTER,
) -> EvaluationReport:
    """Measure the faces of a list by its label columns. Raises LabelsError.

    `roster`: people enrolled to count the strangers who are accepted.
    """
    if roster < 1:
        raise LabelsError("--roster must be 1 or more")
    listed = read(labels, "file", key="file")
    grouping = {column.name: _groups_of_lines(listed, column) for column in _columns(listed, by)}
    seen = look((row.cells["file"] for row in listed.rows), images, bench)
    samples, faces = _samples(listed, seen.faces)
    templates = (
        np.stack([s.face.template for s in faces if s.face])
        if faces
        else np.zeros((0, DIMENSION), np.float32)
    )
    owners, limits = [s.owner for s in faces], bench.settings.roster
    measured = _Measured(
        PairwiseScores.of(templates, owners, limits.threshold),
        RosterTrials.of(templates, owners, limits, roster),
    )
    everybody = _figures(samples, measured, bench.settings)
    notes = [*seen.notes, *_unmeasured(listed, everybody)]
    groups: dict[str, dict[str, Any]] = {}
    tables = []
    for name, group_of in grouping.items():
        parts: dict[str, list[_Sample]] = {group: [] for group in group_of.values()}
        for sample in samples:
            if sample.line in group_of:
                parts[group_of[sample.line]].append(sample)
        if unlabelled := len(samples) - sum(map(len, parts.values())):
            notes.append(f"left out of {name}: {pluralize(unlabelled, 'picture')} without a label")
        if empty := [group for group, part in parts.items() if not part]:
            notes.append(f"left out of {name}: no usable picture of {', '.join(empty)}")
        groups[name] = {
            group: _figures(part, measured, bench.settings) for group, part in parts.items() if part
        }
        tables += _tables(name, groups[name], everybody)
    figures = {
        "n": len(samples),
        "found": seen.found,
        **seen.counts,
        "threshold": bench.settings.roster.threshold,
        "all": everybody,
        "groups": groups,
    }
    return EvaluationReport(
        title="Groups", figures=figures, tables=tables, protocol=_PROTOCOL, notes=notes
    )


_PROTOCOL = (
    FRAMED,
    (
        "Refused: no face detected, or a quality problem, for which the device gives a hint. "
        "Intervals are 95 % Wilson intervals."
    ),
    (
        "Impostor match rate: pairs of photos of two people at or above the shipped threshold, one "
        "frame against one photo, without margin and agreeing frames; within the group, and of "
        "the group with everybody. Each photo without a person counts as another person. Pairs "
        "share faces, so their intervals are too narrow."
    ),
    (
        "Strangers and enrolled people by the rule of the device, for one frame: the first photo "
        f"of --roster random people of one half is enrolled, {DRAWS} times for each half; the "
        "other half are the strangers, and the further photos of the enrolled people are tried. "
        "The draws share faces, so the intervals are too narrow."
    ),
    (
        "Times: the rate divided by that of everybody. Figures of groups below "
        f"{ENOUGH} pictures are not meaningful. Of more than {MOST_FACES:,} faces, a random "
        f"sample is compared (seed {SEED})."
    ),
)


def _columns(listed: Labels, by: Sequence[GroupColumn]) -> Sequence[GroupColumn]:
    for column in by:
        if column.column not in listed.columns:
            raise LabelsError(
                f"{listed.path}: column {column.column!r} of --by does not exist; the columns are "
                f"{', '.join(listed.columns)}"
            )
    usual = [
        GroupColumn(column, AGE_BAND if column == "age" else None)
        for column in listed.columns
        if _USUAL.match(column)
    ]
    if not by and not usual:
        raise LabelsError(
            f"{listed.path}: no group column; name one age, sex, gender, race or ethnicity, "
            "or choose one with --by"
        )
    return by or usual


def _samples(
    listed: Labels, faces: Mapping[str, AnalyzedFace | None]
) -> tuple[list[_Sample], list[_Sample]]:
    """Return the readable pictures, and those with a face."""
    samples: list[_Sample] = []
    found: list[_Sample] = []
    for row in listed.rows:
        name = row.cells["file"]
        if name not in faces:
            continue
        smiling = listed.truth(row, "smile") if row.cells.get("smile") else None
        sample = _Sample(row.cells, row.line, faces[name], len(found), smiling)
        samples.append(sample)
        if sample.face is not None:
            found.append(sample)
    return samples, found


def _groups_of_lines(listed: Labels, by: GroupColumn) -> dict[int, str]:
    """Return the group of each labelled line, sorted by group."""
    cells = {
        row.line: cell
        for row in listed.rows
        if (cell := row.cells[by.column]).lower() not in _UNKNOWN
    }
    if not cells:
        raise LabelsError(f"{listed.path}: every cell of {by.column} is empty")
    groups: dict[int, str] = {}
    for line, cell in cells.items():
        try:
            groups[line] = by.group(cell)
        except (ValueError, OverflowError):
            raise LabelsError(
                f"{listed.path}: line {line}: {by.column} is {cell!r}; write a number"
            ) from None
    numbers = by.band is not None
    return dict(
        sorted(groups.items(), key=lambda g: (float(g[1].split()[0]) if numbers else 0.0, g[1]))
    )


def _figures(samples: Sequence[_Sample], measured: _Measured, settings: Settings) -> dict[str, Any]:
    """Return the figures of a group; None if its labels do not allow a figure."""
    inside = np.array([s.number for s in samples if s.face is not None], np.intp)
    likeness, trials = measured
    problems = Counter(s.refused for s in samples if s.refused is not None)
    refused = problems.total()
    low, high = metrics.wilson(refused, len(samples))
    figures: dict[str, Any] = {
        "n": len(samples),
        "found": int(inside.size),
        "refused": refused,
        "refused_rate": refused / len(samples),
        "refused_low": low,
        "refused_high": high,
        "problems": dict(sorted(problems.items())),
        **_count("impostor", likeness.among(inside)),
        **_count("impostor_with_all", likeness.with_everybody(inside)),
        **_count("genuine", likeness.genuine(inside)),
        **_count("strangers_accepted", trials.strangers_of(inside)),
        **_count("enrolled_accepted", trials.enrolled_of(inside)),
        **_count("not_living", _not_living(samples, liveness_rules(settings).threshold)),
    }
    smile = settings.attendance.smile_threshold
    for truth, key in ((True, "smiles_seen"), (False, "others_refused")):
        labelled = [s for s in samples if s.smiling is truth]
        right = sum(s.face is not None and (s.face.smile >= smile) == truth for s in labelled)
        figures |= _count(key, PairCount(right, len(labelled)))
    return figures


def _not_living(samples: Sequence[_Sample], threshold: float) -> PairCount:
    """Return how many faces without a quality problem one frame classifies as an attack."""
    judged = [
        s.face.liveness.score
        for s in samples
        if s.refused is None and s.face is not None and s.face.liveness is not None
    ]
    return PairCount(sum(score < threshold for score in judged), len(judged))


def _count(key: str, count: PairCount) -> dict[str, Any]:
    low, high = metrics.wilson(*count) if count.pairs else (None, None)
    return {
        f"{key}_matches": count.matches,
        f"{key}_pairs": count.pairs,
        f"{key}_rate": count.rate,
        f"{key}_low": low,
        f"{key}_high": high,
    }


def _unmeasured(listed: Labels, everybody: Mapping[str, Any]) -> list[str]:
    notes = []
    if not everybody["impostor_pairs"]:
        notes.append("impostor match rate, for fewer than two people have a face found")
    if not everybody["genuine_pairs"]:
        why = "two photos of somebody" if "person" in listed.columns else "a column person"
        notes.append(f"same person accepted, which needs {why}")
    if not everybody["not_living_pairs"]:
        notes.append("live faces refused by liveness, because the models have no liveness network")
    if not everybody["smiles_seen_pairs"] and not everybody["others_refused_pairs"]:
        notes.append("smiles, which need a column smile")
    return [f"unmeasured: {note}" for note in notes]


def _tables(
    name: str, groups: Mapping[str, Mapping[str, Any]], everybody: Mapping[str, Any]
) -> list[Table]:
    lines = [*groups.items(), ("everybody", everybody)]
    tables = [
        Table(
            (name, "pictures", "not found", "refused", "95 %", "times"),
            tuple(
                (
                    group,
                    f"{f['n']:,}",
                    f"{f['n'] - f['found']:,}",
                    f"{f['refused']:,} ({share(f['refused_rate'], 1)})",
                    f"{share(f['refused_low'], 1)} to {share(f['refused_high'], 1)}",
                    _times(f["refused_rate"], everybody["refused_rate"]),
                )
                for group, f in lines
            ),
            f"{name}: live faces refused",
        ),
        _reasons(name, lines, f"{name}: reasons, and the ratio to everybody"),
        _rates("impostor", name, lines, f"{name}: impostor matches within the group"),
        _rates(
            "impostor_with_all",
            name,
            lines,
            f"{name}: impostor matches of the group with everybody",
        ),
    ]
    optional = {
        "strangers_accepted": "strangers accepted by the rule of the device",
        "enrolled_accepted": "enrolled people accepted by the rule of the device, one frame",
        "genuine": "same person accepted",
        "not_living": "live faces that one frame classifies as an attack",
        "smiles_seen": "smiles seen",
        "others_refused": "others not taken for smiles",
    }
    return tables + [
        _rates(key, name, lines, f"{name}: {title}")
        for key, title in optional.items()
        if everybody[f"{key}_pairs"]
    ]


def _reasons(name: str, lines: Sequence[tuple[str, Mapping[str, Any]]], title: str) -> Table:
    """Return one column per reason of refusal."""
    everybody = lines[-1][1]
    reasons = everybody["problems"]

    def cell(figures: Mapping[str, Any], reason: str) -> str:
        count = figures["problems"].get(reason, 0)
        rate = count / figures["n"]
        times = _times(rate, reasons[reason] / everybody["n"])
        return f"{count:,} ({share(rate, 1)}, {times})"

    rows = tuple((group, *(cell(figures, why) for why in reasons)) for group, figures in lines)
    return Table((name, *reasons), rows, title)


def _rates(
    key: str, name: str, lines: Sequence[tuple[str, Mapping[str, Any]]], title: str
) -> Table:
    base = lines[-1][1][f"{key}_rate"]

    def cells(f: Mapping[str, Any]) -> tuple[str, ...]:
        if f[f"{key}_rate"] is None:
            return "unmeasured", "", ""
        return (
            f"{f[f'{key}_matches']:,} of {f[f'{key}_pairs']:,} ({f[f'{key}_rate']:.3g})",
            f"{f[f'{key}_low']:.2g} to {f[f'{key}_high']:.2g}",
            _times(f[f"{key}_rate"], base),
        )

    rows = tuple((group, *cells(figures)) for group, figures in lines)
    return Table((name, "count", "95 %", "times"), rows, title)


def _times(rate: float, base: float | None) -> str:
    return f"{rate / base:.2f}" if base else "-"
