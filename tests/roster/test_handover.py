"""When what is said of a roster, in which order; with a real keeper, and a loop that is told."""

from pathlib import Path
from typing import Any

import pytest
from rosters import EMBEDDER, KEY, person, roster

from edge.contract.commands import CommandResult
from edge.contract.roster_manifest import RosterManifest
from edge.errors import RosterError
from edge.roster import store as keeper
from edge.roster.codec import Roster, pack, stripped, unpack
from edge.roster.file import save
from edge.roster.installer import RosterInstaller
from edge.roster.messages import ReceiptDue, RosterInstalled, RosterInUse, RosterRequest
from edge.roster.receipts import AGAIN_NS, ReceiptTracker
from edge.roster.store import RosterStore
from edge.settings import RosterSettings
from edge.system.event_queue import EventQueue
from edge.types import AuditCode

ANI, BUDI = person(1), person(2)
ID = "01234567-89ab-7cde-8f01-23456789abcd"
OTHER = "01234567-89ab-7cde-8f01-23456789abce"


class Loop:
    """The roster thread and the main loop, a step at a time."""

    def __init__(self, folder: Path, *, wait: bool = True) -> None:
        store = RosterStore(folder / "roster.senyum", KEY, EMBEDDER)
        self.events: EventQueue[Any] = EventQueue()
        self.requests: EventQueue[RosterRequest] = EventQueue()
        self.rule = RosterSettings()
        self.waiting: list[RosterInstalled] = []
        self.told: list[tuple[AuditCode, dict[str, Any]]] = []
        self.answers: list[CommandResult] = []
        self.installer = RosterInstaller(store, self.rule, self.events, wait_for_delivery=wait)
        self.receipts = ReceiptTracker(
            self.installer.gallery, self.installer.owed, self.installer.why_not, self.requests
        )

    def turn(self, now_ns: int = 0, *, stored: bool = True) -> None:
        """Record the next audit, and let the roster thread do what it is asked."""
        for audit in self.receipts.poll(now_ns):
            self.told.append((audit.code, dict(audit.detail)))
            if stored:
                self.receipts.event_stored(audit.ref)
            else:
                self.receipts.store_failed(audit.ref, now_ns)
        for request in self.requests.get(0.0):
            if isinstance(request, RosterInUse):
                self.installer.in_use(request)
            elif isinstance(request, ReceiptDue):
                self.installer.give_receipt(request)
        self.take_events()

    def take_events(self) -> None:
        for event in self.events.get(0.0):
            if isinstance(event, RosterInstalled):
                self.waiting.append(event)
            else:
                self.answers += event.results

    def use(self, number: int = 0) -> None:
        """Use one of the rosters that were installed."""
        installed = self.waiting[number]
        self.receipts.use(installed.gallery, installed.owed, self.rule)

    def deliver(self, new: Roster, to: str = ID) -> None:
        content = pack(stripped(new))
        manifest = RosterManifest.model_construct(
            id=to, version=new.version, digest=unpack(content).digest
        )
        self.installer.install(bytearray(content), manifest)
        self.take_events()

    def retry(self) -> None:
        self.installer.retry()
        self.take_events()

    def codes(self) -> list[str]:
        return [code.value for code, _ in self.told]


@pytest.fixture
def loop(tmp_path: Path) -> Loop:
    save(tmp_path / "roster.senyum", KEY, roster(1, ANI, BUDI))
    return Loop(tmp_path)


def test_a_receipt_comes_after_file_memory_and_chain(loop: Loop) -> None:
    before = loop.receipts.gallery
    loop.deliver(roster(2, BUDI, tombstones={ANI.id: 2}))
    loop.turn()
    assert (loop.told, loop.answers) == ([], [])  # it is not in force
    assert loop.installer.is_current(2, loop.waiting[0].gallery.digest)
    assert loop.installer.receipt_follows(OTHER)
    loop.use()
    assert not before.matrix.any()
    for _ in range(2):
        assert loop.answers == []
        loop.turn()
    assert len(loop.answers) == 2
    assert loop.codes() == ["roster-installed", "person-erased"]
    assert loop.told[1][1]["person"] == ANI.id
    assert [each.to for each in loop.answers] == [ID, OTHER]
    assert loop.answers[0].data["erased"] == [ANI.id]
    assert not loop.installer.receipt_follows(OTHER)


