"""`export` believes what units signed, whatever somebody wrote into the database."""

import csv
import io
import json
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from days import ANI, BUDI, Door, key_file, later_of, resigned, take
from places import Place

from edge.cli import main
from edge.contract.jose import b64url, from_b64url
from edge.contract.keys import add_registration
from edge.system.clock import ClockState
from edge.types import AuditCode

DAY = "2026-03-02"
SOURCE = "urn:senyum:kota:depok:lobby-1"
CITRA = "c" * 32


def fill(place: Place, people: tuple[str, ...] = (ANI, BUDI, ANI, BUDI)) -> Door:
    """A day of one door between two others: events 1 to 6, and its health in the evening."""
    door = Door()
    messages = [door.at("2026-03-01T02:00:00").passes(CITRA)]
    messages += [
        door.at(f"2026-03-02T0{at}:30:00").passes(person) for at, person in enumerate(people)
    ]
    messages += [door.at("2026-03-03T02:00:00").passes(CITRA)]
    messages += [door.at("2026-03-04T23:00:00").health()]
    with closing(place.open()) as store:
        take(store, *messages, units=(door,), at="2026-03-04T23:00:00")
    return door


class Result:
    """What one run of `export` wrote, said and ended with."""

    def __init__(self, status: int, out: str, err: str) -> None:
        self.status = status
        self.out = out
        self.err = err

    @property
    def lines(self) -> list[dict[str, str]]:
        return list(csv.DictReader(io.StringIO(self.out)))

    def of(self, person: str) -> list[dict[str, str]]:
        return [line for line in self.lines if line["person_id"] == person]

    def notes(self, person: str) -> set[str]:
        return {note for line in self.of(person) for note in line["notes"].split()}


