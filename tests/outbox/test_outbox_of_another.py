"""An outbox that belongs to another unit is noticed at the start, whatever its length."""

import shutil
import sqlite3
from functools import partial
from pathlib import Path

import pytest
from wireunit import Signer, attempt

from edge.contract.jose import digest
from edge.contract.keys import sequence_log_path
from edge.errors import OutboxUnusable
from edge.outbox.sequence_log import BLOCK, SequenceLog, SequenceRecord, _format
from edge.outbox.store import Outbox, OutboxReader

OURS = "urn:senyum:org:site:other"


def recorded(folder: Path, events: int, retention: int = 100_000) -> list[str]:
    """Make a unit in a folder that has recorded and delivered events; returns them."""
    folder.mkdir()
    signer = Signer(folder)
    box = Outbox(folder / "outbox.db", 1, retention, signing_key=folder / "signing.key")
    tokens = [box.append(partial(signer.sealer.event, attempt()))[0].token for _ in range(events)]
    reader = OutboxReader(folder / "outbox.db")
    reader.set_delivered(events)
    reader.close()
    box.close()
    return tokens


def start(folder: Path) -> Outbox:
    return Outbox(folder / "outbox.db", signing_key=folder / "signing.key")


def mark_of(folder: Path) -> SequenceRecord:
    numbers = SequenceLog(sequence_log_path(folder / "signing.key"))
    assert numbers.mark is not None
    numbers.close(orderly=False)
    return numbers.mark


@pytest.mark.parametrize("own", [0, 1, 20, 70])
@pytest.mark.parametrize("foreign", [1, 20, 21, 100, 2 * BLOCK])
def test_an_outbox_of_another_unit_is_set_aside(tmp_path: Path, own: int, foreign: int) -> None:
    ours, theirs = tmp_path / "ours", tmp_path / "theirs"
    tokens = recorded(ours, own)
    strange = recorded(theirs, foreign)
    shutil.copy(theirs / "outbox.db", ours / "outbox.db")
    box = start(ours)
    assert box.renewal is not None
    assert (ours / str(box.renewal["file"])).is_file()
    assert box.head().sequence >= own
    assert box.head().digest in {None, digest(""), *map(digest, tokens)}
    reader = OutboxReader(ours / "outbox.db")
    kept = {row.token for row in reader.after(0, 10_000)}
    reader.close()
    box.close()
    assert not kept & set(strange)


def test_one_of_another_unit_that_has_forgotten_its_beginning(tmp_path: Path) -> None:
    """Retention removed the event that the key's numbers name: the key of the newest decides."""
    ours, theirs = tmp_path / "ours", tmp_path / "theirs"
    recorded(ours, 3)
    recorded(theirs, 200)
    shutil.copy(theirs / "outbox.db", ours / "outbox.db")
    with sqlite3.connect(ours / "outbox.db") as db:
        db.execute("DELETE FROM event WHERE sequence < 150")
    db.close()
    box = start(ours)
    assert box.renewal is not None
    assert "of another unit or key" in str(box.renewal["why"])
    box.close()


def test_our_own_that_has_forgotten_its_beginning_goes_on(tmp_path: Path) -> None:
    ours = tmp_path / "ours"
    recorded(ours, 200)
    mark = mark_of(ours)
    old = SequenceRecord(
        mark.schema, mark.epoch, mark.session, mark.reserved, 3, 3, digest("x"), "before"
    )
    sequence_log_path(ours / "signing.key").write_bytes(b"".join(_format(n, old) for n in (1, 2)))
    with sqlite3.connect(ours / "outbox.db") as db:
        db.execute("DELETE FROM event WHERE sequence < 150")
    db.close()
    box = start(ours)
    assert box.renewal is None
    assert box.head().sequence == 200
    box.close()


def test_for_a_key_that_has_signed_nothing_it_is_refused(tmp_path: Path) -> None:
    ours, theirs = tmp_path / "ours", tmp_path / "theirs"
    ours.mkdir()
    Signer(ours)
    sequence_log_path(ours / "signing.key").unlink(missing_ok=True)
    recorded(theirs, 5)
    shutil.copy(theirs / "outbox.db", ours / "outbox.db")
    for _ in range(2):  # a refused start leaves nothing that lets the next one in
        with pytest.raises(OutboxUnusable, match=f"and this unit is {OURS}"):
            Outbox(ours / "outbox.db", signing_key=ours / "signing.key", source=OURS)
    (ours / "outbox.db").unlink()
    sequence_log_path(ours / "signing.key").unlink(missing_ok=True)
    Outbox(ours / "outbox.db", signing_key=ours / "signing.key", source=OURS).close()
