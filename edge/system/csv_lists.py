"""Reads the CSV lists that people supply, as spreadsheets and editors write them.

One row is one line. A quotation mark that is not closed on its line is an error of that line: a
cell that went on over the next lines would swallow their rows. So each problem concerns one row and
is reported with its line and column, and all other rows are read.
"""

import re
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from edge.errors import UsageError
from edge.system.supplied_files import read_regular
from edge.system.text import escaped, named, pluralize, visible

_MOST_BYTES = 50_000_000
_LONGEST_CELL = 1000  # characters
_SHOWN = 5  # problems in one message
_DELIMITERS = (";", "\t", ",")
_SEPARATOR_LINE = re.compile(r"sep=([;,\t|])[;,\t|]*", re.IGNORECASE)  # Excel's, before the header
_LINE_END = re.compile(r"\r\n|\n|\r")
_SAVE = 'save the list as "CSV UTF-8"'


@dataclass(frozen=True, slots=True)
class ListProblem:
    """What is wrong with one row."""

    line: int  # in the file, from 1
    column: str  # empty: of the whole line
    what: str  # and what to do

    def __str__(self) -> str:
        return f"line {self.line}{self.column and ', ' + self.column}: {self.what}"


@dataclass(frozen=True, slots=True)
class CsvRow:
    """One line of a list."""

    line: int  # in the file, from 1
    cells: Mapping[str, str]  # by column, in lower case; without the spaces around


@dataclass(frozen=True, slots=True)
class CsvList:
    """A list with the requested columns."""

    path: Path
    columns: tuple[str, ...]
    rows: tuple[CsvRow, ...]  # those without a problem
    problems: tuple[ListProblem, ...]


def read_list(
    path: Path, columns: Mapping[str, frozenset[str]], error: type[UsageError]
) -> CsvList:
    """Read a list that has `columns`, each under one of its spellings, in any order.

    UTF-8, or UTF-16 with a byte order mark; cells separated by commas, semicolons or tabs. Raises
    `error`, which names the file, if it cannot be read, is not a list, or lacks a column.
    """
    try:
        content = read_regular(path, _MOST_BYTES)
    except OSError as failed:
        raise error(f"{path}: cannot be read: {failed.strerror}") from None
    lines = _lines(path, content, error)
    first, delimiter = next(lines, (1, "")), ""
    if separator := _SEPARATOR_LINE.fullmatch(first[1].strip('" ')):
        delimiter = separator[1]
        first = next(lines, (first[0] + 1, ""))
    header, delimiter = _header(path, first, delimiter, columns, error)
    rows: list[CsvRow] = []
    problems: list[ListProblem] = []
    for number, line in lines:
        try:
            cells = _row(line, delimiter, header, columns)
        except _CellError as wrong:
            problems.append(ListProblem(number, wrong.column, wrong.what))
        else:
            if any(map(visible, cells.values())):
                rows.append(CsvRow(number, cells))
    return CsvList(path, header, tuple(rows), tuple(problems))


def summary(path: Path, problems: Sequence[ListProblem]) -> str:
    """Return one message that names the first problems of a list and how many more there are."""
    shown = "; ".join(str(problem) for problem in problems[:_SHOWN])
    more = len(problems) - _SHOWN
    return f"{path}: {shown}" + (f"; and {more} more lines are wrong" if more > 0 else "")


class _CellError(Exception):
    """A line is not a row; of `column`, or of the whole line if that is empty."""

    def __init__(self, column: str, what: str) -> None:
        super().__init__(what)
        self.column = column
        self.what = what


class _QuoteError(Exception):
    """The quotation marks of a cell do not match; `args`: its index, what is wrong."""


def _lines(path: Path, content: bytes, error: type[UsageError]) -> Iterator[tuple[int, str]]:
    """Yield number and text of each line that is not blank. Bytes that are not UTF-8 stay."""
    for start, kind in ((b"PK\3\4", "xlsx or ods"), (b"\xd0\xcf\x11\xe0", "xls")):
        if content.startswith(start):
            raise error(f"{path}: is a spreadsheet file ({kind}); {_SAVE}")
    if content.startswith((b"\xff\xfe", b"\xfe\xff")):
        try:
            text = content.decode("utf-16")
        except UnicodeDecodeError:
            raise error(f"{path}: is damaged UTF-16; {_SAVE}") from None
    else:
        text = content.decode("utf-8-sig", "surrogateescape")
    # Some programs put a byte order mark before one that is there.
    for number, line in enumerate(_LINE_END.split(text.lstrip("\ufeff")), 1):
        if visible(line):
            yield number, line


