"""Who came when, as other systems get it."""

import csv
import io
import json
import os
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, date, datetime
from functools import cache
from pathlib import Path
from tempfile import mkdtemp

import numpy as np
import pytest
from central_parts import START, Unit, keys_of
from days import ANI, BUDI, Door, key_file, take
from places import Place

from edge.cli import main
from edge.gallery import DIMENSION
from edge.roster.codec import Person, Roster
from edge.roster.file import save
from edge.roster.keys import make_key
from edge.roster.people import check_number, person_id
from edge.system.clock import ClockState
from edge.types import Direction, Reason
from senyum_central.attendance import attendance_csv as sheet
from senyum_central.evidence.entries import DefectLog
from senyum_central.evidence.reader import EvidenceReader
from senyum_central.store.gaps import Gap
from senyum_central.store.queries import EventReader, Period

DAY = "2026-03-02"
NUMBER = "198503152010011004"
DOORS = ("lobby-1", "gate-2", "hall-3", "in-1", "out-1", "both-1", "-1-2")


def table(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text)))


@cache
def keys() -> Path:
    """Return the key set of all doors here."""
    folder = Path(mkdtemp(dir=os.environ["PYTEST_KEYS"]))
    return key_file(folder, *(Door(name) for name in DOORS))


@pytest.fixture(scope="module", autouse=True)
def _folder_of_keys(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    keys.cache_clear()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTEST_KEYS", str(tmp_path_factory.mktemp("keys")))
        yield


def export(place: Place, *options: str, capsys: pytest.CaptureFixture[str]) -> str:
    status = main(["export", *place.options, f"--keys={keys()}", *options])
    out, err = capsys.readouterr()
    assert status == 0, err
    return out


def fill(place: Place, *messages: object, units: tuple[Unit, ...], at: str) -> None:
    """Store messages, and at last what each unit says of its end."""
    health = [unit.health() for unit in units]
    with closing(place.open()) as store:
        take(store, *messages, *health, units=units, at=at)  # type: ignore[arg-type] # of messages


def test_first_in_and_last_out_by_the_clock_of_the_place(
    place: Place, capsys: pytest.CaptureFixture[str]
) -> None:
    lobby, gate = Door("lobby-1"), Door("gate-2", zone="Asia/Jayapura")
    messages = [
        lobby.at("2026-03-01T16:59:59").passes(),  # 23:59:59 the day before, in Jakarta
        lobby.at("2026-03-01T23:58:00").passes(BUDI, smile=None),
        lobby.at("2026-03-02T00:31:04").passes(),
        lobby.at("2026-03-02T00:31:09").passes(None, refused=Reason.NOT_KNOWN),
        lobby.at("2026-03-02T05:00:00").passes(),
        lobby.audit(),
        gate.at("2026-03-02T09:15:00").passes(),  # 18:15:00 in Jayapura
        lobby.at("2026-03-02T17:00:00").passes(BUDI),  # 00:00:00 the day after
    ]
    fill(place, *messages, units=(lobby, gate), at="2026-03-02T18:00:00")
    found = table(export(place, f"--from={DAY}", capsys=capsys))
    assert found == [
        {
            "person_id": ANI,
            "person_number": "",
            "day": DAY,
            "in_day": DAY,
            "first_in": "07:31:04+07:00",
            "out_day": DAY,
            "last_out": "18:15:00+09:00",
            "hours": "8.73",
            "zone": "Asia/Jakarta Asia/Jayapura",
            "site": "depok",
            "unit": "lobby-1 gate-2",
            "smile": "83",
            "status": "recorded",
            "notes": "",
        },
        {
            "person_id": BUDI,
            "person_number": "",
            "day": DAY,
            "in_day": DAY,
            "first_in": "06:58:00",
            "out_day": "",
            "last_out": "",
            "hours": "",
            "zone": "Asia/Jakarta",
            "site": "depok",
            "unit": "lobby-1",
            "smile": "",
            "status": "recorded",
            "notes": "",
        },
    ]
    both = table(export(place, "--from=2026-03-01", "--to=2026-03-03", capsys=capsys))
    assert [(line["day"], line["person_id"]) for line in both] == [
        ("2026-03-01", ANI),
        (DAY, ANI),
        (DAY, BUDI),
        ("2026-03-03", BUDI),
    ]
    one = table(export(place, f"--from={DAY}", "--unit=gate-2", "--site=depok", capsys=capsys))
    assert [(line["first_in"], line["last_out"]) for line in one] == [("18:15:00", "")]
    assert table(export(place, f"--from={DAY}", "--site=bogor", capsys=capsys)) == []


def test_a_unit_that_marks_in_and_out_is_taken_at_its_word(
    file_place: Place, capsys: pytest.CaptureFixture[str]
) -> None:
    door = Door()
    messages = [
        door.at("2026-03-02T00:10:00").passes(direction=Direction.OUT),  # of a night shift
        door.at("2026-03-02T01:00:00").passes(direction=Direction.IN),
        door.at("2026-03-02T02:00:00").passes(BUDI, direction=Direction.IN),
        door.at("2026-03-02T03:00:00").passes(BUDI, direction=Direction.IN),
    ]
    fill(file_place, *messages, units=(door,), at="2026-03-02T18:00:00")
    found = table(export(file_place, f"--from={DAY}", capsys=capsys))
    assert [(line["first_in"], line["last_out"]) for line in found] == [
        ("", "07:10:00"),
        ("08:00:00", ""),
        ("09:00:00", ""),
    ]


def test_a_person_who_was_only_refused_has_a_line_that_says_so(
    file_place: Place, capsys: pytest.CaptureFixture[str]
) -> None:
    door = Door()
    messages = [
        door.at("2026-03-02T00:30:00").passes(refused=Reason.NO_SMILE),
        door.at("2026-03-02T00:31:00").passes(BUDI, refused=Reason.NO_SMILE),
        door.at("2026-03-02T00:32:00").passes(BUDI),
    ]
    fill(file_place, *messages, units=(door,), at="2026-03-02T18:00:00")
    found = table(export(file_place, f"--from={DAY}", capsys=capsys))
    assert [(line["status"], line["first_in"], line["unit"]) for line in found] == [
        ("refused no-smile-in-time", "", "lobby-1"),
        ("recorded", "07:32:00", "lobby-1"),
    ]


def test_times_of_no_certain_clock_are_corrected_or_marked(
    place: Place, capsys: pytest.CaptureFixture[str]
) -> None:
    """By an anchor; else by the unit's own word if it can be, and else by the receipt."""
    wrong = ClockState.UNSYNCHRONIZED
    anchored, plausible, lost = Door("lobby-1"), Door("gate-2"), Door("hall-3")
    messages = [
        anchored.at("1994-01-01T00:00:00", wrong, monotonic_s=1000).passes(),
        anchored.at("2026-03-02T01:00:00", monotonic_s=1600).anchor(),
        plausible.at("2026-03-02T02:00:00", wrong).passes(BUDI),
        lost.at("1970-01-02T00:00:00", wrong).passes("c" * 32),
    ]
    fill(place, *messages, units=(anchored, plausible, lost), at="2026-03-02T03:00:00")
    found = table(export(place, f"--from={DAY}", capsys=capsys))
    assert [(line["first_in"], line["notes"]) for line in found] == [
        ("07:50:00", "time-corrected"),
        ("09:00:00", "time-uncertain"),
        ("10:00:00", "time-uncertain"),
    ]


def test_a_fork_is_marked(file_place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    door = Door()
    first = door.at("2026-03-02T00:30:00").passes()
    rival = Door()
    rival.head = door.head
    messages = [first, door.passes(BUDI), rival.at("2026-03-02T00:40:00").passes(BUDI)]
    fill(file_place, *messages, units=(door,), at="2026-03-02T18:00:00")
    options = [*file_place.options, f"--keys={keys()}", f"--from={DAY}"]
    assert main(["export", *options]) == 1
    out, err = capsys.readouterr()
    assert [line["notes"] for line in table(out)] == ["", "fork"]
    assert "2 events have the number 2" in err


# --- person numbers ----------------------------------------------------------------------------


def test_numbers_come_from_the_roster_or_from_a_list_of_people(
    file_place: Place, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    org_key = make_key(tmp_path / "organisation.key", "the organisation key")
    key = make_key(tmp_path / "roster.key", "the roster key")
    person = person_id(NUMBER, org_key)
    templates = np.eye(1, DIMENSION, dtype=np.float32)
    people = (Person(person, NUMBER, "Ani", False, templates),)
    content = Roster(1, datetime(2026, 1, 1, tzinfo=UTC), "0" * 64, people)
    save(tmp_path / "roster.senyum", key, content)
    listed = tmp_path / "people.csv"
    listed.write_text(f"number,name,exempt\n'{NUMBER},Ani,no\n")
    door = Door()
    messages = [door.at("2026-03-02T00:30:00").passes(person), door.passes(BUDI)]
    fill(file_place, *messages, units=(door,), at="2026-03-02T18:00:00")
    joined = {person: f"'{NUMBER}", BUDI: ""}
    for options in (
        (f"--roster={tmp_path / 'roster.senyum'}", f"--key={tmp_path / 'roster.key'}"),
        (f"--people={listed}", f"--org-key={tmp_path / 'organisation.key'}"),
    ):
        asked = [f"--keys={keys()}", f"--from={DAY}", *options]
        assert main(["export", *file_place.options, *asked]) == 0
        out, err = capsys.readouterr()
        assert {line["person_id"]: line["person_number"] for line in table(out)} == joined
        assert "not on the list and without a number: 1 person" in err
        assert NUMBER not in err
    plain = export(file_place, f"--from={DAY}", *options, "--plain", capsys=capsys)
    assert {line["person_number"] for line in table(plain)} == {NUMBER, ""}
    # What a spreadsheet was given is read again by the enroller.
    assert check_number(f"'{NUMBER}", date(2026, 3, 2)) == NUMBER


@pytest.mark.parametrize(
    ("cell", "shown"),
    [
        ("=1+1", "'=1+1"),
        ("+62", "'+62"),
        ("-1", "'-1"),
        ("@SUM", "'@SUM"),
        ("\t=1", "'\t=1"),
        (NUMBER, f"'{NUMBER}"),
        ("1" * 32, "'" + "1" * 32),
        ("12345678901234567890123456789e10", "'12345678901234567890123456789e10"),
        (ANI, ANI),
        ("lobby-1", "lobby-1"),
        ("07:31:04", "07:31:04"),
        ("83", "83"),
        ("", ""),
    ],
)
def test_no_cell_is_a_formula_or_a_rounded_number(cell: str, shown: str) -> None:
    assert sheet.escape_cell(cell) == shown


def test_a_unit_that_is_named_like_a_formula(
    file_place: Place, capsys: pytest.CaptureFixture[str]
) -> None:
    door = Door("-1-2")
    fill(
        file_place,
        door.at("2026-03-02T00:30:00").passes(),
        units=(door,),
        at="2026-03-02T18:00:00",
    )
    (line,) = table(export(file_place, f"--from={DAY}", capsys=capsys))
    assert line["unit"] == "'-1-2"


# --- the rest ----------------------------------------------------------------------------------


def test_gaps_are_listed(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    door = Door()
    with closing(place.open()) as store, store.batch():
        store.record_gaps({door.name.source: [Gap(4, 6)]}, {}, START)
    (line,) = export(place, "--gaps", capsys=capsys).splitlines()
    found = json.loads(line)
    assert (found["unit"], found["first"], found["last"]) == (door.name.source, 4, 6)
    assert (found["asked"], found["given_up_at"]) == (0, None)


def test_a_file_is_its_owners_and_whole(file_place: Place, tmp_path: Path) -> None:
    door = Door()
    fill(
        file_place,
        door.at("2026-03-02T00:30:00").passes(),
        units=(door,),
        at="2026-03-02T18:00:00",
    )
    out = tmp_path / "day.csv"
    options = [f"--keys={keys()}", f"--from={DAY}", f"--out={out}"]
    assert main(["export", *file_place.options, *options]) == 0
    assert out.stat().st_mode & 0o777 == 0o600
    assert len(table(out.read_text())) == 1
    assert not list(tmp_path.glob("*.new"))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ((), "--from is missing"),
        (("--from=2026-03-02", "--to=2026-03-01"), "is before"),
        (("--from=2026-03-02", "--roster=r"), "--key"),
        (("--from=2026-03-02", "--people=r"), "--org-key"),
        (("--from=2026-03-02", "--out=/no/such/folder/x"), "--out"),
    ],
)
def test_the_callers_mistakes_are_one_line(
    file_place: Place,
    capsys: pytest.CaptureFixture[str],
    options: tuple[str, ...],
    words: str,
) -> None:
    with closing(file_place.open()):
        pass
    assert main(["export", *file_place.options, f"--keys={keys()}", *options]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert words in line


def test_a_store_that_is_not_there_is_not_made(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "none.db"
    assert main(["export", f"--store={path}", f"--from={DAY}"]) == 2
    assert "file not found" in capsys.readouterr().err
    assert not path.exists()


@pytest.mark.slow
def test_many_events_are_read_a_part_at_a_time(place: Place) -> None:
    door = Door()
    messages = [door.at("2026-03-02T00:30:00").passes() for _ in range(1200)]
    fill(place, *messages, units=(door,), at="2026-03-02T18:00:00")
    log = DefectLog()
    with closing(place.open()) as store:
        shelf = EventReader(store)
        with shelf.snapshot():
            day = Period(date(2026, 3, 2), date(2026, 3, 2))
            evidence = EvidenceReader(shelf, keys_of(door), day, log)
            (found,) = evidence.units()
            assert [item.number for item in found.attempts] == list(range(1, 1201))
            assert [link.sequence for link in shelf.chain(door.name, Gap(3, 2**60))] == list(
                range(3, 1201)
            )
    assert log.defects == []
