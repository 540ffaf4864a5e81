"""Log entries for the journal, a field for each fact; plain lines where no journal listens.

A module logs as everywhere, and hands over what a machine should find as `extra`:

    log.warning("broker %s is away", where, extra=facts(code=Trouble.UNREACHABLE, broker=where))

which `journalctl SENYUM_CODE=broker-unreachable` finds. The protocol is one datagram an entry
(systemd.io/JOURNAL_NATIVE_PROTOCOL), so no library is needed.

Two promises are kept here for all modules: nothing that looks like a person's number or id leaves
in an entry, and an entry that repeats itself is counted instead of written.
"""

import logging
import os
import re
import socket
import struct
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from edge.errors import ErrorCode
from edge.system.text import escaped

SOCKET = Path("/run/systemd/journal/socket")
BURST = 10  # entries of one kind that are written
WINDOW_S = 60.0  # seconds; the rest is counted
_KINDS = 256  # distinct messages; beyond it counting restarts
_LONGEST = 16_384  # characters of one field: an entry has to fit in a datagram
_FACTS = "senyum_facts"
# sd-daemon(3); also the "<n>" that a plain line begins with.
_PRIORITY = {
    logging.DEBUG: 7,
    logging.INFO: 6,
    logging.WARNING: 4,
    logging.ERROR: 3,
    logging.CRITICAL: 2,
}
# A person number, and an opaque person id; no other figure of ours has their shape.
_PERSONAL = re.compile(r"(?<![0-9A-Za-z])(?:[0-9]{18}|[0-9a-f]{32})(?![0-9A-Za-z])")


def log_fields(
    *, code: ErrorCode | str | None = None, **others: str | float | None
) -> dict[str, Any]:
    """Return what goes to `extra` of a log call; what is None is left out.

    `code` is a word of docs/troubleshooting.md.
    """
    named = {"code": code, **others}
    return {_FACTS: {name: value for name, value in named.items() if value is not None}}


def redact(text: str) -> str:
    """Return `text` without anything that may be a person's number or id."""
    return _PERSONAL.sub("[removed]", text)


def configure(level: str, environment: Mapping[str, str] = os.environ) -> None:
    """Send what is logged from now on to the journal where that reads stderr, else to stderr."""
    journal = _journal_reads_stderr(environment)
    handler = JournalHandler() if journal else logging.StreamHandler()
    if not isinstance(handler, JournalHandler):
        handler.setFormatter(PlainFormatter())
    handler.addFilter(RateLimitFilter())
    logging.basicConfig(level=level, handlers=[handler])


def _journal_reads_stderr(environment: Mapping[str, str]) -> bool:
    """See JOURNAL_STREAM in systemd.exec(5): a parent process may have redirected it."""
    try:
        about = os.fstat(sys.stderr.fileno())
    except (OSError, ValueError):
        return False
    return environment.get("JOURNAL_STREAM") == f"{about.st_dev}:{about.st_ino}"


class EscapingFormatter(logging.Formatter):
    """Writes an entry as one line, and a traceback below it: no foreign text adds another."""

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - of the library
        return escaped(super().formatMessage(record))

    def formatException(self, ei: Any) -> str:  # noqa: N802 - of the library
        return "\n".join(map(escaped, super().formatException(ei).split("\n")))


class PlainFormatter(EscapingFormatter):
    """One line an entry, with its code at the end."""

    def __init__(self, *, priority: bool = False) -> None:
        """`priority`: for a journal that reads lines."""
        super().__init__("%(message)s" if priority else "%(levelname)s %(name)s: %(message)s")
        self._priority = priority

    def format(self, record: logging.LogRecord) -> str:
        code = getattr(record, _FACTS, {}).get("code")
        text = redact(super().format(record)) + (f" [{code}]" if code else "")
        if not self._priority:
            return text
        number = _PRIORITY.get(record.levelno, 5)
        return "\n".join(f"<{number}>{line}" for line in text.splitlines())


class JournalHandler(logging.Handler):
    """Sends each entry to the journal; one that it does not take goes to stderr, as a line."""

    def __init__(self, address: Path = SOCKET) -> None:
        super().__init__()
        self._address = str(address)
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
        self._plain = PlainFormatter(priority=True)
        self._message = EscapingFormatter()

    def emit(self, record: logging.LogRecord) -> None:
        """Send it, without ever waiting for the journal."""
        datagram = b"".join(_field(name, value) for name, value in self._fields(record))
        try:
            self._socket.sendto(datagram, socket.MSG_DONTWAIT, self._address)
        except OSError:
            sys.stderr.write(self._plain.format(record) + "\n")

    def close(self) -> None:
        self._socket.close()
        super().close()

    def _fields(self, record: logging.LogRecord) -> Iterator[tuple[str, object]]:
        yield "MESSAGE", self._message.format(record)
        yield "PRIORITY", _PRIORITY.get(record.levelno, 5)
        yield "SYSLOG_IDENTIFIER", "senyum"
        yield "CODE_FILE", record.pathname
        yield "CODE_LINE", record.lineno
        yield "CODE_FUNC", record.funcName
        yield "SENYUM_MODULE", record.name
        yield "SENYUM_THREAD", record.threadName
        for name, value in getattr(record, _FACTS, {}).items():
            yield f"SENYUM_{name.upper()}", value


def _field(name: str, value: object) -> bytes:
    content = redact(str(value))[:_LONGEST].encode("utf-8", "replace")
    key = name.encode("ascii")
    if b"\n" in content:
        return key + b"\n" + struct.pack("<Q", len(content)) + content + b"\n"
    return key + b"=" + content + b"\n"


class RateLimitFilter(logging.Filter):
    """Lets BURST entries of a kind through in WINDOW_S, and says of the next how many it held.

    A kind is a place in the program and a code: what changes from entry to entry is its arguments.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._clock = clock
        self._kinds: dict[tuple[object, ...], tuple[float, int]] = {}  # since when, how many

    def filter(self, record: logging.LogRecord) -> bool:
        code = getattr(record, _FACTS, {}).get("code")
        kind = (record.name, record.lineno, record.msg, code)
        now = self._clock()
        since, count = self._kinds.get(kind, (now, 0))
        held = max(count - BURST, 0)
        if now - since >= WINDOW_S:
            since, count = now, 0
        if len(self._kinds) >= _KINDS:
            self._kinds.clear()
        self._kinds[kind] = since, count + 1
        if count == 0 and held:
            record.msg = f"{record.getMessage()} ({held} more like this were not written)"
            record.args = ()
        return count < BURST
