"""A private mosquitto on a free loopback port, for the demo, the benchmarks and the tests."""

import getpass
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Self

from edge.errors import LinkError
from edge.settings import BrokerSettings

START_SECONDS = 10.0


def free_port() -> int:
    """Return an unused TCP port of the loopback interface."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def program() -> str:
    """Return the path of mosquitto, also outside PATH. Raises LinkError."""
    found = shutil.which(
        "mosquitto", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin"
    )
    if found is None:
        raise LinkError("mosquitto is not installed; run: sudo apt install mosquitto")
    return found


class PrivateBroker:
    """One broker that keeps its port when restarted; its database and log are in `folder`.

    `options` are additional lines of mosquitto.conf, such as those for TLS.
    """

    def __init__(self, folder: Path, port: int | None = None, options: Sequence[str] = ()) -> None:
        self.port = port or free_port()
        self.log = folder / "mosquitto.log"
        self._config = folder / "mosquitto.conf"
        self._process: subprocess.Popen[bytes] | None = None
        folder.mkdir(parents=True, exist_ok=True)
        lines = (
            f"listener {self.port} 127.0.0.1",
            f"user {getpass.getuser()}",  # otherwise root changes to a user who cannot write here
            "persistence true",
            f"persistence_location {folder}/",
            "allow_anonymous true",
            "max_queued_messages 0",  # no limit, so that an offline receiver loses nothing
            *options,
        )
        self._config.write_text("\n".join(lines) + "\n", encoding="utf-8")

    @property
    def settings(self) -> BrokerSettings:
        """The settings of a unit that connects to it."""
        return BrokerSettings(host="127.0.0.1", port=self.port)

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def start(self) -> None:
        """Start it and wait until it accepts connections. Raises LinkError."""
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [program(), "-c", self._config],
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # Ctrl-C stops only the program that started it
            )
        deadline = time.monotonic() + START_SECONDS
        while not self._listens():
            if not self.running or time.monotonic() > deadline:
                self.kill()
                last_line = self.log.read_text(errors="replace").strip().rpartition("\n")[2]
                raise LinkError(f"mosquitto does not start: {last_line}; see {self.log}")
            time.sleep(0.01)

    def stop(self) -> None:
        """Stop it with SIGTERM, so that it saves its state."""
        if self._process is not None:
            self._process.terminate()
            try:
                self._process.wait(5.0)
            except subprocess.TimeoutExpired:
                self.kill()

    def kill(self) -> None:
        """Stop it with SIGKILL; it loses everything since the last save."""
        if self._process is not None:
            self._process.kill()
            self._process.wait(5.0)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _listens(self) -> bool:
        try:
            socket.create_connection(("127.0.0.1", self.port), timeout=1.0).close()
        except OSError:
            return False
        return True