def _header(
    path: Path,
    first: tuple[int, str],
    delimiter: str,
    columns: Mapping[str, frozenset[str]],
    error: type[UsageError],
) -> tuple[tuple[str, ...], str]:
    """Return the names of the columns, and what separates cells."""
    number, line = first
    if "\0" in line:  # UTF-16 without a byte order mark, or not text at all
        raise error(f"{path}: is not UTF-8 text; {_SAVE}")
    found: dict[str, tuple[str, ...]] = {}
    fault = ""
    for candidate in dict.fromkeys((*delimiter, *_DELIMITERS)):
        try:
            found[candidate] = tuple(_column(cell, columns) for cell in _split(line, candidate))
        except _QuoteError as wrong:
            fault = f"{path}: line {number}, cell {wrong.args[0] + 1}: {wrong.args[1]}"
    if not found:
        raise error(fault)
    # The one that finds most of the columns, for `sep=` may be wrong; of a header without any, the
    # one with most cells.
    delimiter = max(found, key=lambda each: (len(set(columns) & {*found[each]}), len(found[each])))
    header = found[delimiter]
    for column in columns:
        if column not in header:
            there = ", ".join(repr(cell) for cell in header if cell) or "nothing"
            raise error(
                f"{path}: column {column!r} is missing; line {number} names {there:.200}, "
                f"and must name {', '.join(columns)}"
            )
    for column in header:
        if column and header.count(column) > 1:
            raise error(
                f"{path}: column {column!r} is there {header.count(column)} times; keep one"
            )
    return header, delimiter


def _column(cell: str, columns: Mapping[str, frozenset[str]]) -> str:
    name = unicodedata.normalize("NFC", visible(cell)).lower()
    return next((column for column, spellings in columns.items() if name in spellings), name)


def _row(
    line: str, delimiter: str, header: Sequence[str], columns: Mapping[str, frozenset[str]]
) -> dict[str, str]:
    try:
        cells = [cell.strip() for cell in _split(line, delimiter)]
    except _QuoteError as wrong:
        index, what = wrong.args
        raise _CellError(_place(header, index), what) from None
    if len(cells) < len(header) and any(c in columns for c in header[len(cells) :]):
        raise _CellError("", f"has {pluralize(len(cells), 'cell')}, the header has {len(header)}")
    if any(cells[len(header) :]):
        raise _CellError(
            "",
            f"has {pluralize(len(cells), 'cell')}, the header has {len(header)}; put quotation "
            f"marks around a cell that contains {delimiter!r}",
        )
    cells += [""] * (len(header) - len(cells))  # Excel leaves out empty ones at the end
    row = dict(zip(header, cells, strict=False))
    for column, cell in row.items():
        if column in columns:
            _check(column, cell)
        else:
            row[column] = cell.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
    return row


def _check(column: str, cell: str) -> None:
    if len(cell) > _LONGEST_CELL:
        raise _CellError(column, f"has {len(cell)} characters; {_LONGEST_CELL} are the most")
    for place, character in enumerate(cell, 1):
        if "\udc80" <= character <= "\udcff":
            raise _CellError(
                column, f"character {place} (byte {escaped(character)}) is not UTF-8; {_SAVE}"
            )
        if unicodedata.category(character) == "Cc" and character != "\t":
            raise _CellError(
                column, f"character {place} is {named(character)}; type the cell again"
            )


def _place(header: Sequence[str], index: int) -> str:
    return (header[index] if index < len(header) else "") or f"cell {index + 1}"


def _split(line: str, delimiter: str) -> list[str]:
    """Return the cells of a line. Raises _QuoteError."""
    quoted, plain = _patterns(delimiter)
    cells: list[str] = []
    at = 0
    while True:
        if found := quoted.match(line, at):
            cells.append(found[1].replace('""', '"'))
        elif found := plain.match(line, at):
            cells.append(found[0])
        else:
            raise _QuoteError(len(cells), _quote_fault(line[at:].lstrip(" ")))
        if found.end() == len(line):
            return cells
        at = found.end() + 1


@lru_cache
def _patterns(delimiter: str) -> tuple[re.Pattern[str], re.Pattern[str]]:
    """Return what a cell with quotation marks looks like, and one without, up to its end."""
    mark = re.escape(delimiter)
    quoted = re.compile(rf' *+"((?:[^"]|"")*+)" *+(?={mark}|\Z)')
    # ="…" is how programs keep a spreadsheet from taking a text for a quantity.
    plain = re.compile(rf'(?:="[^"]*+"|[^"{mark}]*+)(?={mark}|\Z)')
    return quoted, plain


def _quote_fault(rest: str) -> str:
    if not rest.startswith('"'):
        return (
            "a quotation mark stands inside the cell; remove it, or put the cell in quotation "
            "marks and double the mark inside"
        )
    if re.match(r'"(?:[^"]|"")*+"', rest):
        return "text follows the closing quotation mark; remove the mark, or double it"
    return (
        "a quotation mark opens here and is not closed on this line; remove it, or close it "
        "(a cell cannot contain a line break)"
    )
