"""Run the operator's program for each alarm, without blocking the receiver."""

import logging
import shlex
import subprocess
import threading
from dataclasses import dataclass

from edge.errors import UsageError
from senyum_central.ingest.console import to_json
from senyum_central.ingest.notices import Notice, NoticeKind

log = logging.getLogger(__name__)

SECONDS = 30.0  # time limit of the program
GOODBYE_S = 5.0
_CHANGING = (NoticeKind.GAP, NoticeKind.HEALED)  # only the latest is relevant
_Key = tuple[str | None, NoticeKind, str]


@dataclass(slots=True)
class _Pending:
    notice: Notice
    more: int = 0  # others of the same key while this one waited


class AlarmHook:
    """Passes each alarm to a program as JSON on standard input, one at a time.

    At most one alarm of each unit and kind is queued; further ones are only counted. Many alarms of
    one unit therefore neither fill the memory nor delay those of another.
    """

    def __init__(self, command: str) -> None:
        """`command` is split as a shell does, and run without one; CallerError if it is empty."""
        try:
            self._command = shlex.split(command)
        except ValueError as error:
            raise UsageError(f"--on-alarm: {error}") from None
        if not self._command:
            raise UsageError("--on-alarm: is empty; name a program")
        self._waiting: dict[_Key, _Pending] = {}  # in the order of delivery
        self._closing = False
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._work, name="alarm", daemon=True)
        self._thread.start()

    def show(self, notice: Notice) -> None:
        """Queue a notice if it is an alarm, or the end of one; never waits for the program."""
        if not notice.is_warning and not notice.over:
            return
        key = _key(notice)
        with self._changed:
            waiting = self._waiting.get(key)
            if waiting is None:
                self._waiting[key] = _Pending(notice)
            elif notice.kind in _CHANGING:
                del self._waiting[key]
                self._waiting[key] = _Pending(notice, waiting.more + 1)
            else:
                waiting.more += 1
            self._changed.notify()

    def flush(self) -> None:
        """Do nothing: each alarm is delivered at once."""

    def close(self) -> None:
        """Deliver queued alarms for a short time, then stop."""
        with self._changed:
            self._closing = True
            self._changed.notify()
        self._thread.join(GOODBYE_S)

    def _next(self) -> _Pending | None:
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._closing)
            if not self._waiting:
                return None
            return self._waiting.pop(next(iter(self._waiting)))

    def _work(self) -> None:
        while (waiting := self._next()) is not None:
            try:
                more = {"more": waiting.more} if waiting.more else {}
                content = to_json(waiting.notice, **more).encode() + b"\n"
                done = subprocess.run(self._command, input=content, timeout=SECONDS, check=False)
            except (OSError, ValueError, subprocess.TimeoutExpired) as error:
                log.warning("--on-alarm: %s: %s", self._command[0], error)
                continue
            if done.returncode:
                log.warning("--on-alarm: %s: exit status %d", self._command[0], done.returncode)


def _key(notice: Notice) -> _Key:
    """Return the queue key. A rejected message may name any unit, so its flaw is the key."""
    if notice.flaw is not None:
        return None, notice.kind, notice.flaw
    return notice.unit.source if notice.unit else None, notice.kind, ""
