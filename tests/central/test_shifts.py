"""Which attempts of a person are one shift; the values were counted by hand."""

import csv
import io
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path

import pytest
from central_parts import Unit
from days import ANI, BUDI, Door, key_file, take
from hypothesis import given, settings
from hypothesis import strategies as st
from places import Place

from edge.cli import main
from edge.types import Direction
from senyum_central.attendance.shifts import shifts

WAYS = {"i": Direction.IN, "o": Direction.OUT}


@dataclass(frozen=True)
class Attempt:
    moment: datetime
    direction: Direction


def attempts(text: str) -> list[Attempt]:
    """Read `i2/07:30 o2/16:00`: in and out on 2 March; without a letter, of no direction."""
    found = []
    for word in text.split():
        way = WAYS.get(word[0], Direction.UNSPECIFIED)
        day, clock = word.lstrip("io").split("/")
        moment = datetime.combine(date(2026, 3, int(day)), time.fromisoformat(clock), UTC)
        found.append(Attempt(moment, way))
    return found


def paired(text: str, day_start: str | None = None) -> str:
    """Return the shifts as `2: 22:00 3/06:05`, a cell that is empty as `-`."""
    start = None if day_start is None else time.fromisoformat(day_start)
    lines = []
    for shift in shifts(attempts(text), start):
        cells = [
            "-"
            if each is None
            else f"{each.moment:%H:%M}"
            if each.moment.date() == shift.day
            else f"{each.moment.day}/{each.moment:%H:%M}"
            for each in (shift.first_in, shift.last_out)
        ]
        lines.append(f"{shift.day.day}: {' '.join(cells)}")
    return "; ".join(lines)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        # Two nights, at one door and at two.
        ("2/22:00 3/06:05 3/21:58 4/06:01", "2: 22:00 3/06:05; 3: 21:58 4/06:01"),
        ("i2/22:00 o3/06:05 i3/21:58 o4/06:01", "2: 22:00 3/06:05; 3: 21:58 4/06:01"),
        # Nights with a break, with a door that counted twice, with one that was missed.
        ("2/22:00 3/02:00 3/02:30 3/06:05", "2: 22:00 3/06:05"),
        ("i2/22:00 o3/02:00 i3/02:30 o3/06:05", "2: 22:00 3/06:05"),
        ("2/22:00 2/22:01 3/06:05 3/21:58 4/06:01", "2: 22:00 3/06:05; 3: 21:58 4/06:01"),
        (
            "2/22:00 3/06:05 3/21:58 4/21:59 5/06:02",
            "2: 22:00 3/06:05; 3: 21:58 -; 4: 21:59 5/06:02",
        ),
        # Days, with and without a break, a late visit, a missed door, overtime, a day alone.
        ("2/07:30 2/16:00 3/07:31 3/16:02", "2: 07:30 16:00; 3: 07:31 16:02"),
        ("i2/07:30 o2/12:00 i2/13:00 o2/16:00", "2: 07:30 16:00"),
        ("2/07:30 2/16:00 2/23:00 3/07:30 3/16:00", "2: 07:30 23:00; 3: 07:30 16:00"),
        ("2/16:00 3/07:30 3/16:00", "2: 16:00 -; 3: 07:30 16:00"),
        ("2/22:00 3/06:00 3/14:00", "2: 22:00 -; 3: 06:00 14:00"),
        ("2/07:00 2/21:00 3/07:00 3/21:00", "2: 07:00 21:00; 3: 07:00 21:00"),
        ("2/06:00 2/22:00", "2: 06:00 22:00"),
        ("2/07:30", "2: 07:30 -"),
        # Late and early shifts in turn.
        ("2/14:00 2/22:00 3/06:00 3/14:00", "2: 14:00 22:00; 3: 06:00 14:00"),
        # What doors with a direction say is not put the other way round.
        ("o2/07:10 i2/08:00", "2: - 07:10; 2: 08:00 -"),
        ("i2/20:00 i3/07:30 o3/16:00", "2: 20:00 -; 3: 07:30 16:00"),
        ("i2/08:00 o3/08:05", "2: 08:00 3/08:05"),
        ("i2/08:00 i2/08:01 o2/16:00 o2/16:02", "2: 08:00 16:02"),
        ("", ""),
    ],
)
def test_what_belongs_together(text: str, expected: str) -> None:
    assert paired(text) == expected


@pytest.mark.parametrize(
    ("start", "expected"),
    [
        ("12:00", "2: 22:00 3/06:05; 3: 21:58 4/06:01"),
        ("00:00", "2: 22:00 -; 3: 06:05 21:58; 4: 06:01 -"),
        ("04:00", "2: 22:00 -; 3: 06:05 21:58; 4: 06:01 -"),
    ],
)
def test_a_fixed_day_is_never_crossed(start: str, expected: str) -> None:
    assert paired("2/22:00 3/06:05 3/21:58 4/06:01", start) == expected


