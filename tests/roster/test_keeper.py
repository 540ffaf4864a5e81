"""How a roster comes in, and that nobody who was erased comes back."""

from pathlib import Path

import numpy as np
import pytest
from rosters import EMBEDDER, KEY, person, roster

from edge.errors import RosterError
from edge.gallery import Gallery
from edge.roster.codec import Roster, pack, stripped, unpack
from edge.roster.file import load, read, save
from edge.roster.store import RosterRejected, RosterRejectReason, RosterStore

ANI, BUDI, CITRA = person(1, 2), person(2), person(3)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "roster.senyum"


@pytest.fixture
def keeper(file: Path) -> RosterStore:
    """Give one with a roster that was brought by hand."""
    save(file, KEY, roster(3, ANI, BUDI))
    return opened(file)


def opened(file: Path) -> RosterStore:
    keeper = RosterStore(file, KEY, EMBEDDER)
    keeper.load()
    return keeper


def deliver(keeper: RosterStore, new: Roster, to: str = "id-1") -> Gallery:
    plain = pack(stripped(new))
    return keeper.install(bytearray(plain), new.version, unpack(plain).digest, to)


def refused(keeper: RosterStore, new: Roster) -> RosterRejectReason:
    before = {path: path.read_bytes() for path in keeper.file.parent.iterdir()}
    with pytest.raises(RosterRejected) as caught:
        deliver(keeper, new)
    assert {path: path.read_bytes() for path in keeper.file.parent.iterdir()} == before
    return caught.value.reason


def test_a_newer_roster_comes_into_force_without_numbers(keeper: RosterStore, file: Path) -> None:
    gallery = deliver(keeper, roster(4, ANI, BUDI, CITRA))
    assert gallery.people == (ANI.id, BUDI.id, CITRA.id)
    again = load(file, KEY, EMBEDDER)
    assert (again.version, again.digest) == (4, gallery.digest)
    np.testing.assert_array_equal(again.matrix, gallery.matrix)
    assert all(one.number == "" and one.name == "" for one in read(file, KEY).people)
    assert (keeper.ledger.version, keeper.ledger.digest) == (4, gallery.digest)


def test_a_unit_without_a_roster_takes_its_first(file: Path) -> None:
    keeper = RosterStore(file, KEY, EMBEDDER)
    with pytest.raises(RosterError, match="no roster found"):
        keeper.load()
    deliver(keeper, roster(1, ANI))
    assert opened(file).ledger.version == 1


def test_only_forward(keeper: RosterStore, file: Path) -> None:
    assert refused(keeper, roster(2, ANI, BUDI)) is RosterRejectReason.STALE
    deliver(keeper, roster(3, ANI, BUDI))  # what was brought by hand comes by the broker now
    assert refused(keeper, roster(3, BUDI)) is RosterRejectReason.STALE
    deliver(keeper, roster(9, ANI, BUDI))
    assert refused(keeper, roster(8, ANI, BUDI)) is RosterRejectReason.STALE
    assert refused(opened(file), roster(9, ANI)) is RosterRejectReason.STALE


def test_what_is_not_as_promised_is_refused(keeper: RosterStore) -> None:
    plain = pack(stripped(roster(4, ANI)))
    right = unpack(plain).digest
    for wrong, version, digest in (
        (plain, 4, "00" * 32),
        (plain, 5, right),
        (plain[:-1], 4, right),
        (b"", 4, right),
    ):
        with pytest.raises(RosterRejected) as caught:
            keeper.install(bytearray(wrong), version, digest, "id")
        assert caught.value.reason is RosterRejectReason.BAD_DATA
    other = Roster(4, roster(1).created, "ab" * 32, (ANI,))
    assert refused(keeper, other) is RosterRejectReason.OTHER_NETWORK


def test_who_was_erased_does_not_come_back_in_a_later_roster(
    keeper: RosterStore, file: Path
) -> None:
    deliver(keeper, roster(4, BUDI, tombstones={ANI.id: 4}))
    assert keeper.ledger.tombstones == {ANI.id: 4}
    # The enroller restored a backup, and went on from there.
    assert refused(keeper, roster(5, ANI, BUDI)) is RosterRejectReason.ERASED_PERSON
    assert (
        refused(keeper, roster(5, ANI, tombstones={ANI.id: 5})) is RosterRejectReason.ERASED_PERSON
    )
    # One that says nothing of tombstones takes none away.
    deliver(keeper, roster(6, BUDI, CITRA))
    assert refused(opened(file), roster(7, ANI)) is RosterRejectReason.ERASED_PERSON


def test_who_was_enrolled_again_comes_back(keeper: RosterStore, file: Path) -> None:
    deliver(keeper, roster(4, BUDI, tombstones={ANI.id: 4}))
    assert (
        refused(keeper, roster(5, ANI, readmitted={ANI.id: 4})) is RosterRejectReason.ERASED_PERSON
    )
    deliver(keeper, roster(6, ANI, BUDI, readmitted={ANI.id: 6}))
    assert ANI.id in load(file, KEY).people
    deliver(keeper, roster(7, BUDI, tombstones={ANI.id: 7}, readmitted={ANI.id: 6}))
    assert keeper.ledger.tombstones == {ANI.id: 7}


