import os
import resource
import signal
import sqlite3
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import pytest
from wireunit import UNIT, Signer, SteppedClock, attempt, unsigned

from edge.contract.envelope import verify
from edge.contract.events import ChainedEvent
from edge.contract.jose import digest
from edge.contract.keys import SigningKey, sequence_log_path
from edge.contract.topics import TopicKind
from edge.errors import OutboxError, OutboxUnusable, SecretError
from edge.outbox.event_signer import ChainHead, SignedEvent
from edge.outbox.integrity import FULL_CHECK_BYTES
from edge.outbox.retention import REMOVE_EVENTS
from edge.outbox.schema import PAGE_BYTES
from edge.outbox.store import CHECKPOINT_EVENTS, REMOVALS, Build, Outbox, OutboxReader
from edge.system.clock import ClockState

NOW = datetime(2026, 8, 17, 12, tzinfo=UTC)


@pytest.fixture
def signer(tmp_path: Path) -> Signer:
    return Signer(tmp_path)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "state" / "outbox.db"


def one(signer: Signer) -> Build:
    return partial(signer.sealer.event, attempt())


def run(script: str) -> subprocess.CompletedProcess[str]:
    """Run a script in a process of its own that may import what this test does."""
    paths = os.pathsep.join(path for path in sys.path if path)
    return subprocess.run(
        [sys.executable, "-c", script],
        env={**os.environ, "PYTHONPATH": paths},
        capture_output=True,
        text=True,
        check=False,
    )


def test_events_are_numbered_chained_and_still_there_afterwards(file: Path, signer: Signer) -> None:
    box = Outbox(file)
    box.append(one(signer))
    box.append(one(signer), one(signer))
    head = box.head()
    box.close()

    again = Outbox(file)
    assert again.head() == head
    assert (box.session, again.session) == (1, 2)
    again.append(one(signer))
    reader = OutboxReader(file)
    previous = None
    for number, row in enumerate(reader.after(0, 10), 1):
        event = verify(row.token, signer.keys, UNIT.topic(TopicKind.EVENT)).event
        assert isinstance(event, ChainedEvent)
        assert (row.sequence, event.number, event.id) == (number, number, row.id)
        assert event.previous == previous
        previous = digest(row.token)
    assert again.head() == ChainHead(4, previous)
    reader.close()
    again.close()
    again.close()


def test_only_its_owner_reads_the_file(file: Path) -> None:
    with_wal = Outbox(file)
    with_wal.append(unsigned)
    modes = {path.name: path.stat().st_mode & 0o077 for path in file.parent.iterdir()}
    assert modes == dict.fromkeys(
        ["outbox.db", "outbox.db-wal", "outbox.db-shm", "outbox.db.lock"], 0
    )
    with_wal.close()


def test_a_build_that_raises_leaves_nothing(file: Path) -> None:
    def fails(_head: ChainHead) -> SignedEvent:
        raise ZeroDivisionError

    box = Outbox(file)
    box.append(unsigned)
    with pytest.raises(ZeroDivisionError):
        box.append(unsigned, fails)
    assert box.head().sequence == 1
    assert box.append(unsigned)[0].sequence == 2
    box.close()


def test_the_reader_hands_out_in_order_and_keeps_its_place(file: Path) -> None:
    box = Outbox(file)
    box.append(*[unsigned] * 5)
    reader = OutboxReader(file)
    assert [row.sequence for row in reader.after(2, 2)] == [3, 4]
    assert reader.after(5, 2) == []
    reader.set_delivered(3)
    reader.set_delivered(2)
    reader.close()
    again = OutboxReader(file)
    assert again.delivered() == 3
    again.close()
    box.close()


def test_a_stored_event_cannot_be_changed(file: Path) -> None:
    box = Outbox(file)
    box.append(unsigned)
    with pytest.raises(sqlite3.IntegrityError, match="never changes"):
        box._db.execute("UPDATE event SET jws = 'other'")
    box.close()


def test_a_second_process_is_kept_out(file: Path) -> None:
    box = Outbox(file)
    with pytest.raises(OutboxUnusable, match=r"outbox\.db: another senyum has it open") as caught:
        Outbox(file)
    assert caught.value.exit_status == 2
    box.close()
    Outbox(file).close()


def test_a_disk_that_is_full_stores_nothing_and_says_so(tmp_path: Path) -> None:
    """A limit on file size is met by the very write that a full disk would refuse."""
    script = f"""
import resource, signal
from pathlib import Path
from edge.errors import OutboxError
from edge.outbox.store import Outbox
from wireunit import unsigned
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
box = Outbox(Path({str(tmp_path / "outbox.db")!r}))
build = lambda head: unsigned(head, "x" * 2000)
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, resource.RLIM_INFINITY))
stored = 0
try:
    for _ in range(1000):
        box.append(build)
        stored += 1
except OutboxError as error:
    assert "outbox.db" in str(error), error
else:
    raise SystemExit("no error")
assert box.head().sequence == stored, box.head()
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
assert box.append(build)[0].sequence == stored + 1
print(stored)
"""
    done = run(script)
    assert done.returncode == 0, done.stderr
    box = Outbox(tmp_path / "outbox.db")
    assert box.head().sequence == int(done.stdout) + 1
    box.close()


