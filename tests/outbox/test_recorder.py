import select
from pathlib import Path
from typing import Any

import pytest
from kept_events import KeptEvents
from wireunit import Signer, attempt, until

from edge.errors import ErrorCode
from edge.outbox.recorder import CAPACITY, Recorder
from edge.outbox.store import Outbox
from edge.system.event_queue import SelfPipe
from edge.types import EventStored, StoreFailed


@pytest.fixture
def signer(tmp_path: Path) -> Signer:
    return Signer(tmp_path)


def test_each_event_is_reported_once_after_it_is_on_disk(tmp_path: Path, signer: Signer) -> None:
    box = Outbox(tmp_path / "outbox.db")
    heads: list[int] = []

    class Reports(KeptEvents):
        def put(self, item: Any) -> bool:
            heads.append(box.head().sequence)
            return super().put(item)

    reports, link = Reports(), SelfPipe()
    recorder = Recorder(box, signer.sealer, reports, link)
    recorder.start()
    for ref in range(20):
        recorder.submit(attempt(ref))
    assert recorder.close()
    assert reports.all == [EventStored(ref) for ref in range(20)]
    assert all(head > ref for ref, head in enumerate(heads))
    assert select.select([link.fd], [], [], 0)[0] == [link.fd]
    box.close()


def test_an_event_that_cannot_be_signed_fails_alone(tmp_path: Path, signer: Signer) -> None:
    box = Outbox(tmp_path / "outbox.db")
    reports = KeptEvents()
    recorder = Recorder(box, signer.sealer, reports)
    for ref, person in enumerate(["0" * 32, "198001012005011001", "1" * 32]):
        recorder.submit(attempt(ref, person=person))
    recorder.start()
    assert recorder.close()
    assert reports.all == [
        EventStored(0),
        StoreFailed(1, "cannot be signed: ValidationError", ErrorCode.NOT_SIGNED),
        EventStored(2),
    ]
    assert box.head().sequence == 2
    box.close()


def test_an_outbox_that_fails_is_reported_and_the_thread_lives(
    tmp_path: Path, signer: Signer
) -> None:
    box = Outbox(tmp_path / "outbox.db")
    reports = KeptEvents()
    recorder = Recorder(box, signer.sealer, reports)
    recorder.start()
    box._db.execute("PRAGMA max_page_count = 1")
    recorder.submit(attempt(1))
    until(lambda: len(reports.all) == 1, 5.0)
    box._db.execute("PRAGMA max_page_count = 100000")
    recorder.submit(attempt(2))
    assert recorder.close()
    assert isinstance(reports.all[0], StoreFailed)
    assert "full" in reports.all[0].why
    assert reports.all[1] == EventStored(2)
    box.close()


def test_what_finds_no_room_is_refused_at_once(tmp_path: Path, signer: Signer) -> None:
    box = Outbox(tmp_path / "outbox.db")
    reports = KeptEvents()
    recorder = Recorder(box, signer.sealer, reports)
    for ref in range(CAPACITY + 1):
        recorder.submit(attempt(ref))
    assert reports.all == [StoreFailed(CAPACITY, "too many events wait to be stored")]
    recorder.start()
    assert recorder.close()
    assert len(reports.all) == CAPACITY + 1
    recorder.submit(attempt(99))
    assert reports.all[-1] == StoreFailed(99, "the recorder is closed")
    box.close()
