"""`senyum receive` as a process of its own, and what it said."""

import json
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

from edge.mqtt.connection import connect_client, new_client
from senyum_central.ingest.message import Message
from senyum_lab.servers.mosquitto import PrivateBroker

PROGRAM = [sys.executable, "-c", "import sys; from edge.cli import main; sys.exit(main())"]


class Process:
    """A running `senyum receive --json` and what it has said so far."""

    def __init__(
        self, folder: Path, port: int, *options: str, name: str = "one", store: bool = True
    ) -> None:
        """Without `store`, the options name one."""
        self.store = folder / f"{name}.db"
        self._out = folder / f"{name}.{time.monotonic_ns()}.out"
        self._err = self._out.with_suffix(".err")
        with self._out.open("wb") as out, self._err.open("wb") as err:
            self.process = subprocess.Popen(
                [
                    *PROGRAM,
                    "receive",
                    f"--broker=127.0.0.1:{port}",
                    f"--keys={folder / 'keys.json'}",
                    *([f"--store={self.store}"] if store else []),
                    f"--client-id={name}",
                    "--json",
                    *options,
                ],
                stdout=out,
                stderr=err,
            )

    @property
    def said(self) -> list[dict[str, Any]]:
        whole = self._out.read_text().rpartition("\n")[0]
        return [json.loads(line) for line in whole.splitlines()]

    @property
    def log(self) -> str:
        return self._err.read_text()

    def ready(self) -> None:
        self.until(lambda: "receiving from broker" in self.log)

    def until(self, reached: Callable[[], bool], seconds: float = 20.0) -> None:
        deadline = time.monotonic() + seconds
        while not reached():
            assert time.monotonic() < deadline, self.log
            assert self.process.poll() is None, self.log
            time.sleep(0.02)

    def tokens(self) -> list[str]:
        with closing(sqlite3.connect(self.store)) as db:
            return [row[0] for row in db.execute("SELECT jws FROM event ORDER BY unit, sequence")]

    def end(self, number: int = signal.SIGTERM) -> int:
        self.process.send_signal(number)
        return self.process.wait(10.0)

    def kill(self) -> None:
        if self.process.poll() is None:
            self.end(signal.SIGKILL)


def publish(broker: PrivateBroker, *messages: Message, retain: bool = False) -> None:
    client = new_client(broker.settings, "publisher")
    connect_client(client, broker.settings)
    client.loop_start()
    try:
        for message in messages:
            sent = client.publish(message.topic, message.payload, qos=1, retain=retain)
            sent.wait_for_publish(10.0)
    finally:
        client.disconnect()
        client.loop_stop()
