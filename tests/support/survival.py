"""A unit's wire side in a process of its own, to be killed, and what must hold afterwards."""

import contextlib
import subprocess
import sys
import threading
from collections.abc import Iterable, Mapping
from pathlib import Path

from receiving import Central
from wireunit import UNIT, Signer, environment, until

from edge.contract.envelope import verify
from edge.contract.events import ChainedEvent
from edge.contract.jose import digest
from edge.contract.topics import TopicKind
from edge.outbox.store import OutboxReader, OutboxRow
from senyum_central.ingest.notices import NoticeKind

PATIENCE = 60.0  # seconds; far more than a busy machine needs


class UnitProcess:
    """Records until its chain has so many events; see `wire_worker`."""

    def __init__(self, folder: Path, port: int, events: int) -> None:
        self.shown = 0  # the last event that was called recorded
        self.delivered = False  # the broker took all
        self._ready = threading.Event()
        script = Path(__file__).with_name("wire_worker.py")
        self._process = subprocess.Popen(
            [sys.executable, str(script), str(folder), str(port), str(events)],
            env=environment(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        self._reading = threading.Thread(target=self._read, daemon=True)
        self._reading.start()
        assert self._ready.wait(PATIENCE)
        assert self.running

    @property
    def running(self) -> bool:
        return self._process.poll() is None

    def replay(self, gaps: Iterable[range]) -> None:
        """Ask for these numbers again, as the `replay` command of a central server does."""
        assert self._process.stdin is not None
        lines = "".join(f"replay {gap.start} {gap.stop - 1}\n" for gap in gaps)
        # It may have been killed, its pipe closed: who still misses something asks again.
        with contextlib.suppress(BrokenPipeError, ValueError):
            self._process.stdin.write(lines)
            self._process.stdin.flush()

    def kill(self) -> None:
        self._process.kill()
        self._end()

    def stop(self) -> None:
        """End it in good order: it notes what was delivered."""
        self._process.terminate()
        self._end()

    def _end(self) -> None:
        self._process.wait(PATIENCE)
        self._reading.join(PATIENCE)
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.close()
        self._process.stdout.close()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            word, *number = line.split()
            if word == "stored":
                self.shown = int(number[0])
            self.delivered |= word == "delivered"
            self._ready.set()
        self._ready.set()


def stored(folder: Path) -> list[OutboxRow]:
    reader = OutboxReader(folder / "outbox.db")
    rows = reader.after(0, 1_000_000)
    reader.close()
    return rows


def check_chain(folder: Path, rows: list[OutboxRow]) -> None:
    """Verify every event and its link to the one before."""
    keys, previous = Signer(folder).keys, None
    for number, row in enumerate(rows, 1):
        event = verify(row.token, keys, UNIT.topic(TopicKind.EVENT)).event
        assert isinstance(event, ChainedEvent)
        assert (event.number, event.previous, event.id) == (number, previous, row.id)
        previous = digest(row.token)
    assert len({row.id for row in rows}) == len(rows)


def settled(central: Central, written: Mapping[int, str]) -> bool:
    """Whether the receiver has told of all that it misses, and of all that healed."""
    kept = central.stored().keys()
    gaps, healed = central.numbers(NoticeKind.GAP), central.numbers(NoticeKind.HEALED)
    whole = [gap for gap in gaps if kept >= set(gap)]
    return central.missing() == written.keys() - kept and all(gap in healed for gap in whole)


def check_central(central: Central, rows: list[OutboxRow]) -> None:
    """Hold what the receiver stored and reported against what the unit wrote."""
    written = {number: row.token for number, row in enumerate(rows, 1)}
    with contextlib.suppress(AssertionError):  # what is wrong, the assertions below say
        until(lambda: settled(central, written), PATIENCE)
    kept = central.stored()
    assert central.missing() == written.keys() - kept.keys()
    assert kept.items() <= written.items()  # to the byte
    # A gap is called healed exactly where all of it has come.
    gaps, healed = central.numbers(NoticeKind.GAP), central.numbers(NoticeKind.HEALED)
    assert len(set(gaps)) == len(gaps)
    assert [gap for gap in gaps if kept.keys() >= set(gap)] == [g for g in gaps if g in healed]
    assert set(healed) <= set(gaps)
    assert not central.said(NoticeKind.FORK) + central.said(NoticeKind.REFUSED)
