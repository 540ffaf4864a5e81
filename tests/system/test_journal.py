"""What reaches the journal, field by field, from a real socket; and what never does."""

import logging
import os
import socket
import struct
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from edge.errors import ErrorCode
from edge.system.journald import (
    BURST,
    WINDOW_S,
    JournalHandler,
    PlainFormatter,
    RateLimitFilter,
    log_fields,
    redact,
)


class Journal:
    """The journal's end of its socket."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(str(path))
        self._socket.settimeout(30.0)

    def entry(self) -> dict[str, str]:
        """Read one entry, as the protocol has it."""
        rest, fields = self._socket.recv(1 << 20), {}
        while rest:
            line, _, rest = rest.partition(b"\n")
            name, equals, value = line.partition(b"=")
            if not equals:
                (size,) = struct.unpack("<Q", rest[:8])
                value, rest = rest[8 : 8 + size], rest[8 + size + 1 :]
            fields[name.decode()] = value.decode()
        return fields

    def close(self) -> None:
        self._socket.close()


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    made = Journal(tmp_path / "socket")
    yield made
    made.close()


@pytest.fixture
def log(journal: Journal) -> Iterator[logging.Logger]:
    handler = JournalHandler(journal.path)
    logger = logging.getLogger("edge.test")
    logger.addHandler(handler)
    logger.propagate = False
    yield logger
    logger.removeHandler(handler)
    handler.close()


def test_a_field_for_each_fact(journal: Journal, log: logging.Logger) -> None:
    log.warning(
        "%s is away", "b:1", extra=log_fields(code=ErrorCode.UNREACHABLE, broker="b:1", tries=3)
    )
    entry = journal.entry()
    assert entry["MESSAGE"] == "b:1 is away"
    assert entry["PRIORITY"] == "4"
    assert entry["SYSLOG_IDENTIFIER"] == "senyum"
    assert entry["SENYUM_CODE"] == "broker-unreachable"
    assert (entry["SENYUM_BROKER"], entry["SENYUM_TRIES"]) == ("b:1", "3")
    assert entry["SENYUM_MODULE"] == "edge.test"
    assert Path(entry["CODE_FILE"]) == Path(__file__)


def test_several_lines_are_one_entry(journal: Journal, log: logging.Logger) -> None:
    try:
        int("what\nhappened")
    except ValueError:
        log.exception("failed")
    message = journal.entry()["MESSAGE"]
    assert message.startswith("failed\nTraceback")
    assert "ValueError: invalid literal" in message


def test_nobody_s_number_leaves(journal: Journal, log: logging.Logger) -> None:
    log.error(
        "no %s, %s", "198503022010011003", "0123456789abcdef" * 2, extra=log_fields(why="9" * 18)
    )
    entry = journal.entry()
    assert entry["MESSAGE"] == "no [removed], [removed]"
    assert entry["SENYUM_WHY"] == "[removed]"
    # Digests, UUIDs, and nanoseconds since 1970 or since a boot years ago are nobody's.
    for text in ("ab" * 32, "01890000-0000-7000-8000-000000000000", "1" * 19, "1" * 17):
        assert redact(text) == text


def test_a_journal_that_is_gone_costs_no_entry(
    journal: Journal, log: logging.Logger, capsys: pytest.CaptureFixture[str]
) -> None:
    journal.path.unlink()
    log.error("broken", extra=log_fields(code="disk-full"))
    assert capsys.readouterr().err == "<3>broken [disk-full]\n"


def test_what_repeats_itself_is_counted() -> None:
    now = 0.0
    gate = RateLimitFilter(lambda: now)

    def passes(word: str, code: str = "a") -> str | None:
        record = logging.makeLogRecord(
            {"name": "m", "msg": "%s", "args": (word,), **log_fields(code=code)}
        )
        return record.getMessage() if gate.filter(record) else None

    assert [passes(str(n)) for n in range(BURST)] == [str(n) for n in range(BURST)]
    assert passes("held") is None
    assert passes("also held") is None
    assert passes("another kind", code="b") == "another kind"
    now = WINDOW_S
    assert passes("again") == "again (2 more like this were not written)"
    assert passes("and on") == "and on"


def test_a_line_for_people_ends_with_its_code() -> None:
    record = logging.makeLogRecord(
        {"name": "m", "levelname": "ERROR", "msg": "full", **log_fields(code=ErrorCode.DISK_FULL)}
    )
    assert PlainFormatter().format(record) == "ERROR m: full [disk-full]"


def test_the_journal_is_taken_only_where_it_reads_stderr(tmp_path: Path) -> None:
    """JOURNAL_STREAM names another file here than stderr, as below a pipe."""
    said = subprocess.run(
        [sys.executable, "-m", "edge.cli", "run", "--config", str(tmp_path / "none")],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "JOURNAL_STREAM": "1:2", "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert said.returncode == 2
    assert said.stderr.startswith("senyum: ")
