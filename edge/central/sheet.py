"""Attendance as a table: one line a person and day, for the systems that count it.

A person is the opaque id, and the person number where the caller can join one to it. Cells that a
spreadsheet would take for a formula or a quantity begin with an apostrophe: an 18-digit number
loses its last three digits otherwise. `plain` leaves all of that to the reader.
"""

import csv
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date
from typing import TextIO

from edge.central.shelf import Dated, Item
from edge.mqtt.payload import AttendanceEvent
from edge.types import Direction, Outcome

COLUMNS = (
    "person_id",
    "person_number",
    "day",
    "first_in",
    "last_out",
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


@dataclass(slots=True)
class _Day:
    """What one person did on one day."""

    recorded: list[Item] = field(default_factory=list)
    refused: list[Item] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Count:
    """What became of the events of a period."""

    lines: int
    events: int  # attempts of people whom the unit knew
    strangers: int  # attempts of nobody known: in no line
    unnamed: int  # people of whom no number is known, though numbers were to be joined


def write(
    out: TextIO,
    items: Iterable[Item],
    forks: frozenset[tuple[str, int]],
    numbers: Mapping[str, str] | None = None,
    *,
    plain: bool = False,
) -> Count:
    """Write the table; `numbers` maps opaque ids to person numbers, None leaves them empty."""
    days: dict[tuple[date, str], _Day] = {}
    strangers = events = 0
    for item in items:
        if not isinstance(item.event, AttendanceEvent):
            continue
        if item.event.subject is None:
            strangers += 1
            continue
        events += 1
        day = days.setdefault((item.moment.date(), item.event.subject), _Day())
        recorded = item.event.data.outcome is Outcome.RECORDED
        (day.recorded if recorded else day.refused).append(item)
    writer = csv.writer(out)
    writer.writerow(COLUMNS)
    unnamed: Counter[str] = Counter()
    for (when, person), day in sorted(days.items()):
        number = "" if numbers is None else numbers.get(person, "")
        unnamed[person] += numbers is not None and not number
        cells = (person, number, when.isoformat(), *_cells(day, forks))
        writer.writerow(cells if plain else [safe(cell) for cell in cells])
    return Count(len(days), events, strangers, sum(1 for n in unnamed.values() if n))


def _cells(day: _Day, forks: frozenset[tuple[str, int]]) -> tuple[str, ...]:
    items = sorted(day.recorded, key=lambda item: item.moment)
    ins = [item for item in items if _direction(item) is not Direction.OUT]
    outs = [item for item in items if _direction(item) is not Direction.IN]
    first = ins[0] if ins else None
    last = outs[-1] if outs and outs[-1] is not first else None
    shown = [item for item in (first, last) if item is not None]
    every = shown or sorted(day.refused, key=lambda item: item.moment)[-1:]
    smile = next((score for item in shown if (score := _smile(item)) is not None), None)
    return (
        "" if first is None else f"{first.moment:%H:%M:%S}",
        "" if last is None else f"{last.moment:%H:%M:%S}",
        _each(str(item.moment.tzinfo) for item in every),
        _each(item.unit.site for item in every),
        _each(item.unit.name for item in every),
        "" if smile is None else f"{smile:.0f}",
        "recorded" if shown else f"refused {_reason(every[-1])}",
        _each(note for item in every for note in _notes(item, forks)),
    )


def _data(item: Item) -> AttendanceEvent:
    assert isinstance(item.event, AttendanceEvent)
    return item.event


def _direction(item: Item) -> Direction:
    return _data(item).data.direction


def _smile(item: Item) -> float | None:
    return _data(item).data.smile


def _reason(item: Item) -> str:
    return str(_data(item).data.reason)


def _notes(item: Item, forks: frozenset[tuple[str, int]]) -> Iterable[str]:
    if item.dated is not Dated.SURE:
        yield str(item.dated)
    if (item.unit.source, item.event.number) in forks:
        yield "fork"


def _each(words: Iterable[str]) -> str:
    """Join different words, each once, in order."""
    return " ".join(dict.fromkeys(words))


def safe(cell: str) -> str:
    """Return a cell that a spreadsheet takes for text where it must, and never for a formula."""
    long = len(cell) > _LONGEST_QUANTITY and _QUANTITY.fullmatch(cell)
    return f"'{cell}" if _FORMULA.match(cell) or long else cell