def test_an_older_file_put_back_by_hand_is_refused(keeper: RosterStore, file: Path) -> None:
    backup = file.read_bytes()
    deliver(keeper, roster(4, BUDI, tombstones={ANI.id: 4}))
    file.write_bytes(backup)
    again = RosterStore(file, KEY, EMBEDDER)
    with pytest.raises(RosterError, match="is version 3, and this unit had version 4"):
        again.load()
    assert (
        refused(again, roster(4, ANI, BUDI)) is RosterRejectReason.STALE
    )  # another of that number
    deliver(again, roster(4, BUDI, tombstones={ANI.id: 4}))  # the broker has it still
    opened(file)


def test_a_newer_file_brought_by_hand_counts_but_for_the_erased(
    keeper: RosterStore, file: Path
) -> None:
    deliver(keeper, roster(4, BUDI, tombstones={ANI.id: 4}))
    save(file, KEY, roster(5, ANI, BUDI))
    with pytest.raises(RosterError, match="holds 1 person erased before"):
        opened(file)
    save(file, KEY, roster(6, CITRA, tombstones={BUDI.id: 6}))
    keeper = opened(file)
    assert keeper.ledger.version == 6
    assert keeper.ledger.tombstones == {ANI.id: 4, BUDI.id: 6}
    assert keeper.ledger.owed is not None
    assert BUDI.id in keeper.ledger.owed.erased
    assert refused(keeper, roster(6, CITRA)) is RosterRejectReason.STALE


def test_the_receipt_is_owed_until_it_was_told(keeper: RosterStore, file: Path) -> None:
    deliver(keeper, roster(4, BUDI, tombstones={ANI.id: 4}), "first")
    deliver(keeper, roster(5, tombstones={ANI.id: 4, BUDI.id: 5}), "second")
    owed = opened(file).ledger.owed
    assert owed is not None
    assert (owed.to, set(owed.erased)) == ("second", {ANI.id, BUDI.id})
    again = opened(file)
    again.receipt_sent()
    assert opened(file).ledger.owed is None
    assert opened(file).ledger.tombstones == {ANI.id: 4, BUDI.id: 5}


def test_a_damaged_ledger_is_named(keeper: RosterStore, file: Path) -> None:
    deliver(keeper, roster(4, BUDI, tombstones={ANI.id: 4}))
    ledger = file.with_name("roster.senyum.ledger")
    content = bytearray(ledger.read_bytes())
    for place in (0, 70, len(content) - 2):
        content[place] ^= 1
        ledger.write_bytes(content)
        with pytest.raises(RosterError, match=r"roster\.senyum\.ledger: .* is damaged"):
            opened(file)
        content[place] ^= 1
    ledger.write_bytes(content)
    opened(file)


def test_after_a_cut_between_file_and_ledger_the_file_sets_the_ledger_right(
    keeper: RosterStore, file: Path
) -> None:
    deliver(keeper, roster(4, ANI, BUDI))
    ledger = file.with_name("roster.senyum.ledger")
    before = ledger.read_bytes()
    deliver(keeper, roster(5, BUDI, tombstones={ANI.id: 5}))
    ledger.write_bytes(before)
    again = opened(file)
    assert again.ledger.version == 5
    assert again.ledger.tombstones == {ANI.id: 5}
    assert again.ledger.owed is not None
    assert again.ledger.owed.erased == (ANI.id,)


def test_nothing_of_the_earlier_file_stays_in_the_folder(keeper: RosterStore, file: Path) -> None:
    deliver(keeper, roster(4, ANI, BUDI))
    kept = file.open("rb")  # as a disk keeps the blocks of a file that is gone
    size = file.stat().st_size
    deliver(keeper, roster(5, BUDI, tombstones={ANI.id: 5}))
    assert kept.read() == bytes(size)
    kept.close()
    assert sorted(path.name for path in file.parent.iterdir()) == [
        "roster.senyum",
        "roster.senyum.ledger",
    ]


def test_what_a_cut_left_is_wiped_at_the_start(keeper: RosterStore, file: Path) -> None:
    old = file.read_bytes()
    for name in (".roster.senyum.earlier", ".roster.senyum.x3k2", ".roster.senyum.ledger.ab12"):
        file.with_name(name).write_bytes(old)
    left = file.with_name(".roster.senyum.earlier").open("rb")
    opened(file)
    assert left.read() == bytes(len(old))
    left.close()
    assert [path.name for path in file.parent.iterdir()] == ["roster.senyum"]
    # The cut came before the new one had the name: both names are the file in use.
    deliver(opened(file), roster(4, ANI, BUDI))
    before = {path.name: path.read_bytes() for path in file.parent.iterdir()}
    for path in list(file.parent.iterdir()):
        path.with_name(f".{path.name}.earlier").hardlink_to(path)
    opened(file)
    assert {path.name: path.read_bytes() for path in file.parent.iterdir()} == before


def test_a_disk_that_does_not_take_it_changes_nothing(keeper: RosterStore, file: Path) -> None:
    deliver(keeper, roster(4, ANI, BUDI))
    before = file.read_bytes()
    file.with_name("roster.senyum.ledger").unlink()
    file.with_name("roster.senyum.ledger").mkdir()
    with pytest.raises(RosterError, match="cannot be written"):
        deliver(keeper, roster(5, BUDI))
    assert keeper.ledger.version == 4
    assert before != file.read_bytes()  # the file came first; the next start counts it
