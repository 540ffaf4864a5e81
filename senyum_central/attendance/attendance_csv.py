"""Attendance as a table: one line a shift, for the systems that count it.

A person is the opaque id, and the person number where the caller can join one to it. Cells that a
spreadsheet would take for a formula or a quantity begin with an apostrophe: an 18-digit number
loses its last three digits otherwise. `plain` leaves all of that to the reader.

What is read goes through a temporary database on the disk: memory does not grow with the store.
"""

import csv
import json
import re
import sqlite3
from collections.abc import Iterable, Mapping
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from itertools import groupby
from typing import TextIO

from edge.contract.topics import UnitName
from edge.errors import StoreError
from edge.types import Direction, Outcome
from senyum_central.attendance.shifts import Shift, shifts, working_day
from senyum_central.evidence.entries import AttemptEvidence, LostDays, Note, UnitEvidence
from senyum_central.store.queries import Period, zone_or_utc

COLUMNS = (
    "person_id",
    "person_number",
    "day",
    "in_day",
    "first_in",
    "out_day",
    "last_out",
    "hours",
    "zone",
    "site",
    "unit",
    "smile",
    "status",
    "notes",
)
_FORMULA = re.compile(r"[=+\-@\t\r\n|%]")
_QUANTITY = re.compile(r"[0-9]+([.,]?[0-9]*)([eE][0-9]+)?")
_LONGEST_QUANTITY = 15  # digits that a spreadsheet keeps
_INSERT = "INSERT INTO attempt VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_NEAR = timedelta(hours=1)  # between a refused attempt and the recorded one that it belongs to
_NO_TIMES = ("", "", "", "", "")
_MISSING = "events missing"
_TABLES = """
CREATE TABLE attempt (
    person TEXT, moment INTEGER, zone TEXT, unit TEXT, number INTEGER, recorded INTEGER,
    reason TEXT, direction TEXT, smile REAL, notes TEXT
);
CREATE TABLE mark (person TEXT, day TEXT, note TEXT, unit TEXT);
CREATE TABLE line (day TEXT, person TEXT, cells TEXT);
"""

_Days = tuple[date, date]


@dataclass(frozen=True, slots=True)
class AttendanceRow:
    """A genuine attempt of a person, as it is kept on the disk."""

    person: str
    moment: datetime  # in the zone of the place
    unit: UnitName
    recorded: bool
    reason: str
    direction: Direction
    smile: float | None
    notes: tuple[str, ...]


class _Losses:
    """Days with missing events, as merged ranges."""

    def __init__(self) -> None:
        self.of_units: dict[UnitName, list[_Days]] = {}
        self._of_sites: dict[str, list[_Days]] = {}

    def add(self, unit: UnitName, lost: Iterable[LostDays]) -> None:
        days = _merged((each.first, each.last) for each in lost)
        if days:
            self.of_units[unit] = days
            known = self._of_sites.get(unit.site, [])
            self._of_sites[unit.site] = _merged([*known, *days])

    def touch(self, days: set[date], sites: set[str]) -> bool:
        """Return whether events of one of the sites and days are missing."""
        return any(
            first <= day <= last
            for site in sites
            for first, last in self._of_sites.get(site, [])
            for day in days
        )


def _merged(ranges: Iterable[_Days]) -> list[_Days]:
    """Join ranges of days that overlap or meet."""
    found: list[_Days] = []
    for first, last in sorted(ranges):
        if found and first <= found[-1][1] + timedelta(days=1):
            found[-1] = found[-1][0], max(found[-1][1], last)
        else:
            found.append((first, last))
    return found


@dataclass(slots=True)
class CsvCounts:
    """Counts of the events of a period."""

    lines: int = 0
    events: int = 0  # attempts of known people
    strangers: int = 0  # attempts of unknown people, which are left out
    unnamed: int = 0  # people without a number although numbers were requested


def write_csv(
    out: TextIO,
    units: Iterable[UnitEvidence],
    period: Period,
    numbers: Mapping[str, str] | None = None,
    *,
    day_start: time | None = None,
    plain: bool = False,
) -> CsvCounts:
    """Write the table; `numbers` maps opaque ids to person numbers, None leaves them empty.

    Raises StoreError, also if temporary files cannot be written.
    """
    try:
        with closing(sqlite3.connect("", isolation_level=None)) as db:  # a temporary file
            db.executescript(_TABLES)
            db.execute("BEGIN")
            table = _CsvTable(db, period, day_start)
            for unit in units:
                table.add_unit(unit)
            table.compose()
            return table.write(out, numbers, plain=plain)
    except sqlite3.Error as error:
        raise StoreError(f"the table cannot be made in a temporary file: {error}") from error