def test_what_cannot_be_stored_is_told_again(loop: Loop) -> None:
    loop.deliver(roster(2, ANI))
    loop.use()
    loop.turn(stored=False)
    loop.turn(AGAIN_NS - 1)
    assert loop.codes() == ["roster-installed"]
    loop.turn(AGAIN_NS)
    assert loop.codes() == ["roster-installed"] * 2
    assert loop.answers


def test_what_the_power_cut_short_is_told_after_the_next_start(loop: Loop, tmp_path: Path) -> None:
    loop.deliver(roster(2, BUDI, tombstones={ANI.id: 2}))
    again = Loop(tmp_path)
    again.turn()
    again.turn()
    assert again.codes() == ["roster-installed", "person-erased"]
    assert again.answers
    last = Loop(tmp_path)
    last.turn()
    assert last.told == []


def test_a_newer_one_owes_the_receipts_of_the_one_before(loop: Loop) -> None:
    loop.deliver(roster(2, BUDI, tombstones={ANI.id: 2}))
    loop.deliver(roster(3, BUDI, tombstones={ANI.id: 2}), OTHER)
    loop.use()
    loop.use(1)
    loop.turn()
    loop.turn()
    assert loop.answers
    assert loop.answers[0].to == OTHER
    assert loop.answers[0].data["erased"] == [ANI.id]


def test_a_roster_without_anybody_is_a_reason_to_be_out_of_order(
    loop: Loop, tmp_path: Path
) -> None:
    loop.deliver(roster(2, tombstones={ANI.id: 2, BUDI.id: 2}))
    loop.use()
    assert loop.receipts.fault is not None
    digest = loop.waiting[0].gallery.digest
    again = Loop(tmp_path)
    assert again.receipts.fault is not None
    assert again.installer.is_current(2, digest)  # it need not come again
    with pytest.raises(RosterError, match="nobody is enrolled"):
        Loop(tmp_path, wait=False)


def test_without_a_roster_it_waits_where_it_knows_whom_for(tmp_path: Path) -> None:
    assert "no roster found" in str(Loop(tmp_path).receipts.fault)
    with pytest.raises(RosterError, match="no roster found"):
        Loop(tmp_path, wait=False)


def test_a_roster_that_the_disk_kept_from_being_loaded_is_loaded_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Brought by hand: the ledger has to be written first, and the disk is full."""
    save(tmp_path / "roster.senyum", KEY, roster(2, BUDI, tombstones={ANI.id: 2}))
    with monkeypatch.context() as full:
        full.setattr(keeper, "save_state", no_room)
        loop = Loop(tmp_path)
        assert "no room" in str(loop.receipts.fault)
        with pytest.raises(RosterError, match="no room"):
            loop.retry()
        assert loop.waiting == []
    loop.retry()
    assert len(loop.waiting) == 1
    loop.use()
    assert loop.receipts.fault is None
    loop.turn()
    assert loop.codes() == ["roster-installed"]
    loop.retry()
    assert len(loop.waiting) == 1


def test_a_receipt_that_was_given_is_remembered_once_the_disk_takes_it(
    loop: Loop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loop.deliver(roster(2, ANI))
    loop.use()
    with monkeypatch.context() as full:
        full.setattr(keeper, "save_state", no_room)
        loop.turn()
        assert loop.answers
    loop.retry()
    again = Loop(tmp_path)
    again.turn()
    assert again.told == []


def test_a_newer_roster_still_owes_its_receipt(
    loop: Loop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loop.deliver(roster(2, ANI))
    loop.use()
    with monkeypatch.context() as full:
        full.setattr(keeper, "save_state", no_room)
        loop.turn()
        assert loop.answers
    loop.deliver(roster(3, ANI), OTHER)
    loop.retry()
    again = Loop(tmp_path)
    again.turn()
    assert again.codes() == ["roster-installed"]


def no_room(path: Path, _ledger: object) -> None:
    raise RosterError(f"{path}: cannot be written: no room")
