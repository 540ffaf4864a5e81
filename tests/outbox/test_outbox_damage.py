"""Damage to the outbox's files, of every kind and in many places, and what the next start does."""

import shutil
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import pytest
from mqtt_servers import ScriptedBroker
from wireunit import UNIT, Signer, WireUnit, attempt, until

from edge.contract.envelope import verify
from edge.contract.events import ChainedEvent
from edge.contract.jose import digest
from edge.contract.keys import sequence_log_path
from edge.contract.topics import TopicKind
from edge.errors import ErrorCode, OutboxDamaged, OutboxError
from edge.outbox import sequence_log as numbers
from edge.outbox.sequence_log import BLOCK, SequenceLog, SequenceRecord
from edge.outbox.store import Outbox, OutboxReader

EVENTS = 90
DELIVERED = 60
FILES = ("outbox.db", "outbox.db-wal", "signing.key.begun")


@dataclass(frozen=True, slots=True)
class Disk:
    """What lay on a unit's disk, and every event that it ever signed."""

    folder: Path
    signer: Signer
    events: dict[int, str]  # number to JWS

    def copy(self, to: Path) -> Path:
        to.mkdir()
        for name in ("signing.key", *FILES):
            if (self.folder / name).exists():
                shutil.copy(self.folder / name, to / name)
        return to


def make(folder: Path, *, closed: bool) -> Disk:
    folder.mkdir()
    live = folder / "live"
    live.mkdir()
    signer = Signer(live)
    box = Outbox(live / "outbox.db", signing_key=live / "signing.key")
    reader = OutboxReader(live / "outbox.db")
    events = {}
    for number in range(1, EVENTS + 1):
        (row,) = box.append(partial(signer.sealer.event, attempt()))
        events[row.sequence] = row.token
        if number == EVENTS // 2:
            box.delete_expired(None)
    reader.set_delivered(DELIVERED)
    disk = Disk(live, signer, events)
    if closed:
        reader.close()
        box.close()
        return disk
    # A copy while both are open is what a kill leaves.
    killed = Disk(disk.copy(folder / "killed"), signer, events)
    reader.close()
    box.close()
    return killed


def damage_event_70(disk: Disk, folder: Path) -> Path:
    """Copy the disk; one event that waits loses a letter, its neighbours nothing."""
    disk.copy(folder)
    content = bytearray((folder / "outbox.db").read_bytes())
    content[content.index(disk.events[70].split(".")[1][:60].encode()) + 40] ^= 1
    (folder / "outbox.db").write_bytes(content)
    return folder


@pytest.fixture(scope="module")
def disks(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Disk]:
    folder = tmp_path_factory.mktemp("disks")
    killed = make(folder / "b", closed=False)
    cut = Disk(killed.copy(folder / "cut"), killed.signer, killed.events)
    lose_what_was_not_synced(cut.folder / "signing.key.begun", digest(cut.events[1]))
    return {"closed": make(folder / "a", closed=True), "killed": killed, "cut": cut}


def lose_what_was_not_synced(marker: Path, first: str) -> None:
    """Leave of the marker what a power cut does: the reservation, and the boot before."""
    mark = SequenceRecord(2, 0, 1, BLOCK + 1, 1, 1, first, "another-boot")
    marker.write_bytes(b"".join(numbers._format(count, mark) for count in (1, 2)))


