"""`senyum receive` in its own processes, and the delay of every stored event."""

import json
import os
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, Self

from edge.errors import LinkError

START_SECONDS = 60.0
STOP_SECONDS = 30.0
_SUBSCRIBED = "receiving from broker"  # logged once subscribed

Place = tuple[str, int]  # URN, number


class ReceiverProcess:
    """One receiver for each list of options, and the delay of every event that they report.

    The delay is from the `time` of the event, the capture of the deciding frame, to the line of the
    receiver, which it prints after the commit.
    """

    def __init__(self, commands: Sequence[Sequence[str]], log: Path) -> None:
        self.delays: dict[Place, float] = {}  # seconds; the first receiver counts
        self.moments: dict[Place, float] = {}  # signed UTC time, seconds since 1970
        self.kinds: Counter[str] = Counter()
        self.alarms: list[str] = []
        self._commands = commands
        self._log = log
        self._running: list[tuple[subprocess.Popen[bytes], threading.Thread]] = []
        self._lock = threading.Lock()

    def __enter__(self) -> Self:
        try:
            for number, command in enumerate(self._commands, 1):
                self._start(command, self._log.with_suffix(f".{number}.log"))
        except BaseException:
            self._stop()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._stop()

    def wait_for(self, count: int, seconds: float) -> None:
        """Wait until `count` events are stored, for at most `seconds`."""
        until = time.monotonic() + seconds
        while len(self.delays) < count and time.monotonic() < until:
            time.sleep(0.1)

    def _start(self, command: Sequence[str], log: Path) -> None:
        with log.open("wb") as stderr:
            process = subprocess.Popen(
                [sys.executable, "-m", "edge.cli", "receive", "--json", *command],
                stdout=subprocess.PIPE,
                stderr=stderr,
                env={**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)},
            )
        thread = threading.Thread(target=self._read, args=(process,), daemon=True)
        thread.start()
        self._running.append((process, thread))
        until = time.monotonic() + START_SECONDS
        while _SUBSCRIBED not in (output := log.read_text(errors="replace")):
            if process.poll() is not None or time.monotonic() > until:
                last = output.strip().rpartition("\n")[2]
                raise LinkError(f"the receiver does not start: {last or 'no output'}")
            time.sleep(0.05)

    def _stop(self) -> None:
        for process, _ in self._running:
            process.terminate()
        for process, thread in self._running:
            try:
                process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            thread.join(STOP_SECONDS)

    def _read(self, process: subprocess.Popen[bytes]) -> None:
        assert process.stdout is not None
        with process.stdout as lines:
            for line in lines:
                now = time.time()
                self._record(json.loads(line), now)

    def _record(self, notice: dict[str, Any], now: float) -> None:
        with self._lock:
            self.kinds[notice["kind"]] += 1
            if notice["alarm"]:
                self.alarms.append(f"{notice['unit']}: {notice.get('text', notice['kind'])}")
            if notice["kind"] == "event":
                event = notice["event"]
                place = (event["source"], int(event["sequence"]))
                moment = datetime.fromisoformat(event["time"]).timestamp()
                self.moments[place] = moment
                self.delays.setdefault(place, now - moment)
