"""Exports of stores that hold impossible events, or that a receiver filled."""

import csv
import io
import json
import signal
from contextlib import closing
from pathlib import Path

import pytest
from central_parts import Unit
from days import ANI, BUDI, Door, key_file, resigned, take
from places import Place
from private_servers import PrivateBroker
from processes import Process, publish

from edge.cli import main
from edge.contract.jose import digest, from_b64url
from edge.system.clock import ClockState
from edge.types import AuditCode

DAY = "2026-03-02"
NEVER: dict[str, dict[str, object]] = {
    "time": {"time": "9999-12-31T23:59:59.000000Z"},
    "time before": {"time": "1994-01-01T00:00:00.000000Z"},
    "zone": {"place": {"zone": "x" * 200}},
    "number": {"liveness": {"frames": 2**63 - 1}},
    "reason": {"reason": "because"},
}


def insert(where: Place, unit: Unit, **changes: object) -> None:
    """Store the next event of a unit with changes that the contract does not allow."""
    content = json.loads(from_b64url(unit.audit().payload.decode().split(".")[1]))
    for name, value in changes.items():
        if isinstance(value, dict):
            content["data"][name] = content["data"].get(name, {}) | value
        elif name in content:
            content[name] = value
        else:
            content["data"][name] = value
    token = resigned(unit, content)
    unit.head = type(unit.head)(unit.head.sequence, digest(token))
    statement = (
        "INSERT INTO event (id, unit, sequence, digest, previous, type, time, subject, kid, jws,"
        f" received_at) VALUES ('{content['id']}', '{content['source']}', {unit.head.sequence},"
        f" '{digest(token)}', '{content['previous']}', '{content['type']}', '{content['time']}',"
        f" NULL, '{unit.key.kid}', '{token}', '2026-03-02T02:00:00.000+00:00')"
    )
    if where.server:
        where.server.sql(statement, where.database)
    else:
        with closing(where.open()) as store, store.batch():
            store.database.connection.exec_driver_sql(statement)


def export(
    place: Place, folder: Path, capsys: pytest.CaptureFixture[str], *options: str
) -> tuple[int, str, str]:
    keys = f"--keys={folder / 'keys.json'}"
    status = main(["export", *place.options, keys, *options])
    return status, *capsys.readouterr()


def before_and_after(place: Place, folder: Path) -> Door:
    """A day of one door, in the middle of which `insert` puts something."""
    door = Door()
    key_file(folder, door)
    with closing(place.open()) as store:
        first = door.at("2026-03-02T01:00:00", monotonic_s=1).passes(ANI)
        take(store, first, units=(door,), at="2026-03-02T01:00:00")
    return door


def finish(place: Place, door: Door) -> None:
    with closing(place.open()) as store:
        last = [door.at("2026-03-02T09:00:00", monotonic_s=1).passes(BUDI), door.health()]
        take(store, *last, units=(door,), at="2026-03-02T09:00:00")


@pytest.mark.parametrize("what", NEVER)
def test_an_event_that_was_signed_and_is_impossible_is_named(
    place: Place, tmp_path: Path, capsys: pytest.CaptureFixture[str], what: str
) -> None:
    door = before_and_after(place, tmp_path)
    insert(place, door, **NEVER[what])
    finish(place, door)
    status, out, err = export(place, tmp_path, capsys, f"--from={DAY}")
    assert status == 1
    assert "event 2: was signed and is impossible" in err
    assert "is missing" not in err
    lines = [line for line in csv.DictReader(io.StringIO(out)) if line["person_id"]]
    assert [line["first_in"] for line in lines] == ["08:00:00", "16:00:00"]
    assert {line["notes"] for line in lines} == {"gap"}  # nobody knows whose event it was
    status, out, err = export(place, tmp_path, capsys, f"--from={DAY}", "--raw")
    assert status == 1
    (tmp_path / "day.jsonl").write_text(out)
    assert main(["verify", f"--keys={tmp_path / 'keys.json'}", str(tmp_path / "day.jsonl")]) == 1
    assert f"{tmp_path / 'day.jsonl'}:3: altered: " in capsys.readouterr().out
    for day in ("2026-03-01", "2026-03-05"):
        assert export(place, tmp_path, capsys, f"--from={day}")[0] == 0


@pytest.mark.parametrize("utc", ["0001-01-01T00:00:00.000000Z", "9999-12-31T23:59:59.000000Z"])
def test_an_impossible_anchor_dates_nothing_and_stops_nothing(
    place: Place, tmp_path: Path, capsys: pytest.CaptureFixture[str], utc: str
) -> None:
    door = before_and_after(place, tmp_path)
    door.at("2026-03-02T02:00:00", ClockState.UNSYNCHRONIZED, monotonic_s=100)
    with closing(place.open()) as store:
        take(store, door.passes(BUDI), units=(door,), at="2026-03-02T02:00:00")
    boot = door.clock.reading.boot_id
    detail = {"boot_id": boot, "monotonic_ns": "100", "utc": utc}
    insert(place, door, code=str(AuditCode.CLOCK_ANCHOR), detail=detail)
    statement = (
        f"INSERT INTO anchor VALUES ('{door.name.source}', '{boot}', 100, '{utc[:19]}+00:00', 3)"
    )
    if place.server:
        place.server.sql(statement, place.database)
    else:
        with closing(place.open()) as store, store.batch():
            store.database.connection.exec_driver_sql(statement)
    finish(place, door)
    status, out, err = export(place, tmp_path, capsys, f"--from={DAY}")
    assert (status, "event 3: was signed and is impossible" in err) == (1, True)
    (line,) = [line for line in csv.DictReader(io.StringIO(out)) if line["person_id"] == BUDI]
    assert line["first_in"] == "09:00:00"
    assert "time-uncertain" in line["notes"]
    for day in ("2020-01-01", "2026-03-05", "2099-12-31"):
        status, _, err = export(place, tmp_path, capsys, f"--from={day}")
        assert status == 0, err


def test_a_zone_that_this_machine_does_not_know_is_utc(
    place: Place, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    door = Door(zone="Asia/Nowhere")
    key_file(tmp_path, door)
    with closing(place.open()) as store:
        messages = [door.at("2026-03-02T01:00:00").passes(ANI), door.health()]
        take(store, *messages, units=(door,), at="2026-03-02T01:00:00")
    status, out, _ = export(place, tmp_path, capsys, f"--from={DAY}")
    (line,) = csv.DictReader(io.StringIO(out))
    assert (status, line["first_in"], line["zone"]) == (0, "01:00:00", "UTC")


@pytest.mark.broker
def test_what_was_received_is_verified_with_the_receivers_keys(
    place: Place, tmp_path: Path, broker: PrivateBroker, capsys: pytest.CaptureFixture[str]
) -> None:
    door = Door()
    key_file(tmp_path, door)
    options = place.options
    one = Process(tmp_path, broker.port, *options, store=False)
    one.ready()
    door.at("2026-03-02T01:00:00")
    publish(broker, door.passes(ANI), door.passes(BUDI), door.health())
    one.until(lambda: len(one.said) >= 2)
    one.end(signal.SIGTERM)
    status = main(["export", *options, f"--from={DAY}"])
    out, err = capsys.readouterr()
    assert status == 0, err
    assert f"verified with the receiver's key set, {tmp_path / 'keys.json'}" in err
    assert len(list(csv.DictReader(io.StringIO(out)))) == 2
