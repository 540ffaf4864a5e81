"""What systemd hears of `senyum receive`."""

import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from central_parts import Unit
from private_servers import PrivateBroker
from processes import Process, publish

from edge.contract.keys import add_registration
from edge.system.sd_notify import Notifier
from senyum_central.ingest.message import ReceiptClock, ReceivedAt
from senyum_central.ingest.notices import Notice, NoticeKind
from senyum_central.ingest.service_status import EVERY_NS, ReceiverStatus

NOON = datetime(2026, 3, 2, 12, 0, 0, tzinfo=UTC)


class Systemd:
    """The other end of NOTIFY_SOCKET."""

    def __init__(self, folder: Path) -> None:
        self.address = str(folder / "notify")
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(self.address)
        self._socket.setblocking(False)
        self.heard: list[str] = []

    def hear(self) -> list[str]:
        """Return everything so far."""
        try:
            while True:
                self.heard.append(self._socket.recv(4096).decode())
        except BlockingIOError:
            return self.heard

    def until(self, words: str) -> None:
        deadline = time.monotonic() + 30.0
        while not any(words in said for said in self.hear()):
            assert time.monotonic() < deadline, self.heard
            time.sleep(0.05)

    def close(self) -> None:
        self._socket.close()


@contextmanager
def systemd(folder: Path) -> Iterator[Systemd]:
    made = Systemd(folder)
    try:
        yield made
    finally:
        made.close()


class Turned(ReceiptClock):
    """A status whose clocks the test turns."""

    def __init__(self, folder: Path) -> None:
        self.seconds = 0.0
        self.systemd = Systemd(folder)
        self._notifier = Notifier({"NOTIFY_SOCKET": self.systemd.address})
        self.status = ReceiverStatus(self._notifier, self)

    def now(self) -> ReceivedAt:
        at = NOON + timedelta(seconds=self.seconds)
        return ReceivedAt(at, round((100.0 + self.seconds) * 1e9))

    def close(self) -> None:
        self._notifier.close()
        self.systemd.close()

    @property
    def sentence(self) -> str:
        said = [line for line in self.systemd.hear() if line.startswith("STATUS=")]
        return said[-1].removeprefix("STATUS=")


@pytest.fixture
def turned(tmp_path: Path) -> Iterator[Turned]:
    made = Turned(tmp_path)
    yield made
    made.close()


def test_the_sentence_says_what_is_away_and_since_when(turned: Turned) -> None:
    status = turned.status
    status.disconnected("broker b:1: Connection refused")
    turned.seconds = 90.0
    status.disconnected("broker b:1: timed out")
    assert turned.sentence == (
        "Broker away since 2026-03-02 12:00:00 UTC: broker b:1: timed out; "
        "0 events stored since the start"
    )
    assert "READY=1" not in turned.systemd.heard
    status.connected("b:1", "me")
    status.show(Notice(NoticeKind.EVENT, NOON, None))
    status.store_is("locked")
    turned.seconds = 100.0
    status.store_is("still locked")
    assert turned.sentence == (
        "Store away since 2026-03-02 12:01:30 UTC: still locked; connected to b:1 as me; "
        "1 event stored since the start"
    )
    status.store_is(None)
    assert turned.sentence == "Connected to b:1 as me; 1 event stored since the start"
    assert turned.systemd.heard.count("READY=1") == 1


def test_it_asks_for_time_until_it_is_ready_then_feeds_the_watchdog(turned: Turned) -> None:
    for _ in range(3):
        turned.status.alive()
    turned.seconds = EVERY_NS / 1e9
    turned.status.connected("b:1", "me")
    turned.status.alive()
    signs = [said for said in turned.systemd.hear() if not said.startswith("STATUS=")]
    assert signs == ["EXTEND_TIMEOUT_USEC=300000000", "READY=1", "WATCHDOG=1"]


def test_a_line_break_begins_no_other_field(turned: Turned) -> None:
    turned.status.disconnected("no\nMAINPID=1")
    assert turned.sentence.count("\n") == 0


@pytest.mark.broker
def test_a_receiver_under_systemd(
    tmp_path: Path, broker: PrivateBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    unit = Unit()
    add_registration(tmp_path / "keys.json", unit.key.registration(unit.name))
    broker.kill()
    with systemd(tmp_path) as manager:
        monkeypatch.setitem(os.environ, "NOTIFY_SOCKET", manager.address)
        one = Process(tmp_path, broker.port)
        try:
            manager.until("STATUS=Broker away since")
            manager.until("EXTEND_TIMEOUT_USEC=")
            assert "READY=1" not in manager.hear()
            broker.start()
            manager.until("READY=1")
            manager.until(f"Connected to 127.0.0.1:{broker.port} as one")
            publish(broker, *unit.events(3))
            manager.until("3 events stored")
            manager.until("WATCHDOG=1")
            assert one.end() == 0
        finally:
            one.kill()