def test_a_kill_before_the_commit_keeps_what_was_stored_before(file: Path) -> None:
    script = f"""
import os, signal
from pathlib import Path
from edge.outbox.store import Outbox
from wireunit import unsigned
box = Outbox(Path({str(file)!r}))
def build(head):
    if head.sequence == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    return unsigned(head)
for _ in range(9):
    box.append(build)
"""
    done = run(script)
    assert done.returncode == -signal.SIGKILL, done.stderr
    box = Outbox(file)
    assert box.head().sequence == 3
    assert box.append(unsigned)[0].sequence == 4
    box.close()


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "is empty"),
        (b"not a database at all" * 100, "not a database"),
        (b"SQLite format 3\0" + b"\xff" * 5000, "damaged"),
    ],
)
def test_what_is_no_outbox_is_refused_and_left_alone(file: Path, content: bytes, says: str) -> None:
    file.parent.mkdir()
    file.write_bytes(content)
    with pytest.raises(OutboxError, match=says):
        Outbox(file)
    assert file.read_bytes() == content


def test_another_programs_database_is_refused(file: Path) -> None:
    file.parent.mkdir()
    with sqlite3.connect(file) as db:
        db.execute("CREATE TABLE event (sequence INTEGER PRIMARY KEY)")
    db.close()
    with pytest.raises(OutboxUnusable, match="is not an outbox of Senyum"):
        Outbox(file)


def test_a_newer_schema_is_refused(file: Path) -> None:
    Outbox(file).close()
    with sqlite3.connect(file) as db:
        db.execute("PRAGMA user_version = 99")
    db.close()
    with pytest.raises(OutboxUnusable, match="newer Senyum"):
        Outbox(file)


def test_a_damaged_page_is_found_at_the_start(file: Path) -> None:
    box = Outbox(file)
    box.append(*[partial(unsigned, filler="x" * 700)] * 50)
    box.close()
    content = bytearray(file.read_bytes())
    content[20_000:22_000] = os.urandom(2_000)
    file.write_bytes(content)
    with pytest.raises(OutboxError, match=r"damaged|malformed|broken"):
        Outbox(file)
    assert file.read_bytes() == content


@pytest.mark.parametrize("remove", [3, 2])
def test_a_missing_event_is_found_at_the_start(file: Path, signer: Signer, remove: int) -> None:
    box = Outbox(file)
    for _ in range(4):
        box.append(one(signer))
    box.close()
    with sqlite3.connect(file) as db:
        db.execute("DELETE FROM event WHERE sequence = ?", (remove,))
    db.close()
    with pytest.raises(OutboxError, match=f"chain is broken at event {remove + 1}"):
        Outbox(file)


def test_a_draft_left_by_a_power_cut_is_no_obstacle(file: Path) -> None:
    file.parent.mkdir()
    file.with_name("outbox.db.new").write_bytes(b"half")
    Outbox(file).close()


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OutboxError, match="cannot be opened"):
        Outbox(tmp_path / "file" / "outbox.db")


def test_a_folder_in_the_outboxs_place_is_named(file: Path) -> None:
    file.mkdir(parents=True)
    with pytest.raises(OutboxUnusable, match=r"outbox\.db: cannot be opened: Is a directory"):
        Outbox(file)


def test_a_key_that_has_signed_begins_no_other_outbox(file: Path, tmp_path: Path) -> None:
    """A second event 1 under the same key would look like a forgery."""
    path = tmp_path / "signing.key"
    key = SigningKey.load_or_create(path)
    Outbox(file, signing_key=path).close()
    Outbox(file, signing_key=path).close()
    for lost in file.parent.iterdir():
        lost.unlink()
    for place in (file, tmp_path / "elsewhere" / "outbox.db"):
        with pytest.raises(OutboxUnusable, match=r"is gone, and its key has signed.*\.begun"):
            Outbox(place, signing_key=path)
        assert not place.exists()

    path.rename(tmp_path / "old.key")
    sequence_log_path(path).rename(tmp_path / "old.key.begun")
    assert SigningKey.load_or_create(path).kid != key.kid
    Outbox(file, signing_key=path).close()
    assert sequence_log_path(path).stat().st_mode & 0o077 == 0


def test_a_key_that_has_signed_and_is_gone_is_not_made_anew(file: Path, tmp_path: Path) -> None:
    path = tmp_path / "signing.key"
    key = SigningKey.load_or_create(path)
    Outbox(file).close()  # from before there were markers: it gets one now
    box = Outbox(file, signing_key=path)
    box.append(unsigned)
    box.close()
    path.rename(tmp_path / "backup")
    with pytest.raises(SecretError, match=r"signing\.key: the signing key is gone"):
        SigningKey.load_or_create(path)
    assert not path.exists()
    (tmp_path / "backup").rename(path)
    assert SigningKey.load_or_create(path).kid == key.kid