def check_goes_on(disk: Disk, folder: Path) -> Outbox:
    """Start over `folder`, add an event, and hold all that is there against what was signed."""
    box = Outbox(folder / "outbox.db", signing_key=folder / "signing.key")
    renewal = box.renewal
    (row,) = box.append(partial(disk.signer.sealer.event, attempt()), records_renewal=True)
    assert row.sequence > EVENTS, "a number is used twice"
    event = verify(row.token, disk.signer.keys, UNIT.topic(TopicKind.EVENT)).event
    assert isinstance(event, ChainedEvent)
    reader = OutboxReader(folder / "outbox.db")
    kept = {found.sequence: found.token for found in reader.after(0, 10_000)}
    waiting = reader.after(reader.delivered(), 10_000)
    reader.close()
    assert kept.pop(row.sequence) == row.token
    if renewal is None:
        assert row.sequence == EVENTS + 1
        assert event.previous == digest(disk.events[EVENTS])
        # Of the archive alone may anything be wrong: its receivers have it, and would see.
        altered = {number for number, token in kept.items() if disk.events[number] != token}
        assert all(number < DELIVERED for number in altered)
        # The note of what was delivered may be lost: sent again, an event is known by its id.
        unsent = {found.sequence for found in waiting}
        assert {*range(DELIVERED + 1, EVENTS + 2)} <= unsent <= {*range(1, EVENTS + 2)}
    else:
        assert row.sequence == renewal["next"]
        assert kept.items() <= disk.events.items(), "an event was altered"
        assert {found.sequence for found in waiting} == {*kept, row.sequence}
        assert (folder / str(renewal["file"])).is_file()
        if row.sequence == EVENTS + 1:  # nothing is missing between
            assert event.previous == digest(disk.events[EVENTS])
    # The next start finds nothing to complain of.
    box.close()
    again = Outbox(folder / "outbox.db", signing_key=folder / "signing.key")
    assert again.renewal is None
    assert again.head().sequence == row.sequence
    return again


@pytest.mark.parametrize("state", ["closed", "killed", "cut"])
def test_without_damage_nothing_is_renewed(
    disks: dict[str, Disk], tmp_path: Path, state: str
) -> None:
    folder = disks[state].copy(tmp_path / "disk")
    box = check_goes_on(disks[state], folder)
    assert box.head().sequence == EVENTS + 1
    box.close()
    assert not list(folder.glob("*.damaged-*"))


def ways(content: bytes, step: int) -> Iterator[tuple[str, bytes]]:
    """Ways to damage a file, each at every `step`-th byte."""
    size = len(content)
    for at in range(0, size, step):
        yield f"flip {at}", content[:at] + bytes([content[at] ^ 0xFF]) + content[at + 1 :]
    for at in range(0, size, step):
        yield f"cut {at}", content[:at]
    for page in range(0, size, 4 * step):
        blank = bytes(min(1024, size - page))
        yield f"zero {page}", content[:page] + blank + content[page + len(blank) :]