class Exporter:
    def __init__(self, place: Place, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.place = place
        self.folder = folder
        self._capsys = capsys

    def __call__(self, *options: str, day: str = DAY) -> Result:
        keys = f"--keys={self.folder / 'keys.json'}"
        status = main(["export", *self.place.options, keys, f"--from={day}", *options])
        out, err = self._capsys.readouterr()
        assert "Traceback" not in err
        return Result(status, out, err)

    def change(self, *statements: str) -> None:
        """Write into the database as somebody who has it."""
        if self.place.server:
            for statement in statements:
                self.place.server.sql(statement, self.place.database)
            return
        with closing(sqlite3.connect(self.place.where)) as db:
            for statement in statements:
                db.execute(statement)
            db.commit()


@pytest.fixture
def exporter(place: Place, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Exporter:
    key_file(tmp_path, Door(), Door("gate-2"), Door("hall-3"))
    return Exporter(place, tmp_path, capsys)


@pytest.fixture
def file_exporter(
    file_place: Place, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> Exporter:
    key_file(tmp_path, Door(), Door("gate-2"), Door("hall-3"))
    return Exporter(file_place, tmp_path, capsys)


def test_what_was_not_touched_is_good(exporter: Exporter) -> None:
    fill(exporter.place)
    found = exporter()
    assert (found.status, found.notes(ANI), found.notes(BUDI)) == (0, set(), set())
    assert [line["first_in"] for line in found.lines] == ["07:30:00", "08:30:00"]
    assert "NOT GOOD" not in found.err


COLUMNS = {
    "id": "'01990000-0000-7000-8000-000000000000'",
    "digest": "'AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA'",
    "previous": "NULL",
    "type": "'senyum.unit.audit.v1'",
    "time": "'2026-02-20T00:30:00.000000Z'",
    "subject": f"'{CITRA}'",
    "kid": "'other'",
    "received_at": "'yesterday'",
}


@pytest.mark.parametrize("column", COLUMNS)
def test_a_column_that_contradicts_the_signature_is_named_and_not_believed(
    exporter: Exporter, column: str
) -> None:
    fill(exporter.place)
    before = exporter().lines
    exporter.change(f"UPDATE event SET {column} = {COLUMNS[column]} WHERE sequence = 2")
    found = exporter()
    assert found.status == 1
    assert found.notes(ANI) == {"altered"}
    assert column in found.err
    assert "event 2" in found.err
    blank = [{**line, "notes": ""} for line in found.lines]
    assert blank == before


@pytest.mark.parametrize("sequence", ["-5", "0", "77", "9223372036854775807"])
def test_an_event_that_was_given_another_number_is_not_lost(
    exporter: Exporter, sequence: str
) -> None:
    fill(exporter.place)
    exporter.change(f"UPDATE event SET sequence = {sequence} WHERE sequence = 3")
    found = exporter()
    assert found.status == 1
    assert "altered" in found.notes(BUDI) or "gap" in found.notes(BUDI)


def test_an_event_that_was_filed_under_another_unit_is_missed_there(exporter: Exporter) -> None:
    fill(exporter.place)
    exporter.change("UPDATE event SET unit = 'urn:senyum:kota:depok:gate-2' WHERE sequence = 3")
    found = exporter()
    assert found.status == 1
    assert f"gap: {SOURCE}: event 3 is missing: {DAY}" in found.err
    assert "gap" in found.notes(ANI)
    (line,) = [line for line in found.lines if not line["person_id"]]
    assert (line["day"], line["unit"], line["status"]) == (DAY, "lobby-1", "events missing")


@pytest.mark.parametrize("unit", ["''", "'urn:senyum:kota:depok'", "'x'"])
def test_an_event_that_was_filed_under_no_unit_is_named(exporter: Exporter, unit: str) -> None:
    fill(exporter.place)
    exporter.change(f"UPDATE event SET unit = {unit} WHERE sequence = 3")
    found = exporter()
    assert found.status == 1
    assert "event 3: is not stored under a unit" in found.err
    assert "event 3 is missing" in found.err


# --- the message itself ------------------------------------------------------------------------


def jws(place: Place, sequence: int) -> str:
    ((token,),) = place.rows(f"SELECT jws FROM event WHERE sequence = {sequence}")
    return str(token)


def rewritten(token: str, **changes: object) -> str:
    """Return a message with another payload and the signature that it had."""
    header, payload, signature = token.split(".")
    content = json.loads(from_b64url(payload))
    content["data"] |= changes.pop("data", {})
    return ".".join((header, b64url(json.dumps({**content, **changes}).encode()), signature))


CHANGES: dict[str, dict[str, object]] = {
    "person": {"subject": BUDI},
    "smile": {"data": {"smile": 99.0}},
    "time": {"time": "2026-03-02T00:00:00.000000Z"},
    "direction": {"data": {"direction": "out"}},
}


@pytest.mark.parametrize("what", CHANGES)
def test_a_rewritten_message_counts_for_nobody(exporter: Exporter, what: str) -> None:
    """Also if each column was changed to fit."""
    fill(exporter.place)
    forged = rewritten(jws(exporter.place, 2), **CHANGES[what])
    exporter.change(f"UPDATE event SET jws = '{forged}' WHERE sequence = 2")
    found = exporter()
    assert found.status == 1
    assert "the signature is not that of key" in found.err
    assert "altered" in found.notes(BUDI if what == "person" else ANI)
    (ani,) = found.of(ANI)
    assert (ani["first_in"], ani["last_out"]) == ("09:30:00", "")
    assert "gap" in ani["notes"]  # the event that was there before is not there any more


def test_a_row_that_was_made_up_gives_nobody_a_time(exporter: Exporter) -> None:
    """By somebody with a key of their own, which nobody registered."""
    fill(exporter.place)
    forger = Door(key="forger")
    content = json.loads(from_b64url(jws(exporter.place, 2).split(".")[1]))
    changed = {**content, "subject": "d" * 32, "id": "01990000-0000-7000-8000-000000000000"}
    token = resigned(forger, changed)
    exporter.change(
        "INSERT INTO event SELECT 99, '01990000-0000-7000-8000-000000000000', unit, sequence,"
        f" digest, previous, type, time, '{'d' * 32}', '{forger.key.kid}', '{token}', received_at"
        " FROM event WHERE sequence = 2"
    )
    found = exporter()
    assert found.status == 1
    (line,) = found.of("d" * 32)
    assert (line["status"], line["first_in"]) == ("unproven", "")
    assert "unproven" in line["notes"]
    assert found.of(ANI)[0]["first_in"] == "07:30:00"


def test_a_message_that_was_stored_twice_counts_once(file_exporter: Exporter) -> None:
    fill(file_exporter.place)
    file_exporter.change(
        "INSERT INTO event SELECT 99, 'another', unit, 7, digest, previous, type, time, subject,"
        " kid, jws, received_at FROM event WHERE sequence = 2"
    )
    found = file_exporter()
    assert found.status == 1
    assert "altered" in found.notes(ANI)
    assert "fork" not in found.err


# --- what is not there ---------------------------------------------------------------------------


def test_a_missing_event_names_its_unit_and_day(exporter: Exporter) -> None:
    fill(exporter.place)
    exporter.change("DELETE FROM event WHERE sequence = 3")
    found = exporter()
    assert found.status == 1
    assert f"gap: {SOURCE}: event 3 is missing: {DAY}" in found.err
    assert found.notes(ANI) == {"gap"}
    assert exporter(day="2026-03-01").status == 0
    assert exporter(day="2026-03-04").status == 0


def test_a_missing_event_before_or_after_all_others_is_noticed(exporter: Exporter) -> None:
    fill(exporter.place)
    exporter.change("DELETE FROM event WHERE sequence IN (1, 6)")
    assert f"event 1 is missing: {DAY}" in exporter().err
    assert exporter(day="2026-03-01").status == 1
    late = exporter(day="2026-03-03")
    assert "event 6 is missing: 2026-03-03" in late.err  # its health of the day after names it


def test_a_day_that_was_deleted_is_not_a_day_without_anybody(exporter: Exporter) -> None:
    fill(exporter.place)
    exporter.change("DELETE FROM event WHERE sequence BETWEEN 2 AND 5")
    found = exporter()
    assert found.status == 1
    assert [line["status"] for line in found.lines] == ["events missing"]


def test_a_day_that_was_given_other_times_is_found(exporter: Exporter) -> None:
    fill(exporter.place)
    for time in ("2026-02-01T00:00:00.000000Z", "2027-01-01T00:00:00.000000Z"):
        exporter.change(f"UPDATE event SET time = '{time}' WHERE sequence BETWEEN 2 AND 5")
        found = exporter()
        assert found.status == 1
        assert [line["first_in"] for line in found.lines] == ["07:30:00", "08:30:00"]
        assert found.notes(BUDI) == {"altered"}


def test_a_tail_without_witness_is_not_proven(exporter: Exporter) -> None:
    fill(exporter.place)
    exporter.change("DELETE FROM event WHERE sequence = 6", "DELETE FROM head")
    found = exporter(day="2026-03-03")
    assert found.status == 1
    assert "unproven" in found.err
    assert "nothing shows that event 5 is its last" in found.err


def test_a_witness_that_was_altered_is_named(exporter: Exporter) -> None:
    fill(exporter.place)
    exporter.change("UPDATE head SET sequence = 5")
    assert "names another event than the columns" in exporter(day="2026-03-03").err
    exporter.change("UPDATE head SET jws = 'x'")
    found = exporter(day="2026-03-03")
    assert "is not genuine" in found.err
    assert found.status == 1


def test_a_unit_that_is_silent_since_is_named(exporter: Exporter) -> None:
    fill(exporter.place)
    found = exporter(day="2026-03-05")
    assert f"{SOURCE}: nothing it signed after 2026-03-04 23:00 UTC is stored" in found.err
    assert f"{SOURCE[:-7]}gate-2: has a registered key, but nothing is stored of it" in found.err
    assert found.status == 0


def test_numbers_of_another_name_are_no_gap_and_only_a_signed_move_says_so(
    exporter: Exporter,
) -> None:
    door = Door()
    first = [door.at("2026-03-02T00:30:00").passes(), door.passes()]
    gate = Door("gate-2")
    gate.head = door.head
    gate.at("2026-03-02T01:30:00")
    moved = gate.audit(AuditCode.MOVED, **{"from": door.name.source, "last": 2})
    messages = [*first, moved, gate.passes(BUDI), gate.health()]
    with closing(exporter.place.open()) as store:
        take(store, *messages, units=(door, gate), at="2026-03-02T02:00:00")
    found = exporter()
    assert found.status == 0, found.err
    exporter.change("DELETE FROM event WHERE sequence = 4", "DELETE FROM head")
    exporter.change("INSERT INTO move VALUES ('urn:senyum:kota:depok:gate-2', 5, 'urn:x')")
    found = exporter()
    assert found.status == 1
    assert "did not sign that" in found.err


# --- times ---------------------------------------------------------------------------------------


def undated(exporter: Exporter) -> None:
    door = Door()
    messages = [
        door.at("2026-03-02T00:00:00", ClockState.UNSYNCHRONIZED, monotonic_s=1000).passes(),
        door.at("2026-03-02T01:00:00", monotonic_s=1600).anchor(),
        door.health(),
    ]
    with closing(exporter.place.open()) as store:
        take(store, *messages, units=(door,), at="2026-03-02T03:00:00")


def test_corrected_times_are_those_of_the_signed_anchors(exporter: Exporter) -> None:
    undated(exporter)
    exporter.change("UPDATE undated SET corrected = '2026-03-02T05:00:00.000000Z'")
    exporter.change("UPDATE anchor SET utc = '2026-03-02T09:00:00+00:00'")
    found = exporter()
    assert [line["first_in"] for line in found.lines] == ["07:50:00"]
    assert found.notes(ANI) == {"time-corrected"}
    exporter.change("DELETE FROM undated", "DELETE FROM anchor")
    assert [line["first_in"] for line in exporter().lines] == ["07:50:00"]


def test_an_event_of_a_newer_contract_is_a_link_if_it_was_signed(file_exporter: Exporter) -> None:
    door = Door("gate-2")
    messages = [door.at("2026-03-02T03:00:00").passes(), later_of(door), door.passes(BUDI)]
    with closing(file_exporter.place.open()) as store:
        take(store, *messages, door.health(), units=(door,), at="2026-03-02T04:00:00")
    assert file_exporter().status == 0
    file_exporter.change("UPDATE later SET jws = substr(jws, 1, length(jws) - 4) || 'AAAA'")
    found = file_exporter()
    assert found.status == 1
    assert "table later, event 2" in found.err


# --- keys ----------------------------------------------------------------------------------------


def test_the_receivers_keys_are_the_default(
    file_exporter: Exporter, capsys: pytest.CaptureFixture[str]
) -> None:
    fill(file_exporter.place)
    options = ["export", *file_exporter.place.options, f"--from={DAY}"]
    assert main(options) == 2
    assert "--keys is missing" in capsys.readouterr().err
    path = file_exporter.folder / "keys.json"
    with closing(file_exporter.place.open()) as store:
        store.record_key_file(path, "2026-03-02T00:00:00+00:00")
        store.record_key_file(path, "2026-03-03T00:00:00+00:00")
    assert main(options) == 0
    assert f"verified with the receiver's key set, {path}" in capsys.readouterr().err
    path.chmod(0o666)
    assert main(options) == 2
    assert "name one that you trust" in capsys.readouterr().err
    path.unlink()
    assert main(options) == 2
    assert "cannot be read" in capsys.readouterr().err


def test_two_keys_without_a_move_are_named(
    file_exporter: Exporter,
) -> None:
    door = fill(file_exporter.place)
    other = Door(head=door.head, key="second")
    add_registration(file_exporter.folder / "keys.json", other.key.registration(other.name))
    messages = [other.at("2026-03-03T03:00:00").passes(), other.health()]
    with closing(file_exporter.place.open()) as store:
        take(store, *messages, units=(other,), at="2026-03-03T03:00:00")
    found = file_exporter(day="2026-03-03")
    assert found.status == 1
    assert f"key {door.key.kid} signed up to event 6, and key {other.key.kid} signed" in found.err
