"""Person numbers (NIP), opaque person ids, and the csv list of people to enrol.

A person number is 18 digits:

    1-8    birth date, YYYYMMDD
    9-14   PNS: appointment, YYYYMM; PPPK: appointment year and contract count (01-99)
    15     sex, 1 or 2
    16-18  serial, from 001

It exposes birth date and sex, so nothing here repeats one in a message: `mask` shows the serial.
"""

import csv
import hashlib
import hmac
import io
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path

from edge.errors import PeopleError

_SEPARATORS = re.compile(r"[\s.\-]")
_DIGITS = re.compile(r"[0-9]{18}")
# What a spreadsheet makes of 18 digits that it took for a quantity: 1.98503E+17 or 1,98503E+17.
_SPREADSHEET = re.compile(r"[0-9]([.,][0-9]+)?E\+?17", re.IGNORECASE)
_AS_TEXT = "give the column the text format in the spreadsheet and type the number again"

_EARLIEST_BIRTH = 1900
# The civil service has asked for 18 years; this only finds numbers that cannot be anybody's.
_YOUNGEST_YEARS = 15

_COLUMNS: Mapping[str, frozenset[str]] = {
    "number": frozenset({"number", "person_number", "person number", "nip"}),
    "name": frozenset({"name", "nama"}),
    "exempt": frozenset({"exempt"}),
}
_YES = frozenset({"yes", "ya", "y", "true", "1"})
_NO = frozenset({"no", "tidak", "n", "false", "0", ""})


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of the list of people."""

    line: int  # in the csv file, from 1
    number: str  # 18 digits
    name: str
    exempt: bool


def check_number(text: str, today: date) -> str:
    """Return the 18 digits of a person number, without the spaces, dots and hyphens between them.

    Only the impossible is refused. Raises PeopleError, which says which part is wrong and leaves
    it to the caller to say where; it never repeats the number.
    """
    number = _SEPARATORS.sub("", text.removeprefix("'"))
    if not _DIGITS.fullmatch(number):
        if _SPREADSHEET.fullmatch(text.strip()):
            raise PeopleError(f"a spreadsheet turned the person number into 1.9E+17; {_AS_TEXT}")
        wrong = f"{len(number)} digits" if re.fullmatch(r"[0-9]+", number) else "something else"
        raise PeopleError(f"a person number has 18 digits, this is {wrong if number else 'empty'}")
    try:
        birth = date(int(number[:4]), int(number[4:6]), int(number[6:8]))
    except ValueError:
        raise PeopleError("digits 1 to 8 of the person number are no birth date") from None
    if birth.year < _EARLIEST_BIRTH or birth > today:
        raise PeopleError(
            "digits 1 to 8 of the person number are no birth date of anybody employed"
        )
    appointed = int(number[8:12])
    if not birth.year + _YOUNGEST_YEARS <= appointed <= today.year + 1:
        raise PeopleError(
            "digits 9 to 12 of the person number are no possible appointment year: "
            f"less than {_YOUNGEST_YEARS} years after birth, or in the future"
        )
    if number[12:14] == "00":
        raise PeopleError(
            "digits 13 and 14 of the person number are 00, neither a month nor a contract count"
        )
    if number[14] not in "12":
        raise PeopleError("digit 15 of the person number is neither 1 nor 2")
    if number[15:] == "000":  # what is left of 18 digits that a spreadsheet kept 15 of
        raise PeopleError(
            f"digits 16 to 18 of the person number are 000: a spreadsheet rounded it; {_AS_TEXT}"
        )
    return number


def mask(number: str) -> str:
    """Return what may be shown of a checked person number: its serial."""
    return f"…{number[-3:]}"


def person_id(number: str, org_key: bytes) -> str:
    """Return the opaque id of a checked person number: 32 lowercase hex digits.

    The first 128 bits of HMAC-SHA-256 under the organisation key over the 18 ASCII digits.
    """
    return hmac.new(org_key, number.encode("ascii"), hashlib.sha256).digest()[:16].hex()


def read_people(path: Path) -> tuple[Entry, ...]:
    """Read a csv list of people: columns number, name, exempt, in any order and letter case.

    UTF-8 with or without a byte order mark, parted by commas or semicolons. Raises PeopleError
    for the first line that is wrong and names the other wrong lines; nothing is left out quietly.
    """
    text = _text(path)
    delimiter = ";" if ";" in text.partition("\n")[0] else ","
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    entries: dict[str, Entry] = {}
    wrong: dict[int, str] = {}
    try:
        columns = _columns(path, next(reader, []))
        for line, cells in _rows(reader):
            try:
                entry = _entry(line, cells, columns)
                if entry.number in entries:
                    raise PeopleError(  # noqa: TRY301 - told like the other faults of a line
                        f"the same person number as line {entries[entry.number].line}; "
                        "keep one of the two"
                    )
                entries[entry.number] = entry
            except PeopleError as error:
                wrong[line] = str(error)
    except csv.Error as error:
        raise PeopleError(
            f"{path}: line {reader.line_num}: cannot be read as csv: {error}"
        ) from None
    if wrong:
        (line, why), *others = wrong.items()
        more = f"; lines {_list(n for n, _ in others)} are wrong too" if others else ""
        raise PeopleError(f"{path}: line {line}: {why}{more}")
    if not entries:
        raise PeopleError(f"{path}: lists nobody; write one line a person below the header")
    return tuple(entries.values())


def _text(path: Path) -> str:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise PeopleError(f"{path}: cannot be read: {error.strerror}") from None
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise PeopleError(
            f"{path}: line {line} is not UTF-8 (byte 0x{content[error.start]:02X} at position "
            f'{error.start}); save the list as "CSV UTF-8"'
        ) from None


def _columns(path: Path, header: list[str]) -> dict[str, int]:
    """Return where each column stands."""
    found = [cell.strip().lower() for cell in header]
    columns: dict[str, int] = {}
    for column, spellings in _COLUMNS.items():
        places = [place for place, cell in enumerate(found) if cell in spellings]
        if not places:
            there = ", ".join(repr(cell) for cell in found if cell) or "nothing"
            raise PeopleError(
                f"{path}: column {column!r} is missing; the first line names {there}, "
                "and must name number, name and exempt"
            )
        if len(places) > 1:
            raise PeopleError(f"{path}: column {column!r} is there {len(places)} times; keep one")
        columns[column] = places[0]
    return columns


def _rows(reader: Iterator[list[str]]) -> Iterator[tuple[int, list[str]]]:
    """Yield what is not blank, with its line number."""
    for cells in reader:
        if any(cell.strip() for cell in cells):
            yield reader.line_num, cells  # type: ignore[attr-defined]  # no public type of it


def _entry(line: int, cells: list[str], columns: Mapping[str, int]) -> Entry:
    if len(cells) <= max(columns.values()):
        raise PeopleError(f"has {len(cells)} cells; the header has more")
    today = datetime.now(UTC).date()
    number = check_number(cells[columns["number"]].strip(), today)
    name = " ".join(cells[columns["name"]].split())
    if not name:
        raise PeopleError("the name is empty")
    exempt = cells[columns["exempt"]].strip().lower()
    if exempt not in _YES | _NO:
        raise PeopleError("exempt is neither yes nor no")
    return Entry(line, number, name, exempt in _YES)


def _list(lines: Iterator[int], most: int = 10) -> str:
    shown = [str(line) for line in lines]
    tail = f" and {len(shown) - most} more" if len(shown) > most else ""
    return ", ".join(shown[:most]) + tail
