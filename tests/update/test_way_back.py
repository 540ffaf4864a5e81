"""State as a later version may leave it, in the hands of this one: an update may be taken back."""

import contextlib
import hashlib
import json
import sqlite3
from pathlib import Path

from wireunit import UnknownTime

from edge.commands.command_log import CommandEffect, CompletedCommand
from edge.commands.command_log import CommandLog as Orders
from edge.roster.store import RosterState, load_state, save_state


def test_a_journal_of_commands_with_another_table_goes_on(tmp_path: Path) -> None:
    file = tmp_path / "commands.sqlite"
    earlier = Orders(file, UnknownTime())
    earlier.add(
        CompletedCommand("kid", 7, "digest", "topic", "reply", None),
        CommandEffect({"gpio.volume": 0.25}),
    )
    earlier.close()
    with contextlib.closing(sqlite3.connect(file)) as db:
        db.execute("CREATE TABLE later (name TEXT PRIMARY KEY)")
        db.commit()
    again = Orders(file, UnknownTime())
    assert again.settings() == {"gpio.volume": 0.25}
    assert again.last("kid") == 7
    again.close()


def test_a_ledger_of_the_roster_with_another_field_goes_on(tmp_path: Path) -> None:
    path = tmp_path / "roster.ledger"
    known = RosterState(version=4, digest="ab", tombstones={"cd": 3})
    save_state(path, known)
    _, _, text = path.read_bytes().partition(b"\n")
    later = json.dumps({**json.loads(text), "later": 1}).encode()
    path.write_bytes(hashlib.sha256(later).hexdigest().encode() + b"\n" + later)
    assert load_state(path) == known
