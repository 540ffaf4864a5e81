"""Lists of labelled files: csv, UTF-8, parted by commas or semicolons."""

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from edge.errors import LabelsError

_YES = frozenset({"1", "yes", "true", "y"})
_NO = frozenset({"0", "no", "false", "n"})


@dataclass(frozen=True, slots=True)
class Row:
    """One line of a list."""

    line: int  # in the file, from 1
    cells: dict[str, str]  # by column, in lower case; without the spaces around


@dataclass(frozen=True, slots=True)
class Labels:
    """A list with the columns that were asked for, and at least one line."""

    path: Path
    columns: tuple[str, ...]
    rows: tuple[Row, ...]

    def truth(self, row: Row, column: str) -> bool:
        """Return a cell that is 0 or 1. Raises LabelsError."""
        text = row.cells[column].lower()
        if text not in _YES | _NO:
            raise LabelsError(
                f"{self.path}: line {row.line}: {column} is {row.cells[column]!r}; write 0 or 1"
            )
        return text in _YES

    def both(self, truths: Sequence[bool], column: str) -> None:
        """Raise LabelsError unless there is a 0 and a 1 among `truths`."""
        for wanted in (True, False):
            if wanted not in truths:
                raise LabelsError(
                    f"{self.path}: no usable line has {column} {int(wanted)}; "
                    "both 0 and 1 are needed"
                )


def read(path: Path, *needed: str, key: str | None = None) -> Labels:
    """Read a list that must have the columns `needed`; no two lines may share the cell `key`.

    Raises LabelsError, which names the file and the line.
    """
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise LabelsError(f"{path}: the labels cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise LabelsError(f"{path}: is not UTF-8; save the labels as CSV UTF-8") from None
    delimiter = ";" if ";" in text.partition("\n")[0] else ","
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    try:
        columns = tuple(cell.strip().lower() for cell in next(reader, []))
        _check(path, columns, needed)
        rows = [
            _row(path, reader.line_num, columns, cells, needed)
            for cells in reader
            if any(cell.strip() for cell in cells)
        ]
    except csv.Error as error:
        raise LabelsError(
            f"{path}: line {reader.line_num}: cannot be read as csv: {error}"
        ) from None
    if not rows:
        raise LabelsError(f"{path}: holds no labels; write one line a file below the header")
    if key is not None:
        _once(path, rows, key)
    return Labels(path, columns, tuple(rows))


def _check(path: Path, columns: Sequence[str], needed: Sequence[str]) -> None:
    for column in needed:
        if column not in columns:
            there = ", ".join(cell for cell in columns if cell) or "nothing"
            raise LabelsError(
                f"{path}: column {column!r} is missing; the first line names {there}, "
                f"and must name {', '.join(needed)}"
            )
    for column in columns:
        if column and columns.count(column) > 1:
            raise LabelsError(f"{path}: column {column!r} is there more than once; keep one")


def _row(
    path: Path, line: int, columns: Sequence[str], cells: Sequence[str], needed: Sequence[str]
) -> Row:
    if len(cells) != len(columns):
        raise LabelsError(
            f"{path}: line {line}: has {len(cells)} cells, the first line has {len(columns)}"
        )
    row = Row(line, {column: cell.strip() for column, cell in zip(columns, cells, strict=True)})
    for column in needed:
        if not row.cells[column]:
            raise LabelsError(f"{path}: line {line}: {column} is empty")
    return row


def _once(path: Path, rows: Sequence[Row], key: str) -> None:
    first: dict[str, int] = {}
    for row in rows:
        other = first.setdefault(row.cells[key], row.line)
        if other != row.line:
            raise LabelsError(
                f"{path}: line {row.line} names the same {key} as line {other}; keep one of the two"
            )