@pytest.mark.parametrize("places", [12, pytest.param(150, marks=pytest.mark.slow)])
@pytest.mark.parametrize(
    ("state", "name"),
    [("closed", "outbox.db"), ("killed", "outbox.db"), ("killed", "outbox.db-wal")],
)
def test_whatever_happens_to_a_file_no_number_is_used_twice(
    disks: dict[str, Disk], tmp_path: Path, state: str, name: str, places: int
) -> None:
    disk = disks[state]
    content = (disk.folder / name).read_bytes()
    renewed = 0
    for number, (way, damaged) in enumerate(ways(content, len(content) // places + 1)):
        if damaged == content:
            continue
        folder = disk.copy(tmp_path / str(number))
        (folder / name).write_bytes(damaged)
        try:
            box = check_goes_on(disk, folder)
        except BaseException as error:
            error.add_note(f"{state}, {name}, {way}")
            raise
        box.close()
        asides = list(folder.glob("outbox.db.damaged-*"))
        renewed += bool(asides)
        if asides and name == "outbox.db":
            assert min(asides).read_bytes() == damaged, way
        shutil.rmtree(folder)
    assert renewed > places / 2


@pytest.mark.parametrize("part", ["application id", "schema", "page size"])
def test_a_flipped_header_is_damage_and_no_reason_to_stay_out(
    disks: dict[str, Disk], tmp_path: Path, part: str
) -> None:
    at = {"page size": 16, "schema": 63, "application id": 70}[part]
    folder = disks["closed"].copy(tmp_path / "disk")
    content = bytearray((folder / "outbox.db").read_bytes())
    content[at] ^= 0x40
    (folder / "outbox.db").write_bytes(content)
    box = check_goes_on(disks["closed"], folder)
    assert box.head().sequence == EVENTS + 1
    box.close()


def test_after_a_power_cut_numbers_are_left_out_rather_than_used_twice(
    disks: dict[str, Disk], tmp_path: Path
) -> None:
    disk = disks["cut"]
    folder = disk.copy(tmp_path / "disk")
    (folder / "outbox.db").write_bytes(b"")
    (folder / "outbox.db-wal").unlink()
    box = Outbox(folder / "outbox.db", signing_key=folder / "signing.key")
    assert box.renewal is not None
    # The last number that may have been used, one that nobody can have used, and the first.
    assert box.renewal["next"] == BLOCK + 3
    assert box.head().sequence == BLOCK + 2
    box.close()


def test_damage_before_the_first_event_begins_at_one(tmp_path: Path) -> None:
    signer = Signer(tmp_path)
    Outbox(tmp_path / "outbox.db", signing_key=tmp_path / "signing.key").close()
    (tmp_path / "outbox.db").write_bytes(b"")
    for number in (1, 2):
        box = Outbox(tmp_path / "outbox.db", signing_key=tmp_path / "signing.key")
        assert box.append(partial(signer.sealer.event, attempt()))[0].sequence == number
        box.close()


def test_what_waited_for_the_broker_is_saved(disks: dict[str, Disk], tmp_path: Path) -> None:
    disk = disks["closed"]
    folder = damage_event_70(disk, tmp_path / "disk")
    box = Outbox(folder / "outbox.db", signing_key=folder / "signing.key")
    reader = OutboxReader(folder / "outbox.db")
    waiting = {row.sequence: row.token for row in reader.after(reader.delivered(), 1000)}
    expected = set(range(DELIVERED + 1, EVENTS + 1)) - {70}
    assert waiting.keys() == expected
    assert waiting.items() <= disk.events.items()
    assert box.renewal is not None
    assert box.renewal["saved"] == len(expected)
    assert "chain is broken at event 71" in str(box.renewal["why"])
    assert box.renewal["last_known"] == EVENTS
    reader.close()
    box.close()


def test_the_link_delivers_over_the_numbers_that_a_renewal_left_out(
    disks: dict[str, Disk], tmp_path: Path
) -> None:
    disk = disks["closed"]
    folder = damage_event_70(disk, tmp_path / "disk")
    lose_what_was_not_synced(folder / "signing.key.begun", digest(disk.events[1]))
    saved = set(range(DELIVERED + 1, EVENTS + 1)) - {70}
    with ScriptedBroker() as broker, WireUnit(folder, broker.settings) as unit:
        assert unit.outbox.head().sequence == BLOCK + 2
        unit.record(2)  # and before them, what is told of the renewal
        head = BLOCK + 5
        until(lambda: unit.link.delivered == head, 10.0)
        assert sorted(broker.numbers) == sorted({*saved, head - 2, head - 1, head})
    again = Outbox(folder / "outbox.db", signing_key=folder / "signing.key")
    reader = OutboxReader(folder / "outbox.db")
    assert reader.delivered() == again.head().sequence == head
    reader.close()
    again.close()


def test_an_older_outbox_that_is_put_back_is_noticed(
    disks: dict[str, Disk], tmp_path: Path
) -> None:
    disk = disks["closed"]
    folder = disk.copy(tmp_path / "disk")
    check_goes_on(disk, folder).close()
    shutil.copy(disk.folder / "outbox.db", folder / "outbox.db")
    box = Outbox(folder / "outbox.db", signing_key=folder / "signing.key")
    assert box.renewal is not None
    assert "ends at event 90, and 91 was stored" in str(box.renewal["why"])
    assert box.head().sequence == 91
    box.close()
    # And one from before a renewal, however many events it has.
    (folder / "outbox.db").rename(folder / "new")
    aside = next(folder.glob("*.damaged-*Z"))
    shutil.copy(aside, folder / "outbox.db")
    again = Outbox(folder / "outbox.db", signing_key=folder / "signing.key")
    assert again.renewal is not None
    assert "was set aside earlier" in str(again.renewal["why"])
    assert again.head().sequence >= 91
    again.close()


def test_a_power_cut_between_marker_and_new_file_is_mended_again(
    disks: dict[str, Disk], tmp_path: Path
) -> None:
    disk = disks["closed"]
    folder = disk.copy(tmp_path / "disk")
    marker = SequenceLog(sequence_log_path(folder / "signing.key"))
    marker.rewrite(EVENTS, digest(disk.events[EVENTS]), 2)
    marker.close(orderly=False)
    box = check_goes_on(disk, folder)
    assert box.head().sequence == EVENTS + 1
    box.close()


@pytest.mark.parametrize("slot", [0, 1])
def test_a_damaged_marker_is_written_anew_from_the_outbox(
    disks: dict[str, Disk], tmp_path: Path, slot: int
) -> None:
    disk = disks["closed"]
    folder = disk.copy(tmp_path / "disk")
    marker = folder / "signing.key.begun"
    content = bytearray(marker.read_bytes())
    content[numbers.SLOTS[slot] + 30] ^= 0xFF
    marker.write_bytes(content)
    box = check_goes_on(disk, folder)
    assert box.head().sequence == EVENTS + 1
    box.close()


def test_both_damaged_is_for_a_person_to_decide(disks: dict[str, Disk], tmp_path: Path) -> None:
    folder = disks["closed"].copy(tmp_path / "disk")
    (folder / "outbox.db").write_bytes(b"")
    (folder / "signing.key.begun").write_bytes(b"")
    with pytest.raises(OutboxDamaged, match=r"is empty.*register the new key with central"):
        Outbox(folder / "outbox.db", signing_key=folder / "signing.key")
    assert (folder / "outbox.db").read_bytes() == b""


def test_damage_met_at_work_has_the_whole_file_looked_at(
    disks: dict[str, Disk], tmp_path: Path
) -> None:
    folder = disks["closed"].copy(tmp_path / "disk")
    box = Outbox(folder / "outbox.db", signing_key=folder / "signing.key")
    box.append(partial(disks["closed"].signer.sealer.event, attempt()))
    box._db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    box._db.execute("PRAGMA cache_size = 0")
    pages = bytearray((folder / "outbox.db").read_bytes())
    pages[1024:] = bytes(len(pages) - 1024)
    (folder / "outbox.db").write_bytes(pages)
    with pytest.raises(OutboxDamaged) as caught:
        box.append(partial(disks["closed"].signer.sealer.event, attempt()))
    assert caught.value.trouble is ErrorCode.OUTBOX_DAMAGED
    assert box._numbers is not None
    assert box._numbers.mark is not None
    assert box._numbers.mark.suspect
    box.close()
    again = Outbox(folder / "outbox.db", signing_key=folder / "signing.key")
    assert again.renewal is not None
    assert again.head().sequence == EVENTS + 1
    again.close()


def test_the_marker_survives_a_torn_slot(tmp_path: Path) -> None:
    file = tmp_path / "key.begun"
    marker = SequenceLog(file)
    assert marker.mark is None
    marker.initialize_from(3, 0, 1, 5, "d" * 43)
    marker.begin(6)
    marker.stored(6, "e" * 43)
    mark = marker.mark
    assert mark is not None
    assert mark.exact(marker.boot)
    assert mark.schema == 3
    assert mark.reserved == 6 + BLOCK
    marker.close(orderly=True)
    again = SequenceLog(file)
    assert again.mark == replace(mark, boot="closed")
    again.close(orderly=False)
    content = bytearray(file.read_bytes())
    newest = again._count % 2 * 512
    content[newest + 30] ^= 1
    file.write_bytes(content)
    torn = SequenceLog(file)
    assert torn.mark is not None
    assert not torn.mark.exact(torn.boot)
    assert torn.mark.reserved == mark.reserved
    torn.close(orderly=False)
    with pytest.raises(OutboxError, match="cannot be opened"):
        SequenceLog(tmp_path / "nowhere" / "key.begun")


@pytest.mark.parametrize("name", [b"sequence", b"stored_at", b"jws", b"value"])
def test_a_column_whose_name_is_no_text_is_damage(
    disks: dict[str, Disk], tmp_path: Path, name: bytes
) -> None:
    folder = disks["closed"].copy(tmp_path / "disk")
    content = (folder / "outbox.db").read_bytes()
    (folder / "outbox.db").write_bytes(content.replace(name, name[:-1] + b"\xd5", 1))
    check_goes_on(disks["closed"], folder).close()
