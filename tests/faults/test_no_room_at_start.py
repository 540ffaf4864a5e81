"""A device that starts while its disk has no room: it says so, and recovers by itself."""

from collections.abc import Callable
from contextlib import AbstractContextManager, closing
from pathlib import Path

import pytest
from disks import blocks_taken, inodes_taken, small_ext4
from wireunit import SteppedClock

from edge.commands.command_log import CommandEffect, CommandLog, CompletedCommand
from edge.errors import OutboxError, OutboxFull
from edge.outbox.store import Outbox

DONE = CompletedCommand("key", 1, "digest", "topic", "reply", None)
# A database of SQLite needs up to two files more than its own while it is open.
LEFT = range(4)


def full(disk: Path, left: int | None) -> AbstractContextManager[None]:
    return blocks_taken(disk) if left is None else inodes_taken(disk, left)


def raised(work: Callable[[], object]) -> OutboxError | None:
    try:
        work()
    except OutboxError as error:
        return error
    return None


@pytest.mark.parametrize("before", [True, False], ids=["used before", "never opened"])
@pytest.mark.parametrize("left", [None, *LEFT], ids=lambda left: f"{left} inodes left")
def test_the_ledger_of_commands_opens_once_there_is_room(
    tmp_path: Path, left: int | None, before: bool
) -> None:
    with small_ext4(tmp_path) as disk:
        file = disk / "commands.sqlite"
        if before:
            with closing(CommandLog(file, SteppedClock(1e-6))) as earlier:
                earlier.add(DONE, CommandEffect({"gpio.volume": 0.5}))
        ledger = CommandLog(file, SteppedClock(2e-6))
        with closing(ledger):
            with full(disk, left):
                refused = [raised(ledger.settings) for _ in range(3)]
            assert left != 0 or None not in refused
            assert all(
                isinstance(error, OutboxFull) or "cannot be made" in str(error)
                for error in refused
                if error is not None
            )
            assert ledger.settings() == ({"gpio.volume": 0.5} if before else {})
            assert ledger.last("key") == (1 if before else 0)
            assert ledger.created_at_us == (1 if before else 2)
            assert not ledger.renewed, "a full disk is not damage"


@pytest.mark.parametrize("left", LEFT)
def test_the_outbox_says_that_inodes_are_missing(tmp_path: Path, left: int) -> None:
    with small_ext4(tmp_path) as disk:
        file = disk / "outbox.db"
        with closing(Outbox(file)):
            pass
        with inodes_taken(disk, left):
            error = raised(lambda: Outbox(file).close())
        assert error is None or (isinstance(error, OutboxFull) and "no inode left" in str(error))
        assert (error is None) == (left >= 2)
        with closing(Outbox(file)) as outbox:
            assert outbox.session >= 2
