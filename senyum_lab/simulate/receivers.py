"""`senyum receive` in processes of its own, and when it said of each event that it is stored."""

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
_SUBSCRIBED = "receiving from broker"  # what it logs then

Place = tuple[str, int]  # URN, number


class ReceiverProcess:
    """Receivers, one for each list of options, and the delay of every event they tell of.

    The delay is from the `time` that the event was signed with, the instant of the frame that
    decided, to the receiver's line about it, which it writes after its store has committed.
    """

    def __init__(self, commands: Sequence[Sequence[str]], log: Path) -> None:
        self.delays: dict[Place, float] = {}  # seconds; the first receiver that tells counts
        self.moments: dict[Place, float] = {}  # UTC seconds since 1970, as it was signed
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
            self._end()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._end()

    def wait_for(self, count: int, seconds: float) -> None:
        """Wait until so many events are stored, at most so long."""
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
        while _SUBSCRIBED not in (said := log.read_text(errors="replace")):
            if process.poll() is not None or time.monotonic() > until:
                last = said.strip().rpartition("\n")[2]
                raise LinkError(f"the receiver does not begin: {last or 'it says nothing'}")
            time.sleep(0.05)

    def _end(self) -> None:
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
                self._take(json.loads(line), now)

    def _take(self, notice: dict[str, Any], now: float) -> None:
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
