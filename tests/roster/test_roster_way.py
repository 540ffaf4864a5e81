"""A person's whole way through the roster of a real unit, past a broker: brought, known, erased."""

import json
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from orders import Voice
from private_servers import PrivateBroker
from scenes import FPS, SCENES, SIZE, SceneRenderer, record
from wireunit import Listener, until

from edge.contract.authority import Role, register
from edge.contract.jose import from_b64url
from edge.contract.keys import SigningKey
from edge.roster.file import load, read
from edge.roster.keys import read_key

pytestmark = [pytest.mark.broker, pytest.mark.slow, pytest.mark.timeout(400)]

FACES = Path(__file__).parents[1] / "faces"
KNOWN, OTHER = "198503022010011003", "197907112005021001"
PATIENCE = 60.0
CONFIG = """
[unit]
org = "depok"
site = "balaikota"
name = "lobby-1"
[camera]
driver = "replay"
replay = "{frames}"
replay_loop = true
fps = {fps}
main_width = {width}
main_height = {height}
[attendance]
cool_down = 1.0
[roster]
file = "{state}/roster.senyum"
key = "{folder}/unit-roster.key"
[outbox]
file = "{state}/outbox.db"
signing_key = "{state}/signing.key"
[authority]
keys = "{folder}/authorities.json"
[gpio]
factory = "mock"
[broker]
port = {port}
backoff_min = 0.1
backoff_max = 0.5
"""


