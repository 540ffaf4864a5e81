"""Person numbers (NIP), opaque person ids, and the csv list of people to enrol.

A person number is 18 digits:

    1-8    birth date, YYYYMMDD
    9-14   PNS: appointment, YYYYMM; PPPK: appointment year and contract count (01-99)
    15     sex, 1 or 2
    16-18  serial, from 001

It exposes birth date and sex, so nothing here repeats one in a message: `mask` shows the serial.
"""

import hashlib
import hmac
import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path

from edge.errors import PeopleError
from edge.system.csv_lists import CsvRow, ListProblem, read_list, summary
from edge.system.text import named, visible

_SEPARATORS = re.compile(r"[\s.\-\u2010-\u2015\u2212]")  # with the hyphens and dashes of Unicode
_APOSTROPHES = "'`\u2018\u2019\u02bc\u00b4\uff07"  # a spreadsheet's sign for text, and its likes
_FORMULA = re.compile(r'="([^"]*)"')
_OTHER = re.compile(r"[^0-9]")
_DIGITS = re.compile(r"[0-9]{18}")
# What a spreadsheet makes of 18 digits that it took for a quantity: 1.98503E+17 or 1,98503E+17.
_SPREADSHEET = re.compile(r"[0-9]([.,][0-9]+)?E\+?17", re.IGNORECASE)
_AS_TEXT = "give the column the text format in the spreadsheet and type the number again"

_EARLIEST_BIRTH = 1900
# The civil service requires 18 years; this only finds impossible numbers.
_YOUNGEST_YEARS = 15

_COLUMNS: Mapping[str, frozenset[str]] = {
    "number": frozenset({"number", "person_number", "person number", "nip"}),
    "name": frozenset({"name", "nama"}),
    "exempt": frozenset({"exempt"}),
}
_LONGEST_NAME = 200  # characters
_MOST_DIGITS = 7  # of a name; a birth date has 8
_JOINERS = "\u200c\u200d"  # invisible, but they change how some scripts are written
_YES = frozenset({"yes", "ya", "y", "true", "1"})
_NO = frozenset({"no", "tidak", "n", "false", "0", ""})


@dataclass(frozen=True, slots=True)
class PersonEntry:
    """One line of the list of people."""

    line: int  # in the csv file, from 1
    number: str  # 18 digits
    name: str
    exempt: bool


def check_number(text: str, today: date) -> str:
    """Return the 18 digits of a person number, without the spaces, dots and hyphens between them.

    An apostrophe before them, invisible characters and the ="…" of spreadsheets are left out, too.
    Only the impossible is refused. Raises PeopleError, which says which part is wrong and leaves it
    to the caller to say where; it never repeats the number.
    """
    number = _digits(text)
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


def _digits(text: str) -> str:
    plain = visible(text)
    if formula := _FORMULA.fullmatch(plain):
        plain = formula[1]
    number = _SEPARATORS.sub("", plain.lstrip(_APOSTROPHES))
    if not number:
        raise PeopleError("is empty; write the 18 digits of the person number")
    if not _DIGITS.fullmatch(number):
        if _SPREADSHEET.fullmatch(plain):
            raise PeopleError(f"a spreadsheet turned the person number into 1.9E+17; {_AS_TEXT}")
        if other := _OTHER.search(number):
            place = text.index(other[0]) + 1
            raise PeopleError(
                f"a person number has 18 digits; character {place} is {named(other[0])}"
            )
        raise PeopleError(f"a person number has 18 digits, this has {len(number)} digits")
    return number


def mask(number: str) -> str:
    """Return what may be shown of a checked person number: its serial."""
    return f"…{number[-3:]}"


def person_id(number: str, org_key: bytes) -> str:
    """Return the opaque id of a checked person number: 32 lowercase hex digits.

    The first 128 bits of HMAC-SHA-256 under the organisation key over the 18 ASCII digits.
    """
    return hmac.new(org_key, number.encode("ascii"), hashlib.sha256).digest()[:16].hex()


@dataclass(frozen=True, slots=True)
class PeopleList:
    """A list of people, as far as it can be used."""

    entries: tuple[PersonEntry, ...]
    problems: tuple[ListProblem, ...]  # of the lines that were left out


def read_people(path: Path) -> tuple[PersonEntry, ...]:
    """Read a CSV list of people of which every line can be used.

    Raises PeopleError, which names all lines that cannot; nothing is left out silently.
    """
    people = read_people_list(path)
    if people.problems:
        raise PeopleError(summary(path, people.problems))
    return people.entries


def read_people_list(path: Path) -> PeopleList:
    """Read a CSV list of people: columns number, name, exempt, in any order and letter case.

    A line with a problem is left out and reported. Of lines that give one number to different
    people all are left out, because none of them can be trusted. Raises PeopleError if the list as
    a whole cannot be read, or names nobody.
    """
    listed = read_list(path, _COLUMNS, PeopleError)
    problems = list(listed.problems)
    found: dict[str, list[PersonEntry]] = {}
    today = datetime.now(UTC).date()
    for row in listed.rows:
        try:
            entry = _entry(row, today)
            found.setdefault(entry.number, []).append(entry)
        except _CellFault as fault:
            problems.append(ListProblem(row.line, *fault.args))
    entries = []
    for first, *others in found.values():
        same = all((first.name, first.exempt) == (other.name, other.exempt) for other in others)
        if same:
            entries.append(first)
        for entry in others if same else [first, *others]:
            another = others[0] if entry is first else first
            what = f"is the same person number as on line {another.line}; keep one of the two"
            problems.append(ListProblem(entry.line, "number", what))
    if not entries and not problems:
        raise PeopleError(f"{path}: lists nobody; write one line a person below the header")
    return PeopleList(tuple(entries), tuple(sorted(problems, key=lambda each: each.line)))


class _CellFault(Exception):
    """A cell cannot be used; `args`: its column, and what is wrong."""


def _entry(row: CsvRow, today: date) -> PersonEntry:
    try:
        number = check_number(row.cells["number"], today)
    except PeopleError as error:
        raise _CellFault("number", str(error)) from None
    exempt = visible(row.cells["exempt"]).lower()
    if exempt not in _YES | _NO:
        raise _CellFault("exempt", "is neither yes nor no; write one of them")
    return PersonEntry(row.line, number, _name(row.cells["name"]), exempt in _YES)


def _name(cell: str) -> str:
    name = unicodedata.normalize("NFC", visible(cell))
    if not name:
        raise _CellFault("name", "is empty; write the name")
    if len(name) > _LONGEST_NAME:
        raise _CellFault("name", f"has {len(name)} characters; {_LONGEST_NAME} are the most")
    for character in name:
        if character == "\ufffd":
            raise _CellFault("name", "lost a letter when the list was saved; type it again")
        if not character.isprintable() and character not in _JOINERS:
            raise _CellFault("name", f"contains {named(character)}; type the name again")
    digits = sum(character.isdigit() for character in name)
    if digits > _MOST_DIGITS:
        # Of a person number, from a cell that was shifted or a row that was swallowed.
        raise _CellFault("name", f"contains {digits} digits; check the commas and quotation marks")
    return name
