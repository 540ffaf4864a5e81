"""When what is said of a roster, in which order; with a real keeper, and a loop that is told."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from rosters import EMBEDDER, KEY, person, roster
from wireunit import until

from edge.contract.commands import CommandResult
from edge.contract.roster_manifest import RosterManifest
from edge.errors import RosterError
from edge.gallery import Gallery
from edge.roster import store as keeper
from edge.roster.codec import Roster, pack, stripped, unpack
from edge.roster.file import save
from edge.roster.installer import AGAIN_NS, RosterInstaller
from edge.roster.store import RosterStore
from edge.types import AuditCode

ANI, BUDI = person(1), person(2)
ID = "01234567-89ab-7cde-8f01-23456789abcd"
OTHER = "01234567-89ab-7cde-8f01-23456789abce"


class Told(RosterInstaller):
    """Notes its answers, which the real one signs and sends."""

    answers: list[CommandResult]

    def _say(self, said: CommandResult) -> None:
        self.answers.append(said)


class Loop:
    """The main loop, a step at a time."""

    def __init__(self, folder: Path, *, wait: bool = True) -> None:
        keeper = RosterStore(folder / "roster.senyum", KEY, EMBEDDER)
        self.waiting: list[Gallery] = []
        self.told: list[tuple[AuditCode, dict[str, Any]]] = []
        self.answers: list[CommandResult] = []
        self.handover = Told(keeper, self.take, wait_for_delivery=wait)
        self.handover.answers = self.answers

    def take(self, gallery: Gallery) -> None:
        self.handover.pending(gallery)
        self.waiting.append(gallery)

    def audit(self, code: AuditCode, **detail: Any) -> int:
        self.told.append((code, detail))
        return -len(self.told)

    def turn(self, now_ns: int = 0, *, stored: bool = True) -> None:
        before = len(self.told)
        self.handover.poll(now_ns, self.audit)
        if len(self.told) > before:
            settle: Callable[..., None] = self.handover.stored
            settle(-len(self.told)) if stored else self.handover.store_failed(
                -len(self.told), now_ns
            )

    def deliver(self, new: Roster, to: str = ID) -> None:
        content = pack(stripped(new))
        manifest = RosterManifest.model_construct(
            id=to, version=new.version, digest=unpack(content).digest
        )
        self.handover.install(bytearray(content), manifest)

    def codes(self) -> list[str]:
        return [code.value for code, _ in self.told]


@pytest.fixture
def loop(tmp_path: Path) -> Loop:
    save(tmp_path / "roster.senyum", KEY, roster(1, ANI, BUDI))
    return Loop(tmp_path)


def test_a_receipt_comes_after_file_memory_and_chain(loop: Loop) -> None:
    before = loop.handover.gallery
    loop.deliver(roster(2, BUDI, tombstones={ANI.id: 2}))
    loop.turn()
    assert (loop.told, loop.answers) == ([], [])  # it is not in force
    assert loop.handover.is_current(2, loop.waiting[0].digest)
    assert loop.handover.receipt_follows(OTHER)
    loop.handover.activated(loop.waiting[0])
    assert not before.matrix.any()
    for _ in range(3):
        assert loop.answers == []
        loop.turn()
    until(lambda: len(loop.answers) == 2, 10.0)
    assert loop.codes() == ["roster-installed", "person-erased"]
    assert loop.told[1][1]["person"] == ANI.id
    assert [each.to for each in loop.answers] == [ID, OTHER]
    assert loop.answers[0].data["erased"] == [ANI.id]
    assert not loop.handover.receipt_follows(OTHER)


def test_what_cannot_be_stored_is_told_again(loop: Loop) -> None:
    loop.deliver(roster(2, ANI))
    loop.handover.activated(loop.waiting[0])
    loop.turn(stored=False)
    loop.turn(AGAIN_NS - 1)
    assert loop.codes() == ["roster-installed"]
    loop.turn(AGAIN_NS)
    assert loop.codes() == ["roster-installed"] * 2
    until(lambda: loop.answers, 10.0)


def test_what_the_power_cut_short_is_told_after_the_next_start(loop: Loop, tmp_path: Path) -> None:
    loop.deliver(roster(2, BUDI, tombstones={ANI.id: 2}))
    again = Loop(tmp_path)
    again.turn()
    again.turn()
    assert again.codes() == ["roster-installed", "person-erased"]
    until(lambda: again.answers, 10.0)
    last = Loop(tmp_path)
    last.turn()
    assert last.told == []


def test_a_newer_one_owes_the_receipts_of_the_one_before(loop: Loop) -> None:
    loop.deliver(roster(2, BUDI, tombstones={ANI.id: 2}))
    loop.deliver(roster(3, BUDI, tombstones={ANI.id: 2}), OTHER)
    loop.handover.activated(loop.waiting[0])
    loop.turn()
    assert loop.told == []
    loop.handover.activated(loop.waiting[1])
    loop.turn()
    loop.turn()
    until(lambda: loop.answers, 10.0)
    assert loop.answers[0].to == OTHER
    assert loop.answers[0].data["erased"] == [ANI.id]


def test_a_roster_without_anybody_is_a_reason_to_be_out_of_order(
    loop: Loop, tmp_path: Path
) -> None:
    loop.deliver(roster(2, tombstones={ANI.id: 2, BUDI.id: 2}))
    loop.handover.activated(loop.waiting[0])
    assert loop.handover.why_not is not None
    digest = loop.waiting[0].digest
    again = Loop(tmp_path)
    assert again.handover.why_not is not None
    assert again.handover.is_current(2, digest)  # it need not come again
    with pytest.raises(RosterError, match="nobody is enrolled"):
        Loop(tmp_path, wait=False)


def test_without_a_roster_it_waits_where_it_knows_whom_for(tmp_path: Path) -> None:
    assert "no roster found" in str(Loop(tmp_path).handover.why_not)
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
        assert "no room" in str(loop.handover.why_not)
        with pytest.raises(RosterError, match="no room"):
            loop.handover.retry()
        assert loop.waiting == []
    loop.handover.retry()
    (gallery,) = loop.waiting
    loop.handover.activated(gallery)
    assert loop.handover.why_not is None
    loop.turn()
    assert loop.codes() == ["roster-installed"]
    loop.handover.retry()
    assert len(loop.waiting) == 1


def test_a_receipt_that_was_given_is_remembered_once_the_disk_takes_it(
    loop: Loop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loop.deliver(roster(2, ANI))
    loop.handover.activated(loop.waiting[0])
    with monkeypatch.context() as full:
        full.setattr(keeper, "save_state", no_room)
        loop.turn()
        until(lambda: loop.answers, 10.0)
    loop.handover.retry()
    again = Loop(tmp_path)
    again.turn()
    assert again.told == []


def test_a_newer_roster_still_owes_its_receipt(
    loop: Loop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loop.deliver(roster(2, ANI))
    loop.handover.activated(loop.waiting[0])
    with monkeypatch.context() as full:
        full.setattr(keeper, "save_state", no_room)
        loop.turn()
        until(lambda: loop.answers, 10.0)
    loop.deliver(roster(3, ANI), OTHER)
    loop.handover.retry()
    again = Loop(tmp_path)
    again.turn()
    assert again.codes() == ["roster-installed"]


def no_room(path: Path, _ledger: object) -> None:
    raise RosterError(f"{path}: cannot be written: no room")
