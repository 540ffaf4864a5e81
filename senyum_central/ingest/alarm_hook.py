"""Runs the operator's own program for each alarm, beside the receiver and never in its way."""

import logging
import shlex
import subprocess
import threading
from dataclasses import dataclass

from edge.errors import UsageError
from senyum_central.ingest.console import to_json
from senyum_central.ingest.notices import Notice, NoticeKind

log = logging.getLogger(__name__)

SECONDS = 30.0  # that the program may take
GOODBYE_S = 5.0
_CHANGING = (NoticeKind.GAP, NoticeKind.HEALED)  # the latest of them says how it is now
_Key = tuple[str | None, NoticeKind, str]


@dataclass(slots=True)
class _Pending:
    notice: Notice
    more: int = 0  # others of the same key that came while this one waited


class AlarmHook:
    """Hands each alarm to a program, as JSON on its standard input, one after another.

    Of one unit, one alarm of each kind waits and counts the others: a flood from one unit neither
    fills the memory nor delays the alarms of another.
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

    def run(self, notice: Notice) -> None:
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

    def close(self) -> None:
        """Let the program have what waits, for a short time."""
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
    """Return what one alarm waits for. Units are registered, except those that a topic names."""
    if notice.flaw is not None:
        return None, notice.kind, notice.flaw
    return notice.unit.source if notice.unit else None, notice.kind, ""