def test_a_marker_that_cannot_be_written_is_named(file: Path, tmp_path: Path) -> None:
    with pytest.raises(OutboxError, match=r"nowhere/signing\.key\.begun: cannot be opened"):
        Outbox(file, signing_key=tmp_path / "nowhere" / "signing.key")


def filled(file: Path, count: int, age: timedelta, keep_events: int = 100_000) -> Outbox:
    box = Outbox(file, 90, keep_events, clock=SteppedClock((NOW - age).timestamp()))
    box.append(*[unsigned] * count)
    assert count >= CHECKPOINT_EVENTS
    return box


def remaining(file: Path) -> list[int]:
    reader = OutboxReader(file)
    rows = reader.after(0, 10_000)
    reader.close()
    return [row.sequence for row in rows]


def delivered(file: Path, sequence: int) -> None:
    reader = OutboxReader(file)
    reader.set_delivered(sequence)
    reader.close()


def test_retention_removes_the_delivered_beyond_the_count(file: Path) -> None:
    box = filled(file, 400, timedelta(0), keep_events=300)
    delivered(file, 400)
    box.delete_expired(None)
    assert remaining(file) == list(range(101, 401))
    box.close()


def test_retention_removes_the_old_but_never_the_head(file: Path) -> None:
    box = filled(file, 200, timedelta(days=91))
    delivered(file, 200)
    box.delete_expired(NOW)
    assert remaining(file) == [200]
    assert box.append(unsigned)[0].sequence == 201
    box.close()


def test_retention_spares_what_the_broker_has_not_taken(file: Path) -> None:
    box = filled(file, 200, timedelta(days=91), keep_events=100)
    delivered(file, 10)
    box.delete_expired(NOW)
    assert remaining(file) == list(range(11, 201))
    box.close()


@pytest.mark.parametrize(("now", "age"), [(None, 91), (NOW, 89)])
def test_age_removes_nothing_that_is_young_or_while_the_time_is_unknown(
    file: Path, now: datetime | None, age: int
) -> None:
    box = filled(file, 200, timedelta(days=age))
    delivered(file, 200)
    box.delete_expired(now)
    assert len(remaining(file)) == 200
    box.close()


def test_a_clock_that_went_astray_ages_no_event_before_it(file: Path) -> None:
    filled(file, 200, timedelta(days=1)).close()
    box = filled(file, 200, timedelta(days=20_000))
    delivered(file, 400)
    box.delete_expired(NOW)
    assert len(remaining(file)) == 400
    box.close()


@pytest.mark.parametrize(("later", "left"), [(89, 3 + CHECKPOINT_EVENTS), (91, 1)])
def test_an_undisciplined_stamp_tells_no_age(
    file: Path, tmp_path: Path, later: int, left: int
) -> None:
    """A unit that starts without a time service believes it is 1970."""
    clock = SteppedClock()
    clock.state = ClockState.UNSYNCHRONIZED
    signer = Signer(tmp_path, clock)
    box = Outbox(file, clock=SteppedClock(0.0))
    box.append(*[partial(signer.sealer.event, attempt(captured_ns=clock.monotonic_ns))] * 3)
    box.close()
    box = filled(file, CHECKPOINT_EVENTS, timedelta(days=later))
    delivered(file, 3 + CHECKPOINT_EVENTS)
    box.delete_expired(NOW)
    assert len(remaining(file)) == left
    box.close()


def test_retention_works_in_bounded_steps(file: Path) -> None:
    bound = REMOVE_EVENTS * REMOVALS
    box = filled(file, bound + 200, timedelta(days=91))
    delivered(file, bound + 200)
    box.delete_expired(NOW)
    assert remaining(file)[0] == bound + 1
    box.close()


def test_an_event_costs_the_disk_little(file: Path, signer: Signer) -> None:
    """The bytes that SQLite hands to the kernel, checkpoints and delivery notes included."""
    before = _written()
    box, reader = Outbox(file), OutboxReader(file)
    for number in range(1, 301):
        box.append(one(signer))
        if number % 16 == 0:
            reader.set_delivered(number)
        box.delete_expired(None)
    reader.close()
    box.close()
    assert (_written() - before) / 300 < 16 * 1024


def _written() -> int:
    """Bytes that this process handed to write(2), `wchar`: also counts where /tmp is memory."""
    lines = Path("/proc/self/io").read_text().splitlines()
    return int(dict(line.split(": ") for line in lines)["wchar"])


def test_the_module_bounds_what_a_start_reads() -> None:
    assert FULL_CHECK_BYTES <= 32 * 1024 * 1024
    assert resource.getpagesize() % PAGE_BYTES == 0