class Site:
    """One unit, its enroller, and what they say to each other."""

    def __init__(self, folder: Path, frames: Path, broker: PrivateBroker) -> None:
        self.folder, self.broker = folder, broker
        self.state = folder / "state"
        self.state.mkdir()
        self.config = folder / "senyum.toml"
        width, height = SIZE
        self.config.write_text(
            CONFIG.format(
                frames=frames,
                fps=FPS,
                width=width,
                height=height,
                folder=folder,
                state=self.state,
                port=broker.port,
            )
        )
        authority = SigningKey.load_or_create(folder / "authority.key")
        entry = register(authority, [Role.ROSTER], ["urn:senyum:depok:*:*"])
        (folder / "authorities.json").write_text(json.dumps({"keys": [entry]}))
        self.run("keys", "--config", self.config, "--add-to", folder / "keys.json")
        (folder / "unit-roster.key").write_text("5b" * 32)  # no unit has the enroller's
        (folder / "unit-roster.key").chmod(0o600)
        (folder / "number").write_text(KNOWN + "\n")

    def run(self, *words: object, status: int = 0) -> str:
        command = [sys.executable, "-m", "edge.cli", *map(str, words)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == status, done.stdout + done.stderr
        return done.stdout

    def enroll(self, people: dict[str, str]) -> None:
        photos = self.folder / "photos"
        shutil.rmtree(photos, ignore_errors=True)
        photos.mkdir()
        for number, photo in people.items():
            shutil.copy(FACES / photo, photos / f"{number}.jpg")
        lines = [f"{number},Nama {number[-3:]},no" for number in people]
        (self.folder / "people.csv").write_text("\n".join(["number,name,exempt", *lines, ""]))
        where = ["--people", self.folder / "people.csv", "--photos", photos]
        self.run("enroll", *where, "--roster", self.roster, "--key", self.folder / "roster.key")

    @property
    def roster(self) -> Path:
        return self.folder / "roster.senyum"

    def admin(self, *words: object, status: int = 0) -> str:
        where = [
            *("--broker", f"localhost:{self.broker.port}", "--keys", self.folder / "keys.json"),
            *("--roster", self.roster, "--roster-key", self.folder / "roster.key"),
            *("--authority", self.folder / "authority.key", "--wait", PATIENCE),
        ]
        return self.run("admin", *words, *where, status=status)

    @contextmanager
    def daemon(self) -> Iterator[subprocess.Popen[bytes]]:
        with self.log.open("ab") as output:
            process = subprocess.Popen(
                [sys.executable, "-m", "edge.cli", "run", "--config", self.config],
                stdout=output,
                stderr=subprocess.STDOUT,
            )
        try:
            yield process
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(20)

    @property
    def log(self) -> Path:
        return self.folder / "run.out"


def claims(token: bytes | str) -> dict[str, Any]:
    text = token if isinstance(token, str) else token.decode()
    content: dict[str, Any] = json.loads(from_b64url(text.split(".")[1]))
    return content


def events(listener: Listener) -> list[dict[str, Any]]:
    return [claims(token) for token in listener.events()]


def told(listener: Listener, code: str) -> list[dict[str, Any]]:
    return [e["data"]["detail"] for e in events(listener) if e["data"].get("code") == code]


def reasons(listener: Listener, roster: str) -> list[str]:
    """Return how each attempt ended that was judged by a roster of this digest."""
    return [
        e["data"]["reason"]
        for e in events(listener)
        if "reason" in e["data"] and e["data"]["roster"] == roster
    ]


def traces(site: Site) -> dict[str, bytes]:
    """Return what would betray the known person: number, name, and parts of their template."""
    known = next(p for p in read(site.roster, key_of(site)).people if p.number == KNOWN)
    halves = known.templates.astype("<f2").tobytes()
    fused = known.templates.sum(axis=0, dtype=np.float32)
    fused /= np.linalg.norm(fused)
    return {
        "number": KNOWN.encode(),
        "name": known.name.encode(),
        "template": halves[100:132],
        "fused template": fused.astype("<f4").tobytes()[200:232],
    }


def key_of(site: Site) -> bytes:
    return read_key(site.folder / "roster.key", "the roster key")


def memory(process: int) -> Iterator[bytes]:
    """Yield what the process can write to, region by region."""
    regions = Path(f"/proc/{process}/maps").read_text().splitlines()
    with Path(f"/proc/{process}/mem").open("rb", buffering=0) as content:
        for line in regions:
            match = re.match(r"([0-9a-f]+)-([0-9a-f]+) rw", line)
            if match is None:
                continue
            first, last = (int(part, 16) for part in match.groups())
            try:
                content.seek(first)
                yield content.read(last - first)
            except OSError:
                continue


def found_in(daemon: subprocess.Popen[bytes], betray: dict[str, bytes]) -> set[str]:
    return {what for part in memory(daemon.pid) for what, t in betray.items() if t in part}


@pytest.fixture(scope="module")
def frames(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("frames")
    record(SceneRenderer(FACES), [SCENES["smile"]], folder)
    return folder


def test_brought_known_erased_and_not_brought_back(
    tmp_path: Path, frames: Path, broker: PrivateBroker
) -> None:
    site = Site(tmp_path, frames, broker)
    site.enroll({OTHER: "astronaut.jpg"})
    with Listener(broker.settings) as listener:
        with site.daemon() as daemon:
            # There is no roster yet: out of order, and waiting for one.
            until(lambda: b"no roster found" in site.log.read_bytes(), PATIENCE)
            said = site.admin("roster")
            assert "version 1 is in force on 1 of 1 unit." in said
            until(lambda: told(listener, "roster-installed"), PATIENCE)
            (installed,) = told(listener, "roster-installed")
            assert (installed["version"], installed["people"]) == (1, 1)
            until(lambda: "not-known" in reasons(listener, installed["digest"]), PATIENCE)

            site.enroll({KNOWN: "obama3.jpg"})
            site.admin("roster")
            second = told(listener, "roster-installed")[-1]["digest"]
            until(lambda: "accepted" in reasons(listener, second), PATIENCE)
            betray = traces(site)
            person = next(e["subject"] for e in events(listener) if "subject" in e)
            backup = (site.state / "roster.senyum").read_bytes()
            old = [m for m in listener.messages if "/roster" in m[0] and m[1]]
            assert "fused template" in found_in(daemon, betray)  # so the search finds what is there

            erase = ["erase", "--number-file", site.folder / "number"]
            org = ["--org-key", site.folder / "organisation.key"]
            receipts = site.folder / "receipts.txt"
            said = site.admin(*erase, *org, "--receipts", receipts)
            assert "version 3 is in force on 1 of 1 unit." in said
            assert KNOWN not in said
            receipt = claims(receipts.read_text().strip())
            assert receipt["data"]["erased"] == [person]
            assert receipt["number"] == 3
            (gone,) = told(listener, "person-erased")
            assert (gone["person"], gone["version"]) == (person, 3)
            third = gone["digest"]
            until(lambda: "not-known" in reasons(listener, third), PATIENCE)
            assert "accepted" not in reasons(listener, third)
            assert person not in load(site.state / "roster.senyum", b"\x5b" * 32).people

            # Nothing of them is left: not in any file of the unit, not in its memory.
            for path in site.state.rglob("*"):
                content = path.read_bytes()
                assert not [what for what, trace in betray.items() if trace in content], path
            assert found_in(daemon, betray) == set()

            # The broker, or somebody who recorded it, says again what it said before.
            before = len(listener.messages)
            with Voice(broker.settings) as voice:
                for topic, payload, _ in old:
                    voice.say(payload, topic, retain=True)
            until(lambda: replies(listener, before), PATIENCE)
            assert {reply["reason"] for reply in replies(listener, before)} == {"stale"}
            assert "not-known" in reasons(listener, third)
            site.admin("roster")  # heals the broker: the unit has it already, and says so
            assert len(told(listener, "roster-installed")) == 3

        # Somebody puts the old file back by hand, from a backup.
        (site.state / "roster.senyum").write_bytes(backup)
        with site.daemon():
            until(lambda: b"is version 2, and this unit had version 3" in site.log.read_bytes(), 60)
            until(lambda: len(told(listener, "roster-installed")) == 4, PATIENCE)
            assert told(listener, "roster-installed")[-1]["digest"] == third
            assert load(site.state / "roster.senyum", b"\x5b" * 32).version == 3
            assert "1 of 1 unit." in site.admin("roster", "--check")
        assert reasons(listener, second)[-1] == "accepted"
        assert "accepted" not in reasons(listener, third)
    everything = site.log.read_text() + str([m[:2] for m in listener.messages])
    assert KNOWN not in everything


def replies(listener: Listener, after: int) -> list[dict[str, Any]]:
    found = listener.messages[after:]
    return [claims(body) for topic, body, _ in found if "/reply/" in topic]


def test_a_unit_that_is_away_is_named(tmp_path: Path, frames: Path, broker: PrivateBroker) -> None:
    site = Site(tmp_path, frames, broker)
    site.enroll({KNOWN: "obama3.jpg"})
    site.folder.joinpath("away").touch()
    said = site.admin("roster", "--check", status=1)
    assert "urn:senyum:depok:balaikota:lobby-1  not heard" in said
    assert "version 1 is in force on 0 of 1 unit." in said
    began = time.monotonic()
    words = ["erase", "--person", "ab" * 16]
    assert "nobody has the person id" in site_error(site, *words)
    assert time.monotonic() - began < PATIENCE


def site_error(site: Site, *words: object) -> str:
    where = [
        *("--broker", f"localhost:{site.broker.port}", "--keys", site.folder / "keys.json"),
        *("--roster", site.roster, "--roster-key", site.folder / "roster.key"),
        *("--authority", site.folder / "authority.key"),
    ]
    command = [sys.executable, "-m", "edge.cli", "admin", *map(str, [*words, *where])]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    return done.stderr
