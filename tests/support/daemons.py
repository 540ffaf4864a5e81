"""A whole unit as a process of its own, with one person enrolled who never comes, for the tests."""

import json
import os
import signal
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Self

import numpy as np
from wireunit import UNIT, environment, until

from edge.inference.models import Models
from edge.roster.codec import Person, Roster
from edge.roster.file import save
from edge.roster.keys import make_key, read_key
from senyum_lab.bench.scenes import FPS, SCENES, SIZE, SceneRenderer, record

FACES = Path(__file__).parents[1] / "faces"
CONFIG = """
[unit]
org = "{org}"
site = "{site}"
name = "{name}"
[camera]
driver = "replay"
replay = "{frames}"
replay_loop = true
fps = {fps}
main_width = {width}
main_height = {height}
[roster]
file = "{folder}/roster.senyum"
key = "{folder}/roster.key"
[outbox]
file = "{folder}/state/outbox.db"
signing_key = "{folder}/signing.key"
[gpio]
factory = "mock"
[clock]
state_file = "{folder}/clock.json"
stale_after = 3600
[authority]
keys = "{folder}/authorities.json"
[broker]
host = "127.0.0.1"
port = {port}
backoff_min = 0.1
backoff_max = 0.5
"""


def enrol(folder: Path, people: int) -> None:
    """Write a roster of so many people who look like nobody."""
    spec = Models(None).spec("identity")
    if not (folder / "roster.key").exists():
        make_key(folder / "roster.key", "roster key")
    chance = np.random.default_rng(1)
    enrolled = []
    for number in range(people):
        template = chance.normal(size=(1, 192)).astype(np.float32)
        template /= np.linalg.norm(template)
        who = f"{19850302201001100 + number}3"[:18]
        enrolled.append(Person(f"{number:032x}", who, "N. N.", exempt=False, templates=template))
    roster = Roster(people, datetime.now(UTC), spec.sha256, tuple(enrolled))
    save(folder / "roster.senyum", read_key(folder / "roster.key", "roster key"), roster)


class Daemon:
    """`senyum run` over `folder`, to be started, ended and killed; its words are in `log`."""

    def __init__(self, folder: Path, port: int) -> None:
        self.folder = folder
        self.config = folder / "senyum.toml"
        self.log = folder / "run.out"
        self._process: subprocess.Popen[bytes] | None = None
        frames = folder / "frames"
        frames.mkdir()
        record(SceneRenderer(FACES), [SCENES["empty"]], frames)
        width, height = SIZE
        self.config.write_text(
            CONFIG.format(
                org=UNIT.org,
                site=UNIT.site,
                name=UNIT.name,
                frames=frames,
                fps=FPS,
                width=width,
                height=height,
                folder=folder,
                port=port,
            )
        )
        enrol(folder, 1)
        self.clock(synchronized=True)
        self.senyum("keys", "--add-to", folder / "keys.json")

    def clock(self, *, synchronized: bool) -> None:
        """Say what the helper says of the clock."""
        boot_id = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        said = {
            "monotonic_ns": time.monotonic_ns(),
            "boot_id": boot_id,
            "synchronized": synchronized,
        }
        (self.folder / "clock.json").write_text(json.dumps(said))

    def change(self, old: str, new: str) -> None:
        """Change the settings file."""
        text = self.config.read_text()
        assert old in text
        self.config.write_text(text.replace(old, new))

    def senyum(self, *words: object) -> None:
        """Run another command with this unit's settings."""
        command = [*_senyum(*words), "--config", str(self.config)]
        subprocess.run(command, check=True, capture_output=True, env=environment())

    def start(self) -> Self:
        """Start, and wait until it is ready; as a service manager would."""
        self.log.write_bytes(b"")
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                _senyum("run", "--config", self.config),
                stdout=log,
                stderr=subprocess.STDOUT,
                env={**environment(), "INVOCATION_ID": "a test"},
            )
        until(lambda: "ready" in self.said() or self._ended(), 60.0)
        until(lambda: "receiving commands" in self.said() or self._ended(), 60.0)
        assert not self._ended(), self.said()
        return self

    def said(self) -> str:
        return self.log.read_text(errors="replace")

    def wait(self, seconds: float) -> int:
        """Wait until it has ended by itself."""
        assert self._process is not None
        return self._process.wait(seconds)

    def end(self, number: int = signal.SIGTERM) -> None:
        if self._process is not None:
            if not self._ended():
                os.kill(self._process.pid, number)
            self._process.wait(20.0)

    def _ended(self) -> bool:
        return self._process is not None and self._process.poll() is not None

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.end()


def _senyum(*words: object) -> list[str]:
    return [sys.executable, "-m", "edge.cli", *map(str, words)]
