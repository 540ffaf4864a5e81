"""`export` believes that a unit went on under another name only if its chain does."""

from contextlib import closing
from pathlib import Path

import pytest
from days import Door, key_file, take
from places import Place

from edge.cli import main
from edge.outbox.event_signer import ChainHead
from edge.types import AuditCode

OTHER = "A" * 43


@pytest.mark.parametrize("stored", [1, 2, 3])
@pytest.mark.parametrize("genuine", [True, False])
def test_a_move_that_follows_another_event_ends_no_chain(
    file_place: Place,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    stored: int,
    genuine: bool,
) -> None:
    door, gate = Door(), Door("gate-2")
    messages = [door.at(f"2026-03-02T0{hour}:30:00").passes() for hour in range(stored)]
    gate.head = door.head if genuine else ChainHead(stored, OTHER)
    gate.at("2026-03-02T09:00:00")
    moved = gate.audit(AuditCode.MOVED, **{"from": door.name.source, "last": stored})
    with closing(file_place.open()) as store:
        take(store, *messages, moved, units=(door, gate), at="2026-03-04T23:00:00")
    keys = f"--keys={key_file(tmp_path, door, gate)}"
    options = [*file_place.options, keys, "--from=2026-03-02", f"--unit={door.name.name}"]
    assert main(["export", *options]) == (0 if genuine else 1)
    err = capsys.readouterr().err
    assert (f"nothing shows that event {stored} is its last" in err) is not genuine


@pytest.mark.parametrize("alive", [True, False])
def test_another_units_rename_is_no_gap_of_a_unit_that_is_still_online(
    file_place: Place, tmp_path: Path, capsys: pytest.CaptureFixture[str], *, alive: bool
) -> None:
    door, gate = Door(), Door("gate-2")
    messages = [door.at("2026-03-02T01:00:00").passes(), door.at("2026-03-02T01:10:00").health()]
    gate.head = ChainHead(49, OTHER)
    gate.at("2026-03-02T02:00:00")
    moved = gate.audit(AuditCode.MOVED, **{"from": door.name.source, "last": 49})
    with closing(file_place.open()) as store:
        take(store, *messages, moved, units=(door, gate), at="2026-03-02T02:00:01")
        if alive:
            health = door.at("2026-03-02T02:01:00").health()
            take(store, health, units=(door, gate), at="2026-03-02T02:01:01")
    keys = f"--keys={key_file(tmp_path, door, gate)}"
    options = [*file_place.options, keys, "--from=2026-03-02", f"--unit={door.name.name}"]
    assert main(["export", *options]) == (0 if alive else 1)
    missing = "gap: urn:senyum:kota:depok:lobby-1: events 2–49 are missing"  # noqa: RUF001
    assert (missing in capsys.readouterr().err) is not alive
