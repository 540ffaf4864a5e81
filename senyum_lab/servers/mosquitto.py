"""A mosquitto of one's own on a free loopback port, for the demo, the benchmarks and the tests."""

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
    """Return a TCP port of the loopback interface that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def program() -> str:
    """Return the path of mosquitto, which Debian keeps where users have no PATH; LinkError."""
    found = shutil.which(
        "mosquitto", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin"
    )
    if found is None:
        raise LinkError("mosquitto is not installed; run: sudo apt install mosquitto")
    return found


class PrivateBroker:
    """One broker, the same port from start to start, its persistence and log in `folder`.

    `options` are further lines of mosquitto.conf, such as those of TLS.
    """

    def __init__(self, folder: Path, port: int | None = None, options: Sequence[str] = ()) -> None:
        self.port = port or free_port()
        self.log = folder / "mosquitto.log"
        self._config = folder / "mosquitto.conf"
        self._process: subprocess.Popen[bytes] | None = None
        folder.mkdir(parents=True, exist_ok=True)
        lines = (
            f"listener {self.port} 127.0.0.1",
            f"user {getpass.getuser()}",  # or root would become one who may not write here
            "persistence true",
            f"persistence_location {folder}/",
            "allow_anonymous true",
            "max_queued_messages 0",  # no limit: an absent receiver loses nothing
            *options,
        )
        self._config.write_text("\n".join(lines) + "\n", encoding="utf-8")

    @property
    def settings(self) -> BrokerSettings:
        """How a unit reaches it."""
        return BrokerSettings(host="127.0.0.1", port=self.port)

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def start(self) -> None:
        """Start and wait until it takes connections; LinkError with the end of its log."""
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [program(), "-c", self._config],
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # Ctrl-C is for the program that started it
            )
        deadline = time.monotonic() + START_SECONDS
        while not self._listens():
            if not self.running or time.monotonic() > deadline:
                self.kill()
                said = self.log.read_text(errors="replace").strip().rpartition("\n")[2]
                raise LinkError(f"mosquitto does not start: {said}; see {self.log}")
            time.sleep(0.01)

    def stop(self) -> None:
        """End it in good order: it saves what it holds."""
        if self._process is not None:
            self._process.terminate()
            try:
                self._process.wait(5.0)
            except subprocess.TimeoutExpired:
                self.kill()

    def kill(self) -> None:
        """SIGKILL: it forgets everything since its last save."""
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
