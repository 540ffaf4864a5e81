"""CSV lists of labelled files."""

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from edge.errors import LabelsError
from edge.system.csv_lists import CsvRow, ListProblem, read_list, summary
from edge.system.text import visible

_YES = frozenset({"1", "yes", "true", "y"})
_NO = frozenset({"0", "no", "false", "n"})


@dataclass(frozen=True, slots=True)
class Labels:
    """A list with the required columns and at least one line."""

    path: Path
    columns: tuple[str, ...]
    rows: tuple[CsvRow, ...]

    def truth(self, row: CsvRow, column: str) -> bool:
        """Return whether a cell is 1. Raises LabelsError if it is neither 0 nor 1."""
        if problem := _no_truth(row, column):
            raise LabelsError(f"{self.path}: {problem}")
        return visible(row.cells[column]).lower() in _YES

    def both(self, truths: Sequence[bool], column: str) -> None:
        """Raise LabelsError unless there is a 0 and a 1 among `truths`."""
        for wanted in (True, False):
            if wanted not in truths:
                raise LabelsError(
                    f"{self.path}: no usable line has {column} {int(wanted)}; "
                    "both 0 and 1 are needed"
                )


def read(path: Path, *needed: str, key: str | None = None, truths: Sequence[str] = ()) -> Labels:
    """Read a list that must have the columns `needed`; no two lines may share the cell `key`.

    The cells of the columns `truths` are 0 or 1. The LabelsError names the file and the lines.
    """
    spellings: Mapping[str, frozenset[str]] = {column: frozenset({column}) for column in needed}
    found = read_list(path, spellings, LabelsError)
    problems = list(found.problems)
    first: dict[str, int] = {}
    for row in found.rows:
        problems += [
            ListProblem(row.line, column, "is empty") for column in needed if not row.cells[column]
        ]
        problems += [
            problem
            for column in truths
            if row.cells[column] and (problem := _no_truth(row, column))
        ]
        if key is not None and (other := first.setdefault(row.cells[key], row.line)) != row.line:
            what = f"names the same {key} as line {other}; keep one of the two"
            problems.append(ListProblem(row.line, key, what))
    if problems:
        raise LabelsError(summary(path, sorted(problems, key=lambda problem: problem.line)))
    if not found.rows:
        raise LabelsError(f"{path}: contains no labels; write one line per file below the header")
    return Labels(path, found.columns, found.rows)


def read_rows(path: Path) -> list[dict[str, str]]:
    """Return the rows of a list of a public data set, which is not checked."""
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def _no_truth(row: CsvRow, column: str) -> ListProblem | None:
    """Return the problem of a cell that is neither 0 nor 1."""
    cell = row.cells[column]
    if visible(cell).lower() in _YES | _NO:
        return None
    return ListProblem(row.line, column, f"is {cell!r}; write 0 or 1")
