"""Runs the operator's own program for each alarm, beside the receiver and never in its way."""

import logging
import queue
import shlex
import subprocess
import threading

from edge.central.notice import Notice
from edge.central.show import as_json
from edge.errors import CallerError

log = logging.getLogger(__name__)

WAITING = 100  # alarms; more at once are one disaster, and each is a line on the terminal anyway
SECONDS = 30.0  # that the program may take
GOODBYE_S = 5.0


class Alarm:
    """Hands each alarm to a program, as JSON on its standard input, one after another."""

    def __init__(self, command: str) -> None:
        """`command` is split as a shell does, and run without one; CallerError where it is none."""
        try:
            self._command = shlex.split(command)
        except ValueError as error:
            raise CallerError(f"--on-alarm: {error}") from None
        if not self._command:
            raise CallerError("--on-alarm: is empty; name a program")
        self._waiting: queue.Queue[Notice | None] = queue.Queue(WAITING)
        self._thread = threading.Thread(target=self._work, name="alarm", daemon=True)
        self._thread.start()

    def take(self, notice: Notice) -> None:
        """Queue a notice if it is an alarm; never waits."""
        if not notice.loud:
            return
        try:
            self._waiting.put_nowait(notice)
        except queue.Full:
            log.warning("--on-alarm: %d alarms wait; one is shown only", WAITING)

    def close(self) -> None:
        """Let the program have what waits, for a short time."""
        try:
            self._waiting.put(None, timeout=GOODBYE_S)
        except queue.Full:
            return
        self._thread.join(GOODBYE_S)

    def _work(self) -> None:
        while (notice := self._waiting.get()) is not None:
            try:
                content = as_json(notice).encode() + b"\n"
                done = subprocess.run(self._command, input=content, timeout=SECONDS, check=False)
            except (OSError, ValueError, subprocess.TimeoutExpired) as error:
                log.warning("--on-alarm: %s: %s", self._command[0], error)
                continue
            if done.returncode:
                log.warning("--on-alarm: %s: exit status %d", self._command[0], done.returncode)