class _CsvTable:
    """The table in a temporary database."""

    def __init__(self, db: sqlite3.Connection, period: Period, day_start: time | None) -> None:
        self._db = db
        self._period = period
        self._day_start = day_start
        self._lost = _Losses()
        self._count = CsvCounts()

    def add_unit(self, found: UnitEvidence) -> None:
        """Add the proven events of one unit."""
        self._lost.add(found.unit, found.lost)
        for item in found.attempts:
            inside = item.moment.date() in self._period
            if item.person is None:
                self._count.strangers += inside
                continue
            self._count.events += inside
            self._db.execute(_INSERT, _row(item))
        for mark in found.marks:
            row = (mark.person, mark.day.isoformat(), str(mark.note), mark.unit.source)
            self._db.execute("INSERT INTO mark VALUES (?, ?, ?, ?)", row)

    def compose(self) -> None:
        """Compute the lines from everything added."""
        self._db.execute("CREATE INDEX by_person ON attempt (person, moment)")
        self._db.execute("CREATE INDEX marked ON mark (person, day)")
        query = "SELECT * FROM attempt ORDER BY person, moment, unit, number"
        for person, rows in groupby(self._db.execute(query), lambda row: str(row[0])):
            self._person(person, [_attempt(row) for row in rows])
        self._db.execute("CREATE INDEX lines ON line (person, day)")
        self._marked_only()
        self._missing()

    def write(self, out: TextIO, numbers: Mapping[str, str] | None, *, plain: bool) -> CsvCounts:
        """Write the lines sorted by day and person."""
        writer = csv.writer(out)
        writer.writerow(COLUMNS)
        unnamed = set()
        query = "SELECT person, day, cells FROM line ORDER BY day, person, rowid"
        for person, day, cells in self._db.execute(query):
            number = "" if numbers is None else numbers.get(person, "")
            if person and numbers is not None and not number:
                unnamed.add(person)
            row = (person, number, day, *json.loads(cells))
            writer.writerow(row if plain else [escape_cell(cell) for cell in row])
            self._count.lines += 1
        self._count.unnamed = len(unnamed)
        return self._count

    def _put(self, person: str, day: date, cells: tuple[str, ...]) -> None:
        row = (day.isoformat(), person, json.dumps(cells))
        self._db.execute("INSERT INTO line VALUES (?, ?, ?)", row)

    def _person(self, person: str, attempts: list[AttendanceRow]) -> None:
        """Add the lines of one person."""
        found = shifts([each for each in attempts if each.recorded], self._day_start)
        for shift in found:
            if shift.day in self._period:
                days = {shift.day} | {each.moment.date() for each in shift.all}
                self._put(person, shift.day, self._cells(shift, self._words(person, days)))
        refused: dict[date, AttendanceRow] = {}
        for each in attempts:
            day = working_day(each.moment, self._day_start)
            if not each.recorded and day in self._period and not _belongs(each, day, found):
                refused[day] = each  # the last of the day
        for day, each in refused.items():
            self._put(person, day, self._refused_cells(each, day, self._words(person, {day})))

    def _cells(self, shift: Shift[AttendanceRow], words: list[str]) -> tuple[str, ...]:
        first, last, shown = shift.first_in, shift.last_out, shift.shown
        smile = next((each.smile for each in shown if each.smile is not None), None)
        offsets = {each.moment.utcoffset() for each in shown}
        hours = "" if first is None or last is None else _hours(last.moment - first.moment)
        notes = [note for each in shown for note in each.notes]
        notes += [note for each in shift.all for note in each.notes if note == Note.ALTERED]
        days = {each.moment.date() for each in shown} | {shift.day}
        return (
            *_when(first, with_offset=len(offsets) > 1),
            *_when(last, with_offset=len(offsets) > 1),
            hours,
            _each(str(each.moment.tzinfo) for each in shown),
            _each(each.unit.site for each in shown),
            _each(each.unit.name for each in shown),
            "" if smile is None else f"{smile:.0f}",
            "recorded",
            _each([*notes, *words, *self._gap(days, {each.unit.site for each in shown})]),
        )

    def _refused_cells(
        self, attempt: AttendanceRow, day: date, words: list[str]
    ) -> tuple[str, ...]:
        site = attempt.unit.site
        return (
            *_NO_TIMES,
            str(attempt.moment.tzinfo),
            site,
            attempt.unit.name,
            "",
            f"refused {attempt.reason}",
            _each([*attempt.notes, *words, *self._gap({day}, {site})]),
        )

    def _words(self, person: str, days: set[date]) -> list[str]:
        """Return the notes of unproven rows that name this person."""
        query = "SELECT DISTINCT note FROM mark WHERE person = ? AND day = ? ORDER BY note"
        rows = [self._db.execute(query, (person, day.isoformat())) for day in sorted(days)]
        return [str(note) for found in rows for (note,) in found]

    def _gap(self, days: set[date], sites: set[str]) -> list[str]:
        """Return `gap` if an event of this line may be missing: of one of its sites and days."""
        return [str(Note.GAP)] if self._lost.touch(days, sites) else []

    def _marked_only(self) -> None:
        """Add a line for each person and day without proven events."""
        query = (
            "SELECT person, day, min(unit), group_concat(DISTINCT note) FROM mark WHERE NOT EXISTS"
            " (SELECT 1 FROM line WHERE line.person = mark.person AND line.day = mark.day)"
            " GROUP BY person, day"
        )
        for person, text, source, notes in self._db.execute(query).fetchall():
            day, unit = date.fromisoformat(text), UnitName.from_source(source)
            if day in self._period:
                words = sorted(str(notes).split(","))
                note = _each([*words, *self._gap({day}, {unit.site})])
                self._put(person, day, (*_NO_TIMES, "", unit.site, unit.name, "", words[0], note))

    def _missing(self) -> None:
        """Add a line without a person for each unit and range of days with missing events."""
        for unit, ranges in self._lost.of_units.items():
            for first, last in ranges:
                if first <= self._period.last:
                    end = min(last, self._period.last).isoformat()
                    days = (first.isoformat(), "", end, "", "")
                    place = ("", unit.site, unit.name, "", _MISSING, str(Note.GAP))
                    self._put("", first, (*days, *place))


