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
