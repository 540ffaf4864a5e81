"""The site of the demo: settings, keys, people and a receiver, all in one folder."""

import json
import shutil
import subprocess
import sys
import threading
from collections.abc import Container, Mapping
from dataclasses import dataclass
from pathlib import Path

from edge.errors import SenyumError
from edge.roster.keys import read_key
from edge.roster.people import person_id
from edge.settings import Settings, load
from senyum_lab.demo.recording import DemoRecorder

SENYUM = Path(sys.executable).with_name("senyum")
# Well-formed numbers that belong to nobody: a PNS and a PPPK born on 2000-01-01.
NUMBERS = {"first": "200001012020011001", "second": "200001012021212002"}
# The people of the roster. The camera sees none of these photos; the second person makes the
# margin to the runner-up meaningful.
ENROLLED = {"first": "obama3.jpg", "second": "biden.jpg"}

_SETTINGS = """\
[unit]
org = "contoh"
site = "demo"
name = "pintu-1"
direction = "in"
place = {{ latitude = -6.1754, longitude = 106.8272, zone = "Asia/Jakarta" }}

[camera]
{camera}

[gpio]
factory = "{pins}"

[attendance]
smile_timeout = {smile_timeout}
cool_down = {cool_down}

[roster]
file = "{folder}/roster.senyum"
key = "{folder}/roster.key"

[outbox]
file = "{folder}/outbox.db"
signing_key = "{folder}/signing.key"

[broker]
host = "127.0.0.1"
port = {port}
backoff_min = 0.2
backoff_max = 1.0
"""


class DemoError(SenyumError):
    """The demo cannot be set up; the message names the part."""


@dataclass(frozen=True, slots=True)
class DemoSite:
    """The files of one demo."""

    folder: Path

    @property
    def config(self) -> Path:
        return self.folder / "senyum.toml"

    @property
    def frames(self) -> Path:
        return self.folder / "frames"

    @property
    def keys(self) -> Path:
        return self.folder / "keys.json"

    @property
    def store(self) -> Path:
        return self.folder / "events.db"

    def write_settings(
        self, port: int, camera: str, pins: str, pauses: Mapping[str, float]
    ) -> Settings:
        """Write the settings and load them as the daemon does. Raises SettingsError."""
        text = _SETTINGS.format(folder=self.folder, port=port, camera=camera, pins=pins, **pauses)
        self.config.write_text(text, encoding="utf-8")
        return load(self.config)

    def write_people(self, faces: Path) -> tuple[Path, Path]:
        """Write the CSV file and the folder of photos that enrolment reads; return both paths."""
        people, photos = self.folder / "people.csv", self.folder / "photos"
        photos.mkdir()
        lines = ["number,name,exempt"]
        for who, photo in ENROLLED.items():
            lines.append(f"{NUMBERS[who]},Person {who},no")
            shutil.copy(faces / photo, photos / f"{NUMBERS[who]}.jpg")
        people.write_text("\n".join(lines) + "\n", encoding="utf-8")
        return people, photos

    def person(self, who: str) -> str:
        """Return the opaque id of an enrolled person."""
        org_key = read_key(self.folder / "organisation.key", "organisation key")
        return person_id(NUMBERS[who], org_key)

    def enrol(self, people: Path, photos: Path) -> list[str]:
        """Run `senyum enroll`; return its lines about people and photos. Raises DemoError."""
        # 1: the roster was written without some photos or people, which the output lists.
        words = "--config", self.config, "--people", people, "--photos", photos
        printed = self._run_senyum("enroll", *words, accepted=(0, 1))
        # The advice about its keys does not apply to a temporary folder.
        return [line for line in printed.splitlines() if not line.startswith(str(self.folder))]

    def register_key(self) -> None:
        """Run `senyum keys` to register the unit's public key. Raises DemoError."""
        self._run_senyum("keys", "--config", self.config, "--add-to", self.keys)

    def _run_senyum(self, *words: str | Path, accepted: Container[int] = (0,)) -> str:
        done = subprocess.run(
            [SENYUM, "--log-level", "WARNING", *words], capture_output=True, text=True, check=False
        )
        if done.returncode not in accepted:
            printed = (done.stderr or done.stdout).strip()
            raise DemoError(f"senyum {words[0]} ended with {done.returncode}: {printed}")
        return done.stdout.strip()


class DemoReceiver:
    """`senyum receive --json` in its own process, as on a central server."""

    def __init__(self, site: DemoSite, port: int, recorder: DemoRecorder | None = None) -> None:
        """Start the receiver; its notices are recorded if there is a recorder."""
        self._recorder = recorder
        self._log = site.folder / "receiver.log"
        words: list[str | Path] = ["--broker", f"127.0.0.1:{port}", "--keys", site.keys]
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [SENYUM, "receive", "--json", "--grace", "5", *words, "--store", site.store],
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                start_new_session=True,  # Ctrl-C stops only the demo, which then stops this
            )
        self._reader = threading.Thread(target=self._read, name="receiver", daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            if self._recorder is not None:
                self._recorder.record_notice(json.loads(line))

    def check(self) -> None:
        """Raise DemoError if the process has ended."""
        if (status := self._process.poll()) is not None:
            printed = self._log.read_text(encoding="utf-8", errors="replace").strip()
            raise DemoError(f"senyum receive ended with {status}: {printed[-500:]}")

    def close(self) -> None:
        """Stop the process with SIGTERM, or SIGKILL after five seconds."""
        self._process.terminate()
        try:
            self._process.wait(5.0)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._reader.join(2.0)
        assert self._process.stdout is not None
        self._process.stdout.close()