# --- on the disk ---------------------------------------------------------------------------------


def _row(item: AttemptEvidence) -> tuple[object, ...]:
    since = item.moment.astimezone(UTC) - _EPOCH
    return (
        item.person,
        since // timedelta(microseconds=1),
        str(item.moment.tzinfo),
        item.unit.source,
        item.number,
        item.outcome is Outcome.RECORDED,
        item.reason,
        str(item.direction),
        item.smile,
        " ".join(item.notes),
    )


def _attempt(row: tuple[object, ...]) -> AttendanceRow:
    person, moment, place, unit, _, recorded, reason, direction, smile, notes = row
    utc = _EPOCH + timedelta(microseconds=int(str(moment)))
    return AttendanceRow(
        str(person),
        utc.astimezone(zone_or_utc(str(place))),
        UnitName.from_source(str(unit)),
        bool(recorded),
        str(reason),
        Direction(str(direction)),
        smile if isinstance(smile, float) else None,
        tuple(str(notes).split()),
    )


# --- lines ---------------------------------------------------------------------------------------


def _belongs(refused: AttendanceRow, day: date, found: list[Shift[AttendanceRow]]) -> bool:
    """Whether a refused attempt is of a day, or at a time, of which there is a line anyway."""
    return any(
        shift.day == day
        or shift.all[0].moment - _NEAR <= refused.moment <= shift.all[-1].moment + _NEAR
        for shift in found
    )


def _when(attempt: AttendanceRow | None, *, with_offset: bool) -> tuple[str, str]:
    """Return the cells of a day and a time."""
    if attempt is None:
        return "", ""
    day, clock = attempt.moment.isoformat(timespec="seconds").split("T")
    return day, clock if with_offset else clock[:8]


def _hours(length: timedelta) -> str:
    """Return a length in hours with two decimals, rounded down."""
    hundredths = length // timedelta(seconds=36)
    return f"{hundredths // 100}.{hundredths % 100:02d}"


def _each(words: Iterable[str]) -> str:
    """Join different words, each once, in order."""
    return " ".join(dict.fromkeys(word for word in words if word))


def escape_cell(cell: str) -> str:
    """Return a cell that a spreadsheet takes for text where it must, and never for a formula."""
    long = len(cell) > _LONGEST_QUANTITY and _QUANTITY.fullmatch(cell)
    return f"'{cell}" if _FORMULA.match(cell) or long else cell