def test_a_day_that_begins_at_four_has_the_hours_after_midnight() -> None:
    assert paired("2/20:00 3/01:30 3/20:00", "04:00") == "2: 20:00 3/01:30; 3: 20:00 -"


def test_weeks_of_nights_are_nights() -> None:
    nights = " ".join(f"{day}/22:00 {day + 1}/06:00" for day in range(2, 28))
    assert paired(nights) == "; ".join(f"{day}: 22:00 {day + 1}/06:00" for day in range(2, 28))


def test_weeks_of_long_days_are_days() -> None:
    days = " ".join(f"{day}/07:00 {day}/20:30" for day in range(2, 28) if day % 7)
    assert paired(days) == "; ".join(f"{day}: 07:00 20:30" for day in range(2, 28) if day % 7)


def test_whoever_stands_at_the_door_all_day_has_a_line_a_day() -> None:
    start = datetime(2026, 3, 2, tzinfo=UTC)
    many = [Attempt(start + timedelta(seconds=n * 5), Direction.UNSPECIFIED) for n in range(20_000)]
    found = shifts(many)
    assert [shift.day.day for shift in found] == [2, 3]


@settings(max_examples=200)
@given(
    st.lists(st.tuples(st.integers(0, 5 * 24 * 60), st.sampled_from(list(Direction))), max_size=25),
    st.none() | st.times(),
)
def test_every_attempt_is_in_one_shift_and_no_departure_comes_first(
    minutes: list[tuple[int, Direction]], day_start: time | None
) -> None:
    start = datetime(2026, 3, 2, tzinfo=UTC)
    given_ = [Attempt(start + timedelta(minutes=at), way) for at, way in minutes]
    found = shifts(given_, day_start)
    assert sorted(map(repr, given_)) == sorted(repr(each) for one in found for each in one.all)
    for one in found:
        assert one.shown
        if one.first_in is not None and one.last_out is not None:
            assert one.first_in.moment <= one.last_out.moment
            assert one.first_in.direction is not Direction.OUT
            assert one.last_out.direction is not Direction.IN


# --- in the table ------------------------------------------------------------------------------


def table(
    place: Place, folder: Path, capsys: pytest.CaptureFixture[str], *options: str
) -> list[tuple[str, ...]]:
    names = ("person_id", "day", "in_day", "first_in", "out_day", "last_out", "hours", "unit")
    keys = f"--keys={folder / 'keys.json'}"
    status = main(["export", *place.options, keys, *options])
    out, err = capsys.readouterr()
    assert status == 0, err
    return [tuple(line[name] for name in names) for line in csv.DictReader(io.StringIO(out))]


def fill(place: Place, folder: Path) -> None:
    """Two nights, of Ani at two doors and of Budi at one; 22:00 is 15:00 UTC."""
    arrive, leave, both = Door("in-1"), Door("out-1"), Door("both-1")
    units: tuple[Unit, ...] = (arrive, leave, both)
    messages = []
    for when, door in (
        ("2026-03-02T15:00:00", arrive),
        ("2026-03-02T23:05:00", leave),
        ("2026-03-03T14:58:00", arrive),
        ("2026-03-03T23:01:00", leave),
    ):
        way = Direction.IN if door is arrive else Direction.OUT
        messages += [door.at(when).passes(ANI, direction=way), both.at(when).passes(BUDI)]
    messages += [unit.health() for unit in units]
    key_file(folder, *units)
    with closing(place.open()) as store:
        take(store, *messages, units=units, at="2026-03-04T00:00:00")


def test_two_nights_are_two_shifts_at_one_door_and_at_two(
    place: Place, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fill(place, tmp_path)
    first = ("2026-03-02", "2026-03-02", "22:00:00", "2026-03-03", "06:05:00", "8.08")
    second = ("2026-03-03", "2026-03-03", "21:58:00", "2026-03-04", "06:01:00", "8.05")
    expected = [
        (ANI, *first, "in-1 out-1"),
        (BUDI, *first, "both-1"),
        (ANI, *second, "in-1 out-1"),
        (BUDI, *second, "both-1"),
    ]
    days = ("--from=2026-03-02", "--to=2026-03-04")
    assert table(place, tmp_path, capsys, *days) == expected
    # Each day by itself says the same.
    assert table(place, tmp_path, capsys, "--from=2026-03-02") == expected[:2]
    assert table(place, tmp_path, capsys, "--from=2026-03-03") == expected[2:]
    assert table(place, tmp_path, capsys, "--from=2026-03-04") == []
    assert table(place, tmp_path, capsys, *days, "--day-start=12:00") == expected


def test_a_start_of_the_day_that_is_none(
    file_place: Place, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as status:
        main(["export", *file_place.options, "--from=2026-03-02", "--day-start=24:00"])
    assert status.value.code == 2
    assert "24:00 is not a time" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []
