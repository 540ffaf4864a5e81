"""The clock's state, its steps, and the anchors that date events afterwards."""

import json
import logging
import time
from dataclasses import replace
from pathlib import Path

import pytest
from kept_events import KeptEvents
from wireunit import BOOT_ID, UNIT, Signer, SteppedClock, attempt, until

from edge.contract.envelope import verify
from edge.contract.events import AttendanceEvent, AuditEvent
from edge.contract.topics import TopicKind
from edge.outbox.clock_monitor import ClockChange, ClockMonitor
from edge.outbox.recorder import LOOK_SECONDS, Recorder
from edge.outbox.store import Outbox, OutboxReader
from edge.system.clock import ClockReading, ClockState, SystemClock
from edge.types import AuditCode, EventStored, StoreFailed

START = ClockReading(1_800_000_000_000_000_000, 5_000_000_000, ClockState.SYNCHRONIZED, BOOT_ID)


def after(reading: ClockReading, seconds: float, step: float = 0.0) -> ClockReading:
    return replace(
        reading,
        utc_ns=reading.utc_ns + int((seconds + step) * 1e9),
        monotonic_ns=reading.monotonic_ns + int(seconds * 1e9),
    )


# --- the state -------------------------------------------------------------------------------


def answer(file: Path, *, synchronized: object = True, age: float = 0.0, boot: str = "") -> None:
    real = SystemClock().read()
    said = {
        "synchronized": synchronized,
        "boot_id": boot or real.boot_id,
        "monotonic_ns": str(time.monotonic_ns() - int(age * 1e9)),
    }
    file.write_text(json.dumps(said))


def test_a_helper_is_believed_while_its_answer_is_fresh(tmp_path: Path) -> None:
    file = tmp_path / "clock.json"
    clock = SystemClock(file, stale_seconds=30.0)
    answer(file, synchronized=True, age=29.0)
    assert clock.read().state is ClockState.SYNCHRONIZED
    answer(file, synchronized=False)
    assert clock.read().state is ClockState.HOLDOVER
    assert SystemClock(file).read().state is ClockState.UNSYNCHRONIZED


@pytest.mark.parametrize(
    "wrong",
    ["missing", "stale", "future", "other boot", "not JSON", "no object", "no answer", "empty"],
)
def test_otherwise_nobody_vouches_for_the_clock(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, wrong: str
) -> None:
    """The kernel is not asked instead: the sandbox might end a process that does."""
    file = tmp_path / "clock.json"
    match wrong:
        case "stale":
            answer(file, age=31.0)
        case "future":
            answer(file, age=-5.0)
        case "other boot":
            answer(file, boot=BOOT_ID)
        case "no answer":
            answer(file, synchronized="perhaps")
        case "not JSON":
            file.write_bytes(b"\xff{")
        case "no object":
            file.write_text("[1]")
        case "empty":
            file.touch()
    clock = SystemClock(file, stale_seconds=30.0)
    with caplog.at_level(logging.INFO, "edge.system.clock"):
        assert clock.read().state is ClockState.UNSYNCHRONIZED
        clock.read()
        answer(file)
        assert clock.read().state is ClockState.SYNCHRONIZED
        file.unlink()
        assert clock.read().state is ClockState.HOLDOVER
    said = [record.levelname for record in caplog.records]
    assert said == ["WARNING", "INFO", "WARNING"]


# --- steps and anchors, from readings alone ----------------------------------------------------


@pytest.mark.parametrize("step", [0.6, -0.6, 3600.0, -86_400.0, 1e9])
def test_a_step_is_told_in_seconds(step: float) -> None:
    watch = ClockMonitor()
    assert list(watch.look(START)) == []
    later = after(START, 5.0, step)
    detail = {"seconds": step, "state": ClockState.SYNCHRONIZED}
    assert list(watch.look(later)) == [
        ClockChange(AuditCode.CLOCK_STEPPED, later.monotonic_ns, detail)
    ]
    assert list(watch.look(after(later, 5.0))) == []


def test_discipline_is_no_step() -> None:
    watch = ClockMonitor()
    list(watch.look(START))
    reading = START
    for _ in range(1000):  # 500 ppm, the most that the kernel slews
        reading = after(reading, 5.0, 0.0025)
        assert list(watch.look(reading)) == []


def test_an_anchor_comes_once_and_only_where_events_wait_for_it() -> None:
    unsure = replace(START, state=ClockState.UNSYNCHRONIZED)
    watch = ClockMonitor()
    assert list(watch.look(unsure)) == []
    assert list(watch.look(after(START, 5.0))) == []  # nothing was recorded meanwhile
    watch.look(after(unsure, 10.0))
    watch.recorded(after(unsure, 10.0))
    assert list(watch.look(after(unsure, 15.0))) == []
    sure = after(START, 20.0)
    (anchor,) = watch.look(sure)
    assert anchor.code is AuditCode.CLOCK_ANCHOR
    assert anchor.detail == {
        "boot_id": BOOT_ID,
        "monotonic_ns": str(sure.monotonic_ns),
        "utc": "2027-01-15T08:00:20.000000Z",
    }
    watch.recorded(sure)
    assert list(watch.look(after(START, 25.0))) == []


# --- in the chain ------------------------------------------------------------------------------


def chain(file: Path, signer: Signer) -> list[AttendanceEvent | AuditEvent]:
    reader = OutboxReader(file)
    rows = reader.after(0, 1000)
    reader.close()
    events = [verify(row.token, signer.keys, UNIT.topic(TopicKind.EVENT)).event for row in rows]
    return [event for event in events if isinstance(event, AttendanceEvent | AuditEvent)]


def said(event: AttendanceEvent | AuditEvent) -> str:
    return event.data.code if isinstance(event, AuditEvent) else event.data.outcome


class Door:
    """An outbox and its recorder over a clock that the test turns."""

    def __init__(self, folder: Path, clock: SteppedClock) -> None:
        self.signer = Signer(folder, clock)
        self.clock = clock
        self.reports = KeptEvents()
        self.box = Outbox(folder / "outbox.db", signing_key=folder / "signing.key")
        self.recorder = Recorder(self.box, self.signer.sealer, self.reports, clock=clock)
        self.recorder.start()

    def record(self) -> None:
        before = len(self.reports.all)
        self.recorder.submit(attempt(before + 1, captured_ns=self.clock.monotonic_ns))
        until(lambda: len(self.reports.all) > before, 5.0)

    def pass_time(self, seconds: float, step: float = 0.0) -> None:
        self.clock.monotonic_ns += int(seconds * 1e9)
        self.clock.utc += seconds + step

    def close(self) -> list[AttendanceEvent | AuditEvent]:
        assert self.recorder.close()
        self.box.close()
        return chain(self.box.file, self.signer)


def test_step_and_anchor_stand_before_the_first_event_of_the_new_time(tmp_path: Path) -> None:
    clock = SteppedClock(utc=100.0)  # a unit without a battery believes it is 1970
    clock.state = ClockState.UNSYNCHRONIZED
    door = Door(tmp_path, clock)
    door.record()
    door.pass_time(60.0)
    door.record()
    door.pass_time(60.0, step=1_800_000_000.0)
    clock.state = ClockState.SYNCHRONIZED
    door.record()
    door.pass_time(60.0)
    door.record()
    events = door.close()
    assert door.reports.all == [EventStored(ref) for ref in range(1, 5)]
    assert list(map(said, events)) == [
        "recorded",
        "recorded",
        "clock-stepped",
        "clock-anchor",
        "recorded",
        "recorded",
    ]
    step, anchor = events[2:4]
    assert isinstance(step, AuditEvent)
    assert step.data.detail == {"seconds": 1_800_000_000.0, "state": "synchronized"}
    assert isinstance(anchor, AuditEvent)
    assert anchor.data.detail["boot_id"] == BOOT_ID == events[0].data.clock.boot_id
    assert anchor.data.detail["utc"] == anchor.time
    assert anchor.data.detail["monotonic_ns"] == anchor.data.clock.monotonic_ns
    # Nothing was signed again: the first two keep what was believed then, cut to the limits.
    assert [event.time[:4] for event in events] == ["2020"] * 2 + ["2027"] * 4


@pytest.mark.parametrize("same_boot", [True, False])
def test_an_anchor_dates_what_an_earlier_process_recorded(
    tmp_path: Path, *, same_boot: bool
) -> None:
    clock = SteppedClock()
    clock.state = ClockState.UNSYNCHRONIZED
    door = Door(tmp_path, clock)
    door.record()
    door.close()
    if not same_boot:
        clock.boot_id = "11111111-1111-4111-8111-111111111111"
    clock.state = ClockState.SYNCHRONIZED
    again = Door(tmp_path, clock)
    again.record()
    events = [said(event) for event in again.close()]
    assert events == ["recorded", *["clock-anchor"] * same_boot, "recorded"]
    third = Door(tmp_path, clock)
    third.record()
    assert len(third.close()) == len(events) + 1


@pytest.mark.slow
def test_a_step_is_told_while_nobody_comes(tmp_path: Path) -> None:
    door = Door(tmp_path, SteppedClock())
    door.record()
    door.pass_time(1.0, step=-7.5)
    until(lambda: door.box.head().sequence == 2, LOOK_SECONDS + 3.0)
    (_, step) = door.close()
    assert isinstance(step, AuditEvent)
    assert step.data.detail == {"seconds": -7.5, "state": "synchronized"}


def test_no_clock_however_wrong_keeps_an_event_out(tmp_path: Path) -> None:
    """Backwards, frozen, leaping: every event is stored, in order, as it was told."""
    clock = SteppedClock()
    door = Door(tmp_path, clock)
    for seconds, step in ((0.0, 0.0), (1.0, -1e9), (0.0, 2e9), (5.0, -5.0), (1e6, 0.0)):
        door.pass_time(seconds, step)
        clock.state = ClockState.UNSYNCHRONIZED if step else ClockState.SYNCHRONIZED
        door.record()
    events = door.close()
    assert door.reports.of(StoreFailed) == []
    assert [said(event) for event in events].count("recorded") == 5
    assert [event.number for event in events] == list(range(1, len(events) + 1))


def test_that_an_outbox_was_renewed_is_the_first_thing_said(tmp_path: Path) -> None:
    clock = SteppedClock()
    door = Door(tmp_path, clock)
    door.record()
    door.record()
    door.close()
    (tmp_path / "outbox.db").write_bytes(b"")
    again = Door(tmp_path, clock)
    again.record()
    renewed, event = again.close()
    assert isinstance(renewed, AuditEvent)
    assert renewed.data.code is AuditCode.OUTBOX_RENEWED
    detail = dict(renewed.data.detail)
    assert (tmp_path / str(detail.pop("file"))).is_file()
    assert detail == {
        "why": "is empty, which an outbox never is",
        "last_known": 2,
        "next": 3,
        "saved": 0,
    }
    assert (renewed.number, event.number) == (3, 4)
    third = Door(tmp_path, clock)
    third.record()
    assert len(third.close()) == 3  # said once


@pytest.mark.parametrize(
    "said", ["[" * 1024, '{"monotonic_ns": Infinity}', '{"monotonic_ns": NaN}']
)
def test_a_helper_that_says_nonsense_counts_for_nothing(tmp_path: Path, said: str) -> None:
    answer = tmp_path / "clock.json"
    answer.write_text(said)
    assert SystemClock(answer).read().state in ClockState
