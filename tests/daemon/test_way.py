"""The whole way, in processes of their own, past a broker that none of them started."""

import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from jwcrypto import jwk, jws
from private_servers import PrivateBroker
from scenes import FPS, SCENES, SIZE, SceneRenderer, record

pytestmark = [pytest.mark.broker, pytest.mark.slow]

FACES = Path(__file__).parents[1] / "faces"
NUMBER = "198503022010011003"
CONFIG = """
[unit]
org = "depok"
site = "balaikota"
name = "lobby-1"
[camera]
driver = "replay"
replay = "{frames}"
fps = {fps}
main_width = {width}
main_height = {height}
[roster]
file = "{folder}/roster.senyum"
key = "{folder}/roster.key"
[outbox]
file = "{folder}/outbox.db"
signing_key = "{folder}/signing.key"
[gpio]
factory = "mock"
[broker]
port = {port}
backoff_min = 0.1
backoff_max = 0.5
"""


def senyum(*words: object) -> list[str]:
    return [sys.executable, "-m", "edge.cli", *map(str, words)]


@contextmanager
def started(command: list[str], output: Path) -> Iterator[subprocess.Popen[bytes]]:
    with output.open("wb") as file:
        process = subprocess.Popen(command, stdout=file, stderr=subprocess.STDOUT)
    try:
        yield process
    finally:
        process.terminate()
        process.wait(10)


@pytest.fixture(scope="module")
def frames(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("frames")
    record(SceneRenderer(FACES), [SCENES["smile"], SCENES["stranger"]], folder)
    return folder


@pytest.fixture
def unit(tmp_path: Path, frames: Path, broker: PrivateBroker) -> Path:
    """Give the settings of a unit with one person enrolled and its key registered."""
    config = tmp_path / "senyum.toml"
    width, height = SIZE
    config.write_text(
        CONFIG.format(
            frames=frames, fps=FPS, width=width, height=height, folder=tmp_path, port=broker.port
        )
    )
    (tmp_path / "photos").mkdir()
    shutil.copy(FACES / "obama3.jpg", tmp_path / "photos" / f"{NUMBER}.jpg")
    (tmp_path / "people.csv").write_text(f"number,name,exempt\n{NUMBER},Barack O.,no\n")
    where = ["--people", tmp_path / "people.csv", "--photos", tmp_path / "photos"]
    subprocess.run(senyum("enroll", *where, "--config", config), check=True, capture_output=True)
    keys = ["--add-to", tmp_path / "keys.json"]
    subprocess.run(senyum("keys", "--config", config, *keys), check=True, capture_output=True)
    return config


def receiver(folder: Path, port: int) -> list[str]:
    where = ["--broker", f"localhost:{port}", "--keys", folder / "keys.json"]
    return senyum("receive", *where, "--store", folder / "central.db", "--json")


def stored(folder: Path) -> list[str]:
    with sqlite3.connect(f"file:{folder / 'central.db'}?mode=ro", uri=True) as store:
        return [row[0] for row in store.execute("SELECT jws FROM event ORDER BY sequence")]


def verified(folder: Path) -> list[dict[str, Any]]:
    """Verify with another library than the one that signed."""
    registered = json.loads((folder / "keys.json").read_text())["keys"]
    keys = {entry["kid"]: jwk.JWK(kty="OKP", crv="Ed25519", x=entry["x"]) for entry in registered}
    events = []
    for token in stored(folder):
        message = jws.JWS()
        message.allowed_algs = ["Ed25519", "EdDSA"]
        message.deserialize(token)
        message.verify(keys[message.jose_header["kid"]])
        events.append(json.loads(message.payload))
    return events


def test_the_known_smile_is_recorded_and_the_stranger_is_not_known(
    unit: Path, broker: PrivateBroker
) -> None:
    folder = unit.parent
    with started(receiver(folder, broker.port), folder / "receive.out"):
        time.sleep(1.0)
        run = subprocess.run(
            senyum("run", "--config", unit), capture_output=True, text=True, timeout=90, check=False
        )
        assert run.returncode == 0, run.stderr
        time.sleep(1.0)
    events = verified(folder)
    said = [
        (event["data"]["outcome"], event["data"]["reason"])
        for event in events
        if event["type"].startswith("senyum.attendance.")
    ]
    assert said == [("recorded", "accepted"), ("refused", "not-known")]
    assert [int(event["sequence"]) for event in events] == list(range(1, len(events) + 1))
    recorded = next(e for e in events if e["type"] == "senyum.attendance.recorded.v1")
    assert recorded["data"]["smile"] >= 50
    assert len(recorded["subject"]) == 32
    out = (folder / "receive.out").read_text() + run.stderr
    assert '"alarm": true' not in out
    for secret in (NUMBER, "Barack"):
        assert secret not in out + "".join(stored(folder))


def test_sigterm_ends_it_in_good_order(unit: Path, tmp_path: Path) -> None:
    with started(senyum("run", "--config", unit), tmp_path / "run.out") as daemon:
        deadline = time.monotonic() + 20
        while b"ready" not in (tmp_path / "run.out").read_bytes():
            assert time.monotonic() < deadline, (tmp_path / "run.out").read_text()
            time.sleep(0.05)
        daemon.send_signal(signal.SIGTERM)
        assert daemon.wait(60) == 0


def test_a_roster_that_was_cut_short_is_named(unit: Path) -> None:
    roster = unit.parent / "roster.senyum"
    os.truncate(roster, roster.stat().st_size - 5)
    run = subprocess.run(
        senyum("run", "--config", unit), capture_output=True, text=True, timeout=30, check=False
    )
    assert run.returncode == 2
    last = run.stderr.strip().splitlines()[-1]
    assert last.startswith(f"senyum: {roster}: ")
